// The course of a throughput run: open, warm up, measure in intervals, wait for datagrams in
// flight. And its output meanwhile: a line for each interval, the live line, the line for SIGQUIT.
//
// One loop serves both directions. The clock is read once for each batch of events; counters are
// sampled at the ends of intervals, at the time that was read before the sample.
#pragma once

#include "client/net/event_loop.h"
#include "client/show/terminal.h"
#include "client/throughput/stream.h"
#include "client/throughput/throughput_result.h"
#include "client/working/while_pinging.h"

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <vector>

namespace riposte::client {

struct ThroughputPlan {
    uint64_t warmup_ns = 0;
    uint64_t duration_ns = 0;             ///< 0: until all is transferred, or interrupted
    uint64_t timeout_ns = 0;              ///< until the first byte
    uint64_t interval_ns = 1'000'000'000; ///< of the rates; more than zero
    bool prints = true;                   ///< a line for each interval
    bool shows_progress = true;           ///< the live line, on a terminal
};

class ThroughputRun {
public:
    /// `pinging` may be null. All outlive the run.
    ThroughputRun(
        const ThroughputPlan& plan, EventLoop& loop, WhilePinging* pinging,
        ThroughputResult& result)
        : plan_(plan), loop_(loop), pinging_(pinging), result_(result) {}

    /// One of the result's streams.
    void add(StreamSetup setup, StreamResult& result);

    /// Everything is in the result afterwards. An error: nothing was measured.
    Result<void> run();

private:
    struct Lane {
        std::unique_ptr<Stream> stream;
        StreamResult* result;
        RateIntervals intervals;
        bool is_over = false;
    };

    Result<void> transfer();
    void turn(uint64_t deadline_ns);
    uint64_t next_interval_ns() const;
    uint64_t next_deadline_ns() const;
    void begin_measuring(uint64_t now_ns);
    Result<void> end_interval(uint64_t now_ns);
    Result<void> print_interval(
        std::span<const std::optional<RateInterval>> found, uint64_t now_ns);
    void note_over(uint64_t now_ns);
    void end_measuring(uint64_t now_ns);
    void settle();
    std::optional<Error> find_fatal(uint64_t now_ns) const;
    void tick(uint64_t now_ns);
    void show(uint64_t now_ns);

    ThroughputPlan plan_;
    EventLoop& loop_;
    WhilePinging* pinging_;
    ThroughputResult& result_;
    LiveLine live_;
    std::vector<Lane> lanes_;
    bool measuring_ = false;
    uint64_t start_ns_ = 0;
    uint64_t measured_from_ns_ = 0;
    uint64_t end_ns_ = UINT64_MAX;
    uint64_t next_tick_ns_ = 0;
    uint64_t cpu_before_ns_ = 0;
};

} // namespace riposte::client
