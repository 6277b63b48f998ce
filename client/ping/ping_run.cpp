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
#include "client/ping/ping_stamp.h"
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
/// Of the event that a name was looked up: of no endpoint.
constexpr ProberTag names_tag{.endpoint = ProberTag::endpoints_max};

} // namespace

PingStyle ping_style(const CommonOptions& common, const PingOptions& options, size_t measured) {
    return {
        .several = std::max(options.endpoints.size(), measured) > 1,
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
    std::shared_ptr<const QuestionShape> stamp;
    if (target.stamp)
        stamp = std::make_shared<const QuestionShape>(question_shape(options_.stamp, target.path));
    if (stamp && !target.path.ttl)
        target.path.ttl = stamp_ttl;
    PingSettings ping{
        .session = random_session(),
        .payload_bytes = stamp ? static_cast<uint32_t>(stamp->bytes) : options_.payload_bytes,
        .timeout_ns = timeout_ns,
        .window = window_for(interval_ns, timeout_ns),
        .name = target.name,
        .address = address.size > 0 ? to_string(address) : "",
        .transport = transport,
        .interval_ns = interval_ns,
        .path = target.path,
        .connects_only = options_.connect};
    ProberSettings settings{
        .target = std::move(target),
        .address = address,
        .ping = std::move(ping),
        .endpoint = lanes_.size(),
        .reconnect = options_.reconnect,
        .flows = options_.flows,
        .stamp = stamp};
    const auto make = stamp                         ? make_stamp_prober
                      : transport == Transport::udp ? make_udp_prober
                      : options_.connect            ? make_connect_prober
                      : options_.flows > 0          ? make_tcp_flows_prober
                                                    : make_tcp_prober;
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
    order_ = WakeOrder(lanes_.size());
    due_ = WakeOrder(lanes_.size());
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
        account_for(i);
    }
    if (options_.report.every_ms)
        intervals_.emplace(options_, results(), style_);
    if (live_ != nullptr)
        live_->begin(results(), style_.color);
}

Result<void> PingRun::run(bool with_series) {
    style_.several = style_.several || lanes_.size() > 1; // --all-addresses
    for (const Lane& lane : lanes_)
        if (auto prepared = lane.prober->prepare(); !prepared)
            return prepared;
    if (options_.report.live) {
        auto live = PingLive::open(loop_);
        if (!live)
            return std::unexpected(live.error());
        live_ = std::move(*live);
    }
    if (!options_.report.is_json() && !options_.report.live && options_.listing == Listing::none &&
        !shows_table_alone(options_, lanes_.size()))
        for (const Lane& lane : lanes_)
            output_ += ping_header(lane.prober->result(), style_.look());
    if (auto flushed = flush(); !flushed)
        return flushed;
    start(with_series);
    if (names_)
        if (auto begun = names_->begin(loop_, names_tag.pack(), start_ns_); !begun)
            return begun;
    loop_.handle_second(true);
    while (!order_.empty() && loop_.interrupts() < 2)
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
    for (const epoll_event& event : loop_.wait(next_wake_ns())) {
        const ProberTag tag = ProberTag::unpack(event.data.u64);
        if (tag.endpoint == names_tag.endpoint) {
            name_found_ = true;
            continue;
        }
        if (auto done = lanes_[tag.endpoint].prober->ready(tag, event.events); !done)
            return done;
        account_for(tag.endpoint);
    }
    const uint64_t now_ns = monotonic_ns();
    if (!was_stopped_ && (loop_.interrupted() || now_ns >= deadline_ns_))
        stop();
    if (auto done = refresh_names(now_ns); !done)
        return done;
    if (auto done = serve_woken(now_ns); !done)
        return done;
    if (std::exchange(is_sending_, is_sending()))
        last_event_ns_ = monotonic_ns();
    if (intervals_)
        output_ += intervals_->take(now_ns, due_.next_ns());
    if (loop_.take_interim())
        live_ != nullptr ? live_->redraw() : print_interim();
    if (live_ != nullptr)
        if (auto drawn = live_->turn(monotonic_ns(), due_.next_ns(), is_sending_); !drawn)
            return drawn;
    return flush();
}

/// Those whose time has come, each once: one that is due within microseconds wakes again and again.
Result<void> PingRun::serve_woken(uint64_t now_ns) {
    woken_.clear();
    while (order_.next_ns() <= now_ns) {
        woken_.push_back(order_.next());
        order_.set(woken_.back(), UINT64_MAX);
    }
    for (const size_t at : woken_) {
        Lane& lane = lanes_[at];
        if (auto done = lane.prober->expire(now_ns); !done)
            return done;
        if (auto done = send_due(lane); !done)
            return done;
        if (lane.schedule.next_due_ns() == UINT64_MAX)
            lane.prober->linger(now_ns, was_stopped_);
        account_for(at);
    }
    return {};
}

/// When the lane wakes, after anything that may have changed it.
void PingRun::account_for(size_t at) {
    Lane& lane = lanes_[at];
    const bool is_enough =
        options_.listing != Listing::none && lane.prober->result().counts.answered > 0;
    if (is_enough && lane.schedule.next_due_ns() != UINT64_MAX) {
        lane.schedule.stop();
        lane.prober->linger(monotonic_ns(), true);
    }
    due_.set(at, lane.schedule.next_due_ns());
    order_.set(at, std::min(lane.schedule.next_wake_ns(), lane.prober->next_deadline_ns()));
}

Result<void> PingRun::refresh_names(uint64_t now_ns) {
    if (!names_ || (!std::exchange(name_found_, false) && now_ns < names_->next_ns()))
        return {};
    for (const NameRefresh::Answer& answer : names_->turn(now_ns))
        if (auto taken = take_addresses(answer.endpoint, answer.target); !taken)
            return taken;
    return {};
}

/// An address that the name still has stays; else its first one takes the place.
Result<void> PingRun::take_addresses(size_t at, const Result<Target>& found) {
    Lane& lane = lanes_[at];
    const PingResult& result = lane.prober->result();
    const std::string before = result.address;
    if (!found) {
        if (!std::exchange(lane.name_fails, true) && !before.empty())
            report_error(
                fmt::format("{}; its probes still go to {}", found.error().message, before));
        return {};
    }
    lane.name_fails = false;
    const auto is_same = [&](const SocketAddress& address) { return to_string(address) == before; };
    if (std::ranges::any_of(found->addresses, is_same))
        return {};
    if (auto moved = lane.prober->move_to(found->addresses.front()); !moved)
        return moved;
    account_for(at);
    report_error(fmt::format(
        "{}: the address is now {}{}", result.name, result.address,
        before.empty() ? "" : fmt::format(", no longer {}; its figures continue", before)));
    return {};
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

bool PingRun::is_sending() const {
    return !due_.empty();
}

/// Nothing more is sent.
void PingRun::stop() {
    was_stopped_ = true;
    deadline_ns_ = UINT64_MAX;
    const uint64_t now_ns = monotonic_ns();
    for (size_t at = 0; at < lanes_.size(); at++) {
        lanes_[at].schedule.stop();
        lanes_[at].prober->linger(now_ns, true);
        account_for(at);
    }
}

uint64_t PingRun::next_wake_ns() const {
    uint64_t next_ns = std::min(deadline_ns_, order_.next_ns());
    if (names_ && is_sending())
        next_ns = std::min(next_ns, names_->next_ns());
    if (intervals_)
        next_ns = std::min(next_ns, intervals_->next_ns());
    if (live_ != nullptr)
        next_ns = std::min(next_ns, live_->next_ns());
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
