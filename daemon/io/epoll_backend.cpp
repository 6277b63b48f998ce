#include "daemon/io/epoll_backend.h"

#include "common/reset.h"
#include "common/spin.h"
#include "common/text.h"

#include <algorithm>
#include <cassert>
#include <cerrno>
#include <utility>

#include <climits>
#include <fmt/format.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

namespace riposte {

Result<std::unique_ptr<Backend>> EpollBackend::open(Pools pools) {
    Fd epoll(::epoll_create1(EPOLL_CLOEXEC));
    Fd wake(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
    epoll_event event{.events = EPOLLIN, .data = {.fd = wake.get()}};
    if (!epoll || !wake || ::epoll_ctl(epoll.get(), EPOLL_CTL_ADD, wake.get(), &event) != 0)
        return fail(
            Exit::os, fmt::format(
                          "cannot set up epoll: {}; if descriptors ran out, raise "
                          "LimitNOFILE=",
                          errno_text(errno)));
    return std::unique_ptr<Backend>(new EpollBackend(pools, std::move(epoll), std::move(wake)));
}

EpollBackend::EpollBackend(Pools pools, Fd epoll, Fd wake)
    : Backend(stream_window_buffers), pools_(pools), epoll_(std::move(epoll)),
      wake_(std::move(wake)), datagrams_(pools.datagrams) {
    states_.resize(1024);
}

EpollBackend::~EpollBackend() {
    pools_.streams.reclaim(Owner::backend);
    pools_.datagrams.buffers().reclaim(Owner::backend);
}

/// Reserved memory is not touched before it is used, so a large reserve costs address space alone.
void EpollBackend::reserve(uint32_t descriptors, uint32_t /*datagram_sockets*/) {
    states_.reserve(descriptors);
}

void EpollBackend::wake() noexcept {
    uint64_t one = 1;
    // This fails only when the counter is full, and then a wake-up is pending already.
    [[maybe_unused]] ssize_t written = ::write(wake_.get(), &one, sizeof one);
}

size_t EpollBackend::turn(std::span<const Op> ops, std::span<Event> events, Wait wait) noexcept {
    apply(ops);
    // Events of operations that completed at once are delivered at once, but not in two turns in a
    // row without polling the kernel: sockets that are always ready must not starve the others.
    bool have = !outbox_.empty();
    if (have && polled_) {
        polled_ = false;
        return outbox_.deliver(events);
    }
    polled_ = true;
    wait_for_events(have || has_ready() ? Wait{std::chrono::milliseconds(0)} : wait);
    serve_ready(events.size());
    return outbox_.deliver(events);
}

// Operations --------------------------------------------------------------------------------------

void EpollBackend::apply(std::span<const Op> ops) {
    for (size_t i = 0; i < ops.size(); ++i) {
        const Op& op = ops[i];
        switch (op.kind) {
        case OpKind::accept:
        case OpKind::receive:
        case OpKind::receive_from:
            start_stream(op);
            break;
        case OpKind::send:
            start_send(op);
            break;
        case OpKind::send_to:
            i += datagrams_.send(ops.subspan(i), outbox_) - 1;
            break;
        case OpKind::close:
            close_fd(op);
            break;
        case OpKind::release:
            release_fd(op);
            break;
        case OpKind::stop:
            stop_stream(op.fd);
            break;
        case OpKind::finish:
            ::shutdown(op.fd, SHUT_WR);
            break;
        case OpKind::abort:
            abort_fd(op.fd);
            break;
        case OpKind::transmitted:
            assert(false && "an event alone");
            break;
        }
    }
}

EpollBackend::State& EpollBackend::state(int fd) {
    auto index = static_cast<size_t>(fd);
    if (index >= states_.size()) // doubles, within the reserved memory if possible
        states_.resize(
            index < states_.capacity() ? std::min(index * 2, states_.capacity()) : index * 2);
    return states_[index];
}

bool EpollBackend::watch(int fd, State& state, uint32_t epoll_events) {
    if (state.registered)
        return true;
    epoll_event event{.events = epoll_events, .data = {.fd = fd}};
    state.registered = ::epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, fd, &event) == 0;
    return state.registered;
}

void EpollBackend::start_stream(const Op& op) {
    State& s = state(op.fd);
    assert(!s.armed);
    s.stream = op;
    s.armed = true;
    bool receive = op.kind == OpKind::receive;
    s.left = receive ? op.size : 1;
    uint32_t edges = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLPRI | EPOLLET;
    if (!watch(op.fd, s, receive ? edges : EPOLLIN | EPOLLEXCLUSIVE))
        end_stream(op.fd, s, -errno); // ENOMEM, or ENOSPC of max_user_watches
    else if (receive && s.readable)
        make_ready(op.fd, s);
}

void EpollBackend::start_send(const Op& op) {
    State& s = state(op.fd);
    assert(!s.sending && op.size > 0);
    s.send = op;
    s.sending = true;
    try_send(op.fd, s);
}

void EpollBackend::stop_stream(int fd) {
    State& s = state(fd);
    if (s.armed)
        end_stream(fd, s, -ECANCELED);
}

void EpollBackend::abort_fd(int fd) {
    reset_connection(fd);
    State& s = state(fd);
    if (s.armed)
        end_stream(fd, s, -ECANCELED);
    if (s.sending) {
        s.sending = false;
        pools_.streams.move(s.send.buffer, Owner::backend, Owner::worker);
        outbox_.push({OpKind::send, s.send.token, -ECANCELED, s.send.buffer, true});
    }
}

void EpollBackend::forget_fd(int fd) {
    State& s = state(fd);
    assert(!s.armed && !s.sending);
    // The fd stays in `ready_`; serve_ready() skips fds that are not armed.
    bool in_ready = s.in_ready;
    s = State{.in_ready = in_ready};
    if (preferred_ == fd)
        preferred_ = -1;
}

void EpollBackend::release_fd(const Op& op) {
    // A registration outlives close(2) as long as another process has the connection open, and
    // would wake us for everything that happens on it.
    if (state(op.fd).registered)
        ::epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, op.fd, nullptr);
    forget_fd(op.fd);
    outbox_.push({OpKind::release, op.token, 0, no_buffer, true});
}

