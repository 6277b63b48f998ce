// One TCP connection: its state, every transition of it, and advance(), the one function that
// decides what happens next.
//
//     free -> open -> finishing -> closing -> free
//              |         |            |
//              +---------+------------+--> aborting -> free
//              |
//              +--> releasing -> free
//
//   open       bytes go both ways. `finish_requested`: no more is added to what is pending.
//   finishing  everything pending was sent and our FIN followed; the peer's input is read and
//              discarded until its FIN comes. Closing earlier would meet unread input, for which
//              the kernel sends RST, and the peer could lose the end of the reply.
//   closing    the connection is over; its stream is stopped.
//   aborting   the connection failed; the kernel ends by force what is in flight.
//   releasing  the next process continues the connection: everything that was read is answered
//              and sent, nothing is in flight, and the backend is told to forget the fd.
//
// Invariants. The state and what is in flight are private: only the transitions change them, the
// state in connection.cpp alone, and each asserts what must hold before it. There is one way out:
// the stream stops (or ends by force), the connection waits for what is in flight, the fd is closed
// (or released), and only then is the slot free; begin_close() and vacate() assert it.
//
// `handing_off` is the way to `releasing`: the stream is stopped, and what it had read is answered
// and sent. A connection that ends meanwhile, by the peer's FIN, by its service or by an error,
// ends as any other.
#pragma once

#include "daemon/io/backend.h"
#include "daemon/services/service.h"
#include "daemon/tcp/send_queue.h"
#include "daemon/tcp/source_table.h"

#include <cassert>
#include <cstdint>
#include <memory>

namespace riposte {

struct ListenerSlot;

enum class ConnectionState : uint8_t { free, open, finishing, aborting, closing, releasing };

/// The bytes since a time, from which a rate follows (transfer_rate.h).
struct RateWindow {
    uint32_t since_ms = 0; ///< low bits of the clock; 0: no window is open
    uint32_t bytes = 0;    ///< stays at its maximum
};

struct Connection {
    static constexpr uint32_t not_looked = UINT32_MAX; ///< for `unacknowledged`

    // State, and what is in flight.

    ConnectionState state() const noexcept { return state_; }
    bool is_open() const noexcept { return state_ == ConnectionState::open; }
    bool is_finishing() const noexcept { return state_ == ConnectionState::finishing; }
    bool is_free() const noexcept { return state_ == ConnectionState::free; }
    /// Its end is decided; what still comes for it changes nothing.
    bool is_over() const noexcept {
        return state_ == ConnectionState::aborting || state_ == ConnectionState::closing;
    }
    /// May it still be aborted? Not when it was, and not when its fd leaves already.
    bool may_abort() const noexcept {
        return state_ != ConnectionState::aborting && state_ != ConnectionState::releasing &&
               !close_given_;
    }

    bool receiving() const noexcept { return receiving_; }     ///< a receive stream is in flight
    bool stopping() const noexcept { return stopping_; }       ///< ... and was told to stop
    bool sending() const noexcept { return sending_; }         ///< the first pending chunk is
    bool close_given() const noexcept { return close_given_; } ///< the close is in flight
    bool in_flight() const noexcept { return receiving_ || sending_ || close_given_; }

    /// Does the peer wait for us: for bytes, or for what the service still has to say?
    bool reply_pending() const noexcept { return pending.bytes > 0 || generating || farewell_due; }

    // Transitions.

    /// free -> open, as a connection of the next generation.
    void open(int new_fd, const SourceKey& from, uint16_t from_port) noexcept;
    /// open -> finishing: our FIN is given.
    void finish() noexcept;
    /// open, finishing -> closing: no reset is needed, nothing is pending.
    void leave() noexcept;
    /// open, finishing, closing -> aborting.
    void abort() noexcept;
    /// open -> releasing: the release is given.
    void release() noexcept;
    /// closing, aborting, releasing -> free: the fd is gone.
    void vacate() noexcept;

    void begin_receive() noexcept {
        assert((is_open() || is_finishing()) && !receiving_);
        receiving_ = true;
    }
    void begin_stop() noexcept {
        assert(receiving_ && !stopping_);
        stopping_ = true;
    }
    void end_receive() noexcept {
        assert(receiving_);
        receiving_ = stopping_ = false;
    }
    void begin_send() noexcept {
        assert(is_open() && !sending_ && pending.head != no_buffer);
        sending_ = true;
    }
    void end_send() noexcept {
        assert(sending_);
        sending_ = false;
    }
    /// The last operation on the fd, when nothing else is in flight for it.
    void begin_close() noexcept {
        assert(is_over() && !in_flight());
        close_given_ = true;
    }
    void end_close() noexcept {
        assert(close_given_);
        close_given_ = false;
    }

private:
    ConnectionState state_ = ConnectionState::free;
    bool receiving_ : 1 = false;
    bool stopping_ : 1 = false;
    bool sending_ : 1 = false;
    bool close_given_ : 1 = false;

public:
    bool generating : 1 = false;           ///< the service has more to say by itself
    bool peer_finished : 1 = false;        ///< the peer's FIN came
    bool farewell_due : 1 = false;         ///< ... and the service does not know it yet
    bool finish_requested : 1 = false;     ///< FIN as soon as nothing is pending
    bool starved : 1 = false;              ///< waits for a buffer to be released
    bool heard : 1 = false;                ///< something came, or nothing needs to
    bool evicted : 1 = false;              ///< gives its place to another connection
    uint8_t starved_rank : 2 = 0;          ///< in which order the starved are woken, from 0 on
    bool answered : 1 = false;             ///< bytes of ours were sent
    bool handing_off : 1 = false;          ///< released as soon as nothing is pending or in flight
    ServiceKind kind = ServiceKind::hello; ///< of `service`; its listener may serve another by now

    int fd = -1; ///< leaves through the seam, by close or release
    uint32_t generation = 0;
    ListenerSlot* listener = nullptr; ///< that accepted it; lives longer than the connection. Null:
                                      ///< adopted, and no listener of its service is left
    SendQueue pending{};              ///< what the peer is still to be sent
    std::shared_ptr<const Service>
        service{}; ///< from its accept to its end, whatever a reload does
    StreamState service_state{};
    SourceKey source{};                             ///< the peer's address
    uint16_t source_port = 0;                       ///< host byte order
    uint32_t unacknowledged = not_looked;           ///< at the last look since progress_ms
    uint32_t read_from_unacknowledged = not_looked; ///< when `peer_reads` began, if it is known
    RateWindow peer_sends{};                        ///< what came from the peer
    RateWindow peer_reads{};   ///< what was sent while something was pending without a break
    uint64_t unchanged_ms = 0; ///< since then each look found the same
    uint64_t progress_ms = 0;  ///< when the peer last did something, as far as was seen
};

enum class Step : uint8_t {
    wait,     ///< for an event
    farewell, ///< tell the service of the peer's FIN; needs a buffer
    generate, ///< let the service write; needs a buffer
    send,     ///< the first pending chunk
    receive,  ///< up to the window
    finish,   ///< FIN, and to `finishing`
    leave,    ///< to `closing`
    stop,     ///< the receive stream
    close,
    release, ///< to `releasing`
};

/// Pure: what to do now. The caller does it, updates the connection, and asks again until `wait`.
/// `window_bytes` is how much may be pending.
Step advance(const Connection& connection, uint32_t window_bytes) noexcept;

} // namespace riposte
