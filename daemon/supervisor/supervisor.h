// The main thread: starts the daemon, then sleeps until a signal, a worker or the watchdog's timer
// wakes it.
//
//   SIGTERM, SIGINT   drain; again: abort
//   SIGHUP            reload: all of it, or nothing and the old configuration stays
//   SIGUSR1           statistics to the log
//
// It also serves the daemon's metrics (telemetry/scrape_server.h) in its own loop until it ends,
// during a drain as well.
//
// A reload ends when every worker has confirmed that nothing is in flight on the removed sockets;
// only then are they closed. The manager's watchdog is notified only while every worker's loop
// turns (watchdog.h).
//
// After the start the process is sealed (sandbox.h): it needs few system calls from then on.
//
// A drain hands connections over to the next process if the service manager stores descriptors for
// it (fd_store.h); they are stored when the workers have stopped.
#pragma once

#include "common/error.h"
#include "common/fd.h"
#include "daemon/config/config.h"
#include "daemon/config/options.h"
#include "daemon/listen/listeners.h"
#include "daemon/log/log.h"
#include "daemon/supervisor/fd_store.h"
#include "daemon/supervisor/notifier.h"
#include "daemon/supervisor/scrape_sockets.h"
#include "daemon/supervisor/watchdog.h"
#include "daemon/telemetry/scrape_server.h"
#include "daemon/telemetry/snapshot.h"
#include "daemon/worker/worker_thread.h"

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace riposte {

class Supervisor {
public:
    /// Opens the listeners, starts the workers, reports readiness. The log must be open, and no
    /// other thread may run yet (later threads inherit the blocked signals).
    static Result<std::unique_ptr<Supervisor>> start(const Options& options, const Config& config);

    /// Returns when the daemon has stopped.
    Exit run();

    ~Supervisor();
    Supervisor(const Supervisor&) = delete;
    Supervisor& operator=(const Supervisor&) = delete;

private:
    Supervisor(const Options& options, const Config& config, Listeners listeners);
    Result<void> open_channels();
    Result<void> open_scrapes(std::vector<ScrapeSocket> sockets);
    Result<void> start_workers();
    void tell_backends() const;
    void seal();
    bool owns_socket_files() const;
    void take_over(Inheritance inheritance);
    void report_start();
    void tell_missing_ipv6();

    void wait();
    std::optional<uint64_t> deadline_us() const;
    void on_signals();
    void on_news();
    void on_tick();

    void reload();
    Result<Config> wanted_config() const;
    bool is_to_be_read_again(const Config& config);
    void prepare_reload(Config wanted);
    void on_prepared();
    Result<void> adopt(Config wanted);
    void refuse_reload(const Error& error);
    bool send_plans();
    void tell_memory_bound();
    void finish_reload();
    void stop(const char* signal);
    void hand_over();
    void log_statistics() const;
    static void tell_listener(log::Event event, const std::string& label);
    Snapshot snapshot() const;
    std::string scrape_document(Representation representation) const;

    WorkerPlan plan(uint32_t index) const;
    Totals totals() const;
    std::string status() const;
    void tell_status();

    Options options_;
    Config config_;
    Listeners listeners_;
    systemd::Notifier notifier_;
    Fd signals_;
    Fd stops_; ///< readable while TERM or INT is pending in signals_; never read
    Fd news_;
    std::vector<std::unique_ptr<WorkerThread>> workers_;
    WorkerBackends backends_;
    uint32_t worker_count_;
    uint64_t memory_bound_bytes_ = 0; ///< as last logged
    uint32_t handover_max_ = 0;       ///< how many connections the service manager stores

    enum class Phase : uint8_t { running, draining, aborting } phase_ = Phase::running;
    uint64_t plan_sequence_ = 0;
    std::optional<Config> wanted_; ///< workers are reserving memory for it
    uint64_t prepare_sequence_ = 0;
    uint64_t plans_at_us_ = 0;  ///< when plans that lacked memory are sent again; 0: all were sent
    bool reloading_ = false;    ///< plans were sent and have not settled
    bool reload_again_ = false; ///< SIGHUP arrived meanwhile
    uint64_t reload_at_us_ = 0; ///< when to read the file again; 0: never
    uint32_t reread_ = 0;       ///< how often it was read again in this reload
    std::vector<std::string> labels_;
    std::string told_status_;
    ProcessFigureReader process_; ///< its files are open before the process is sealed
    std::string sandbox_;         ///< "seccomp on", or why it is off
    double start_seconds_ = 0;    ///< when the start ended, since 1970
    ReloadReport reload_report_;

    std::vector<ScrapeSocket> scrape_sockets_; ///< the server owns their descriptors
    std::unique_ptr<ScrapeServer> scrapes_;    ///< null: metrics are not served

    Watchdog watchdog_;
};

} // namespace riposte
