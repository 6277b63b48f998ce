// The server's listeners: when a connection is accepted, and which other one is evicted for it.
//
// The token bucket is stored as the time at which it is full again: each accept moves that by a
// hundredth of a second, and the bucket is empty when that time is a whole burst ahead. While
// accepting pauses, listeners are removed from the epoll, because they would stay readable.

#include "common/http/server.h"

#include <algorithm>
#include <cassert>
#include <cerrno>

#include <sys/epoll.h>
#include <sys/socket.h>

namespace riposte {
namespace {

constexpr uint64_t second_us = 1'000'000;
constexpr uint64_t accept_us = second_us / HttpServer::accepts_per_second;
constexpr uint64_t burst_us = second_us; // as many at once as in one second

} // namespace

/// Accepts one from each listener in turn, so that a flooded listener does not delay the others.
void HttpServer::accept_waiting(uint64_t now_us) {
    while (std::ranges::any_of(listeners_, &Listener::ready)) {
        accepts_full_us_ = std::max(accepts_full_us_, now_us);
        if (accepts_full_us_ + accept_us > now_us + burst_us)
            return pause(accepts_full_us_ + accept_us - burst_us);
        Listener& listener = listeners_[turn_++ % listeners_.size()];
        if (listener.ready)
            accept_one(listener, now_us);
    }
}

void HttpServer::accept_one(Listener& listener, uint64_t now_us) {
    Fd fd(::accept4(listener.fd.get(), nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC));
    if (!fd) {
        if (errno == ECONNABORTED)
            return;
        if (errno == EAGAIN) {
            listener.ready = false;
            return;
        }
        ++counts_.accept_failed;
        return pause(now_us + pause_us);
    }
    accepts_full_us_ += accept_us;
    make_room();
    connections_.push_back(
        {.id = next_id_++, .fd = std::move(fd), .deadline_us = now_us + lifetime_us});
    watch(connections_.back(), EPOLLIN, EPOLL_CTL_ADD);
    advance(connections_.back(), now_us); // the request is often there already
    sweep();
}

void HttpServer::make_room() {
    if (connections_.size() < connections_max)
        return;
    auto oldest = std::ranges::find(connections_, Phase::lingering, &Connection::phase);
    if (oldest == connections_.end())
        oldest = connections_.begin();
    cut(*oldest, counts_.crowded);
    sweep();
    assert(connections_.size() < connections_max);
}

void HttpServer::pause(uint64_t until_us) {
    paused_until_us_ = until_us;
    for (Listener& listener : listeners_) {
        if (listener.polled)
            ::epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, listener.fd.get(), nullptr);
        listener.polled = listener.ready = false;
    }
}

/// If memory is short, a listener that cannot be added to the epoll is tried again later.
void HttpServer::resume(uint64_t now_us) {
    if (!paused_until_us_ || now_us < *paused_until_us_)
        return;
    paused_until_us_.reset();
    for (size_t i = 0; i < listeners_.size(); ++i) {
        Listener& listener = listeners_[i];
        if (listener.polled)
            continue;
        epoll_event event{.events = EPOLLIN, .data = {.u64 = i}};
        listener.polled = ::epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, listener.fd.get(), &event) == 0;
        listener.ready = listener.polled; // in this turn, not in the next
        if (!listener.polled)
            paused_until_us_ = now_us + pause_us;
    }
}

} // namespace riposte
