// Probes that only connect (--connect): is the port open, and how long does that take?
//
// Each probe is a connection attempt of its own. What is made is closed at once: nothing is sent on
// it, and nothing is read. The answer is the peer's SYN and ACK; a reset is an answer of the host
// as well, and says that the port is closed: the probe is refused, in that time.
//
// An attempt ends with its probe: by the connection, by an error, or when the probe is given up.
//
// With --flows the attempts take local ports in turn. Where this machine was late and the
// port of a probe has an attempt still, the probe waits for it. The options see to it that an
// attempt has ended before its port comes round again; a connection that was made ends by a reset,
// which leaves no TIME_WAIT behind (path_shape.cpp).
#include "client/net/connect_time.h"
#include "client/net/receive_time.h"
#include "client/ping/flow_ports.h"
#include "client/ping/prober.h"
#include "client/ping/queue.h"
#include "common/clock.h"
#include "common/text.h"

#include <algorithm>
#include <cassert>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <span>
#include <utility>
#include <vector>

#include <fmt/format.h>
#include <sys/epoll.h>

namespace riposte::client {

namespace {

class ConnectProber final : public Prober {
public:
    ConnectProber(ProberSettings given, EventLoop& its_loop, ProbeListener& its_listener)
        : Prober(std::move(given), its_loop, its_listener),
          slots_(settings().ping.window, no_slot) {}

    Result<void> prepare() override;
    Result<void> send(uint64_t due_ns) override;
    Result<void> ready(ProberTag tag, uint32_t events) override;
    Result<void> expire(uint64_t now_ns) override;
    uint64_t next_deadline_ns() const override { return next_expiry_ns(); }
    void finish() override;
    void update() override;

private:
    static constexpr size_t no_slot = SIZE_MAX;

    struct Attempt {
        Fd fd; ///< none: the slot is free
        SocketAddress address;
        uint64_t sequence = 0;
        uint64_t generation = 0;
        uint64_t began_ns = 0;
    };

    Result<void> leave_address() override { return {}; } // each attempt has its own
    Result<void> connect(uint64_t sequence);
    Result<void> serve_waiting();
    Result<void> begin(Attempt&& attempt);
    Result<void> not_begun(uint64_t sequence, const Failure& failure);
    void look(size_t slot);
    void close(size_t slot, bool connected);
    const Target& target_of(uint64_t sequence) const {
        return flows_.empty() ? settings().target : flows_[(sequence - 1) % flows_.size()].target;
    }
    size_t& slot_of(uint64_t sequence) { return slots_[sequence % slots_.size()]; }

    /// With --flows: each has the target from its port.
    struct ConnectFlow {
        Target target;
        FlowSegments ended;           ///< of the attempts that are over
        bool is_busy = false;         ///< the port has an attempt
        Queue<uint64_t> waiting = {}; ///< probes for which it was busy
    };

