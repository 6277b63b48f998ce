// The engine of ping: one loop for all endpoints.
//
// A turn reads what has arrived, expires probes whose time is over, and then sends what is due: in
// this order, so that an answer that arrived in time never counts as lost, and no probe is sent on
// a connection whose end is known already. A loop that is late (the machine is busy, the
// process was stopped, standard output blocked) sends all that came due meanwhile, each counted
// from its own time, and reads between the batches; an answer has the time that the kernel gave it,
// however long ago that was. Probes that were due more than a minute ago are left out of the
// run, and reported: a process that was suspended for hours must not catch up with a flood.
//
// However a run ends (-c, -w, a signal), ping waits for the answers in flight as linger.h says;
// probes unanswered by then are lost: the run is over when each outcome is known. Only a second
// signal ends the wait at once, and leaves the youngest probes undecided.
#include "client/ping/ping_run.h"

#include "client/net/receive_time.h"
#include "client/ping/ping_targets.h"
#include "client/show/measurement_output.h"
#include "client/show/table.h"
#include "client/show/terminal.h"
#include "common/clock.h"
#include "common/text.h"

#include <algorithm>
#include <utility>

#include <fmt/format.h>
#include <unistd.h>

namespace riposte::client {

namespace {

/// Probes of one endpoint sent at once before arrivals are read.
constexpr int sends_max = 64;
/// A probe that is later than that is not sent any more.
constexpr uint64_t suspended_ns = 60'000'000'000;

} // namespace

PingStyle ping_style(const CommonOptions& common, const PingOptions& options) {
    return {
        .several = options.endpoints.size() > 1,
        .color = colors_output(common.color),
        .columns = output_columns()};
}

bool shows_table_alone(const PingOptions& options, size_t measured) {
    return options.quiet && measured > 1;
}

void PingRun::add(Target target, const SocketAddress& address) {
    const uint64_t interval_ns = options_.interval_us * 1000;
    const uint64_t timeout_ns = uint64_t{target.timeout_ms} * 1'000'000;
    const Transport transport = target.transport;
    PingSettings ping{
        .session = random_session(),
        .payload_bytes = options_.payload_bytes,
        .timeout_ns = timeout_ns,
        .window = window_for(interval_ns, timeout_ns),
        .name = target.name,
        .address = to_string(address),
        .transport = transport,
        .interval_ns = interval_ns,
        .path = target.path};
    ProberSettings settings{
        .target = std::move(target),
        .address = address,
        .ping = std::move(ping),
        .endpoint = lanes_.size(),
        .reconnect = options_.reconnect,
        .flows = options_.flows};
    const auto make = transport == Transport::udp ? make_udp_prober : make_tcp_prober;
    lanes_.push_back(
        {.prober = make(std::move(settings), loop_, *this),
         .schedule = PingSchedule(0, interval_ns, options_.count)});
}

std::vector<const PingResult*> PingRun::results() const {
    std::vector<const PingResult*> all;
    all.reserve(lanes_.size());
    for (const Lane& lane : lanes_)
        all.push_back(&lane.prober->result());
    return all;
}

/// The endpoints' probes are spread evenly over the interval.
void PingRun::start(bool with_series) {
    const Clocks now = read_clocks();
    start_ns_ =
        now.monotonic_ns + PingSchedule::awake_before_ns; // so that the first one is as punctual
    const uint64_t interval_ns = options_.interval_us * 1000;
    for (size_t i = 0; i < lanes_.size(); i++) {
        const uint64_t first_ns = start_ns_ + interval_ns * i / lanes_.size();
        lanes_[i].schedule = PingSchedule(first_ns, interval_ns, options_.count);
        lanes_[i].prober->begin(
            static_cast<double>(now.realtime_ns + PingSchedule::awake_before_ns) / 1e9, start_ns_,
            with_series ? std::make_unique<Series>(start_ns_) : nullptr);
        if (options_.report.every_ms || options_.report.json_lines || live_ != nullptr)
            lanes_[i].prober->watch_fates();
    }
    if (options_.report.every_ms)
        intervals_.emplace(options_, results(), style_);
    if (live_ != nullptr)
        live_->begin(results(), style_.color);
}

Result<void> PingRun::run(bool with_series) {
    for (const Lane& lane : lanes_)
        if (auto prepared = lane.prober->prepare(); !prepared)
            return prepared;
    if (options_.report.live) {
        auto live = PingLive::open(loop_);
        if (!live)
            return std::unexpected(live.error());
        live_ = std::move(*live);
    }
    if (!options_.report.is_json() && !options_.report.live &&
        !shows_table_alone(options_, lanes_.size()))
        for (const Lane& lane : lanes_)
            output_ += ping_header(lane.prober->result(), style_.look());
    if (auto flushed = flush(); !flushed)
        return flushed;
    start(with_series);
    const auto is_known = [](const Lane& lane) {
        return lane.schedule.next_due_ns() == UINT64_MAX &&
               lane.prober->next_deadline_ns() == UINT64_MAX;
    };
    loop_.handle_second(true);
    while (!std::ranges::all_of(lanes_, is_known) && loop_.interrupts() < 2)
        if (auto result = turn(); !result)
            return result;
    loop_.handle_second(false);
    close_live();
    cut_short_ = loop_.interrupts() >= 2;
    measure_elapsed();
    for (const Lane& lane : lanes_) {
        if (cut_short_)
            lane.prober->linger(monotonic_ns(), true);
        lane.prober->finish();
        lane.prober->end();
        lane.prober->update();
    }
    if (intervals_)
        output_ += intervals_->take_last(start_ns_ + lanes_.front().prober->result().elapsed_ns);
    return flush();
}

Result<void> PingRun::turn() {
    for (const epoll_event& event : loop_.wait(next_deadline_ns())) {
        const ProberTag tag = ProberTag::unpack(event.data.u64);
        if (auto done = lanes_[tag.endpoint].prober->ready(tag, event.events); !done)
            return done;
    }
    const uint64_t now_ns = monotonic_ns();
    if (loop_.interrupted() || now_ns >= deadline_ns_)
        stop();
    for (Lane& lane : lanes_) {
        if (auto done = lane.prober->expire(now_ns); !done)
            return done;
        if (auto done = send_due(lane); !done)
            return done;
        if (lane.schedule.next_due_ns() == UINT64_MAX)
            lane.prober->linger(now_ns, was_stopped_);
    }
    if (std::exchange(is_sending_, is_sending()))
        last_event_ns_ = monotonic_ns();
    if (intervals_)
        output_ += intervals_->take(now_ns, next_due_ns());
    if (loop_.take_interim())
        live_ != nullptr ? live_->redraw() : print_interim();
    if (live_ != nullptr)
        if (auto drawn = live_->turn(monotonic_ns(), next_due_ns(), is_sending_); !drawn)
            return drawn;
    return flush();
}

Result<void> PingRun::send_due(Lane& lane) {
    for (int i = 0; i < sends_max; i++) {
        const uint64_t due_ns = lane.schedule.next_due_ns();
        const uint64_t now_ns = monotonic_ns();
        if (due_ns > now_ns)
            return {};
        if (now_ns - due_ns > suspended_ns) {
            report_skipped(lane, lane.schedule.skip_before(now_ns - suspended_ns));
            continue;
        }
        lane.schedule.advance();
        lane.prober->note_due(due_ns);
        if (intervals_)
            intervals_->due(static_cast<size_t>(&lane - lanes_.data()), due_ns);
        if (auto sent = lane.prober->send(due_ns); !sent)
            return sent;
    }
    return {};
}

void PingRun::report_skipped(const Lane& lane, uint64_t skipped) {
    report_error(fmt::format(
        "{}: {} {} not sent: this process was suspended for more than a minute",
        lane.prober->result().name, skipped, skipped == 1 ? "probe was" : "probes were"));
}

uint64_t PingRun::next_due_ns() const {
    uint64_t next_ns = UINT64_MAX;
    for (const Lane& lane : lanes_)
        next_ns = std::min(next_ns, lane.schedule.next_due_ns());
    return next_ns;
}

bool PingRun::is_sending() const {
    return next_due_ns() != UINT64_MAX;
}

/// Nothing more is sent.
void PingRun::stop() {
    was_stopped_ = true;
    deadline_ns_ = UINT64_MAX;
    for (Lane& lane : lanes_)
        lane.schedule.stop();
}

uint64_t PingRun::next_deadline_ns() const {
    uint64_t next_ns = intervals_ ? std::min(deadline_ns_, intervals_->next_ns()) : deadline_ns_;
    if (live_ != nullptr)
        next_ns = std::min(next_ns, live_->next_ns());
    for (const Lane& lane : lanes_) {
        next_ns =
            std::min({next_ns, lane.schedule.next_wake_ns(), lane.prober->next_deadline_ns()});
    }
    return next_ns;
}

void PingRun::on_arrival(const PingResult& result, const ProbeOutcome& arrival) {
    if (!is_sending_)
        last_event_ns_ = monotonic_ns();
    if (!prints_lines_)
        return;
    if (arrival.first_of_other_service)
        put(ping_other_service_line(result, style_));
    put(ping_line(result, arrival, style_));
}

void PingRun::on_failure(const PingResult& result, const ProbeFailure& failure) {
    if (prints_lines_)
        put(ping_failure_line(result, failure, style_));
}

void PingRun::on_fate(size_t endpoint, const ProbeFate& fate) {
    if (options_.report.json_lines && !options_.quiet)
        output_ += ping_probe_json(lanes_[endpoint].prober->result(), fate);
    if (intervals_)
        intervals_->decide(endpoint, fate);
    if (live_ != nullptr)
        live_->decide(endpoint, fate, monotonic_ns());
}

void PingRun::on_trouble(const PingResult&, const std::string& line) {
    report_error(line);
}

/// A line on standard error; while there is a screen, after it.
void PingRun::report_error(const std::string& line) {
    if (live_ != nullptr)
        live_->add_note(line);
    else
        report_.error(line);
}

void PingRun::close_live() {
    if (live_ == nullptr)
        return;
    const std::vector<std::string> notes = live_->notes();
    live_.reset();
    for (const std::string& line : notes)
        report_.error(line);
}

void PingRun::put(const std::string& line) {
    std::string stamp;
    if (options_.timestamps) {
        const uint64_t now_us = realtime_ns() / 1000;
        stamp = fmt::format("[{}.{:06}] ", now_us / 1'000'000, now_us % 1'000'000);
    }
    output_ += fold(stamp + line, style_.columns);
}

Result<void> PingRun::flush() {
    if (output_.empty())
        return {};
    const MayBlock guard(loop_);
    auto printed = print(output_);
    output_.clear();
    return printed;
}

/// Without the wait at the end for answers that never came, which would lower the rate.
void PingRun::measure_elapsed() {
    const uint64_t end_ns = is_sending_ ? monotonic_ns() : last_event_ns_;
    const uint64_t elapsed_ns = end_ns > start_ns_ ? end_ns - start_ns_ : 0;
    for (Lane& lane : lanes_)
        lane.prober->set_elapsed(elapsed_ns);
}

void PingRun::print_interim() {
    measure_elapsed();
    std::string text;
    for (const Lane& lane : lanes_)
        lane.prober->update();
    for (const Lane& lane : lanes_)
        text += ping_interim(lane.prober->result(), {.several = style_.several, .color = false});
    const MayBlock guard(loop_);
    write_all(STDERR_FILENO, text);
}

} // namespace riposte::client
