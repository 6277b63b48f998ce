// The course of a load run: open, warm up, measure, wait for the answers in flight. And its output
// meanwhile: the live line, the line for SIGQUIT.
//
// The loop reads the clock once for each batch of events; everything that is not about a request
// happens every `tick`.
#pragma once

#include "client/load/load_engine.h"
#include "client/load/load_intervals.h"
#include "client/load/load_live.h"
#include "client/load/load_report.h"
#include "client/load/load_result.h"
#include "client/options/options.h"
#include "client/show/table.h"
#include "client/show/terminal.h"
#include "client/working/while_pinging.h"

#include <cstdint>
#include <memory>
#include <optional>
#include <string>

namespace riposte::client {

class LoadRun {
public:
    /// `wants_series`: the result gets one.
    /// `result` is the account's, too: the run writes when it was and how it ended. `report` and
    /// `look`: of the lines of --every.
    LoadRun(
        LoadContext& context, LoadEngine& engine, const LoadPlan& plan, bool wants_series,
        LoadResult& result, const ReportOptions& report, Look look);

    /// Probes that go on beside the load in its measured time; outlives the run.
    void set_pinging(WhilePinging* pinging) { pinging_ = pinging; }

    /// Everything is in the result afterwards. An error: nothing was measured, or standard output
    /// failed.
    Result<void> run();

private:
    void send_and_receive();
    void await_answers();
    /// Waits, and serves a batch; the time of it.
    uint64_t turn(uint64_t deadline_ns);
    void tick(uint64_t now_ns);
    void show(uint64_t now_ns);
    void print_lines(const std::string& lines);
    LoadProgress progress(uint64_t now_ns) const;
    void draw(uint64_t now_ns);
    void begin_measuring(uint64_t now_ns);

    LoadContext& context_;
    LoadEngine& engine_;
    LoadPlan plan_;
    bool wants_series_;
    LoadResult& result_;
    const ReportOptions& report_;
    Look look_;
    WhilePinging* pinging_ = nullptr;
    LiveLine live_;
    std::optional<LoadIntervals> intervals_; ///< with --every
    std::unique_ptr<LoadLive> screen_;       ///< with --live
    Result<void> printed_;
    bool measuring_ = false;
    uint64_t next_tick_ns_ = 0;
    uint64_t shown_ns_ = 0;
    uint64_t shown_answers_ = 0;
    uint64_t cpu_before_ns_ = 0;
};

} // namespace riposte::client
