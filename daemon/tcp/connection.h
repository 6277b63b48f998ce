// One TCP connection: its state, and advance(), the one function that decides what happens next.
//
//     free -> open -> finishing -> closing -> free
//              | \---------\----> aborting ----^
//              \--> releasing -----------------^
//
//   open       bytes go both ways. `finish_requested`: no more is added to what is owed.
//   finishing  everything owed was sent and our FIN followed; the peer's input is read and thrown
//              away until its FIN comes. Closing earlier would meet unread input, for which the
//              kernel sends RST, and the peer could lose the end of the answer.
//   aborting   something failed; what is in flight is being ended by force.
//   closing    the connection is over; the fd is closed as soon as nothing is in flight for it, and
//              the slot is free when the close has been confirmed.
//   releasing  the connection is to live on in the next process: everything that was read is
//              answered and sent, nothing is in flight, and the slot is free when the backend has
//              said that it knows the fd no more.
//
// `handing_over` is the way there: no more is read (the stream is told to stop), and what it had
// read is answered and sent. Whoever ends meanwhile, by the peer's FIN, the service's word or an
// error, ends as always.
#pragma once

#include "daemon/io/backend.h"
#include "daemon/services/service.h"
#include "daemon/tcp/send_queue.h"
#include "daemon/tcp/source_table.h"

#include <cstdint>
#include <memory>

namespace riposte {

struct ListenerSlot;

enum class ConnectionState : uint8_t { free, open, finishing, aborting, closing, releasing };

/// What came or went since a time, to know a rate.
struct RateWindow {
    uint32_t since_ms = 0; ///< low bits of the clock; 0: none is open
    uint32_t bytes = 0;    ///< stays at its maximum
};

struct Connection {
    ConnectionState state = ConnectionState::free;
    bool receiving : 1 = false;        ///< a receive stream is in flight
    bool stopping : 1 = false;         ///< ... and was told to stop
    bool sending : 1 = false;          ///< the first chunk of what is owed is in flight
    bool close_given : 1 = false;      ///< the close is in flight
    bool generating : 1 = false;       ///< the service has more to say by itself
    bool peer_finished : 1 = false;    ///< the peer's FIN came
    bool farewell_due : 1 = false;     ///< ... and the service was not told yet
    bool finish_requested : 1 = false; ///< FIN when nothing is owed any more
    bool starved : 1 = false;          ///< waits for a buffer to be released
    bool heard : 1 = false;            ///< something came, or nothing needs to
    bool evicted : 1 = false;          ///< closing, so that somebody else can have its place
    uint8_t starved_rank : 2 = 0;      ///< ... and who is woken first, from 0 on
    bool answered : 1 = false;         ///< bytes of ours were sent
    bool handing_over : 1 = false;     ///< to be released as soon as nothing is owed or in flight
    ServiceKind kind = ServiceKind::hello; ///< of `service`; what its listener serves may be new

    int fd = -1;
    uint32_t generation = 0;
    ListenerSlot* listening = nullptr; ///< where it was accepted; lives longer than the connection.
                                       ///< Null: adopted, and nobody serves it any more
    SendQueue owed{};
    std::shared_ptr<const Service>
        service{}; ///< from its accept to its end, whatever a reload does
    StreamState service_state{};
    SourceKey source{};                   ///< the peer's address
    uint16_t source_port = 0;             ///< host byte order
    uint32_t unacknowledged = UINT32_MAX; ///< when last looked; max: not yet since progress_ms
    uint32_t taking_unacknowledged = 0;   ///< when `taking` began; max: not known
    RateWindow arriving{};                ///< what the peer sends
    RateWindow taking{};                  ///< what we sent while something was owed without a break
    uint64_t unchanged_ms = 0;            ///< since then each look found the same
    uint64_t progress_ms = 0;             ///< when the peer last did something, as far as we saw
};

enum class Step : uint8_t {
    wait,     ///< for an event
    farewell, ///< tell the service of the peer's FIN; needs a buffer
    generate, ///< let the service write; needs a buffer
    send,     ///< the first chunk
    receive,  ///< up to the window
    finish,   ///< FIN, and to `finishing`
    leave,    ///< to `closing`
    stop,     ///< the receive stream
    close,
    release, ///< to `releasing`
};

/// Pure: what to do now. The caller does it, updates the connection, and asks again until `wait`.
/// `window_bytes` is how much the connection may owe.
Step advance(const Connection& connection, uint32_t window_bytes) noexcept;

} // namespace riposte
