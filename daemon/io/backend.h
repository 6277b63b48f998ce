// THE seam between protocol and kernel.
//
// The worker above decides, the backend below moves bytes; between them stand two virtual
// functions. Each turn of a worker's loop is one call: operations go in, events come out. There are
// three backends, io_uring, epoll and the simulated one of the tests, and one suite
// (tests/conformance) that runs the same cases against all of them. A behaviour that differs by
// backend means that the seam is in the wrong place.
//
// The contract:
//
//  1. Every operation that has events (see OpKind) ends with exactly one event that says `last`;
//     only streams have events before it. Backends never re-arm by themselves. A backend may end a
//     stream with any of its events, whenever that is the cheaper thing; the worker re-arms.
//  2. A buffer has one owner at a time: pool -> backend -> worker -> backend (send) -> worker ->
//     pool. The pool asserts each move. An event with a buffer passes it to the worker; a send or
//     send_to passes it to the backend, and its event passes it back.
//  3. At most one `send` is in flight per connection: two reorder bytes when a peer reads late. A
//     send may be short; the rest is the worker's job, so that the simulator tests production code.
//     With -EINTR nothing has happened, and the worker gives the operation again; a receive, too: a
//     thread of the kernel's that waits on a ring's behalf is interrupted by a stop of the process.
//  4. An empty pool ends a receive stream with -ENOBUFS. A starved stream is re-armed at once,
//     unless every buffer is with the worker or in one of its sends: then when it releases one.
//     Anything else is a lost wake-up, or a loop that spins until a slow peer reads. (A backend may
//     keep free buffers at hand: that the pool has none left does not say that all are in use.)
//  5. `stop` ends only a stream: events that were on their way still come, then the last one, with
//     -ECANCELED unless something else ended it first. `finish` and `abort` are done before turn()
//     looks at anything else, never queued: a queued one can hit a foreign socket that got the same
//     fd number. `close` and `release` are given only when nothing is in flight for that fd.
//  6. Every fd that came out of `accept` leaves through the seam, a refused connection's too: by
//     `close`, or by `release`, which closes nothing. After the event of a release the backend
//     knows nothing of the fd any more: bytes that come stay in the kernel, whatever happens on it
//     wakes nobody, and the number may come again, as another connection. A connection that another
//     process accepted, non-blocking like ours, is as good as one of our own from its first
//     operation on.
//  7. `send_to` never waits: -EAGAIN means that the datagram was dropped, and the worker counts it.
//     Of a train some datagrams may go and others not; the event says how many bytes went.
//  8. Identity is slot + generation (Token), never the fd number, which the kernel uses again.
//  9. A listener is never shut down or closed here; its owner is elsewhere, and it may be shared
//     with other workers and other processes.
//
// Datagrams may come and go as trains: several of one size, the last of which may be shorter, in
// one buffer (UDP_GRO, UDP_SEGMENT; udp(7)). DatagramInfo::segment_bytes says so of what came,
// Op::segment_bytes of what goes; the peer sees single datagrams either way. A backend may also
// join neighbouring `send_to` operations into one train, but each gets its own event.
//
// A stream of `receive` ends when Op::size bytes were delivered (or more, by less than one buffer,
// if the kernel can not do better): that is the backpressure. Its last event is then the one that
// carried the last bytes.
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
    send,    ///< bytes [offset, offset + size) of a stream buffer; event: how many went, or -errno
    send_to, ///< `size` bytes of a datagram buffer to its DatagramInfo's peer; event likewise
    close,   ///< event: 0 or -errno; the fd is gone either way
    release, ///< event: 0; the fd is open, and the worker's alone: the backend has forgotten it
    // No event of their own.
    stop,   ///< ends the stream `target` that was started with this token
    finish, ///< shutdown(fd, SHUT_WR): FIN after what was sent
    abort,  ///< RST to the peer (no FIN before it); what is in flight on fd ends, with an error
};

/// Who an operation is for. 20 bits each, so that a backend can pack both with the kind and a
/// buffer into the 64 bits of a completion.
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
};

/// How a turn waits that has no event to tell.
struct Wait {
    std::chrono::milliseconds sleep;   ///< at most, in all; for ever if negative; 0: not at all
    std::chrono::microseconds spin{0}; ///< of that, at first, looking for events without sleeping

    /// What there is to sleep after a look in vain.
    std::chrono::microseconds rest() const noexcept {
        assert(sleep.count() < 0 || spin <= sleep);
        return sleep.count() < 0 ? sleep : sleep - spin;
    }
};

class Backend {
public:
    /// `window_buffers`: how much a connection may owe for streams to be cheapest, in stream
    /// buffers; at least 1. How much of it a worker grants is the worker's decision.
    explicit Backend(uint32_t window_buffers) noexcept : window_buffers_(window_buffers) {}
    Backend(const Backend&) = delete;
    Backend& operator=(const Backend&) = delete;
    /// Whatever is in flight is forgotten, and the buffers that it had are free again.
    virtual ~Backend() = default;

    /// Takes every operation, then returns how many events it wrote (what does not fit comes with
    /// the next call). Waits only if it has none. To look without sleeping trades CPU for time and
    /// changes nothing else: whatever ends a sleep ends a look. Returns early, perhaps with no
    /// event, after wake().
    virtual size_t turn(std::span<const Op> ops, std::span<Event> events, Wait wait) noexcept = 0;

    /// Memory for descriptors below `descriptors` and so many sockets that receive datagrams, so
    /// that no turn has to allocate any. More is no error, only slower. Throws std::bad_alloc, and
    /// then nothing has changed.
    virtual void reserve(uint32_t descriptors, uint32_t datagram_sockets);

    /// Ends the wait of a turn, now or the next one. The only member that another thread may call.
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
