#include "client/load/load_tcp.h"

#include "common/clock.h"

#include <algorithm>
#include <cassert>
#include <cerrno>
#include <utility>

#include <sys/socket.h>

namespace riposte::client {

namespace {

constexpr uint32_t input_events = EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR;
constexpr uint32_t end_events = EPOLLRDHUP | EPOLLHUP | EPOLLERR;

} // namespace

TcpLoad::TcpLoad(const LoadContext& context)
    : LoadEngine(context), pattern_(setup.seed, setup.request_bytes),
      shape_{
          .pattern = setup.echo && setup.compare ? &pattern_ : nullptr,
          .bytes = setup.answer_bytes},
      connections_(setup.connections),
      sent_(std::make_unique_for_overwrite<Sent[]>(size_t{setup.connections} * setup.depth)),
      buffer_(LoadPattern::piece_bytes_max), ready_(setup.connections) {}

TcpLoad::~TcpLoad() {
    for (const Connection& connection : connections_)
        if (connection.fd >= 0)
            ::close(connection.fd);
}

void TcpLoad::close(Connection& connection) {
    if (connection.fd >= 0) {
        account.note_socket(connection.fd, connection.state == State::open);
        ::close(connection.fd);
    }
    connection = Connection{};
}

// ---- Events.

void TcpLoad::finish() {
    for (const Connection& connection : connections_)
        if (connection.fd >= 0)
            account.note_socket(connection.fd, connection.state == State::open);
}

void TcpLoad::start() {
    for (Connection& connection : connections_)
        if (connection.state == State::open)
            refill(connection);
}

void TcpLoad::handle(std::span<const epoll_event> events, uint64_t now_ns) {
    for (const epoll_event& event : events) {
        Connection& connection = connections_[event.data.u64];
        if (connection.state == State::connecting) {
            const uint64_t took_ns = monotonic_ns() - connection.started_ns;
            const Cause cause = finish_connecting(connection, event.events);
            if (cause.error == 0)
                opened(connection, now_ns);
            else if (cause.error != EINPROGRESS && opening_) {
                opening_->connecting--;
                opening_failed(
                    {.address = setup.address,
                     .error = cause.error,
                     .heard = true,
                     .cause = cause,
                     .took_ns = took_ns});
            } else if (cause.error != EINPROGRESS) {
                charge(now_ns, cause);
                retries_.push(index_of(connection), now_ns);
            }
        }
        if (connection.state != State::open)
            continue;
        if ((event.events & input_events) != 0)
            receive(connection, event.events, now_ns);
        // Room to write; closed by now, nothing is unwritten.
        if (connection.unwritten > 0 && (event.events & EPOLLOUT) != 0) {
            write(connection);
            if (schedule.is_open_loop() && has_room(connection))
                ready_.push(index_of(connection));
        }
    }
}

void TcpLoad::receive(Connection& connection, uint32_t events, uint64_t now_ns) {
    // What is not compared need not be copied: tcp(7) throws it away.
    const bool compared = shape_.pattern != nullptr;
    for (bool first = true;; first = false) {
        const ssize_t size = ::recv(
            connection.fd, compared ? buffer_.data() : nullptr, buffer_.size(),
            compared ? 0 : MSG_TRUNC);
        if (size < 0 && errno == EINTR)
            continue;
        if (size < 0 && errno == EAGAIN)
            break;
        // The first read brings what was there when the wait ended; others, what came since.
        if (!first)
            now_ns = monotonic_ns();
        if (size <= 0) {
            const int error = size < 0 ? errno : 0;
            const Cause cause = cause_of_end(error, setup.address);
            broken(connection, outcome_of(cause), now_ns, cause);
            return;
        }
        const auto bytes = static_cast<size_t>(size);
        if (!take(connection, {buffer_.data(), bytes}, now_ns))
            return;
        if (bytes < buffer_.size() && (events & end_events) == 0)
            break;
    }
    if (schedule.is_open_loop()) {
        if (has_room(connection))
            ready_.push(index_of(connection));
    } else {
        refill(connection);
    }
}

/// False: the stream was not in step any more, and is closed.
bool TcpLoad::take(Connection& connection, std::span<const std::byte> piece, uint64_t now_ns) {
    const uint64_t missing = connection.answers.missing(shape_, connection.outstanding);
    const bool too_long = piece.size() > missing;
    uint64_t right = 0;
    bool in_step = true;
    const auto take_answer = [&](AnswerCheck check) {
        // More than all answers together: the last one is too long.
        if (check == AnswerCheck::correct && !(too_long && connection.outstanding == right + 1)) {
            right++;
            return;
        }
        take_correct(connection, right, now_ns);
        right = 0;
        const bool is_right = check == AnswerCheck::correct;
        account.failed(
            pop(connection, 1), is_right ? Outcome::wrong_size : Outcome::corrupted, shape_.bytes);
        in_step &= check != AnswerCheck::out_of_step;
    };
    connection.answers.take(shape_, too_long ? piece.first(missing) : piece, take_answer);
    take_correct(connection, right, now_ns);
    if (in_step && !too_long)
        return true;
    // To an open loop's idle connection: unsolicited.
    if (too_long && missing == 0 && !opening_)
        account.note_stray();
    broken(connection, in_step ? Outcome::closed : Outcome::corrupted, now_ns);
    return false;
}

void TcpLoad::take_correct(Connection& connection, uint64_t count, uint64_t now_ns) {
    while (count > 0) {
        const uint64_t together = std::min(count, entry(connection, 0).count);
        account.answered(pop(connection, together), now_ns, shape_.bytes, together);
        count -= together;
    }
}

/// The oldest requests have their outcome, `count` of those that were sent together.
RequestTimes TcpLoad::pop(Connection& connection, uint64_t count) {
    Sent& oldest = entry(connection, 0);
    assert(connection.outstanding >= count && oldest.count >= count);
    connection.outstanding -= static_cast<uint32_t>(count);
    oldest.count -= count;
    if (oldest.count == 0) {
        connection.oldest = connection.oldest + 1 < setup.depth ? connection.oldest + 1 : 0;
        connection.entries--;
    }
    return oldest.times;
}

// ---- Sending.

void TcpLoad::push(Connection& connection, const RequestTimes& times, uint64_t count) {
    entry(connection, connection.entries++) = {.times = times, .count = count};
    connection.outstanding += static_cast<uint32_t>(count);
    connection.unwritten += count * setup.request_bytes;
}

/// Closed loop: as many requests as there is room for, in one write.
void TcpLoad::refill(Connection& connection) {
    if (schedule.is_open_loop())
        return;
    const uint64_t count = schedule.take(setup.depth - connection.outstanding);
    if (count == 0)
        return;
    const uint64_t sent_ns = schedule.stamp(monotonic_ns());
    const RequestTimes times{.intended_ns = sent_ns, .sent_ns = sent_ns};
    account.sent(times, count, setup.request_bytes);
    const bool is_blocked = connection.unwritten > 0;
    push(connection, times, count);
    if (!is_blocked)
        write(connection);
}

/// Open loop.
void TcpLoad::send_due(Connection& connection, uint64_t count) {
    const uint64_t now = monotonic_ns();
    for (uint64_t i = 0; i < count; i++) {
        const RequestTimes times = take_due(now);
        account.sent(times, 1, setup.request_bytes);
        push(connection, times, 1);
    }
    write(connection);
}

void TcpLoad::write(Connection& connection) {
    while (connection.unwritten > 0) {
        const size_t wanted =
            std::min<uint64_t>(connection.unwritten, LoadPattern::piece_bytes_max);
        const ssize_t size = ::send(
            connection.fd, pattern_.at(connection.send_at, wanted).data(), wanted, MSG_NOSIGNAL);
        if (size < 0 && errno == EINTR)
            continue;
        if (size < 0) {
            // Broken: the event for it brings first what had been answered before.
            if (errno != EAGAIN)
                connection.unwritten = 0;
            return;
        }
        const auto bytes = static_cast<size_t>(size);
        connection.unwritten -= bytes;
        connection.send_at = static_cast<uint32_t>(pattern_.advance(connection.send_at, bytes));
        if (bytes < wanted)
            return;
    }
}

void TcpLoad::pump(uint64_t now_ns) {
    if (schedule.phase() != LoadPhase::over)
        while (const auto index = retries_.pop(now_ns))
            reopen(connections_[*index], now_ns);
    if (!schedule.is_open_loop())
        return;
    while (schedule.due() > 0 && !ready_.empty()) {
        // After a pause each takes its share, in one write.
        const uint64_t share = (schedule.due() + ready_.size() - 1) / ready_.size();
        Connection& connection = connections_[ready_.pop()];
        if (!has_room(connection))
            continue;
        send_due(connection, std::min<uint64_t>(share, setup.depth - connection.outstanding));
        if (has_room(connection))
            ready_.push(index_of(connection));
    }
}

// ---- What goes wrong.

bool TcpLoad::has_expired(Connection& connection, uint64_t now_ns) {
    return connection.state == State::open && connection.outstanding > 0 &&
           entry(connection, 0).times.sent_ns + timeout_ns() <= now_ns;
}

/// What waits in a socket is read before anything of it is lost: a turn serves only so many events.
void TcpLoad::sweep(uint64_t now_ns) {
    for (Connection& connection : connections_) {
        if (has_expired(connection, now_ns))
            receive(connection, 0, monotonic_ns());
        if (has_expired(connection, now_ns)) {
            broken(connection, Outcome::lost, now_ns);
        } else if (
            connection.state == State::connecting &&
            connection.started_ns + timeout_ns() <= now_ns && !has_event(connection.fd)) {
            close(connection);
            if (opening_) {
                opening_->connecting--;
                opening_failed(
                    {.address = setup.address,
                     .error = ETIMEDOUT,
                     .waited_ms = setup.target.timeout_ms});
            } else {
                charge(now_ns, cause_of(ETIMEDOUT));
                retries_.push(index_of(connection), now_ns);
            }
        }
    }
}

/// Its requests end with it: the one whose answer had begun is cut short.
void TcpLoad::broken(
    Connection& connection, Outcome outcome, uint64_t now_ns, const std::optional<Cause>& cause) {
    uint64_t begun = connection.answers.received();
    while (connection.outstanding > 0) {
        const bool is_cut = begun > 0 && outcome == Outcome::closed;
        const RequestTimes times = pop(connection, 1);
        const uint64_t bytes = std::exchange(begun, 0);
        if (cause && !is_cut)
            account.failed(times, *cause, bytes);
        else
            account.failed(times, is_cut ? Outcome::wrong_size : outcome, bytes);
    }
    close(connection);
    if (opening_) {
        opening_->open--;
        opening_->failures.push_back({.address = setup.address});
        return;
    }
    retries_.push(index_of(connection), now_ns);
}

} // namespace riposte::client
