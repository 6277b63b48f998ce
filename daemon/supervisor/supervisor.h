// The main thread: starts the daemon, then sleeps until a signal, a worker or the watchdog's timer
// wakes it.
//
//   SIGTERM, SIGINT   drain; again: abort
//   SIGHUP            reload (reload.h)
//   SIGUSR1           statistics to the log
//
// It also serves the daemon's metrics (telemetry/scrape_answers.h) in its own loop until it ends,
// during a drain as well.
//
// The manager's watchdog is notified only while every worker's loop turns (watchdog.h).
//
// After the start the process is sealed (sandbox.h): it needs few system calls from then on.
//
// A drain hands connections over to the next process if the service manager stores descriptors for
// it (fd_store.h); they are stored when the workers have stopped.
#pragma once

#include "common/error.h"
#include "common/fd.h"
#include "common/http/server.h"
#include "daemon/config/config.h"
#include "daemon/config/options.h"
#include "daemon/listen/listeners.h"
#include "daemon/supervisor/deployment.h"
#include "daemon/supervisor/fd_store.h"
#include "daemon/supervisor/http_sockets.h"
#include "daemon/supervisor/notifier.h"
#include "daemon/supervisor/reload.h"
#include "daemon/supervisor/stamp_store.h"
#include "daemon/supervisor/watchdog.h"
#include "daemon/telemetry/scrape_answers.h"
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
    Result<void> open_http(std::vector<HttpSocket> sockets);
    Result<void> start_workers();
    void log_backends() const;
    void seal();
    bool owns_socket_files() const;
    void take_over(Inheritance inheritance);
    void adopt_sessions(InheritedSessions& inherited);
    void report_start();

    void wait();
    std::optional<uint64_t> deadline_us() const;
    void on_signals();
    void on_tick();
    void stop(const char* signal);
    void hand_over();
    void hand_over_sessions();

    void log_statistics() const;
    Snapshot snapshot() const;
    std::string http_document(Representation representation) const;
    Totals totals() const;
    std::string status() const;
    void report_ready();
    void report_status();

    Options options_;
    Deployment deployment_;
    systemd::Notifier notifier_;
    Fd signals_;
    Fd stops_; ///< readable while TERM or INT is pending in signals_; never read
    Fd news_;  ///< readable when a worker has prepared, settled or stopped
    std::vector<std::unique_ptr<WorkerThread>> workers_;
    WorkerBackends backends_;
    uint32_t handover_max_; ///< how many connections the service manager stores
    Fd stamp_store_;        ///< for the sessions of stamp, at the end
    Reload reload_;
    Watchdog watchdog_;

    enum class Phase : uint8_t { running, draining, aborting } phase_ = Phase::running;
    std::string reported_status_;
    ProcessFigureReader process_; ///< its files are open before the process is sealed
    std::string sandbox_;         ///< "seccomp on", or why it is off
    double start_seconds_ = 0;    ///< when the start ended, since 1970

    std::vector<HttpSocket> http_sockets_; ///< the server owns their descriptors
    ScrapeAnswers scrapes_{
        [this](Representation representation) { return http_document(representation); }};
    std::unique_ptr<HttpServer> http_; ///< null: metrics are not served
};

} // namespace riposte
