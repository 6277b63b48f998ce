#include "client/throughput/throughput_run.h"

#include "client/measure/cpu_time.h"
#include "client/show/measurement_output.h"
#include "client/show/report.h"
#include "client/throughput/throughput_report.h"
#include "common/clock.h"
#include "common/units.h"

#include <algorithm>
#include <optional>
#include <string>
#include <utility>

#include <fmt/format.h>
#include <unistd.h>

namespace riposte::client {

namespace {

constexpr uint64_t observe_ns = 50'000'000;

} // namespace

void ThroughputRun::add(StreamSetup setup, StreamResult& result) {
    setup.number = static_cast<uint32_t>(lanes_.size());
    lanes_.push_back(
        {.stream = make_stream(std::move(setup), loop_, result),
         .result = &result,
         .intervals = RateIntervals(plan_.interval_ns)});
}

Result<void> ThroughputRun::run() {
    for (const Lane& lane : lanes_)
        if (auto opened = lane.stream->open(); !opened)
            return opened;
    loop_.handle_second(true);
    auto transferred = transfer();
    settle();
    loop_.handle_second(false);
    result_.cut_short = loop_.interrupts() > 1;
    for (const Lane& lane : lanes_)
        lane.stream->finish();
    live_.erase();
    return transferred;
}

Result<void> ThroughputRun::transfer() {
    start_ns_ = monotonic_ns();
    next_tick_ns_ = start_ns_ + observe_ns;
    measured_from_ns_ = start_ns_ + plan_.warmup_ns;
    if (plan_.duration_ns > 0)
        end_ns_ = measured_from_ns_ + plan_.duration_ns;
    if (plan_.warmup_ns == 0)
        begin_measuring(start_ns_); // before the first byte leaves
    for (const Lane& lane : lanes_)
        lane.stream->start(start_ns_);
    for (;;) {
        turn(next_deadline_ns());
        const uint64_t now = monotonic_ns();
        note_over(now);
        if (!measuring_ && now >= measured_from_ns_)
            begin_measuring(now);
        if (now >= next_interval_ns())
            if (auto printed = end_interval(now); !printed)
                return printed;
        const bool all_over = std::ranges::all_of(lanes_, &Lane::is_over);
        if (loop_.interrupted() || now >= end_ns_ || all_over) {
            result_.interrupted = loop_.interrupted();
            end_measuring(now);
            if (auto fatal = find_fatal(now))
                return std::unexpected(std::move(*fatal));
            return {};
        }
        if (auto fatal = find_fatal(now))
            return std::unexpected(std::move(*fatal));
        if (now >= next_tick_ns_)
            tick(now);
    }
}

/// Of all streams that are not over: they began together.
uint64_t ThroughputRun::next_interval_ns() const {
    uint64_t next_ns = UINT64_MAX;
    for (const Lane& lane : lanes_)
        next_ns = std::min(next_ns, lane.intervals.next_ns());
    return next_ns;
}

uint64_t ThroughputRun::next_deadline_ns() const {
    uint64_t next_ns = std::min({next_tick_ns_, end_ns_, next_interval_ns()});
    if (!measuring_)
        next_ns = std::min(next_ns, measured_from_ns_);
    for (const Lane& lane : lanes_)
        next_ns = std::min(next_ns, lane.stream->next_pump_ns());
    return next_ns;
}

void ThroughputRun::turn(uint64_t deadline_ns) {
    for (const epoll_event& event : loop_.wait(deadline_ns))
        lanes_[StreamTag::stream(event.data.u64)].stream->handle(
            StreamTag::index(event.data.u64), event.events);
    const uint64_t now = monotonic_ns();
    for (const Lane& lane : lanes_)
        lane.stream->pump(now);
}

void ThroughputRun::begin_measuring(uint64_t now_ns) {
    measuring_ = true;
    measured_from_ns_ = now_ns;
    if (plan_.duration_ns > 0)
        end_ns_ = now_ns + plan_.duration_ns;
    result_.started_at = wall_time_seconds();
    cpu_before_ns_ = cpu_time_ns(RUSAGE_THREAD);
    for (Lane& lane : lanes_)
        lane.intervals.start(now_ns, lane.stream->sample());
    if (pinging_ != nullptr)
        pinging_->begin(now_ns);
}

Result<void> ThroughputRun::end_interval(uint64_t now_ns) {
    std::vector<std::optional<RateInterval>> found;
    found.reserve(lanes_.size());
    for (Lane& lane : lanes_) {
        found.push_back(
            lane.is_over ? std::nullopt : lane.intervals.sample(now_ns, lane.stream->sample()));
    }
    return print_interval(found, now_ns);
}

Result<void> ThroughputRun::print_interval(
    std::span<const std::optional<RateInterval>> found, uint64_t now_ns) {
    if (!plan_.prints)
        return {};
    std::vector<IntervalColumn> columns;
    columns.reserve(lanes_.size());
    for (size_t i = 0; i < lanes_.size(); i++)
        columns.push_back(
            {.flow = lanes_[i].result->flow,
             .transport = lanes_[i].result->transport,
             .interval = found[i]});
    const MayBlock guard(loop_);
    live_.erase();
    return print(interval_line(columns, now_ns - measured_from_ns_));
}

/// A stream that has transferred all it should has its own time.
void ThroughputRun::note_over(uint64_t now_ns) {
    for (Lane& lane : lanes_) {
        if (lane.is_over || !lane.stream->is_over())
            continue;
        lane.is_over = true;
        if (measuring_)
            lane.intervals.finish(now_ns, lane.stream->sample());
    }
}

void ThroughputRun::end_measuring(uint64_t now_ns) {
    if (pinging_ != nullptr)
        pinging_->end(now_ns);
    if (!measuring_)
        return;
    result_.elapsed_ns = now_ns - measured_from_ns_;
    result_.cpu_ns = cpu_time_ns(RUSAGE_THREAD) - cpu_before_ns_;
    for (Lane& lane : lanes_) {
        if (!lane.is_over)
            lane.intervals.finish(now_ns, lane.stream->sample());
        lane.result->bytes = lane.intervals.bytes();
        lane.result->retransmits = lane.intervals.retransmits();
        lane.result->elapsed_ns = lane.intervals.elapsed_ns();
        lane.result->intervals = lane.intervals.kept();
        lane.result->silent_intervals = static_cast<uint64_t>(
            std::ranges::count(lane.result->intervals, 0U, &RateInterval::bytes));
    }
}

/// Datagrams that are in flight may still come.
void ThroughputRun::settle() {
    const uint64_t now = monotonic_ns();
    for (const Lane& lane : lanes_)
        lane.stream->stop(now);
    const auto is_settled = [](const Lane& lane) {
        return lane.stream->is_settled(monotonic_ns());
    };
    while (!std::ranges::all_of(lanes_, is_settled) && loop_.interrupts() < 2) {
        turn(monotonic_ns() + observe_ns);
        result_.interrupted |= loop_.interrupted();
    }
}

/// A peer that is not what the direction needs.
std::optional<Error> ThroughputRun::find_fatal(uint64_t now_ns) const {
    for (const Lane& lane : lanes_) {
        if (auto fatal = lane.stream->fatal())
            return fatal;
        const StreamResult& result = *lane.result;
        const bool is_silent = result.flow == Flow::download && !lane.stream->has_progress() &&
                               now_ns >= start_ns_ + plan_.timeout_ns;
        if (is_silent && result.ended == 0)
            return Error{
                Exit::failed,
                fmt::format(
                    "{}: nothing came within {}; is chargen (port 19) served there? An echo or "
                    "discard service sends nothing by itself",
                    name_of(lane.stream->setup().target, lane.stream->setup().address),
                    format_duration(lane.stream->setup().target.timeout_ms))};
    }
    return std::nullopt;
}

void ThroughputRun::tick(uint64_t now_ns) {
    next_tick_ns_ = now_ns + observe_ns;
    for (const Lane& lane : lanes_)
        lane.stream->observe();
    if (loop_.take_interim()) {
        std::string text;
        for (Lane& lane : lanes_) {
            const RateSample counted = lane.stream->sample();
            text += interim_line(
                *lane.result, counted.bytes, now_ns - start_ns_, lane.stream->has_progress());
        }
        const MayBlock guard(loop_);
        live_.erase();
        write_all(STDERR_FILENO, text);
    }
    show(now_ns);
}

void ThroughputRun::show(uint64_t now_ns) {
    if (!live_.is_shown() || !plan_.shows_progress)
        return;
    const uint64_t measured_ns = now_ns - std::min(now_ns, measured_from_ns_);
    const std::string text = progress_line(
        {.is_warming_up = !measuring_, .elapsed_ns = measured_ns, .duration_ns = plan_.duration_ns},
        live_.width());
    const MayBlock guard(loop_);
    live_.draw(text);
}

} // namespace riposte::client
