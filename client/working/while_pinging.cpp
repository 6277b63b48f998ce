#include "client/working/while_pinging.h"

#include "client/measure/probe.h"
#include "client/net/reach.h"
#include "client/net/signals_blocked.h"
#include "client/net/time_slice.h"
#include "client/ping/ping_schedule.h"
#include "client/ping/ping_targets.h"
#include "client/ping/prober.h"
#include "common/clock.h"

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <thread>
#include <utility>
#include <vector>

#include <fmt/format.h>

namespace riposte::client {

namespace {

/// 40 probes a second: at most 100, and a small part of the path, says the draft ("Measuring
/// Responsiveness"). Over UDP they take 27 kbit/s each way.
constexpr uint64_t probe_interval_ns = 25'000'000;
constexpr uint64_t idle_ns_max = 3'000'000'000; ///< 120 probes, which have a 99th percentile
constexpr uint64_t idle_ns_min = 250'000'000;
constexpr uint64_t overslept_ns = 1'000'000'000; ///< a probe that is later than that is left out
constexpr uint64_t phase_look_ns = 20'000'000;   ///< how often one thread looks at the other

ProbedLatency probed(const PingResult& result) {
    return {
        .counts = result.counts,
        .causes = result.causes,
        .rtt = result.rtt,
        .connect = result.connect,
        .lateness = result.lateness,
        .clock = result.clock,
        .elapsed_ns = result.elapsed_ns};
}

} // namespace

uint64_t idle_duration_ns(uint64_t load_duration_ns) {
    return load_duration_ns == 0 ? idle_ns_max
                                 : std::clamp(load_duration_ns, idle_ns_min, idle_ns_max);
}

/// Both phases, on a thread of their own from start() on. What both threads touch is atomic; the
/// results are read when the phase is known to be done.
class WhilePinging::Thread final : public ProbeListener {
public:
    Thread(Target target, const SocketAddress& address, EventLoop loop)
        : target_(std::move(target)), address_(address), loop_(std::move(loop)) {
        result.name = target_.name;
        result.address = to_string(address);
        result.transport = target_.transport;
        result.interval_ns = probe_interval_ns;
    }
    virtual ~Thread() {
        abandon();
        if (thread_.joinable())
            thread_.join();
    }

    void start() {
        const SignalsBlocked blocked;
        thread_ = std::thread([this] { run(); });
    }

    void on_arrival(const PingResult&, const ProbeOutcome&) override {}
    void on_failure(const PingResult&, const ProbeFailure&) override {}
    void on_trouble(const PingResult&, const std::string& line) override { result.trouble = line; }

    enum class Phase : uint8_t { waiting, idle, idle_done, working, done };

    Phase phase() const { return phase_.load(); }
    void begin_idle(uint64_t begin_ns, uint64_t end_ns) {
        idle_end_ns_ = end_ns;
        idle_begin_ns_ = begin_ns;
        loop_.wake();
    }
    void begin_working(uint64_t now_ns) {
        working_begin_ns_ = now_ns;
        loop_.wake();
    }
    void end_working(uint64_t now_ns) {
        working_end_ns_ = now_ns;
        loop_.wake();
    }
    /// Probes in flight stay undecided, and the thread ends.
    void abandon() {
        is_abandoned_ = true;
        loop_.wake();
    }

    LatencyUnderLoad result;
    Result<void> error;

private:
    using Moment = std::atomic<uint64_t>;

    void run() {
        request_short_time_slices();
        const Fd stamps = hold_receive_stamps();
        error = run_phase(Phase::idle, idle_begin_ns_, idle_end_ns_, result.idle);
        phase_ = error ? Phase::idle_done : Phase::done;
        if (error)
            error = run_phase(Phase::working, working_begin_ns_, working_end_ns_, result.working);
        phase_ = Phase::done;
    }

    Result<void> run_phase(
        Phase phase, const Moment& begin_ns, const Moment& end_ns, ProbedLatency& into) {
        while (begin_ns == UINT64_MAX && !is_abandoned_)
            loop_.wait(UINT64_MAX);
        if (is_abandoned_)
            return {};
        phase_ = phase;
        const auto prober = make_prober();
        if (auto prepared = prober->prepare(); !prepared)
            return prepared;
        prober->begin(wall_time_seconds(), monotonic_ns(), nullptr);
        auto probed_all = probe(*prober, end_ns);
        prober->set_elapsed(monotonic_ns() - begin_ns);
        prober->finish();
        prober->update();
        into = probed(prober->result());
        return probed_all;
    }

    std::unique_ptr<Prober> make_prober() {
        const uint64_t timeout_ns = uint64_t{target_.timeout_ms} * 1'000'000;
        ProberSettings settings{
            .target = target_,
            .address = address_,
            .ping =
                {.session = random_session(),
                 .payload_bytes = ping_payload_bytes,
                 .timeout_ns = timeout_ns,
                 .window = window_for(probe_interval_ns, timeout_ns),
                 .name = target_.name,
                 .address = result.address,
                 .transport = target_.transport,
                 .interval_ns = probe_interval_ns},
            .reconnect = target_.transport == Transport::tcp};
        return target_.transport == Transport::udp
                   ? make_udp_prober(std::move(settings), loop_, *this)
                   : make_tcp_prober(std::move(settings), loop_, *this);
    }

