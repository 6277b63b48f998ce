// The probes of flows over TCP on their open connections (ping_tcp_flows.h).
#include "client/ping/ping_tcp_flows.h"

#include "client/net/connect_time.h"
#include "client/net/receive_room.h"
#include "client/net/receive_time.h"
#include "common/clock.h"

#include <algorithm>
#include <cerrno>
#include <utility>

#include <sys/epoll.h>
#include <sys/socket.h>

namespace riposte::client {

namespace {

constexpr int flow_reads_max = 64; ///< of one connection, before another one's turn

} // namespace

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

/// Was there a repair since the answer before?
void TcpFlowsProber::note_repairs(FlowStream& flow) {
    if (!flow.fd)
        return;
    FlowSegments now;
    now.add_socket(flow.fd.get());
    if (now.repairs() > flow.repairs)
        account().note_repaired(flow.slot);
    flow.repairs = now.repairs();
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

std::unique_ptr<Prober> make_tcp_flows_prober(
    ProberSettings settings, EventLoop& loop, ProbeListener& listener) {
    return std::make_unique<TcpFlowsProber>(std::move(settings), loop, listener);
}

} // namespace riposte::client
