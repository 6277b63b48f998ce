// Probes over TCP: one connection for all of them, made when a probe is due and there is none; or
// with --reconnect one for each.
//
// A connection (a slot of `streams_`) goes through
//
//     free -> connecting -> open -> free               closed, reset, spoilt, done with
//                            |        ^
//                            +-> draining               a probe on it has timed out
//
// While it connects, the probes that come due wait as due times, and are accounted for only when
// they leave, or when it is known that they cannot. New probes go to `current_`; one that times
// out makes its connection draining: its pending answers are read until the last of its probes is
// answered or given up, and the next probe begins a new connection.
//
// A probe's bytes leave whole and in order. What the socket does not take is not copied: the
// account can write any probe in its window again, so that a place in the sequence is enough.
#include "client/net/receive_time.h"
#include "client/ping/answer_stream.h"
#include "client/ping/ping_stream.h"
#include "client/ping/prober.h"
#include "client/ping/queue.h"
#include "client/show/report.h"
#include "common/clock.h"
#include "common/text.h"

#include <algorithm>
#include <cassert>
#include <cerrno>
#include <vector>

#include <fmt/format.h>
#include <linux/tcp.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>

namespace riposte::client {

namespace {

constexpr int reads_max = 64; ///< of one connection, before another one's turn
constexpr size_t no_slot = SIZE_MAX;

/// The kernel knows to a tick (of 4 or 10 ms) when the peer last acknowledged: times older than a
/// few ticks are taken from there.
constexpr uint64_t ticks_ns = 50'000'000;

/// When a connection was made that is found to be there at `now_ns`: the peer has sent its SYN
/// then, and nothing else. A connection that was begun just now was made just now.
uint64_t connected_ns(int fd, uint64_t began_ns, uint64_t now_ns) {
    if (now_ns - began_ns < ticks_ns)
        return now_ns;
    tcp_info info{};
    socklen_t size = sizeof(info);
    if (::getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &size) < 0)
        return now_ns;
    const uint64_t ago_ns = uint64_t{info.tcpi_last_ack_recv} * 1'000'000;
    return ago_ns < ticks_ns ? now_ns : now_ns - std::min(ago_ns, now_ns - began_ns);
}

/// Has connecting succeeded or failed yet?
bool is_decided(int fd) {
    pollfd wait{.fd = fd, .events = POLLOUT, .revents = 0};
    return ::poll(&wait, 1, 0) > 0;
}

class TcpProber final : public Prober {
public:
    TcpProber(ProberSettings given, EventLoop& its_loop, ProbeListener& its_listener)
        : Prober(std::move(given), its_loop, its_listener), slots_(settings().ping.window, no_slot),
          chunk_(AnswerStream::chunk_bytes) {
        on_answer_ = [this](const ProbeOutcome& arrival, ReceiveClock clock) {
            arrived(arrival, clock);
        };
    }

    Result<void> prepare() override { return {}; } // connecting is measured with the first probe
    Result<void> send(uint64_t due_ns) override;
    Result<void> ready(ProberTag tag, uint32_t events) override;
    Result<void> expire(uint64_t now_ns) override;
    uint64_t next_deadline_ns() const override;
    void finish() override;
    void update() override;

private:
    Result<void> begin(Queue<uint64_t>&& due);
    size_t free_slot();
    uint64_t tag_of(size_t slot) const;
    Result<void> connect_failed(Queue<uint64_t>& due, const Failure& failure);
    static std::string_view advice(int error);
    Result<void> connected(size_t slot);
    void lose(Queue<uint64_t>& due, uint64_t at_ns);
    void transmit(size_t slot, uint64_t due_ns, uint64_t connect_ns);
    void write(size_t slot);
    void want_room(size_t slot, bool wanted);
    void read(size_t slot, uint64_t until_ns);
    void settle(size_t slot);
    void end_stream(size_t slot, int error = 0);
    void close(size_t slot);
    void expire_probes(uint64_t now_ns);
    void expire_front(size_t slot);
    Result<void> expire_attempts(uint64_t now_ns);
    uint64_t attempt_deadline_ns(const PingStream& stream) const;
    bool is_connecting(const Attempt& attempt) const;

