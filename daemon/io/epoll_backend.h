// The backend that runs everywhere: readiness from epoll(7), bytes by recv(2) and send(2).
//
// A connection is registered once, edge-triggered for both directions, and the backend remembers
// its readiness, so that arming and stopping a stream costs no system call; a short read shows that
// the socket is drained without another one. Listeners and datagram sockets are registered
// level-triggered and exclusive (several workers may share one) while their stream is armed.
//
// Work is bounded: per turn, at most `buffers_per_turn` reads of a connection, `accepts_per_turn`
// connections of a listener, one batch of datagrams of a socket. A socket with more to do stays in
// `ready_` and continues in the next turn, which then does not wait.
//
// A connection that sends much gets its replies while its bytes are in the cache: a turn ends after
// half a buffer of one connection, which then comes first in the next turn, at most
// `preferred_turns_max` times in a row. With several streams at once, that costs less CPU time than
// serving a piece of each in rotation.
//
// Spinning is repeated epoll_wait(2) with a timeout of 0: a system call each time, but a short one,
// which takes no lock while nothing is ready.
#pragma once

#include "common/error.h"
#include "common/fd.h"
#include "daemon/io/backend.h"
#include "daemon/io/datagram_socket.h"
#include "daemon/io/fifo.h"
#include "daemon/io/outbox.h"

#include <array>
#include <memory>
#include <vector>

#include <sys/epoll.h>

namespace riposte {

class EpollBackend final : public Backend {
public:
    static constexpr int buffers_per_turn = 4;
    static constexpr uint32_t accepts_per_turn = 32;
    static constexpr int preferred_turns_max = 4;
    /// Bytes are sent while they are still in the cache; with a larger window they would not be.
    static constexpr uint32_t stream_window_buffers = 2;

    static Result<std::unique_ptr<Backend>> open(Pools pools);

    /// The most memory that descriptors below this number need: the table grows by doubling, and
    /// then exists twice; a connection has an event or two and a place in the queue, which grow by
    /// doubling, too.
    static constexpr uint64_t memory_bytes(uint64_t descriptors) noexcept {
        return descriptors * (3 * sizeof(State) + 6 * sizeof(Event) + 3 * sizeof(int));
    }
    ~EpollBackend() override;

    size_t turn(std::span<const Op> ops, std::span<Event> events, Wait wait) noexcept override;
    void reserve(uint32_t descriptors, uint32_t datagram_sockets) override;
    void wake() noexcept override;

private:
    /// The state of one fd; the fd number is the index.
    struct State {
        Op stream{.kind = OpKind::stop}; ///< accept, receive or receive_from; valid while `armed`
        Op send{.kind = OpKind::send};   ///< valid while `sending`
        uint32_t left = 0; ///< receive: bytes until the stream ends; accept: at most in this turn
        bool armed : 1 = false;
        bool sending : 1 = false;
        bool registered : 1 = false;
        bool readable : 1 = false; ///< connection: not known to be drained since the last edge
        /// Connection: FIN, error or urgent data: a short read proves nothing. Datagram socket: its
        /// error queue is not empty.
        bool ending : 1 = false;
        bool in_ready : 1 = false;
    };

    EpollBackend(Pools pools, Fd epoll, Fd wake);

    void apply(std::span<const Op> ops);
    void start_stream(const Op& op);
    void start_send(const Op& op);
    void stop_stream(int fd);
    void abort_fd(int fd);
    void close_fd(const Op& op);
    void release_fd(const Op& op);
    void forget_fd(int fd);

    void wait_for_events(Wait wait);
    int poll_kernel(int timeout_ms);
    void record_readiness(int fd, uint32_t epoll_events);
    void serve_ready(size_t events_max);
    void accept_some(int fd, State& state);
    uint32_t receive_some(int fd, State& state); ///< returns the bytes received
    void prefer(int fd);
    void receive_datagrams(int fd, State& state);
    void try_send(int fd, State& state);

    State& state(int fd);
    bool watch(int fd, State& state, uint32_t epoll_events);
    void end_stream(int fd, State& state, int32_t result, BufferId buffer = no_buffer);
    void make_ready(int fd, State& state);
    bool has_ready() const noexcept { return first_ >= 0 || !ready_.empty(); }

    Pools pools_;
    Fd epoll_;
    Fd wake_;
    DatagramBatch datagrams_;
    std::vector<State> states_;
    Fifo<int> ready_;
    int first_ = -1;          ///< ready, and served before all of `ready_`; -1: none
    int preferred_ = -1;      ///< becomes `first_` when it is ready again; -1: none
    int preferred_turns_ = 0; ///< in a row
    Outbox outbox_;
    bool polled_ = true; ///< the last turn polled the kernel; false: this one must
    std::array<epoll_event, 256> epoll_events_{};
};

} // namespace riposte