void EpollBackend::close_fd(const Op& op) {
    forget_fd(op.fd);
    int32_t result = ::close(op.fd) == 0 ? 0 : -errno;
    outbox_.push({OpKind::close, op.token, result, no_buffer, true});
}

void EpollBackend::end_stream(int fd, State& s, int32_t result, BufferId buffer) {
    outbox_.push({s.stream.kind, s.stream.token, result, buffer, true});
    s.armed = false;
    if (s.stream.kind != OpKind::receive && s.registered) {
        ::epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, fd, nullptr);
        s.registered = false;
    }
}

void EpollBackend::try_send(int fd, State& s) {
    std::span<std::byte> bytes = pools_.streams.bytes(s.send.buffer);
    const int flags = MSG_DONTWAIT | MSG_NOSIGNAL | (s.send.more ? MSG_MORE : 0);
    ssize_t n = ::send(fd, bytes.data() + s.send.offset, s.send.size, flags);
    int32_t result = n >= 0 ? static_cast<int32_t>(n) : -errno;
    if (result == -EAGAIN) {
        uint32_t edges = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLPRI | EPOLLET;
        if (watch(fd, s, edges))
            return; // an EPOLLOUT edge continues the send
        result = -errno;
    }
    s.sending = false;
    pools_.streams.move(s.send.buffer, Owner::backend, Owner::worker);
    outbox_.push({OpKind::send, s.send.token, result, s.send.buffer, true});
}

// Events ------------------------------------------------------------------------------------------

int EpollBackend::poll_kernel(int timeout_ms) {
    return ::epoll_wait(
        epoll_.get(), epoll_events_.data(), static_cast<int>(epoll_events_.size()), timeout_ms);
}

void EpollBackend::wait_for_events(Wait wait) {
    int count = 0;
    bool found = wait.spin.count() > 0 && spin(wait.spin, 1, [&] {
                     count = poll_kernel(0);
                     return count != 0;
                 });
    if (!found) {
        // Rounded up: waking up before a deadline would only mean another turn for it.
        int64_t sleep_ms = std::chrono::ceil<std::chrono::milliseconds>(wait.after_spin()).count();
        count =
            poll_kernel(sleep_ms < 0 ? -1 : static_cast<int>(std::min<int64_t>(sleep_ms, INT_MAX)));
    }
    for (int i = 0; i < count; ++i) {
        const epoll_event& event = epoll_events_[static_cast<size_t>(i)];
        if (event.data.fd == wake_.get()) {
            uint64_t wakes = 0;
            [[maybe_unused]] ssize_t n = ::read(wake_.get(), &wakes, sizeof wakes);
        } else {
            record_readiness(event.data.fd, event.events);
        }
    }
}

void EpollBackend::record_readiness(int fd, uint32_t epoll_events) {
    State& s = state(fd);
    if (epoll_events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR | EPOLLPRI))
        s.ending = s.readable = true;
    if (epoll_events & EPOLLIN)
        s.readable = true;
    if (s.sending && epoll_events & (EPOLLOUT | EPOLLHUP | EPOLLERR))
        try_send(fd, s);
    if (s.armed && s.readable)
        make_ready(fd, s);
}

