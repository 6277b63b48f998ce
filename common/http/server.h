// A small HTTP/1.1 server for metrics, status and health, in a thread that may have other work. The
// server never blocks: its sockets are in an epoll of its own, whose descriptor the owner polls;
// the owner calls on_ready() when that is readable or the deadline has come. The owner passes in
// the time, and what is answered to a request.
//
// One connection is one request: read the head, answer, send FIN, then discard input until the
// peer's FIN (with unread input a close would send RST, and the peer might lose the answer).
//
//     reading -> writing -> lingering -> gone
//
// Clients may be hostile, or many. The limits:
//   - `connections_max` at once; one more evicts the oldest that only lingers, else the oldest;
//   - `lifetime_us` from accept to end, whatever the peer does; a connection cut off is reset;
//   - 8 KiB of head (request.h), and `linger_bytes_max` discarded;
//   - `accepts_per_second` over all listeners in turn. Beyond it new connections wait in the
//     backlog, and no listener is polled until there is room again, nor for a while after accept(2)
//     has failed because descriptors or memory ran out.
// What is costly to render has a limit of its own (documents.h).
#pragma once

#include "common/fd.h"
#include "common/http/answer.h"
#include "common/http/request.h"

#include <cstddef>
#include <cstdint>
#include <expected>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace riposte {

/// The outcomes of connections: each accepted one is counted once, at its end.
struct HttpCounts {
    std::map<int, uint64_t> answered; ///< by status code; the kernel has the whole answer
    // Ended before or during the answer:
    uint64_t crowded = 0; ///< evicted for a newer connection
    uint64_t slow = 0;    ///< its lifetime ended
    uint64_t gone = 0;    ///< the peer closed or reset it
    // Not accepted:
    uint64_t accept_failed = 0; ///< no descriptor or no memory: accepting pauses
};

class HttpServer {
public:
    static constexpr size_t connections_max = 32;
    static constexpr uint64_t lifetime_us = 5'000'000;
    static constexpr uint64_t accepts_per_second = 100;
    static constexpr size_t linger_bytes_max = size_t{2} << 20;
    static constexpr uint64_t pause_us = 250'000; ///< after a failed accept(2)

    /// What is answered to a complete request, at this time.
    using Answer = std::function<HttpAnswer(const HttpRequest&, uint64_t now_us)>;

    /// `listeners` are non-blocking, listening streams of IPv4, IPv6 or AF_UNIX. The error is an
    /// errno.
    static std::expected<std::unique_ptr<HttpServer>, int> create(
        std::vector<Fd> listeners, Answer answer);

    int fd() const { return epoll_.get(); } ///< readable: call on_ready()
    /// The latest time for on_ready(), on the clock that the owner passes in.
    std::optional<uint64_t> deadline_us() const;
    void on_ready(uint64_t now_us);

    const HttpCounts& counts() const { return counts_; }
    size_t connections() const { return connections_.size(); }

private:
    enum class Phase : uint8_t { reading, writing, lingering, gone };

    struct Connection {
        uint64_t id = 0; ///< never reused, so a late event finds no connection
        Fd fd;
        Phase phase = Phase::reading;
        uint64_t deadline_us = 0;
        HttpRequest request{};
        int code = 0;
        std::string head{};
        std::shared_ptr<const HttpBody> body{}; ///< null: none
        size_t sent = 0;                        ///< of both together
        size_t lingered = 0;
    };

    struct Listener {
        Fd fd;
        bool ready = false; ///< a connection may wait in the backlog
        bool polled = true; ///< it is in the epoll
    };

    HttpServer(Fd epoll, std::vector<Listener> listeners, Answer answer)
        : epoll_(std::move(epoll)), listeners_(std::move(listeners)), answer_(std::move(answer)) {}

    // Connections, server.cpp
    void advance(Connection& connection, uint64_t now_us);
    void read_request(Connection& connection, uint64_t now_us);
    void write_answer(Connection& connection);
    void linger(Connection& connection);
    void expire(uint64_t now_us);
    void cut(Connection& connection, uint64_t& reason);
    void sweep();
    void watch(const Connection& connection, uint32_t events, int operation);
    void prepare_answer(Connection& connection, uint64_t now_us);

    // Listeners, accept.cpp
    void accept_waiting(uint64_t now_us);
    void accept_one(Listener& listener, uint64_t now_us);
    void make_room();
    void pause(uint64_t until_us);
    void resume(uint64_t now_us);

    Fd epoll_;
    std::vector<Listener> listeners_;
    Answer answer_;
    std::vector<Connection> connections_{}; ///< the oldest first
    uint64_t next_id_ = 0;
    HttpCounts counts_{};

    size_t turn_ = 0;                         ///< the listener to accept from next
    std::optional<uint64_t> paused_until_us_; ///< some listener is not polled
    uint64_t accepts_full_us_ = 0;            ///< when the bucket of accepts is full again
};

} // namespace riposte