    Result<void> probe(Prober& prober, const Moment& end_ns) {
        PingSchedule schedule(
            monotonic_ns() + PingSchedule::awake_before_ns, probe_interval_ns, std::nullopt);
        while (schedule.next_due_ns() != UINT64_MAX || prober.next_deadline_ns() != UINT64_MAX) {
            if (is_abandoned_)
                return {};
            const uint64_t deadline_ns =
                std::min(schedule.next_wake_ns(), prober.next_deadline_ns());
            for (const epoll_event& event : loop_.wait(deadline_ns))
                if (auto done = prober.ready(ProberTag::unpack(event.data.u64), event.events);
                    !done)
                    return done;
            const uint64_t now = monotonic_ns();
            if (now >= end_ns)
                schedule.stop();
            if (auto done = prober.expire(now); !done)
                return done;
            if (auto done = send_due(prober, schedule); !done)
                return done;
            if (schedule.next_due_ns() == UINT64_MAX)
                prober.linger(now, true);
        }
        return {};
    }

    static Result<void> send_due(Prober& prober, PingSchedule& schedule) {
        for (;;) {
            const uint64_t now = monotonic_ns();
            schedule.skip_before(now - std::min(now, overslept_ns));
            const uint64_t due_ns = schedule.next_due_ns();
            if (due_ns > now)
                return {};
            schedule.advance();
            if (auto sent = prober.send(due_ns); !sent)
                return sent;
        }
    }

    Target target_;
    SocketAddress address_;
    EventLoop loop_;
    std::atomic<Phase> phase_ = Phase::waiting;
    std::atomic<bool> is_abandoned_ = false;
    Moment idle_begin_ns_ = UINT64_MAX;
    Moment idle_end_ns_ = UINT64_MAX;
    Moment working_begin_ns_ = UINT64_MAX;
    Moment working_end_ns_ = UINT64_MAX;
    std::thread thread_;
};

WhilePinging::WhilePinging(std::unique_ptr<Thread> thread) : thread_(std::move(thread)) {}
WhilePinging::WhilePinging(WhilePinging&&) noexcept = default;
WhilePinging::~WhilePinging() = default;

Result<WhilePinging> WhilePinging::open(const CommonOptions& common, const Endpoint& endpoint) {
    const Patience patience{.deadline_ms = monotonic_ms() + common.timeout_ms};
    CommonOptions own = common;
    own.path.source_port = 0;
    auto target = resolve_target(endpoint, own, patience);
    if (!target)
        return std::unexpected(target.error());
    std::vector<std::byte> probe(ping_payload_bytes);
    write_probe(probe, {.session = random_session(), .sequence = 0, .sent_ns = 0});
    const SocketAddress address = choose_address(*target, probe, patience.deadline_ms);
    auto loop = EventLoop::open_without_signals();
    if (!loop)
        return std::unexpected(loop.error());
    auto thread = std::make_unique<Thread>(std::move(*target), address, std::move(*loop));
    thread->start();
    return WhilePinging(std::move(thread));
}

Result<void> WhilePinging::measure_idle(EventLoop& loop, uint64_t duration_ns) {
    const uint64_t now = monotonic_ns();
    thread_->begin_idle(now, now + duration_ns);
    while (thread_->phase() != Thread::Phase::idle_done &&
           thread_->phase() != Thread::Phase::done) {
        loop.wait(monotonic_ns() + phase_look_ns);
        if (loop.interrupted())
            return fail(Exit::failed, "interrupted before anything was measured");
    }
    if (thread_->phase() == Thread::Phase::done)
        return thread_->error;
    const LatencyUnderLoad& found = thread_->result;
    if (found.idle.counts.answered > 0)
        return {};
    const auto causes = found.idle.causes.with_lost(found.idle.counts.lost);
    return fail(
        Exit::failed,
        fmt::format(
            "{}: --while-pinging: no probe was answered before the load{}; does an echo or hello "
            "service listen there?",
            found.name,
            causes.empty() ? "" : fmt::format(" ({})", describe(causes.entries()[0].cause))));
}

void WhilePinging::begin(uint64_t now_ns) {
    thread_->begin_working(now_ns);
}

void WhilePinging::end(uint64_t now_ns) {
    thread_->end_working(now_ns);
}

Result<LatencyUnderLoad> WhilePinging::finish(EventLoop& loop) {
    const bool handled_before = loop.handle_second(true);
    while (thread_->phase() == Thread::Phase::working) {
        loop.wait(monotonic_ns() + phase_look_ns);
        if (loop.interrupts() > 1)
            break;
    }
    thread_->abandon();
    while (thread_->phase() != Thread::Phase::done)
        loop.wait(monotonic_ns() + phase_look_ns);
    loop.handle_second(handled_before);
    if (!thread_->error)
        return std::unexpected(thread_->error.error());
    return std::move(thread_->result);
}

} // namespace riposte::client
