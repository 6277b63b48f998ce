// The attempts of a TCP prober to connect: what came due meanwhile waits for them (ping_tcp.h).
#include "client/net/connect_time.h"
#include "client/net/receive_time.h"
#include "client/ping/ping_tcp.h"
#include "common/clock.h"
#include "common/text.h"

#include <algorithm>
#include <cassert>
#include <cerrno>
#include <cstddef>
#include <utility>

#include <fmt/format.h>
#include <sys/epoll.h>
#include <sys/socket.h>

namespace riposte::client {

/// A connection for the probes that were due at these times, or for one that is sent again.
Result<void> TcpProber::begin(Queue<uint64_t>&& due, uint64_t again) {
    const uint64_t began_ns = monotonic_ns();
    auto fd = begin_connect(settings().target, settings().address);
    if (!fd)
        return connect_failed(due, again, fd.error());
    enable_receive_stamps(fd->get());
    const size_t slot = free_slot();
    PingStream& stream = streams_[slot];
    assert(stream.state == PingStream::State::free);
    stream.generation++;
    if (const int error = loop().add(fd->get(), EPOLLOUT, tag_of(slot)); error != 0)
        return fail(Exit::usage, fmt::format("event loop: {}", reason(error)));
    stream.fd = std::move(*fd);
    stream.state = PingStream::State::connecting;
    stream.began_ns = began_ns;
    stream.connect_ns = 0;
    stream.heard = false;
    stream.due = std::move(due);
    stream.again = again;
    stream.waits_for_room = true;
    stream.answers.open(echo_seen_);
    stream.clock = ArrivalClock();
    stream.read_until_ns = 0;
    attempts_.push({.slot = slot, .generation = stream.generation});
    if (!settings().reconnect && current_ == no_slot)
        current_ = slot;
    return {};
}

/// A connection for all of them, or for each if the peer takes no more than one.
Result<void> TcpProber::begin_each(Queue<uint64_t>&& due) {
    if (!replies_once_)
        return due.empty() ? Result<void>{} : begin(std::move(due));
    for (; !due.empty(); due.pop()) {
        Queue<uint64_t> one;
        one.push(due.front());
        if (auto begun = begin(std::move(one)); !begun)
            return begun;
    }
    return {};
}

/// Sends those again that the peer did not take.
Result<void> TcpProber::send_stranded() {
    for (; !stranded_.empty(); stranded_.pop())
        if (account().waits(stranded_.front()))
            if (auto begun = begin({}, stranded_.front()); !begun)
                return begun;
    return {};
}

/// The probes that waited for this connection are not sent. Only an option that this
/// machine refuses ends the run.
Result<void> TcpProber::connect_failed(
    Queue<uint64_t>& due, uint64_t again, const Failure& failure) {
    if (!failure.option.empty())
        return std::unexpected(connect_error(settings().target, std::span(&failure, 1)));
    const Outcome outcome = outcome_of(failure);
    const Cause cause = cause_of(failure);
    if (outcome == Outcome::local)
        report_not_sent(failure.error, connect_advice(failure.error, settings().target.path));
    const auto fail_probe = [&](uint64_t sequence) {
        failed(
            {.sequence = sequence, .outcome = outcome, .cause = cause, .took_ns = failure.took_ns});
    };
    if (again != 0)
        fail_probe(again);
    for (; !due.empty(); due.pop())
        fail_probe(account().send(due.front(), due.front()));
    return {};
}

Result<void> TcpProber::connected(size_t slot) {
    PingStream& stream = streams_[slot];
    const uint64_t made_ns = connected_ns(stream.fd.get(), stream.began_ns, monotonic_ns());
    const Cause cause = finish_connect(stream.fd.get(), settings().address);
    if (cause.error == EINPROGRESS)
        return {};
    Queue<uint64_t> due = std::move(stream.due);
    stream.due = {};
    if (cause.error != 0) {
        const uint64_t took_ns = monotonic_ns() - stream.began_ns;
        close(slot);
        return connect_failed(
            due, std::exchange(stream.again, 0),
            {.address = settings().address,
             .error = cause.error,
             .heard = true,
             .cause = cause,
             .took_ns = took_ns});
    }
    stream.state = PingStream::State::open;
    want_room(slot, false);
    const uint64_t connect_ns = made_ns - stream.began_ns;
    stream.connect_ns = std::max(connect_ns, uint64_t{1});
    ended_.note_connected(stream.fd.get(), connect_ns);
    account().note_connected(connect_ns);
    lose(due, made_ns);
    // The connection was opened for the probe that was due before it; that one may have been given
    // up already.
    transmit_again(slot, connect_ns);
    for (; !due.empty() && stream.state == PingStream::State::open && takes_probe(stream);
         due.pop())
        transmit(slot, due.front(), due.front() <= stream.began_ns ? connect_ns : 0);
    if (stream.state == PingStream::State::open)
        settle(slot);
    if (auto begun = begin_each(std::move(due)); !begun)
        return begun;
    return send_stranded();
}

/// Those that had waited for their connection as long as for an answer, at that time.
void TcpProber::lose(Queue<uint64_t>& due, uint64_t at_ns) {
    for (; !due.empty() && account().give_up_ns(due.front()) <= at_ns; due.pop())
        failed(
            {.sequence = account().send(due.front(), due.front()),
             .outcome = Outcome::lost,
             .cause = {.kind = CauseKind::no_connection}});
}

/// Answers that are under way are still read; attempts are begun anew.
Result<void> TcpProber::leave_address() {
    Queue<uint64_t> due;
    current_ = no_slot;
    const size_t slots = streams_.size(); // and no new ones
    for (size_t slot = 0; slot < slots; slot++) {
        PingStream& stream = streams_[slot];
        if (stream.state == PingStream::State::open) {
            stream.state = PingStream::State::draining;
            settle(slot);
        } else if (stream.state == PingStream::State::connecting) {
            for (; !stream.due.empty(); stream.due.pop())
                due.push(stream.due.front());
            if (const uint64_t again = std::exchange(stream.again, 0); again != 0)
                stranded_.push(again);
            close(slot);
            if (!settings().reconnect)
                continue;
            if (auto begun = begin(std::exchange(due, {})); !begun)
                return begun;
        }
    }
    if (auto begun = begin_each(std::move(due)); !begun)
        return begun;
    return send_stranded();
}

uint64_t TcpProber::attempt_deadline_ns(const PingStream& stream) const {
    const uint64_t first_ns =
        stream.due.empty() ? stream.began_ns : std::min(stream.began_ns, stream.due.front());
    return account().give_up_ns(first_ns);
}

bool TcpProber::is_connecting(const Attempt& attempt) const {
    const PingStream& stream = streams_[attempt.slot];
    return stream.state == PingStream::State::connecting && stream.generation == attempt.generation;
}

/// A probe waits for its connection as long as for an answer. A connection that could not be made
/// in that time is begun anew for those that came due meanwhile.
Result<void> TcpProber::expire_attempts(uint64_t now_ns) {
    while (!attempts_.empty()) {
        const Attempt attempt = attempts_.front();
        if (!is_connecting(attempt)) {
            attempts_.pop();
            continue;
        }
        PingStream& stream = streams_[attempt.slot];
        if (attempt_deadline_ns(stream) > now_ns)
            return {};
        if (is_decided(stream.fd.get())) {
            if (auto done = connected(attempt.slot); !done)
                return done;
            continue;
        }
        lose(stream.due, now_ns);
        if (!stream.due.empty() && account().give_up_ns(stream.began_ns) > now_ns)
            return {};
        Queue<uint64_t> due = std::move(stream.due);
        stream.due = {};
        stream.again = 0; // it has expired, too
        close(attempt.slot);
        if (auto begun = begin_each(std::move(due)); !begun)
            return begun;
    }
    return {};
}

} // namespace riposte::client
