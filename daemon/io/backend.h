// THE seam between protocol and kernel.
//
// The worker above decides, the backend below moves bytes; two virtual functions stand between
// them. Each turn of a worker's loop is one call: operations go in, events come out. There are
// three backends (io_uring, epoll and the simulated one of the tests), and one suite
// (tests/conformance) runs the same cases against all of them. A behaviour that differs by backend
// means that the seam is in the wrong place.
//
// The contract:
//
//  1. Every operation that has events (see OpKind) ends with exactly one event that has `last` set;
//     only streams have events before it. Backends never re-arm a stream. A backend may end a
//     stream with any of its events, whenever that is cheaper; the worker re-arms it.
//  2. A buffer has one owner at a time: pool -> backend -> worker -> backend (send) -> worker ->
//     pool. The pool asserts each move. An event with a buffer passes it to the worker; a send or
//     send_to passes it to the backend, and its event passes it back.
//  3. At most one `send` is in flight per connection: two would reorder bytes when a peer reads
//     late. A send may be short; the worker sends the rest, so that the simulator tests production
//     code. -EINTR means that nothing has happened, and the worker repeats the operation, be it a
//     send or a receive: stopping the process interrupts a kernel thread that waits on a ring's
//     behalf.
//  4. An empty pool ends a receive stream with -ENOBUFS. The worker re-arms a starved stream at
//     once, unless it holds every buffer itself or has them in sends; then it re-arms the stream
//     when it releases one. Anything else loses a wake-up, or spins until a slow peer reads. (A
//     backend may hold free buffers in advance, so an empty pool does not mean that all buffers
//     are in use.)
//  5. `stop` ends only a stream: events that were under way still come, then the last one, with
//     -ECANCELED unless something else ended the stream first. turn() performs `finish` and `abort`
//     before anything else and never queues them: a queued one could hit an unrelated socket that
//     got the same fd number. The worker gives `close` and `release` only when nothing is in flight
//     for that fd.
//  6. Every fd that came out of `accept` leaves through the seam, a refused connection's too: by
//     `close`, or by `release`, which closes nothing. After the event of a release the backend has
//     forgotten the fd: bytes that arrive stay in the kernel, nothing that happens on the fd wakes
//     the backend, and the number may return as another connection. A connection that another
//     process accepted, non-blocking like ours, is equal to one of our own from its first operation
//     on.
//  7. `send_to` never waits: -EAGAIN means that the datagram was dropped, and the worker counts it.
//     Of a train some datagrams may be sent and others not; the event has the number of bytes sent.
//  8. Identity is slot + generation (Token), never the fd number, which the kernel reuses.
//  9. Backends never shut down or close a listener: its owner is elsewhere, and other workers and
//     other processes may share it.
// 10. A send_to whose DatagramInfo has `timed` also asks when the kernel passed the datagram to the
//     device. If that may become known, its event comes back with `timed` and a `transmit_id`, and
//     a `transmitted` event with this id may follow: later than the send_to's own, out of order,
//     after the listener has left, or never. It belongs to no operation and is never the last event
//     of one. Ids of one token repeat only after 2^31 of them.
//
// Datagrams may arrive and leave as trains: several of one size, the last of which may be shorter,
// in one buffer (UDP_GRO, UDP_SEGMENT; udp(7)). DatagramInfo::segment_bytes marks a train that
// arrived, Op::segment_bytes one to send; the peer sees single datagrams either way. A backend may
// also join neighbouring `send_to` operations into one train, but each gets its own event.
//
// A `receive` stream ends when Op::size bytes were delivered (or more, by less than one buffer, if
// the kernel cannot stop exactly there): that is the backpressure. The event that carried the last
// bytes is then the last one.
#pragma once

#include "daemon/io/buffer_pool.h"

#include <cassert>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <span>

