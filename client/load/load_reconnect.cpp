#include "client/load/load_reconnect.h"

#include "client/net/error_queue.h"
#include "common/clock.h"

#include <algorithm>
#include <cassert>
#include <cerrno>

#include <sys/socket.h>

namespace riposte::client {

ReconnectLoad::ReconnectLoad(const LoadContext& context)
    : LoadEngine(context), pattern_(setup.seed, setup.request_bytes),
      shape_{
          .pattern = setup.echo && setup.compare ? &pattern_ : nullptr,
          .bytes = setup.answer_bytes},
      slots_(setup.connections), buffer_(LoadPattern::piece_bytes_max), ready_(setup.connections) {}

ReconnectLoad::~ReconnectLoad() {
    for (const Slot& slot : slots_)
        if (slot.fd >= 0)
            ::close(slot.fd);
}

void ReconnectLoad::close(Slot& slot) {
    if (slot.fd >= 0) {
        account.note_socket(slot.fd, slot.state != State::connecting);
        ::close(slot.fd);
    }
    slot = Slot{};
}

void ReconnectLoad::finish() {
    for (const Slot& slot : slots_)
        if (slot.fd >= 0)
            account.note_socket(slot.fd, slot.state != State::connecting);
}

void ReconnectLoad::start() {
    const uint64_t now = monotonic_ns();
    for (Slot& slot : slots_)
        next(slot, now);
}

/// An idle slot's next request: at once in a closed loop, when one is due in an open one.
void ReconnectLoad::next(Slot& slot, uint64_t now_ns) {
    assert(slot.state == State::idle);
    if (schedule.is_open_loop()) {
        ready_.push(index_of(slot));
    } else if (schedule.take(1) == 1) {
        const uint64_t sent_ns = schedule.stamp(now_ns);
        begin(slot, {.intended_ns = sent_ns, .sent_ns = sent_ns});
    }
}

void ReconnectLoad::pump(uint64_t now_ns) {
    if (schedule.phase() != LoadPhase::over)
        while (const auto index = retries_.pop(now_ns))
            next(slots_[*index], now_ns);
    if (!schedule.is_open_loop())
        return;
    while (schedule.due() > 0 && !ready_.empty())
        begin(slots_[ready_.pop()], take_due(monotonic_ns()));
}

/// Connects for a request, and writes it if that is possible at once: over loopback the connection
/// is made before connect(2) returns.
void ReconnectLoad::begin(Slot& slot, const RequestTimes& times) {
    slot.times = times;
    slot.started_ns = monotonic_ns();
    account.sent(times, 1, setup.request_bytes);
    slot.send_at = next_position_;
    slot.unwritten = setup.request_bytes;
    slot.answer.restart(slot.send_at);
    next_position_ = static_cast<uint32_t>(pattern_.advance(next_position_, setup.request_bytes));

    auto fd = begin_connect(setup.target, setup.address);
    int error = fd ? 0 : fd.error().error;
    if (error == 0) {
        slot.fd = fd->release();
        slot.state = State::connecting;
        const uint64_t now = monotonic_ns();
        error = write(slot);
        if (error == 0)
            connected(slot, now);
        else if (error == EAGAIN)
            error = 0;
        if (error == 0) {
            const uint32_t output = slot.unwritten > 0 ? uint32_t{EPOLLOUT} : 0;
            error = loop.add(slot.fd, EPOLLIN | EPOLLRDHUP | EPOLLET | output, index_of(slot));
        }
    }
    if (error != 0) {
        failed(slot, fd ? cause_of_error(slot, error) : cause_of(fd.error()), monotonic_ns());
    }
}

/// 0: some or all of the request was written. EAGAIN: nothing. Else what is wrong.
int ReconnectLoad::write(Slot& slot) {
    int result = EAGAIN;
    while (slot.unwritten > 0) {
        const size_t wanted = std::min<size_t>(slot.unwritten, LoadPattern::piece_bytes_max);
        const ssize_t size =
            ::send(slot.fd, pattern_.at(slot.send_at, wanted).data(), wanted, MSG_NOSIGNAL);
        if (size < 0 && errno == EINTR)
            continue;
        // A peer that answers without being asked, and leaves: its answer is there to be read.
        if (size < 0 && (errno == EPIPE || errno == ECONNRESET)) {
            slot.unwritten = 0;
            return 0;
        }
        if (size < 0)
            return errno == EAGAIN ? result : errno;
        const auto bytes = static_cast<size_t>(size);
        slot.unwritten -= static_cast<uint32_t>(bytes);
        slot.send_at = static_cast<uint32_t>(pattern_.advance(slot.send_at, bytes));
        result = 0;
        if (bytes < wanted)
            break;
    }
    return result;
}

/// The time for it is taken out of the request's latency.
void ReconnectLoad::connected(Slot& slot, uint64_t now_ns) {
    const uint64_t took_ns = now_ns - std::min(slot.started_ns, now_ns);
    // An error that may pass does not break a connection that was made.
    set_error_queue(slot.fd, setup.address.family(), false);
    account.note_handshake(slot.fd, took_ns);
    if (account.counts(slot.times))
        account.connected(took_ns);
    slot.times.sent_ns = std::max(now_ns, slot.times.sent_ns);
    // Of a request that does not count, the intended time says only that, and stays.
    if (account.counts(slot.times))
        slot.times.intended_ns =
            schedule.is_open_loop() ? slot.times.intended_ns + took_ns : slot.times.sent_ns;
    slot.state = State::waiting;
}

void ReconnectLoad::handle(std::span<const epoll_event> events, uint64_t now_ns) {
    for (const epoll_event& event : events) {
        Slot& slot = slots_[event.data.u64];
        if (slot.state == State::idle)
            continue;
        if (slot.unwritten > 0 && (event.events & (EPOLLOUT | EPOLLHUP | EPOLLERR)) != 0) {
            const int error = write(slot);
            if (error != 0 && error != EAGAIN) {
                failed(slot, cause_of_error(slot, error), now_ns);
                continue;
            }
            if (slot.state == State::connecting && error == 0)
                connected(slot, now_ns);
        }
        if (slot.state != State::connecting &&
            (event.events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR)) != 0)
            receive(slot, now_ns);
    }
}