void EpollBackend::make_ready(int fd, State& s) {
    if (s.in_ready)
        return;
    s.in_ready = true;
    if (fd == preferred_) {
        assert(first_ < 0); // serve_ready() takes it before another fd is preferred
        first_ = fd;
    } else {
        ready_.push(fd);
    }
}

void EpollBackend::serve_ready(size_t events_max) {
    const uint32_t much = pools_.streams.buffer_bytes() / 2;
    bool enough = false;
    // Sockets that become ready meanwhile are served in the next turn.
    size_t left = ready_.size() + (first_ >= 0 ? 1 : 0);
    for (; left > 0 && !enough && outbox_.size() < events_max; --left) {
        const int fd = first_ >= 0 ? std::exchange(first_, -1) : ready_.pop();
        State& s = state(fd);
        s.in_ready = false;
        if (!s.armed)
            continue;
        if (s.stream.kind == OpKind::receive) {
            enough = receive_some(fd, s) >= much;
            if (enough)
                prefer(fd);
        } else if (s.stream.kind == OpKind::accept) {
            accept_some(fd, s);
        } else {
            receive_datagrams(fd, s);
        }
    }
}

void EpollBackend::prefer(int fd) {
    if (fd != preferred_) {
        preferred_ = fd;
        preferred_turns_ = 0;
    } else if (++preferred_turns_ == preferred_turns_max) {
        preferred_ = -1; // the other sockets are served first
    }
}

void EpollBackend::accept_some(int fd, State& s) {
    s.readable = false; // level-triggered: the kernel reports it again
    // The kernel allocates a socket for an accept(2) even if no connection waits. So the first turn
    // tries one, and each turn that gets all that it tried doubles the number for the next.
    const uint32_t quota = std::exchange(s.left, 1);
    for (uint32_t i = 0; i < quota; ++i) {
        int accepted = ::accept4(fd, nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK);
        if (accepted < 0) {
            if (errno != EAGAIN)
                end_stream(fd, s, -errno);
            return;
        }
        outbox_.push({OpKind::accept, s.stream.token, accepted, no_buffer, false});
    }
    s.left = std::min(quota * 2, accepts_per_turn);
}

uint32_t EpollBackend::receive_some(int fd, State& s) {
    BufferPool& pool = pools_.streams;
    uint32_t received = 0;
    for (int i = 0; i < buffers_per_turn; ++i) {
        BufferId buffer = pool.take(Owner::backend);
        if (buffer == no_buffer) {
            end_stream(fd, s, -ENOBUFS);
            return received;
        }
        std::span<std::byte> bytes = pool.bytes(buffer);
        bytes = bytes.first(std::min<size_t>(bytes.size(), s.left));
        ssize_t n = ::recv(fd, bytes.data(), bytes.size(), MSG_DONTWAIT);
        if (n <= 0) {
            int error = n < 0 ? errno : 0;
            pool.move(buffer, Owner::backend, Owner::pool);
            if (error != EAGAIN)
                end_stream(fd, s, -error);
            else
                s.readable = s.ending = false;
            return received;
        }
        pool.move(buffer, Owner::backend, Owner::worker);
        auto size = static_cast<uint32_t>(n);
        received += size;
        s.readable = size == bytes.size() || s.ending;
        if (size >= s.left) {
            end_stream(fd, s, static_cast<int32_t>(n), buffer);
            return received;
        }
        s.left -= size;
        outbox_.push({OpKind::receive, s.stream.token, static_cast<int32_t>(n), buffer, false});
        if (!s.readable)
            return received;
    }
    make_ready(fd, s);
    return received;
}

void EpollBackend::receive_datagrams(int fd, State& s) {
    s.readable = false; // level-triggered: the kernel reports it again
    if (s.ending)
        datagrams_.read_errors(s.stream.token, fd, outbox_);
    s.ending = false;
    std::array<DatagramBatch::Datagram, DatagramBatch::batch_max> datagrams;
    DatagramBatch::Received received = datagrams_.receive(fd, datagrams);
    if (received.result == -EAGAIN)
        return;
    if (received.result < 0)
        return end_stream(fd, s, received.result);
    for (const auto& datagram : std::span(datagrams).first(static_cast<size_t>(received.result))) {
        pools_.datagrams.buffers().move(datagram.buffer, Owner::backend, Owner::worker);
        outbox_.push(
            {OpKind::receive_from, s.stream.token, static_cast<int32_t>(datagram.size),
             datagram.buffer, false});
    }
}

} // namespace riposte