namespace riposte {

enum class OpKind : uint8_t {
    // Streams: many events, until one says last.
    accept,       ///< fd: listening socket; events: a connected, close-on-exec fd, or -errno
    receive,      ///< fd: connection; events: bytes in a stream buffer, 0 at EOF, or -errno
    receive_from, ///< fd: datagram socket; events: a datagram (0 is a real size) or train, or
                  ///< -errno
    // One event each, which is the last.
    send,    ///< bytes [offset, offset + size) of a stream buffer; event: bytes sent, or -errno
    send_to, ///< `size` bytes of a datagram buffer to its DatagramInfo's peer; event: as for send
    close,   ///< event: 0 or -errno; the fd is closed either way
    release, ///< event: 0; the fd stays open and is the worker's alone: the backend has forgotten
             ///< it
    // No event of their own.
    stop,   ///< ends the stream `target` that was started with this token
    finish, ///< shutdown(fd, SHUT_WR): FIN after what was sent
    abort,  ///< RST to the peer (no FIN before it); operations in flight on fd end with an error
    // An event alone.
    transmitted, ///< result: the transmit_id of a datagram; time_ns: when the device got it
};

/// The connection or listener that an operation is for. 20 bits each, so that a backend can pack
/// both with the kind and a buffer into the 64 bits of a completion.
struct Token {
    static constexpr uint32_t bits = 20;
    static constexpr uint32_t max = (uint32_t{1} << bits) - 1;

    uint32_t slot = 0;
    uint32_t generation = 0;

    bool operator==(const Token&) const = default;
};

struct Op {
    OpKind kind;
    OpKind target = OpKind::stop; ///< stop only: accept, receive or receive_from
    bool more = false;            ///< send: finish or close follows at once (MSG_MORE)
    uint16_t segment_bytes = 0;   ///< send_to: of a train, less than `size`; 0: one datagram
    Token token{};
    int fd = -1;
    BufferId buffer = no_buffer; ///< send, send_to
    uint32_t offset = 0;         ///< send
    uint32_t size = 0;           ///< send, send_to: bytes; receive: the cap, at least 1
};

struct Event {
    OpKind kind;
    Token token;
    int32_t result;              ///< size, fd or 0; or -errno
    BufferId buffer = no_buffer; ///< receive, receive_from with data; send, send_to
    bool last = true;
    uint64_t time_ns = 0; ///< transmitted: of CLOCK_REALTIME, since 1970
};

/// How long a turn without events waits.
struct Wait {
    std::chrono::milliseconds sleep;   ///< at most, spin included; negative: no limit; 0: no wait
    std::chrono::microseconds spin{0}; ///< the first part of it, polling instead of sleeping

    /// Time left to sleep after an unsuccessful spin; negative: no limit.
    std::chrono::microseconds after_spin() const noexcept {
        assert(sleep.count() < 0 || spin <= sleep);
        return sleep.count() < 0 ? sleep : sleep - spin;
    }
};

class Backend {
public:
    /// `window_buffers`: how many stream buffers of pending replies a connection may hold for
    /// streams to cost the least CPU time; at least 1. The worker decides how many it grants.
    explicit Backend(uint32_t window_buffers) noexcept : window_buffers_(window_buffers) {}
    Backend(const Backend&) = delete;
    Backend& operator=(const Backend&) = delete;
    /// Forgets the operations in flight and frees the buffers that it owns.
    virtual ~Backend() = default;

    /// Takes every operation, then writes events and returns their number; events that do not fit
    /// come with the next call. Waits only if it has none. Spinning instead of sleeping trades CPU
    /// time for latency and changes nothing else: whatever ends a sleep ends a spin. Returns early,
    /// perhaps with no event, after wake().
    virtual size_t turn(std::span<const Op> ops, std::span<Event> events, Wait wait) noexcept = 0;

    /// Reserves memory for descriptors below `descriptors` and for `datagram_sockets` sockets that
    /// receive datagrams, so that no turn has to allocate any. Exceeding them is not an error, only
    /// slower. Throws std::bad_alloc, and then nothing has changed.
    virtual void reserve(uint32_t descriptors, uint32_t datagram_sockets);

    /// Ends the wait of the current turn, or of the next one. The only member that another thread
    /// may call.
    virtual void wake() noexcept = 0;

    uint32_t window_buffers() const noexcept { return window_buffers_; }

private:
    const uint32_t window_buffers_;
};

inline void Backend::reserve(uint32_t /*descriptors*/, uint32_t /*datagram_sockets*/) {}

/// The buffers that a worker and its backend pass to each other.
struct Pools {
    BufferPool& streams;     ///< for receive and send
    DatagramPool& datagrams; ///< for receive_from and send_to
};

} // namespace riposte