    std::vector<PingStream> streams_;
    std::vector<size_t> free_;
    std::vector<size_t> slots_; ///< of the probes in the window, by sequence number
    Queue<Attempt> attempts_;   ///< in the order in which they began; some have ended
    size_t current_ = no_slot;  ///< connecting or open; none with --reconnect
    bool echo_seen_ = false;
    std::vector<std::byte> chunk_;
    AnswerStream::Listener on_answer_;
    TcpTotals ended_; ///< of the connections that are no more
};

Result<void> TcpProber::send(uint64_t due_ns) {
    if (current_ != no_slot && streams_[current_].state == PingStream::State::open) {
        transmit(current_, due_ns, 0);
        return {};
    }
    if (current_ != no_slot) {
        streams_[current_].due.push(due_ns);
        return {};
    }
    Queue<uint64_t> due;
    due.push(due_ns);
    return begin(std::move(due));
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

/// A connection for the probes that were due at these times.
Result<void> TcpProber::begin(Queue<uint64_t>&& due) {
    const uint64_t began_ns = monotonic_ns();
    auto fd = begin_connect(settings().target, settings().address);
    if (!fd)
        return connect_failed(due, fd.error());
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
    stream.waits_for_room = true;
    stream.answers.open(echo_seen_);
    stream.clock = ArrivalClock();
    stream.read_until_ns = 0;
    attempts_.push({.slot = slot, .generation = stream.generation});
    if (!settings().reconnect)
        current_ = slot;
    return {};
}

/// What to do when this machine has run out of something.
std::string_view TcpProber::advice(int error) {
    switch (shortage_of(error)) {
    case Shortage::descriptors:
        return "; choose a longer -i or a shorter -W, or raise ulimit -n";
    case Shortage::ports:
        return "; no local port is left: choose a longer -i";
    case Shortage::buffers:
    case Shortage::none:
        break;
    }
    return "";
}

/// The probes that waited for this connection are not sent. Only a --source that cannot be bound
/// ends the run.
Result<void> TcpProber::connect_failed(Queue<uint64_t>& due, const Failure& failure) {
    if (failure.at_source)
        return std::unexpected(connect_error(settings().target, std::span(&failure, 1)));
    const Outcome outcome = outcome_of(failure);
    const Cause cause = cause_of(failure);
    if (outcome == Outcome::local)
        report_not_sent(failure.error, advice(failure.error));
    for (; !due.empty(); due.pop()) {
        const uint64_t sequence = account().send(due.front(), due.front());
        failed(
            {.sequence = sequence, .outcome = outcome, .cause = cause, .took_ns = failure.took_ns});
    }
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
            due, {.address = settings().address,
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
    for (; !due.empty() && streams_[slot].state == PingStream::State::open; due.pop())
        transmit(slot, due.front(), due.front() <= stream.began_ns ? connect_ns : 0);
    if (streams_[slot].state == PingStream::State::open)
        settle(slot);
    return due.empty() ? Result<void>{} : begin(std::move(due));
}

/// Those that had waited for their connection as long as for an answer, at that time.
void TcpProber::lose(Queue<uint64_t>& due, uint64_t at_ns) {
    for (; !due.empty() && account().give_up_ns(due.front()) <= at_ns; due.pop())
        failed(
            {.sequence = account().send(due.front(), due.front()),
             .outcome = Outcome::lost,
             .cause = {.kind = CauseKind::no_connection}});
}

/// The probe leaves, or queues up behind those that the socket has no room for.
void TcpProber::transmit(size_t slot, uint64_t due_ns, uint64_t connect_ns) {
    PingStream& stream = streams_[slot];
    if (!stream.answers.idle()) // what is under way may be under repair
        ended_.observe(stream.fd.get());
    const uint64_t sequence = account().send(due_ns, monotonic_ns(), connect_ns);
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
    return {};
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
            std::span(chunk_).first(stream.answers.wanted(account().result()));
        const ssize_t size = receive_stamped(stream.fd.get(), room, stream.clock, received);
        if (size == -EAGAIN)
            return;
        if (size <= 0) {
            end_stream(slot, static_cast<int>(-size));
            return;
        }
        stream.heard = true;
        const auto bytes = room.first(static_cast<size_t>(size));
        const bool useful = stream.answers.take(bytes, received, account(), on_answer_);
        echo_seen_ = echo_seen_ || stream.answers.echo_seen();
        if (!useful)
            end_stream(slot);
        else
            settle(slot);
    }
}

/// Closes a connection that is no longer needed.
void TcpProber::settle(size_t slot) {
    PingStream& stream = streams_[slot];
    const bool is_last = settings().reconnect || stream.state == PingStream::State::draining;
    const AnswerStream& answers = stream.answers;
    if (is_last && (answers.idle() || !account().waits(answers.end() - 1)))
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
        close(attempt.slot);
        if (!due.empty())
            if (auto begun = begin(std::move(due)); !begun)
                return begun;
    }
    return {};
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

} // namespace

std::unique_ptr<Prober> make_tcp_prober(
    ProberSettings settings, EventLoop& loop, ProbeListener& listener) {
    return std::make_unique<TcpProber>(std::move(settings), loop, listener);
}

} // namespace riposte::client
