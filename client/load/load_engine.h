// What the transports of a load run have in common, and the seam between them and its phases.
//
// The run (load_run.h) owns time: it waits, says what time it is, and calls the engine; the engine
// owns the sockets, takes requests from the schedule and reports their outcomes to the account. A
// call of the engine serves a batch of events, so that none of these virtual calls is made for
// each request.
//
// Clock readings on the way of a request: one for a batch, right after the wait, which is when its
// answers had arrived, however long they wait in this process (over UDP the kernel says when;
// load_udp.h); and one before each send, which
// would otherwise lie up to a whole batch in the past and be counted as the server's. The latter
// costs 20 to 30 ns of the 4,000 or more that a request takes.
#pragma once

#include "client/load/load_account.h"
#include "client/load/load_schedule.h"
#include "client/net/connect.h"
#include "client/net/event_loop.h"

#include <cstdint>
#include <deque>
#include <optional>
#include <span>
#include <vector>

namespace riposte::client {

/// The pause between a connection that broke or failed, and the next attempt.
inline constexpr uint64_t retry_ns = 10'000'000;

struct LoadSetup {
    Target target;
    SocketAddress address; ///< the one of the target's that is loaded
    uint32_t connections = 1;
    uint32_t depth = 1;     ///< outstanding on each; not of an open loop over UDP
    uint64_t under_way = 1; ///< on each at a time, most likely: the size of its buffers
    uint32_t request_bytes = 1;
    uint32_t answer_bytes = 1;
    bool echo = true;    ///< what comes back is what was sent
    bool compare = true; ///< byte for byte, if it is an echo
    bool closes = false; ///< the peer ends the stream after an answer
    uint64_t timeout_ns = 0;
    uint64_t seed = 0;
};

/// What an engine works with; the references outlive it.
struct LoadContext {
    const LoadSetup& setup;
    EventLoop& loop;
    LoadSchedule& schedule;
    LoadAccount& account;
    bool quiet = false; ///< no live line
};

/// Does this socket have an event that the loop has not delivered yet? Then nothing on it has
/// expired: what came is judged first.
bool has_event(int fd);

class LoadEngine {
public:
    explicit LoadEngine(const LoadContext& context)
        : setup(context.setup), loop(context.loop), schedule(context.schedule),
          account(context.account), timeout_ns_(context.setup.timeout_ns) {}
    virtual ~LoadEngine() = default;
    LoadEngine(const LoadEngine&) = delete;
    LoadEngine& operator=(const LoadEngine&) = delete;

    /// Opens what is open before the first request.
    virtual Result<void> open() = 0;
    /// The schedule has started: a closed loop sends its first requests, an open one has room.
    virtual void start() = 0;
    virtual void handle(std::span<const epoll_event> events, uint64_t now_ns) = 0;
    /// Sends what is due and has room; opens again what broke.
    virtual void pump(uint64_t now_ns) = 0;
    /// The next time for pump(), beside those of the schedule; UINT64_MAX: none.
    virtual uint64_t next_pump_ns() const = 0;
    /// Called every few tens of milliseconds: expires requests whose timeout has passed.
    virtual void sweep(uint64_t now_ns) = 0;
    /// Sending is over. Takes the answers that have arrived, under the timeout in force until now.
    virtual void take_arrivals(uint64_t /*now_ns*/) {}
    /// From now on a request that is not answered within that time of its sending is lost.
    void set_timeout(uint64_t timeout_ns) { timeout_ns_ = timeout_ns; }
    /// Called once after the last answer: looks at what else came.
    virtual void finish() {}

protected:
    /// Connecting or sending failed: counts a request with this cause, so that the failure shows in
    /// the counts. In an open loop only if one is due.
    void charge(uint64_t now_ns, const Cause& cause);
    /// Takes the request whose turn it is in an open loop, to be sent at `now_ns`.
    RequestTimes take_due(uint64_t now_ns);
    uint64_t timeout_ns() const { return timeout_ns_; }

    const LoadSetup& setup;
    EventLoop& loop;
    LoadSchedule& schedule;
    LoadAccount& account;

private:
    uint64_t timeout_ns_;
};

/// The connections that have room, in the order in which they got it, each of them once.
class RoundRobin {
public:
    explicit RoundRobin(uint32_t connections) : ring_(connections), queued_(connections) {}

    bool empty() const { return size_ == 0; }
    uint32_t size() const { return size_; }
    void push(uint32_t index) {
        if (queued_[index] != 0)
            return;
        queued_[index] = 1;
        const uint32_t end = first_ + size_++;
        ring_[end < ring_.size() ? end : end - static_cast<uint32_t>(ring_.size())] = index;
    }
    uint32_t pop() {
        const uint32_t index = ring_[first_];
        first_ = first_ + 1 < ring_.size() ? first_ + 1 : 0;
        size_--;
        queued_[index] = 0;
        return index;
    }

private:
    std::vector<uint32_t> ring_;
    std::vector<uint8_t> queued_;
    uint32_t first_ = 0;
    uint32_t size_ = 0;
};

/// Connections that are retried after `retry_ns`.
class RetryQueue {
public:
    void push(uint32_t index, uint64_t now_ns) { queue_.push_back({now_ns + retry_ns, index}); }
    /// The next one whose time has come.
    std::optional<uint32_t> pop(uint64_t now_ns) {
        if (queue_.empty() || queue_.front().at_ns > now_ns)
            return std::nullopt;
        const uint32_t index = queue_.front().index;
        queue_.pop_front();
        return index;
    }
    uint64_t next_ns() const { return queue_.empty() ? UINT64_MAX : queue_.front().at_ns; }

private:
    struct Retry {
        uint64_t at_ns;
        uint32_t index;
    };
    std::deque<Retry> queue_;
};

} // namespace riposte::client
