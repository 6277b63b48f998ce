// `riposte probe` at work: one thread that sends what is due, reads what has come, and follows its
// lists, names and signals. What it has measured is asked for by figures(), between two turns.
//
// A turn: files and names, then all arrivals, then what has expired, then what is due. So nothing
// is lost that had arrived when it expired. Above 1,000 probes a second those of up to a
// millisecond leave together, which is their lateness.
#pragma once

#include "client/net/event_loop.h"
#include "client/net/receive_time.h"
#include "client/probe/export_server.h"
#include "client/probe/fleet.h"
#include "client/probe/probe_config.h"
#include "client/probe/probe_sockets.h"
#include "client/probe/spread_schedule.h"
#include "client/probe/target_files.h"
#include "client/probe/target_names.h"
#include "client/show/report.h"
#include "common/error.h"

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

namespace riposte::client {

FleetSettings fleet_settings(const ProbeConfig& config);

class ProbeRun {
public:
    /// Reads the configuration again.
    using Reload = std::function<Result<ProbeConfig>()>;

    /// `loop` and `report` outlive it. `lists` are patterns beside those of the configuration.
    static Result<std::unique_ptr<ProbeRun>> open(
        ProbeConfig config, std::vector<std::string> lists, EventLoop& loop, const Report& report);

    /// Until `end_ns` or a signal, and then until each probe is decided.
    void run(uint64_t end_ns, const Reload& reload);
    /// Did a second signal end it?
    bool was_cut_short() const { return cut_short_; }
    FleetFigures figures() const;
    /// Whose pictures are made when it asks for them; it outlives the run.
    Result<void> serve(ExportServer& server);
    /// SIGQUIT: what to do then.
    void on_interim(std::function<void()> print) { print_interim_ = std::move(print); }

private:
    /// Arrivals wait at most that long before they are read.
    static constexpr uint64_t read_every_ns = 20'000'000;
    static constexpr uint64_t sweep_every_ns = 1'000'000'000;
    /// A port serves the targets that are due within this part of the interval: they leave
    /// together.
    static constexpr uint64_t port_share_ns = 5'000'000;

    ProbeRun(
        ProbeConfig config, std::vector<std::string> lists, EventLoop& loop, const Report& report,
        TargetFiles files, TargetNames names);
    void read_lists(uint64_t now_ns, bool whole);
    void reload_now(const Reload& reload, uint64_t now_ns);
    void warn_of_self(const Selection& selection);
    void apply_targets(uint64_t now_ns);
    void measure();
    void send_due(uint64_t now_ns);
    void send_one(uint64_t due_ns);
    uint64_t next_wake_ns() const;

    ProbeConfig config_;
    std::vector<std::string> lists_;
    EventLoop& loop_;
    const Report& report_;
    Fleet fleet_;
    TargetFiles files_;
    TargetNames names_;
    std::unique_ptr<ProbeSockets> sockets_; ///< after open()
    Fd stamps_;                             ///< hold_receive_stamps()
    SpreadSchedule schedule_;
    std::function<void()> print_interim_;
    ExportServer* server_ = nullptr; ///< null: nothing is served
    std::string self_;
    Clocks empty_; ///< nothing that came before waits in a socket
    double started_at_;
    uint64_t tick_ns_ = 0; ///< probes that are due within it leave together
    uint64_t next_sweep_ns_ = 0;
    uint64_t next_read_ns_ = 0;
    bool is_sending_ = true;
    bool self_missing_ = false;
    bool self_alone_ = false;
    bool cut_short_ = false;
};

} // namespace riposte::client