void ReconnectLoad::receive(Slot& slot, uint64_t now_ns) {
    const int fd = slot.fd;
    for (bool first = true;; first = false) {
        const ssize_t size = ::recv(fd, buffer_.data(), buffer_.size(), 0);
        if (size < 0 && errno == EINTR)
            continue;
        if (size < 0 && errno == EAGAIN)
            return;
        if (!first)
            now_ns = monotonic_ns();
        if (size <= 0) {
            ended(slot, size < 0 ? errno : 0, now_ns);
            return;
        }
        const auto bytes = static_cast<size_t>(size);
        take(slot, {buffer_.data(), bytes}, now_ns);
        if (slot.state == State::ending && !setup.closes) {
            complete(slot, now_ns);
            return;
        }
        // The end of the stream may be behind it already, and spares the next event.
        if (bytes < buffer_.size() && slot.state == State::waiting)
            return;
    }
}

void ReconnectLoad::take(Slot& slot, std::span<const std::byte> piece, uint64_t now_ns) {
    const uint64_t missing = slot.state == State::ending ? 0 : slot.answer.missing(shape_, 1);
    slot.too_long |= piece.size() > missing;
    slot.answer.take(
        shape_, piece.first(std::min<uint64_t>(piece.size(), missing)), [&](AnswerCheck check) {
            slot.check = check;
            slot.answered_ns = now_ns;
            slot.state = State::ending;
        });
}

/// The peer ended the stream, or it broke.
void ReconnectLoad::ended(Slot& slot, int error, uint64_t now_ns) {
    if (slot.state == State::ending) {
        complete(slot, now_ns);
    } else if (slot.answer.received() > 0) {
        account.failed(slot.times, Outcome::wrong_size, slot.answer.received());
        renew(slot, now_ns);
    } else {
        failed(slot, cause_of_end(error, setup.address), now_ns);
    }
}

/// What the network said of a connection that did not come to be.
Cause ReconnectLoad::cause_of_error(const Slot& slot, int error) const {
    const Cause queued = slot.fd >= 0 ? take_queued_error(slot.fd) : Cause{};
    return queued.error != 0 ? queued : cause_of(error, setup.address);
}

void ReconnectLoad::complete(Slot& slot, uint64_t now_ns) {
    if (slot.check == AnswerCheck::correct && !slot.too_long)
        account.answered(slot.times, slot.answered_ns, shape_.bytes);
    else
        account.failed(
            slot.times,
            slot.check == AnswerCheck::correct ? Outcome::wrong_size : Outcome::corrupted,
            shape_.bytes);
    close(slot);
    next(slot, now_ns);
}

void ReconnectLoad::failed(Slot& slot, const Cause& cause, uint64_t now_ns) {
    account.failed(slot.times, cause, slot.answer.received());
    renew(slot, now_ns);
}

/// The slot has another request after a while.
void ReconnectLoad::renew(Slot& slot, uint64_t now_ns) {
    close(slot);
    retries_.push(index_of(slot), now_ns);
}

bool ReconnectLoad::has_expired(const Slot& slot, uint64_t now_ns) const {
    const uint64_t since_ns =
        slot.state == State::connecting ? slot.started_ns : slot.times.sent_ns;
    return slot.state != State::idle && since_ns + timeout_ns() <= now_ns;
}

/// What waits in a socket is read before anything of it is lost: a turn serves only so many events.
void ReconnectLoad::sweep(uint64_t now_ns) {
    for (Slot& slot : slots_) {
        if (!has_expired(slot, now_ns))
            continue;
        if (slot.state == State::connecting && has_event(slot.fd))
            continue;
        if (slot.state != State::connecting)
            receive(slot, monotonic_ns());
        if (!has_expired(slot, now_ns))
            continue;
        // All of the answer, and only its end is missing: that is an answer.
        if (slot.state == State::ending)
            complete(slot, now_ns);
        else
            failed(
                slot,
                slot.state == State::connecting ? cause_of(ETIMEDOUT)
                                                : cause_of_end(ETIMEDOUT, setup.address),
                now_ns);
    }
}

} // namespace riposte::client
