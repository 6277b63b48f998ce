// Load over TCP connections that are kept.
//
// A connection is closed (and tried again after a while), connecting, or open. Its requests are
// answered in the order in which they were sent, so that only a ring of their times is
// kept; requests that left together share an entry. Edge-triggered
// events, with both directions registered once: a read that brings less than was asked for has
// emptied the socket, a write that takes less has filled it.
#pragma once

#include "client/load/answer_checker.h"
#include "client/load/load_engine.h"

#include <memory>
#include <optional>

namespace riposte::client {

class TcpLoad final : public LoadEngine {
public:
    explicit TcpLoad(const LoadContext& context);
    ~TcpLoad() override;

    Result<void> open() override;
    void start() override;
    void handle(std::span<const epoll_event> events, uint64_t now_ns) override;
    void pump(uint64_t now_ns) override;
    uint64_t next_pump_ns() const override { return retries_.next_ns(); }
    void sweep(uint64_t now_ns) override;
    void finish() override;

private:
    enum class State : uint8_t { closed, connecting, open };

    /// Requests that were sent at the same time.
    struct Sent {
        RequestTimes times;
        uint64_t count;
    };

    struct alignas(64) Connection {
        int fd = -1;
        State state = State::closed;
        uint32_t outstanding = 0; ///< requests without an answer, written or not
        uint32_t oldest = 0;      ///< the first entry of them in the connection's ring
        uint32_t entries = 0;     ///< in the ring
        AnswerChecker answers;
        uint32_t send_at = 0;    ///< of the next byte to write, in the pattern
        uint64_t unwritten = 0;  ///< bytes of outstanding requests
        uint64_t started_ns = 0; ///< when connecting began
    };

    /// The progress of opening all of them.
    struct Opening {
        uint32_t begun = 0;
        uint32_t connecting = 0;
        uint32_t open = 0;
        std::vector<Failure> failures; ///< the first is reported
        bool gives_up = false;         ///< more attempts would only take longer
    };

    bool has_room(const Connection& connection) const {
        return connection.state == State::open && connection.outstanding < setup.depth &&
               connection.unwritten == 0;
    }
    uint32_t index_of(const Connection& connection) const {
        return static_cast<uint32_t>(&connection - connections_.data());
    }
    /// An entry of the connection's ring, from the oldest on.
    Sent& entry(const Connection& connection, uint32_t place) {
        const uint32_t at = connection.oldest + place;
        return sent_
            [size_t{index_of(connection)} * setup.depth +
             (at < setup.depth ? at : at - setup.depth)];
    }

    std::optional<Failure> begin(Connection& connection);
    Cause finish_connecting(Connection& connection, uint32_t events);
    void open_some(uint64_t now_ns);
    void opened(Connection& connection, uint64_t now_ns);
    void opening_failed(const Failure& failure);
    Result<void> judge_opening() const;

    void receive(Connection& connection, uint32_t events, uint64_t now_ns);
    bool take(Connection& connection, std::span<const std::byte> piece, uint64_t now_ns);
    RequestTimes pop(Connection& connection, uint64_t count);
    void take_correct(Connection& connection, uint64_t count, uint64_t now_ns);
    void refill(Connection& connection);
    void push(Connection& connection, const RequestTimes& times, uint64_t count);
    void send_due(Connection& connection, uint64_t count);
    void write(Connection& connection);
    bool has_expired(Connection& connection, uint64_t now_ns);
    void broken(
        Connection& connection, Outcome outcome, uint64_t now_ns,
        const std::optional<Cause>& cause = {});
    void reopen(Connection& connection, uint64_t now_ns);
    void close(Connection& connection);

    LoadPattern pattern_;
    AnswerShape shape_;
    std::vector<Connection> connections_;
    std::unique_ptr<Sent[]> sent_; ///< a ring of `depth` for each connection
    std::vector<std::byte> buffer_;
    RoundRobin ready_;
    RetryQueue retries_;
    std::unique_ptr<Opening> opening_; ///< while open() runs
};

} // namespace riposte::client