    std::vector<ConnectFlow> flows_;
    std::vector<Attempt> attempts_;
    std::vector<size_t> free_;
    std::vector<size_t> slots_; ///< of the probes in the window, by sequence number
    TcpTotals ended_;           ///< of the attempts that are over
};

Result<void> ConnectProber::prepare() {
    if (settings().flows == 0)
        return {};
    const int family = settings().address.family();
    const auto ports = choose_flow_ports(
        settings().target, family, settings().flows,
        [this](const std::string& line) { report_trouble(line); });
    if (!ports)
        return std::unexpected(ports.error());
    flows_.reserve(ports->size());
    for (const uint16_t port : *ports)
        flows_.push_back({.target = from_port(settings().target, family, port), .ended = {}});
    account().set_flows(*ports);
    return {};
}

Result<void> ConnectProber::send(uint64_t due_ns) {
    const uint64_t sequence = account().send(due_ns, monotonic_ns());
    slot_of(sequence) = no_slot;
    if (flows_.empty())
        return connect(sequence);
    ConnectFlow& flow = flows_[(sequence - 1) % flows_.size()];
    if (!flow.is_busy)
        return connect(sequence);
    flow.waiting.push(sequence);
    return {};
}

/// Those whose port is free now; their time counts from here.
Result<void> ConnectProber::serve_waiting() {
    for (ConnectFlow& flow : flows_)
        while (!flow.is_busy && !flow.waiting.empty()) {
            const uint64_t sequence = flow.waiting.front();
            flow.waiting.pop();
            if (!account().waits(sequence))
                continue;
            account().send_again(sequence, monotonic_ns(), 0);
            if (auto begun = connect(sequence); !begun)
                return begun;
        }
    return {};
}

Result<void> ConnectProber::connect(uint64_t sequence) {
    auto fd = begin_connect(target_of(sequence), settings().address);
    if (!fd)
        return not_begun(sequence, fd.error());
    return begin(
        {.fd = std::move(*fd),
         .address = settings().address,
         .sequence = sequence,
         .began_ns = account().sent_ns(sequence)});
}

Result<void> ConnectProber::begin(Attempt&& attempt) {
    if (free_.empty()) {
        free_.push_back(attempts_.size());
        attempts_.emplace_back();
    }
    const size_t slot = free_.back();
    free_.pop_back();
    attempt.generation = attempts_[slot].generation + 1;
    const ProberTag tag{
        .endpoint = settings().endpoint, .generation = attempt.generation, .slot = slot};
    if (const int error = loop().add(attempt.fd.get(), EPOLLOUT, tag.pack()); error != 0)
        return fail(Exit::usage, fmt::format("event loop: {}", reason(error)));
    slot_of(attempt.sequence) = slot;
    if (!flows_.empty())
        flows_[(attempt.sequence - 1) % flows_.size()].is_busy = true;
    attempts_[slot] = std::move(attempt);
    return {};
}

/// Only an option that this machine refuses ends the run.
Result<void> ConnectProber::not_begun(uint64_t sequence, const Failure& failure) {
    if (!failure.option.empty())
        return std::unexpected(connect_error(target_of(sequence), std::span(&failure, 1)));
    const Outcome outcome = outcome_of(failure);
    if (outcome == Outcome::local)
        report_not_sent(failure.error, connect_advice(failure.error, target_of(sequence).path));
    failed(
        {.sequence = sequence,
         .outcome = outcome,
         .cause = cause_of(failure),
         .took_ns = failure.took_ns});
    return {};
}

Result<void> ConnectProber::ready(ProberTag tag, uint32_t /*events*/) {
    constexpr uint64_t generations = uint64_t{1} << ProberTag::generation_bits;
    if (tag.slot < attempts_.size() && attempts_[tag.slot].fd &&
        attempts_[tag.slot].generation % generations == tag.generation)
        look(tag.slot);
    return serve_waiting();
}

/// What became of the attempt, if that is known.
void ConnectProber::look(size_t slot) {
    const Attempt& attempt = attempts_[slot];
    const uint64_t now_ns = monotonic_ns();
    const uint64_t made_ns = connected_ns(attempt.fd.get(), attempt.began_ns, now_ns);
    const Cause cause = finish_connect(attempt.fd.get(), attempt.address);
    if (cause.error == EINPROGRESS)
        return;
    const uint64_t sequence = attempt.sequence;
    if (cause.error == 0) {
        const uint64_t took_ns = std::max(made_ns - attempt.began_ns, uint64_t{1});
        ended_.note_connected(attempt.fd.get(), took_ns);
        account().note_connected(took_ns);
        close(slot, true);
        arrived(account().connected(sequence, made_ns), ReceiveClock::user_space);
        return;
    }
    const Failure failure{
        .address = attempt.address,
        .error = cause.error,
        .heard = true,
        .cause = cause,
        .took_ns = now_ns - attempt.began_ns};
    close(slot, false);
    failed(
        {.sequence = sequence,
         .outcome = outcome_of(failure),
         .cause = cause_of(failure),
         .took_ns = failure.took_ns});
}

void ConnectProber::close(size_t slot, bool connected) {
    Attempt& attempt = attempts_[slot];
    assert(attempt.fd);
    ended_.add_socket(attempt.fd.get(), connected);
    if (!flows_.empty()) {
        const size_t flow = (attempt.sequence - 1) % flows_.size();
        FlowSegments segments;
        segments.add_socket(attempt.fd.get());
        if (connected && segments.repairs() > 0)
            account().note_repaired(flow);
        flows_[flow].ended.add(segments);
        flows_[flow].is_busy = false;
    }
    attempt.fd.reset();
    slot_of(attempt.sequence) = no_slot;
    free_.push_back(slot);
}

Result<void> ConnectProber::expire(uint64_t now_ns) {
    while (next_expiry_ns() <= now_ns) {
        const uint64_t oldest = account().oldest_waiting().value_or(0);
        const size_t slot = slot_of(oldest);
        if (slot != no_slot && is_decided(attempts_[slot].fd.get())) {
            look(slot);
            if (!account().waits(oldest))
                continue;
        }
        if (slot_of(oldest) != no_slot)
            close(slot, false);
        failed({.sequence = oldest, .cause = {.kind = CauseKind::no_connection}});
    }
    return serve_waiting();
}

void ConnectProber::finish() {
    for (size_t slot = 0; slot < attempts_.size(); slot++)
        if (attempts_[slot].fd && is_decided(attempts_[slot].fd.get()))
            look(slot);
    [[maybe_unused]] const auto done = expire(monotonic_ns());
}

void ConnectProber::update() {
    TcpTotals totals = ended_;
    for (const Attempt& attempt : attempts_)
        if (attempt.fd)
            totals.add_socket(attempt.fd.get(), false);
    account().set_tcp(std::move(totals));
    for (size_t flow = 0; flow < flows_.size(); flow++)
        account().set_segments(flow, flows_[flow].ended);
}

} // namespace

std::unique_ptr<Prober> make_connect_prober(
    ProberSettings settings, EventLoop& loop, ProbeListener& listener) {
    return std::make_unique<ConnectProber>(std::move(settings), loop, listener);
}

} // namespace riposte::client
