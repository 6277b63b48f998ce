// The probes of a TCP prober on its open connections (ping_tcp.h).
#include "client/ping/ping_tcp.h"

#include "client/net/receive_room.h"
#include "client/net/receive_time.h"
#include "common/clock.h"

#include <algorithm>
#include <cassert>
#include <cerrno>

#include <sys/epoll.h>
#include <sys/socket.h>

namespace riposte::client {

namespace {

constexpr int reads_max = 64; ///< of one connection, before another one's turn

} // namespace

Result<void> TcpProber::send(uint64_t due_ns) {
    if (current_ != no_slot) {
        PingStream& stream = streams_[current_];
        if (stream.state == PingStream::State::connecting && !replies_once_) {
            stream.due.push(due_ns);
            return {};
        }
        if (stream.state == PingStream::State::open && takes_probe(stream)) {
            transmit(current_, due_ns, 0);
            return send_stranded();
        }
    }
    Queue<uint64_t> due;
    due.push(due_ns);
    return begin(std::move(due));
}

/// Probes that wait on one connection have consecutive numbers: once one has left on another
/// connection, as after a close or for a peer that replies once, no more are added.
bool TcpProber::takes_probe(const PingStream& stream) const {
    const uint64_t next = account().result().counts.sent + 1;
    return stream.answers.idle() || (!replies_once_ && stream.answers.end() == next);
}

size_t TcpProber::free_slot() {
    if (free_.empty()) {
        free_.push_back(streams_.size());
        streams_.emplace_back(settings().ping.payload_bytes, settings().ping.session);
    }
    const size_t slot = free_.back();
    free_.pop_back();
    return slot;
}

uint64_t TcpProber::tag_of(size_t slot) const {
    return ProberTag{
        .endpoint = settings().endpoint, .generation = streams_[slot].generation, .slot = slot}
        .pack();
}

/// The probe leaves, or queues up behind those that the socket has no room for.
void TcpProber::transmit(size_t slot, uint64_t due_ns, uint64_t connect_ns) {
    PingStream& stream = streams_[slot];
    if (!stream.answers.idle()) // what is under way may be under repair
        ended_.observe(stream.fd.get());
    put(slot, account().send(due_ns, monotonic_ns(), connect_ns));
}

/// The probe that this connection was made for, unless it was given up meanwhile.
void TcpProber::transmit_again(size_t slot, uint64_t connect_ns) {
    const uint64_t sequence = std::exchange(streams_[slot].again, 0);
    if (sequence == 0 || !account().waits(sequence))
        return;
    account().send_again(sequence, monotonic_ns(), connect_ns);
    put(slot, sequence);
}

void TcpProber::put(size_t slot, uint64_t sequence) {
    PingStream& stream = streams_[slot];
    slots_[sequence % slots_.size()] = slot;
    stream.answers.expect(sequence);
    if (stream.waits_for_room) {
        // Only what is in the account's window can be written again.
        if (sequence - stream.write_sequence > slots_.size() / 2)
            end_stream(slot);
        return;
    }
    stream.write_sequence = sequence;
    stream.write_offset = 0;
    write(slot);
}

void TcpProber::write(size_t slot) {
    PingStream& stream = streams_[slot];
    while (stream.write_sequence < stream.answers.end()) {
        const auto rest = account().payload(stream.write_sequence).subspan(stream.write_offset);
        const ssize_t size = ::send(stream.fd.get(), rest.data(), rest.size(), MSG_NOSIGNAL);
        if (size < 0 && errno == EINTR)
            continue;
        if (size < 0 && shortage_of(errno) != Shortage::buffers) {
            read(slot, monotonic_ns()); // what had come, and then the end
            if (stream.state != PingStream::State::free)
                end_stream(slot, ECONNRESET);
            return;
        }
        stream.write_offset += size < 0 ? 0 : static_cast<size_t>(size);
        if (size < 0 || static_cast<size_t>(size) < rest.size()) {
            want_room(slot, true);
            return;
        }
        stream.write_sequence++;
        stream.write_offset = 0;
    }
    want_room(slot, false);
}

void TcpProber::want_room(size_t slot, bool wanted) {
    PingStream& stream = streams_[slot];
    if (stream.waits_for_room == wanted)
        return;
    stream.waits_for_room = wanted;
    const uint32_t events = EPOLLIN | (wanted ? uint32_t{EPOLLOUT} : 0);
    loop().modify(stream.fd.get(), events, tag_of(slot));
}

Result<void> TcpProber::ready(ProberTag tag, uint32_t events) {
    if (tag.slot >= streams_.size())
        return {};
    PingStream& stream = streams_[tag.slot];
    if (stream.state == PingStream::State::free || tag_of(tag.slot) != tag.pack())
        return {};
    if (stream.state == PingStream::State::connecting)
        return connected(tag.slot);
    if ((events & ~uint32_t{EPOLLOUT}) != 0)
        read(tag.slot, 0);
    if (stream.state != PingStream::State::free && stream.waits_for_room)
        write(tag.slot);
    return send_stranded();
}

/// Reads what has arrived: everything until `until_ns`, however much it is, and some of the rest.
void TcpProber::read(size_t slot, uint64_t until_ns) {
    PingStream& stream = streams_[slot];
    const uint64_t generation = stream.generation;
    ReceiveTime received;
    for (int i = 0; i < reads_max || received.ns <= until_ns; i++) {
        if (stream.state == PingStream::State::free || stream.generation != generation)
            return;
        const std::span<std::byte> room =
            receive_room().first(stream.answers.wanted(account().result()));
        const ssize_t size = receive_stamped(stream.fd.get(), room, stream.clock, received);
        if (size == -EAGAIN)
            return;
        if (size <= 0) {
            peer_ended(slot, static_cast<int>(-size));
            return;
        }
        stream.heard = true;
        const auto bytes = room.first(static_cast<size_t>(size));
        const bool useful = stream.answers.take(bytes, received, account(), on_answer_);
        echo_seen_ = echo_seen_ || stream.answers.echo_seen();
        if (stream.answers.answered() > 1) {
            replied_twice_ = true;
            replies_once_ = false;
        }
        if (!useful)
            end_stream(slot);
        else
            settle(slot);
    }
}

/// Closes a connection that is no longer needed: one is kept for the next probe.
void TcpProber::settle(size_t slot) {
    PingStream& stream = streams_[slot];
    const AnswerStream& answers = stream.answers;
    const bool is_open = stream.state == PingStream::State::open;
    if (current_ == no_slot && is_open && answers.idle() && !settings().reconnect)
        current_ = slot;
    const bool is_last = current_ != slot;
    if (is_last && (answers.idle() || !account().waits(answers.end() - 1)))
        close(slot);
}

/// What the peer's end of the connection means for those that wait on it: after the first reply it
/// did not take them.
void TcpProber::peer_ended(size_t slot, int error) {
    PingStream& stream = streams_[slot];
    AnswerStream& answers = stream.answers;
    const bool is_close = error == 0 || error == ECONNRESET;
    if (!is_close || replied_twice_ || answers.answered() != 1 || answers.has_partial())
        return end_stream(slot, error);
    replies_once_ = true;
    const uint64_t end = answers.idle() ? answers.front() : answers.end();
    for (uint64_t sequence = answers.front(); sequence < end; sequence++)
        if (account().waits(sequence))
            stranded_.push(sequence);
    close(slot);
}

/// The peer ended the connection, or reset it (`error`), or it is out of step: its pending probes
/// stay unanswered.
void TcpProber::end_stream(size_t slot, int error) {
    PingStream& stream = streams_[slot];
    stream.answers.end_partial(account(), on_answer_);
    const uint64_t front = stream.answers.front();
    const uint64_t end = stream.answers.idle() ? front : stream.answers.end();
    close(slot);
    const Cause cause = cause_of_end(error, settings().address);
    for (uint64_t sequence = front; sequence < end; sequence++)
        failed({.sequence = sequence, .outcome = outcome_of(cause), .cause = cause});
}

void TcpProber::close(size_t slot) {
    PingStream& stream = streams_[slot];
    assert(stream.state != PingStream::State::free);
    ended_.add_socket(stream.fd.get(), stream.state != PingStream::State::connecting);
    stream.fd.reset();
    stream.state = PingStream::State::free;
    free_.push_back(slot);
    if (current_ == slot)
        current_ = no_slot;
}

Result<void> TcpProber::expire(uint64_t now_ns) {
    expire_probes(now_ns);
    if (auto sent = send_stranded(); !sent)
        return sent;
    return expire_attempts(now_ns);
}

void TcpProber::expire_probes(uint64_t now_ns) {
    while (const auto oldest = account().oldest_waiting()) {
        if (next_expiry_ns() > now_ns)
            return;
        const size_t slot = slots_[*oldest % slots_.size()];
        PingStream& stream = streams_[slot];
        const bool on_stream = stream.state != PingStream::State::free && !stream.answers.idle() &&
                               *oldest >= stream.answers.front() && *oldest < stream.answers.end();
        if (on_stream && stream.read_until_ns < next_expiry_ns()) {
            read(slot, now_ns);
            stream.read_until_ns = now_ns;
            continue; // it may have been answered
        }
        if (on_stream && *oldest == stream.answers.front() && stream.answers.has_partial()) {
            end_stream(slot); // it has the size that arrived; what follows is unknown
            continue;
        }
        const auto expired = account().expire(now_ns);
        if (!expired)
            return;
        give_up(
            {.sequence = *expired,
             .connect_ns = on_stream && !stream.heard ? stream.connect_ns : 0});
        if (on_stream)
            expire_front(slot);
    }
}

/// A probe of this connection was given up: new ones go to another.
void TcpProber::expire_front(size_t slot) {
    PingStream& stream = streams_[slot];
    if (current_ == slot)
        current_ = no_slot;
    stream.state = PingStream::State::draining;
    if (stream.waits_for_room)
        close(slot); // the peer does not even read; its probes will expire
    else
        settle(slot);
}

uint64_t TcpProber::next_deadline_ns() const {
    uint64_t deadline_ns = next_expiry_ns();
    if (!attempts_.empty() && is_connecting(attempts_.front()))
        deadline_ns = std::min(deadline_ns, attempt_deadline_ns(streams_[attempts_.front().slot]));
    return deadline_ns;
}

void TcpProber::update() {
    TcpTotals totals = ended_;
    for (const PingStream& stream : streams_)
        if (stream.state != PingStream::State::free)
            totals.add_socket(stream.fd.get(), stream.state != PingStream::State::connecting);
    account().set_tcp(std::move(totals));
}

void TcpProber::finish() {
    const uint64_t now_ns = monotonic_ns();
    for (size_t slot = 0; slot < streams_.size() && account().oldest_waiting(); slot++)
        if (streams_[slot].state != PingStream::State::free &&
            streams_[slot].state != PingStream::State::connecting)
            read(slot, now_ns);
    expire_probes(now_ns);
    for (PingStream& stream : streams_) {
        lose(stream.due, now_ns);
        for (; !stream.due.empty(); stream.due.pop())
            account().send(stream.due.front(), stream.due.front());
    }
}

std::unique_ptr<Prober> make_tcp_prober(
    ProberSettings settings, EventLoop& loop, ProbeListener& listener) {
    return std::make_unique<TcpProber>(std::move(settings), loop, listener);
}

} // namespace riposte::client
