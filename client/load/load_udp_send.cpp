// What leaves the sockets of UdpLoad: whose place is free, and how a batch is sent.
#include "client/load/load_udp.h"
#include "common/clock.h"

#include <algorithm>
#include <cerrno>

#include <poll.h>

namespace riposte::client {

namespace {

constexpr int attempts_max = 4; ///< to send, with errors of earlier requests between
constexpr int send_patience_ms = 5;
constexpr uint64_t patience_factor = 3; ///< retransmission timeouts until a socket goes on

/// Waits for some milliseconds until datagrams can be sent; false if they cannot then.
bool await_room(int fd) {
    pollfd wait{.fd = fd, .events = POLLOUT, .revents = 0};
    return ::poll(&wait, 1, send_patience_ms) > 0;
}

} // namespace

void UdpLoad::has_room(Socket& socket) {
    const bool is_open = schedule.is_open_loop();
    const uint64_t free = setup.depth - std::min<uint64_t>(setup.depth, socket.tracker.kept());
    if (!is_open && (socket.paused || free == 0))
        return;
    if (socket.tracker.is_full()) {
        account.note_full();
        return;
    }
    if (is_open) {
        ready_.push(index_of(socket));
        return;
    }
    send(socket, schedule.take(std::min(free, socket.tracker.room())));
    watch(socket);
}

/// How long a request of the socket may keep its place.
uint64_t UdpLoad::patience_ns(const Socket& socket) const {
    return std::min(patience_factor * socket.timer.timeout_ns(), timeout_ns());
}

/// A closed loop's socket is looked at when the first of its places would be given up.
void UdpLoad::watch(Socket& socket) {
    if (socket.watched || socket.tracker.kept() == 0)
        return;
    socket.watched = true;
    looks_.push(
        {.at_ns = socket.tracker.oldest_kept_ns() + patience_ns(socket),
         .index = index_of(socket)});
}

/// What waits in a socket is read before its place is given up.
void UdpLoad::give_up_places(Socket& socket, uint64_t now_ns) {
    const auto is_due = [&] {
        return socket.tracker.kept() > 0 &&
               now_ns >= socket.tracker.oldest_kept_ns() + patience_ns(socket);
    };
    if (is_due()) {
        receive_all(socket, false, now_ns);
        if (is_due()) {
            socket.tracker.give_up_places(now_ns, patience_ns(socket));
            socket.timer.expired();
        }
        has_room(socket);
    }
    watch(socket);
}

uint64_t UdpLoad::next_pump_ns() const {
    const uint64_t look_ns = looks_.empty() ? UINT64_MAX : looks_.top().at_ns;
    return std::min(retries_.next_ns(), look_ns);
}

void UdpLoad::send(Socket& socket, uint64_t count) {
    while (count > 0) {
        const auto size = static_cast<size_t>(std::min<uint64_t>(count, out_.headers.size()));
        const uint64_t now = monotonic_ns();
        for (size_t i = 0; i < size; i++) {
            const uint64_t sent_ns = schedule.is_open_loop() ? now : schedule.stamp(now);
            const RequestTimes times =
                schedule.is_open_loop() ? take_due(now)
                                        : RequestTimes{.intended_ns = sent_ns, .sent_ns = sent_ns};
            account.sent(times, 1, setup.request_bytes);
            probes_[i] = socket.tracker.send(times);
            write_probe(out_.message(i), probes_[i]);
        }
        send_batch(socket, size);
        count -= size;
    }
}

void UdpLoad::send_batch(Socket& socket, size_t count) {
    int attempts = 0;
    for (size_t sent = 0; sent < count;) {
        const int size =
            count == 1
                ? (::send(socket.fd.get(), out_.bytes.data(), out_.message_bytes, MSG_NOSIGNAL) < 0
                       ? -1
                       : 1)
                : ::sendmmsg(
                      socket.fd.get(), &out_.headers[sent], static_cast<unsigned>(count - sent),
                      MSG_NOSIGNAL);
        if (size > 0) {
            sent += static_cast<size_t>(size);
            attempts = 0;
            continue;
        }
        const int error = errno;
        if (error == EINTR)
            continue;
        if (++attempts < attempts_max) {
            // A burst, after this process was late: the network takes it as fast as it can.
            if (error == EAGAIN && await_room(socket.fd.get()))
                continue;
            // Most likely about an earlier request, and returned instead of sending this one.
            if (may_be_icmp(error)) {
                take_errors(socket, 0, monotonic_ns());
                continue;
            }
        }
        Cause cause = last_error_.error == error ? last_error_ : cause_of(error);
        if (error == EMSGSIZE && too_small_.kind == CauseKind::local && too_small_.error == error)
            cause = too_small_;
        if (const auto times = socket.tracker.fail(probes_[sent]))
            account.failed(*times, cause);
        pause(socket, monotonic_ns());
        sent++;
        attempts = 0;
    }
}

void UdpLoad::pump(uint64_t now_ns) {
    if (schedule.phase() != LoadPhase::over) {
        while (const auto index = retries_.pop(now_ns)) {
            sockets_[*index].paused = false;
            has_room(sockets_[*index]);
        }
        while (!looks_.empty() && looks_.top().at_ns <= now_ns) {
            Socket& socket = sockets_[looks_.top().index];
            looks_.pop();
            socket.watched = false;
            give_up_places(socket, now_ns);
        }
    }
    if (!schedule.is_open_loop())
        return;
    while (schedule.due() > 0 && !ready_.empty()) {
        // After a pause each takes its share, in one system call.
        const uint64_t share = (schedule.due() + ready_.size() - 1) / ready_.size();
        Socket& socket = sockets_[ready_.pop()];
        send(socket, std::min(share, socket.tracker.room()));
        has_room(socket);
    }
}

} // namespace riposte::client
