// One run of ping: the loop for all endpoints, and what it prints while it goes on.
//
// Everything happens on one thread. The loop and the options outlive the run, which owns the
// probers and their results.
#pragma once

#include "client/net/event_loop.h"
#include "client/options/options.h"
#include "client/ping/name_refresh.h"
#include "client/ping/ping_intervals.h"
#include "client/ping/ping_live.h"
#include "client/ping/ping_report.h"
#include "client/ping/ping_schedule.h"
#include "client/ping/prober.h"
#include "client/ping/wake_order.h"
#include "client/show/report.h"
#include "common/error.h"

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace riposte::client {

/// What all lines of ping look like, of so many endpoints that are measured.
PingStyle ping_style(const CommonOptions& common, const PingOptions& options, size_t measured);

/// -q with several endpoints: only their table is printed.
bool shows_table_alone(const PingOptions& options, size_t measured);

class PingRun final : public ProbeListener {
public:
    /// Nothing is sent after `end_ns`.
    PingRun(
        const CommonOptions& common, const PingOptions& options, uint64_t end_ns, EventLoop& loop)
        : options_(options), loop_(loop), report_(common.color, false),
          style_(ping_style(common, options, 0)),
          prints_lines_(
              !options.quiet && !options.report.is_json() && !options.report.live &&
              options.listing == Listing::none),
          deadline_ns_(end_ns) {
        if (options.resolve_every_ms)
            names_.emplace(common, options);
    }

    /// Another endpoint, before run().
    void add(Target target, const SocketAddress& address);
    /// Until the outcome of each probe is known. `with_series`: each result gets one.
    Result<void> run(bool with_series);
    /// Of the endpoints, in the order of add(); they live as long as the run.
    std::vector<const PingResult*> results() const;
    /// Did a second signal end it?
    bool was_cut_short() const { return cut_short_; }

    void on_arrival(const PingResult& result, const ProbeOutcome& arrival) override;
    void on_failure(const PingResult& result, const ProbeFailure& failure) override;
    void on_fate(size_t endpoint, const ProbeFate& fate) override;
    void on_trouble(const PingResult& result, const std::string& line) override;

private:
    struct Lane {
        std::unique_ptr<Prober> prober;
        PingSchedule schedule;
        bool name_fails = false; ///< with --resolve-every, and that was reported
    };

    void start(bool with_series);
    Result<void> turn();
    Result<void> serve_woken(uint64_t now_ns);
    void account_for(size_t at);
    Result<void> refresh_names(uint64_t now_ns);
    Result<void> take_addresses(size_t at, const Result<Target>& found);
    Result<void> send_due(Lane& lane);
    bool is_sending() const;
    void report_error(const std::string& line);
    void close_live();
    void report_skipped(const Lane& lane, uint64_t skipped);
    void stop();
    uint64_t next_wake_ns() const;
    void print_interim();
    Result<void> flush();
    void put(const std::string& line);
    void measure_elapsed();

    const PingOptions& options_;
    EventLoop& loop_;
    Report report_;
    PingStyle style_;
    bool prints_lines_;
    std::vector<Lane> lanes_;
    WakeOrder order_{0};               ///< when a lane has something to do; none: its run is over
    WakeOrder due_{0};                 ///< when its next probe is due
    std::vector<size_t> woken_;        ///< in this turn
    std::optional<NameRefresh> names_; ///< with --resolve-every
    bool name_found_ = false;          ///< in this turn
    std::optional<PingIntervals> intervals_; ///< with --every
    std::unique_ptr<PingLive> live_;         ///< with --live
    std::string output_;                     ///< lines of this turn
    uint64_t start_ns_ = 0;
    uint64_t last_event_ns_ = 0; ///< something was still to be sent, or an answer came
    uint64_t deadline_ns_;       ///< of sending
    bool is_sending_ = true;     ///< something is still due
    bool was_stopped_ = false;   ///< by -w or a signal
    bool cut_short_ = false;     ///< by a second signal
};

} // namespace riposte::client
