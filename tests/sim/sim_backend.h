// A backend over SimNetwork: the third backend, and the strictest.
//
// With faults off it is simple and prompt, and passes the same cases of the conformance suite as
// epoll and io_uring. With faults on, its seed makes every choice that the contract (backend.h)
// leaves to a backend: the order of completions of different sources, how many turns late each
// comes, chunk sizes, short sends, streams that end early, data that still comes after a stop, the
// moment in which a descriptor becomes free, errors. The order within one stream is kept.
//
// It also checks the worker's side of the contract: violation() has the first breach, and an
// operation that breaks the contract is not carried out. An operation counts as in flight until its
// last event was delivered, because a worker cannot know more. In each turn the backend counts the
// buffers that it owns: one that belongs to no operation or event is lost.
//
// It does not spin before it sleeps: here only time and other threads could bring an event.
//
// Buffers: like io_uring's provided ring it can keep some in stock (taken before each turn), or
// take one when it has bytes for it, like epoll.
#pragma once

#include "daemon/io/backend.h"
#include "tests/sim/sim_network.h"
#include "tests/sim/sim_random.h"

#include <condition_variable>
#include <cstdint>
#include <functional>
#include <map>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

namespace riposte::sim {

std::string describe(const Op& op);
std::string describe(const Event& event);

struct Faults {
    uint32_t delay_turns_max = 0; ///< each completion comes up to this many turns late
    bool any_order = false;       ///< completions of different sources come in any order
    // The rest are chances in percent.
    uint32_t small_chunk = 0;    ///< a receive or send of fewer bytes than possible
    uint32_t end_early = 0;      ///< a stream ends with an event that need not be its last
    uint32_t no_buffers = 0;     ///< a receive ends with -ENOBUFS for no reason
    uint32_t interrupted = 0;    ///< a receive or a send ends with -EINTR, and nothing has happened
    uint32_t peer_gone = 0;      ///< an accept finds a connection that was reset: -ECONNABORTED
    uint32_t accept_error = 0;   ///< -EMFILE, -ENFILE, -ENOBUFS or -ENOMEM
    uint32_t receive_error = 0;  ///< -ENOMEM and others that the peer did not cause
    uint32_t send_error = 0;     ///< likewise
    uint32_t datagram_error = 0; ///< a receive_from ends with -ENOMEM
    uint32_t dropped_answer = 0; ///< a datagram of a send_to is not sent, for any reason
    uint32_t no_transmit_time = 0; ///< when a timed datagram was transmitted is never reported

    static Faults none() { return {}; }
};

class SimBackend final : public Backend {
public:
    struct Settings {
        Faults faults;
        uint32_t window_buffers = 2;
        uint32_t stock = 0;          ///< stream buffers held in advance; 0: taken on demand
        uint32_t datagram_stock = 0; ///< datagram buffers likewise
        bool blocks = false;         ///< turn() really waits for wake() when nothing can happen
        bool trace = false;          ///< print every operation and event
        /// The kernel's wall clock, for times of transmission; without one there are none.
        std::function<uint64_t()> wall_ns{};
    };

    SimBackend(SimNetwork& network, Pools pools, uint64_t seed, const Settings& settings);
    ~SimBackend() override;

    size_t turn(std::span<const Op> ops, std::span<Event> events, Wait wait) noexcept override;
    void wake() noexcept override;

    /// How the worker broke the contract; "" if it did not.
    const std::string& violation() const { return violation_; }
    /// The last turn had no operations and no events, and none is pending: only time or a peer can
    /// change that. It would have slept for last_wait().
    bool idle() const { return idle_; }
    std::chrono::milliseconds last_wait() const { return last_wait_; }
    /// Whether a stream is armed or a reply is in flight on this listener.
    bool uses(int fd) const;
    /// Whether the worker has given this accepted descriptor a slot; not if it refused it.
    bool has_place(int fd) const;
    /// A connection that another process has accepted; see backend.h.
    void introduce(int fd) { handles_[fd] = {.serial = ++serial_, .announced = true}; }
    void set_faults(const Faults& faults) { settings_.faults = faults; }

private:
    /// One descriptor between its accept and its close.
    struct Handle {
        uint64_t serial = 0;    ///< identifies this use of the number
        bool announced = false; ///< the accept event was delivered
        std::optional<Token> token{};
        bool armed = false; ///< until the stream's last event was delivered
        bool ended = false; ///< its last event is pending
        bool stopping = false;
        Op stream{};
        uint32_t left = 0;
        bool sending = false; ///< until its event was delivered
        bool sent = false;    ///< its event is pending
        Op send{};
        bool held_back = false; ///< `more` was sent whole: the end has to follow at once
        bool finished = false;
        bool aborted = false;
        uint64_t abort_place = 0; ///< among all operations
        bool closing = false;
        uint64_t close_turn = 0;
        uint32_t answers = 0; ///< send_to in flight
        uint32_t timed = 0;   ///< datagrams with a transmit_id, ever
    };

    struct Pending {
        Event event;
        int fd;
        uint64_t serial;
        uint64_t due; ///< turn
    };

    void apply(const Op& op);
    void start_stream(const Op& op);
    void start_send(const Op& op);
    void send_datagram(const Op& op);
    int32_t send_datagrams(const Op& op);
    void time_datagram(const Op& op, Handle& handle, bool sent);
    void start_close(const Op& op);
    void release_fd(const Op& op);
    void stop_stream(const Op& op);
    void shut_down(const Op& op);

    void refill();
    BufferId take_buffer();
    BufferId take_datagram_buffer();
    void work();
    bool work_on(int fd, Handle& handle);
    bool end_stopped(int fd, Handle& handle);
    bool accept_one(int fd, Handle& handle);
    bool receive_one(int fd, Handle& handle);
    bool receive_data(int fd, Handle& handle);
    bool receive_datagram(int fd, Handle& handle);
    bool send_some(int fd, Handle& handle);
    bool close_now(int fd, Handle& handle);

    void count_buffers();
    size_t deliver(std::span<Event> events);
    void delivered(const Pending& pending);
    void complete(int fd, const Handle& handle, const Event& event);
    void end(int fd, Handle& handle, int32_t result, BufferId buffer = no_buffer);
    void sleep(std::chrono::milliseconds wait);

    Handle* connection(const Op& op);
    bool bind_token(const Op& op, Handle& handle);
    bool check_buffer(const BufferPool& pool, const Op& op);
    void violated(const Op& op, std::string_view what);
    bool by_chance(uint32_t percent) { return percent > 0 && random_.chance(percent); }
    bool by_chance(Fault fault, uint32_t percent);

    SimNetwork& network_;
    Pools pools_;
    Random random_;
    Settings settings_;
    std::map<int, Handle> handles_;
    std::vector<Pending> pending_;
    std::set<std::pair<uint32_t, uint32_t>> tokens_; ///< of every connection so far
    std::vector<BufferId> stock_;
    std::vector<BufferId> datagram_stock_;
    std::vector<uint32_t> datagram_sizes_; ///< by buffer: the size of its request
    std::vector<SocketAddress> asked_;     ///< by buffer: the local address of its request
    /// By buffer that is being sent: when its datagram was transmitted, to be reported; else 0.
    std::vector<uint64_t> transmitted_ns_;
    std::string violation_;
    uint64_t turn_ = 0;
    uint64_t place_ = 0; ///< of the current operation, among all
    uint64_t serial_ = 0;
    bool idle_ = false;
    std::chrono::milliseconds last_wait_{0};

    std::mutex mutex_;
    std::condition_variable woken_signal_;
    bool woken_ = false; ///< guarded by mutex_
};

} // namespace riposte::sim
