// The backend that runs everywhere: readiness from epoll(7), bytes by recv(2) and send(2).
//
// A connection is registered once, edge-triggered for both directions, and its readiness is
// remembered here, so that arming and stopping a stream costs no system call; a short read says
// that the socket is drained without another one. Listeners and datagram sockets are registered
// level-triggered and exclusive (several workers may share one), while their stream is armed.
//
// Work is bounded: per turn, at most `buffers_per_turn` reads of a connection, `accepts_per_turn`
// connections of a listener, one batch of datagrams of a socket. What has more to do is remembered
// in `ready_` and goes on in the next turn, which then does not wait.
//
// Who sends much is answered while its bytes are in the cache: a turn ends with half a buffer of
// one connection, and that one is the first in the next, `stays_max` times in a row. Where several
// stream at once, that costs less CPU time than to take a piece of each in turn.
//
// A look without sleeping is epoll_wait(2) without a timeout, again and again: a system call each
// time, but a short one, that takes no lock while nothing is ready.
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
    static constexpr int stays_max = 4;
    /// What it receives it sends while it is hot in the cache: more would only be colder.
    static constexpr uint32_t stream_window_buffers = 2;

    static Result<std::unique_ptr<Backend>> open(Pools pools);

    /// At most, with descriptors below this number: the table doubles, and while it does there are
    /// two; a connection has an event or two, and a place in the queue, both of which double, too.
    static constexpr uint64_t memory_bytes(uint64_t descriptors) noexcept {
        return descriptors * (3 * sizeof(State) + 6 * sizeof(Event) + 3 * sizeof(int));
    }
    ~EpollBackend() override;

    size_t turn(std::span<const Op> ops, std::span<Event> events, Wait wait) noexcept override;
    void reserve(uint32_t descriptors, uint32_t datagram_sockets) override;
    void wake() noexcept override;

private:
    /// What is known of one fd; index is the fd number.
    struct State {
        Op stream{.kind = OpKind::stop}; ///< accept, receive or receive_from while `armed`
        Op send{.kind = OpKind::send};   ///< while `sending`
        uint32_t left = 0; ///< receive: bytes until the stream ends; accept: how many in this turn
        bool armed : 1 = false;
        bool sending : 1 = false;
        bool registered : 1 = false;
        bool readable : 1 = false; ///< connection: since the last edge, not known to be drained
        bool ending : 1 = false;   ///< FIN, error or urgent data: a short read proves nothing
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
    void forget(int fd);

    void wait_for_events(Wait wait);
    int ask_kernel(int timeout_ms);
    void note(int fd, uint32_t epoll_events);
    void work(size_t room);
    void accept_some(int fd, State& state);
    uint32_t receive_some(int fd, State& state); ///< how many bytes
    void stay_with(int fd);
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
    int first_ = -1;      ///< comes before all of `ready_`
    int stays_with_ = -1; ///< gets to be `first_` when it has more
    int stays_ = 0;       ///< how often it was
    Outbox outbox_;
    bool looked_ = true; ///< the last turn asked the kernel; false: this one must
    std::array<epoll_event, 256> epoll_events_{};
};

} // namespace riposte
