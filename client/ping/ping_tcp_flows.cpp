// Probes over TCP with --flows: a standing connection for each flow, from a local port of its own;
// probe n belongs to flow (n - 1) modulo their number, whatever becomes of the connections.
//
// A flow's connection begins with its first probe, and again with the next one after it has ended.
// Probes that are due while it connects wait, and leave when it is made; one that has waited as
// long as for an answer is lost. There is never a second connection of a flow, since both would
// have the same ends. Therefore a probe that is lost does not end its connection: TCP may still
// bring it, and the answers that follow. A connection on which the peer acknowledges nothing for as
// long as a probe is waited for is ended by the kernel (TCP_USER_TIMEOUT), else it would be silent
// long after the path is well again, because TCP waits longer after each attempt.
//
// A connection ends by a reset (path_shape.cpp), so that its port is free at once. That loses
// nothing: answers that are still under way belong to probes whose outcome is known.
#include "client/net/connect_time.h"
#include "client/net/receive_room.h"
#include "client/ping/answer_stream.h"
#include "client/ping/flow_ports.h"
#include "client/ping/prober.h"
#include "client/ping/queue.h"
#include "common/clock.h"
#include "common/text.h"

#include <algorithm>
#include <cassert>
#include <cerrno>
#include <utility>

#include <fmt/format.h>
#include <linux/tcp.h>
#include <netinet/in.h>
#include <sys/epoll.h>
#include <sys/socket.h>

namespace riposte::client {

namespace {

constexpr int flow_reads_max = 64; ///< of one connection, before another one's turn

struct FlowStream {
    FlowStream(uint64_t number, const ProberSettings& settings)
        : slot(number),
          answers(settings.ping.payload_bytes, settings.ping.session, settings.flows) {}

    uint64_t slot; ///< its place among the flows
    Target target; ///< with its port
    Fd fd;         ///< none: there is no connection
    bool is_open = false;
    bool waits_for_room = false; ///< EPOLLOUT is on
    bool heard = false;          ///< something has come
    uint64_t generation = 0;
    uint64_t began_ns = 0;       ///< of connecting
    uint64_t made_ns = 0;        ///< when it was made
    uint64_t read_until_ns = 0;  ///< all that came by then was read
    Queue<uint64_t> unsent;      ///< probes that are not written whole, in order
    bool first_is_given = false; ///< the first of them is on the connection,
    size_t written = 0;          ///< so far as this
    AnswerStream answers;        ///< for the probes that were given to it
    ArrivalClock clock;          ///< of what comes
    FlowSegments ended;          ///< of the connections that are no more
};

class TcpFlowsProber final : public Prober {
public:
    TcpFlowsProber(ProberSettings given, EventLoop& its_loop, ProbeListener& its_listener)
        : Prober(std::move(given), its_loop, its_listener) {
        on_answer_ = [this](const ProbeOutcome& arrival, ReceiveClock clock) {
            arrived(arrival, clock);
        };
    }

    Result<void> prepare() override;
    Result<void> send(uint64_t due_ns) override;
    Result<void> ready(ProberTag tag, uint32_t events) override;
    Result<void> expire(uint64_t now_ns) override;
    uint64_t next_deadline_ns() const override { return next_expiry_ns(); }
    void finish() override;
    void update() override;

private:
    Result<void> leave_address() override { return {}; } // --flows has no --resolve-every
    FlowStream& flow_of(uint64_t sequence) { return flows_[(sequence - 1) % flows_.size()]; }
    uint64_t tag_of(const FlowStream& flow) const;
    Result<void> begin(FlowStream& flow);
    Result<void> connect_failed(FlowStream& flow, const Failure& failure);
    Result<void> connected(FlowStream& flow);
    void write(FlowStream& flow);
    bool write_first(FlowStream& flow);
    static void take_first(FlowStream& flow);
    void give_to_stream(FlowStream& flow, uint64_t sequence);
    void want_room(FlowStream& flow, bool wanted);
    void read(FlowStream& flow, uint64_t until_ns);
    void end_stream(FlowStream& flow, int error = 0);
    void close(FlowStream& flow);
    Result<void> look(FlowStream& flow, uint64_t now_ns);
    void give_up_oldest(FlowStream& flow, uint64_t oldest, uint64_t now_ns);
    Result<void> renew(FlowStream& flow, uint64_t now_ns);

