// The connections of the server; its listeners are in accept.cpp.
//
//   - An event carries the index of a listener or the id of a connection, which is greater than any
//     index.
//   - No connection is erased while events are handled: one that has ended is `gone`, and sweep()
//     erases it later.
//   - A connection is polled for input or for output, never for both, so that input that is not
//     read yet does not wake the thread.

#include "common/http/server.h"

#include "common/http/answer.h"
#include "common/reset.h"

#include <algorithm>
#include <cassert>
#include <cerrno>
#include <ctime>

#include <sys/epoll.h>
#include <sys/socket.h>

namespace riposte {
namespace {

constexpr uint64_t first_connection_id = 1024; // listeners are few

bool would_block(ssize_t result) {
    return result < 0 && errno == EAGAIN;
}

} // namespace

std::expected<std::unique_ptr<HttpServer>, int> HttpServer::create(
    std::vector<Fd> listeners, Answer answer) {
    assert(listeners.size() < first_connection_id);
    Fd epoll(::epoll_create1(EPOLL_CLOEXEC));
    if (!epoll)
        return std::unexpected(errno);
    std::vector<Listener> polled;
    for (Fd& listener : listeners) {
        epoll_event event{.events = EPOLLIN, .data = {.u64 = polled.size()}};
        if (::epoll_ctl(epoll.get(), EPOLL_CTL_ADD, listener.get(), &event) != 0)
            return std::unexpected(errno);
        polled.push_back({std::move(listener)});
    }
    std::unique_ptr<HttpServer> server(
        new HttpServer(std::move(epoll), std::move(polled), std::move(answer)));
    server->next_id_ = first_connection_id;
    server->connections_.reserve(connections_max);
    return server;
}

std::optional<uint64_t> HttpServer::deadline_us() const {
    std::optional<uint64_t> deadline = paused_until_us_;
    if (!connections_.empty()) // the oldest is the first to end
        deadline = std::min(deadline.value_or(UINT64_MAX), connections_.front().deadline_us);
    return deadline;
}

void HttpServer::on_ready(uint64_t now_us) {
    std::array<epoll_event, 64> events{};
    const int count = ::epoll_wait(epoll_.get(), events.data(), events.size(), 0);
    for (int i = 0; i < count; ++i) {
        const uint64_t id = events[static_cast<size_t>(i)].data.u64;
        if (id < listeners_.size()) {
            listeners_[id].ready = true;
            continue;
        }
        const auto found = std::ranges::find(connections_, id, &Connection::id);
        if (found != connections_.end())
            advance(*found, now_us);
    }
    expire(now_us);
    sweep();
    resume(now_us);
    accept_waiting(now_us);
}

/// Advances as far as possible without blocking.
void HttpServer::advance(Connection& connection, uint64_t now_us) {
    if (connection.phase == Phase::reading)
        read_request(connection, now_us);
    if (connection.phase == Phase::writing)
        write_answer(connection);
    if (connection.phase == Phase::lingering)
        linger(connection);
}

void HttpServer::read_request(Connection& connection, uint64_t now_us) {
    std::array<char, HttpRequest::head_bytes_max> chunk; // NOLINT(*-member-init): recv fills it
    while (connection.request.state() == HttpRequest::State::reading) {
        const ssize_t size = ::recv(connection.fd.get(), chunk.data(), chunk.size(), 0);
        if (would_block(size))
            return;
        if (size <= 0)
            return cut(connection, counts_.gone);
        connection.request.feed({chunk.data(), static_cast<size_t>(size)});
    }
    prepare_answer(connection, now_us);
    connection.phase = Phase::writing;
}

void HttpServer::prepare_answer(Connection& connection, uint64_t now_us) {
    const HttpRequest& request = connection.request;
    HttpAnswer answer = request.state() == HttpRequest::State::complete
                            ? answer_(request, now_us)
                            : answer_to_malformed(request.state());
    connection.code = answer.code;
    connection.head = head_of(answer, std::time(nullptr));
    if (request.method() != "HEAD") // HEAD: the body is counted and not sent
        connection.body = std::move(answer.body);
    connection.request = {}; // its memory is no longer needed
}

/// Sends the head and then the body, as much as the kernel takes.
void HttpServer::write_answer(Connection& connection) {
    const std::string_view head = connection.head;
    const size_t all = head.size() + (connection.body ? connection.body->size() : 0);
    while (connection.sent < all) {
        const std::string_view rest = connection.sent < head.size()
                                          ? head.substr(connection.sent)
                                          : connection.body->from(connection.sent - head.size());
        const int more = connection.sent + rest.size() < all ? MSG_MORE : 0;
        const ssize_t size =
            ::send(connection.fd.get(), rest.data(), rest.size(), MSG_NOSIGNAL | more);
        if (would_block(size))
            return watch(connection, EPOLLOUT, EPOLL_CTL_MOD);
        if (size < 0)
            return cut(connection, counts_.gone);
        connection.sent += static_cast<size_t>(size);
    }
    ++counts_.answered[connection.code];
    connection.head = {};
    connection.body.reset();
    connection.phase = Phase::lingering;
    ::shutdown(connection.fd.get(), SHUT_WR);
    watch(connection, EPOLLIN, EPOLL_CTL_MOD);
}

void HttpServer::linger(Connection& connection) {
    std::array<char, 65536> chunk; // NOLINT(*-member-init): recv fills it
    const ssize_t size = ::recv(connection.fd.get(), chunk.data(), chunk.size(), 0);
    if (would_block(size))
        return; // epoll reports further input
    if (size <= 0) {
        connection.phase = Phase::gone;
        return;
    }
    connection.lingered += static_cast<size_t>(size);
    uint64_t answered = 0;
    if (connection.lingered > linger_bytes_max)
        cut(connection, answered);
}

void HttpServer::expire(uint64_t now_us) {
    for (Connection& connection : connections_)
        if (connection.phase != Phase::gone && now_us >= connection.deadline_us)
            cut(connection, counts_.slow);
}

/// Resets it. It counts for `reason`, unless it has been answered.
void HttpServer::cut(Connection& connection, uint64_t& reason) {
    if (connection.phase != Phase::lingering)
        ++reason;
    reset_connection(connection.fd.get());
    connection.phase = Phase::gone;
}

void HttpServer::sweep() {
    std::erase_if(
        connections_, [](const Connection& connection) { return connection.phase == Phase::gone; });
}

void HttpServer::watch(const Connection& connection, uint32_t events, int operation) {
    epoll_event event{.events = events, .data = {.u64 = connection.id}};
    ::epoll_ctl(epoll_.get(), operation, connection.fd.get(), &event);
}

} // namespace riposte