    std::vector<FlowStream> flows_;
    bool echo_seen_ = false;
    AnswerStream::Listener on_answer_;
    TcpTotals ended_; ///< of the connections that are no more
};

Result<void> TcpFlowsProber::prepare() {
    const int family = settings().address.family();
    const auto ports = choose_flow_ports(
        settings().target, family, settings().flows,
        [this](const std::string& line) { report_trouble(line); });
    if (!ports)
        return std::unexpected(ports.error());
    flows_.reserve(ports->size());
    for (const uint16_t port : *ports) {
        flows_.emplace_back(flows_.size(), settings());
        flows_.back().target = from_port(settings().target, family, port);
    }
    account().set_flows(*ports);
    return {};
}

Result<void> TcpFlowsProber::send(uint64_t due_ns) {
    const uint64_t sequence = account().send(due_ns, monotonic_ns());
    FlowStream& flow = flow_of(sequence);
    flow.unsent.push(sequence);
    if (!flow.fd)
        return begin(flow);
    if (flow.is_open && !flow.waits_for_room)
        write(flow);
    return {};
}

uint64_t TcpFlowsProber::tag_of(const FlowStream& flow) const {
    return ProberTag{
        .endpoint = settings().endpoint, .generation = flow.generation, .slot = flow.slot}
        .pack();
}

Result<void> TcpFlowsProber::begin(FlowStream& flow) {
    assert(!flow.fd && !flow.unsent.empty());
    flow.began_ns = monotonic_ns();
    auto fd = begin_connect(flow.target, settings().address);
    if (!fd)
        return connect_failed(flow, fd.error());
    enable_receive_stamps(fd->get());
    const unsigned silence_ms = settings().target.timeout_ms;
    ::setsockopt(fd->get(), IPPROTO_TCP, TCP_USER_TIMEOUT, &silence_ms, sizeof(silence_ms));
    flow.generation++;
    if (const int error = loop().add(fd->get(), EPOLLOUT, tag_of(flow)); error != 0)
        return fail(Exit::usage, fmt::format("event loop: {}", reason(error)));
    flow.fd = std::move(*fd);
    flow.is_open = false;
    flow.waits_for_room = true;
    flow.heard = false;
    flow.read_until_ns = 0;
    flow.answers.open(echo_seen_);
    flow.clock = ArrivalClock();
    return {};
}

/// The probes that waited for this connection are not sent. Only an option that this machine
/// refuses ends the run.
Result<void> TcpFlowsProber::connect_failed(FlowStream& flow, const Failure& failure) {
    if (!failure.option.empty())
        return std::unexpected(connect_error(flow.target, std::span(&failure, 1)));
    const Outcome outcome = outcome_of(failure);
    if (outcome == Outcome::local)
        report_not_sent(failure.error, connect_advice(failure.error, flow.target.path));
    for (; !flow.unsent.empty(); flow.unsent.pop())
        failed(
            {.sequence = flow.unsent.front(),
             .outcome = outcome,
             .cause = cause_of(failure),
             .took_ns = failure.took_ns});
    return {};
}

Result<void> TcpFlowsProber::connected(FlowStream& flow) {
    flow.made_ns = connected_ns(flow.fd.get(), flow.began_ns, monotonic_ns());
    const Cause cause = finish_connect(flow.fd.get(), settings().address);
    if (cause.error == EINPROGRESS)
        return {};
    if (cause.error != 0) {
        const uint64_t took_ns = monotonic_ns() - flow.began_ns;
        close(flow);
        return connect_failed(
            flow, {.address = settings().address,
                   .error = cause.error,
                   .heard = true,
                   .cause = cause,
                   .took_ns = took_ns});
    }
    flow.is_open = true;
    const uint64_t connect_ns = std::max(flow.made_ns - flow.began_ns, uint64_t{1});
    ended_.note_connected(flow.fd.get(), connect_ns);
    account().note_connected(connect_ns);
    while (!flow.unsent.empty() && !account().waits(flow.unsent.front()))
        flow.unsent.pop();
    write(flow);
    return {};
}

/// The probe is the next on its connection. Its round trip counts from here if it has waited for
/// the connection.
void TcpFlowsProber::give_to_stream(FlowStream& flow, uint64_t sequence) {
    if (!flow.answers.idle()) // what is under way may be under repair
        ended_.observe(flow.fd.get());
    const uint64_t due_ns = account().sent_ns(sequence);
    if (account().waits(sequence) && due_ns <= flow.made_ns)
        account().send_again(
            sequence, monotonic_ns(), flow.made_ns - std::max(due_ns, flow.began_ns));
    flow.answers.expect(sequence);
}

/// Writes all that the socket has room for.
void TcpFlowsProber::write(FlowStream& flow) {
    while (!flow.unsent.empty()) {
        if (!write_first(flow))
            return;
        take_first(flow);
    }
    want_room(flow, false);
}

void TcpFlowsProber::take_first(FlowStream& flow) {
    flow.unsent.pop();
    flow.first_is_given = false;
    flow.written = 0;
}

/// False: it is not written whole.
bool TcpFlowsProber::write_first(FlowStream& flow) {
    const uint64_t sequence = flow.unsent.front();
    // Only what is in the account's window can be written again.
    if (result().counts.sent - sequence > settings().ping.window / 2) {
        end_stream(flow);
        return false;
    }
    if (!std::exchange(flow.first_is_given, true))
        give_to_stream(flow, sequence);
    for (;;) {
        const auto rest = account().payload(sequence).subspan(flow.written);
        const ssize_t size = ::send(flow.fd.get(), rest.data(), rest.size(), MSG_NOSIGNAL);
        if (size < 0 && errno == EINTR)
            continue;
        if (size < 0 && shortage_of(errno) != Shortage::buffers) {
            read(flow, monotonic_ns()); // what had come, and then the end
            if (flow.fd)
                end_stream(flow, ECONNRESET);
            return false;
        }
        flow.written += size < 0 ? 0 : static_cast<size_t>(size);
        if (size >= 0 && static_cast<size_t>(size) == rest.size())
            return true;
        want_room(flow, true);
        return false;
    }
}

void TcpFlowsProber::want_room(FlowStream& flow, bool wanted) {
    if (flow.waits_for_room == wanted)
        return;
    flow.waits_for_room = wanted;
    loop().modify(
        flow.fd.get(), EPOLLIN | (wanted ? uint32_t{EPOLLOUT} : uint32_t{0}), tag_of(flow));
}

Result<void> TcpFlowsProber::ready(ProberTag tag, uint32_t events) {
    if (tag.slot >= flows_.size())
        return {};
    FlowStream& flow = flows_[tag.slot];
    if (!flow.fd || tag_of(flow) != tag.pack())
        return {};
    if (!flow.is_open)
        return connected(flow);
    if ((events & ~uint32_t{EPOLLOUT}) != 0)
        read(flow, 0);
    if (flow.fd && flow.waits_for_room)
        write(flow);
    return {};
}

/// Reads what has arrived: everything until `until_ns`, however much it is, and some of the rest.
void TcpFlowsProber::read(FlowStream& flow, uint64_t until_ns) {
    ReceiveTime received;
    for (int i = 0; flow.fd && (i < flow_reads_max || received.ns <= until_ns); i++) {
        const std::span<std::byte> room =
            receive_room().first(flow.answers.wanted(account().result()));
        const ssize_t size = receive_stamped(flow.fd.get(), room, flow.clock, received);
        if (size == -EAGAIN)
            return;
        if (size <= 0) {
            end_stream(flow, static_cast<int>(-size));
            return;
        }
        flow.heard = true;
        const auto bytes = room.first(static_cast<size_t>(size));
        const bool useful = flow.answers.take(bytes, received, account(), on_answer_);
        echo_seen_ = echo_seen_ || flow.answers.echo_seen();
        if (!useful)
            end_stream(flow);
    }
}

/// The peer ended the connection, or reset it (`error`), or it is out of step: its probes get no
/// answer. After a silence (ETIMEDOUT) they are lost when their time is over, as on any path.
void TcpFlowsProber::end_stream(FlowStream& flow, int error) {
    flow.answers.end_partial(account(), on_answer_);
    const uint64_t front = flow.answers.front();
    const uint64_t end = flow.answers.idle() ? front : flow.answers.end();
    if (flow.first_is_given)
        take_first(flow);
    close(flow);
    if (error == ETIMEDOUT)
        return;
    const Cause cause = cause_of_end(error, settings().address);
    const auto fail_probe = [&](uint64_t sequence) {
        failed({.sequence = sequence, .outcome = outcome_of(cause), .cause = cause});
    };
    for (uint64_t sequence = front; sequence < end; sequence += flows_.size())
        fail_probe(sequence);
    for (; !flow.unsent.empty(); flow.unsent.pop())
        fail_probe(flow.unsent.front());
}

void TcpFlowsProber::close(FlowStream& flow) {
    ended_.add_socket(flow.fd.get(), flow.is_open);
    flow.ended.add_socket(flow.fd.get());
    flow.fd.reset();
    flow.is_open = false;
}

Result<void> TcpFlowsProber::expire(uint64_t now_ns) {
    while (next_expiry_ns() <= now_ns) {
        const uint64_t oldest = account().oldest_waiting().value_or(0);
        FlowStream& flow = flow_of(oldest);
        if (flow.fd && flow.read_until_ns < next_expiry_ns()) {
            if (auto looked = look(flow, now_ns); !looked)
                return looked;
            continue; // it may have been answered
        }
        give_up_oldest(flow, oldest, now_ns);
        if (auto renewed = renew(flow, now_ns); !renewed)
            return renewed;
    }
    return {};
}

/// Reads what came by then.
Result<void> TcpFlowsProber::look(FlowStream& flow, uint64_t now_ns) {
    flow.read_until_ns = now_ns;
    if (!flow.is_open)
        return is_decided(flow.fd.get()) ? connected(flow) : Result<void>{};
    read(flow, now_ns);
    return {};
}

void TcpFlowsProber::give_up_oldest(FlowStream& flow, uint64_t oldest, uint64_t now_ns) {
    const bool is_sent = flow.unsent.empty() || oldest < flow.unsent.front();
    if (!is_sent && !flow.is_open) {
        failed({.sequence = oldest, .cause = {.kind = CauseKind::no_connection}});
        return;
    }
    if (flow.is_open && !flow.answers.idle() && oldest == flow.answers.front() &&
        flow.answers.has_partial()) {
        end_stream(flow); // it has the size that arrived; what follows is unknown
        return;
    }
    if (account().expire(now_ns))
        give_up(
            {.sequence = oldest,
             .connect_ns = flow.is_open && !flow.heard
                               ? std::max(flow.made_ns - flow.began_ns, uint64_t{1})
                               : 0});
}

/// An attempt to connect that lasted as long as a probe is waited for begins anew, if other probes
/// wait for it; else it ends.
Result<void> TcpFlowsProber::renew(FlowStream& flow, uint64_t now_ns) {
    if (flow.is_open)
        return {};
    while (!flow.unsent.empty() && !account().waits(flow.unsent.front()))
        flow.unsent.pop();
    if (flow.fd && (flow.unsent.empty() || account().give_up_ns(flow.began_ns) <= now_ns))
        close(flow);
    return flow.fd || flow.unsent.empty() ? Result<void>{} : begin(flow);
}

void TcpFlowsProber::finish() {
    const uint64_t now_ns = monotonic_ns();
    for (FlowStream& flow : flows_)
        if (flow.is_open)
            read(flow, now_ns);
    [[maybe_unused]] const auto done = expire(now_ns);
}

void TcpFlowsProber::update() {
    TcpTotals totals = ended_;
    for (const FlowStream& flow : flows_) {
        FlowSegments segments = flow.ended;
        if (flow.fd) {
            totals.add_socket(flow.fd.get(), flow.is_open);
            segments.add_socket(flow.fd.get());
        }
        account().set_segments(flow.slot, segments);
    }
    account().set_tcp(std::move(totals));
}

} // namespace

std::unique_ptr<Prober> make_tcp_flows_prober(
    ProberSettings settings, EventLoop& loop, ProbeListener& listener) {
    return std::make_unique<TcpFlowsProber>(std::move(settings), loop, listener);
}

} // namespace riposte::client
