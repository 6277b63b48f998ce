// The harness of a conformance case: one backend, its pools, sockets for it, and peers that the
// case controls. It is the same for the kernel's backends and the simulated one, so that a case is
// written once, in terms of operations, events, and what a peer observes.
//
// A case waits only for events that must come, with a limit far beyond any reasonable delay; to
// check that something does not come, it makes a few short turns.
#pragma once

#include "build_features.h"
#include "daemon/io/backend.h"
#include "tests/sim/sim_network.h"

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <doctest/doctest.h>

namespace riposte::test {

/// The addresses that a datagram socket is bound to.
enum class Bound : uint8_t { ipv4, ipv6, any_ipv4, dual_stack };

/// A connection: our descriptor, our token for it, and the peer at its other end.
struct Link {
    int fd = -1;
    Token token{};
    int peer = -1;
};

using Bytes = std::vector<std::byte>;

/// A sequence whose parts all differ.
Bytes pattern(size_t size, uint64_t from = 0);

class Harness {
public:
    static constexpr uint32_t stream_buffers = 16;
    static constexpr uint32_t stream_buffer_bytes = 4096;
    static constexpr uint32_t datagram_buffers = 48;
    static constexpr Token accept_token{1, 1};

    Harness();
    virtual ~Harness() = default;
    Harness(const Harness&) = delete;
    Harness& operator=(const Harness&) = delete;

    /// Opens the backend. Returns the reason if this machine does not support it; else "".
    virtual std::string open() = 0;
    Backend& backend() { return *backend_; }
    bool has_backend() const { return backend_ != nullptr; }
    void destroy_backend() { backend_.reset(); }
    BufferPool& streams() { return streams_; }
    DatagramPool& datagrams() { return datagrams_; }

    // Our own sockets. The harness closes those that the case leaves open.
    virtual int listen() = 0;
    virtual int datagram_socket(Bound bound) = 0;
    virtual bool has_ipv6() = 0;
    virtual bool is_open(int fd) = 0;
    /// Opening any further descriptor fails until permit_descriptors().
    virtual void refuse_descriptors() = 0;
    virtual void permit_descriptors() = 0;
    /// Whether a peer's actions end a turn's wait; if not, only wake() does.
    virtual bool peers_wake() const = 0;

    // Peers. None of these functions waits: results are sizes, 0 at EOF, or -errno.
    virtual int connect(int listener) = 0;
    virtual int32_t peer_send(int peer, std::span<const std::byte> bytes) = 0;
    virtual int32_t peer_receive(int peer, std::span<std::byte> bytes) = 0;
    virtual void peer_finish(int peer) = 0;
    virtual void peer_reset(int peer) = 0;

    /// Moves a connection that the backend has released to another descriptor, which is returned,
    /// as if another process had it: `fd` is free afterwards.
    virtual int pass_on(int fd) = 0;
    /// Reads what the kernel holds of a connection that the backend does not know: size, or -errno.
    virtual int32_t read_directly(int fd, std::span<std::byte> bytes) = 0;
    /// Gives the backend a released connection again, as one that it has never seen.
    virtual void bring_back(int fd) = 0;

    /// Makes a client that sends requests to `address` ("127.0.0.2", "::1") of the datagram socket.
    virtual int requester(int fd, const std::string& address) = 0;
    /// Sends a request; with `segment_bytes`, a train of datagrams of this size. False if the
    /// machine has no trains.
    virtual bool request(
        int requester, std::span<const std::byte> bytes, uint16_t segment_bytes = 0) = 0;
    /// Makes a requester that sends one datagram. Returns the requester.
    int send_request(int fd, const std::string& address, std::span<const std::byte> bytes);
    virtual SocketAddress requester_address(int requester) = 0;
    virtual SocketAddress requested_address(int requester) = 0;
    /// The next reply: `peer` is the requester, `local` the address that the reply came from.
    virtual std::optional<sim::Datagram> reply_to(int requester) = 0;
    /// Makes a reply from this buffer fail at once.
    virtual void block_reply(BufferId buffer) = 0;
    virtual void permit_replies() {} ///< after that, if it concerns other replies, too
    /// Puts an ICMP error into the error queue of our datagram socket. False: it has none.
    virtual bool provoke_error(int fd) = 0;
    /// Is there something in the error queue?
    virtual bool has_errors(int fd) = 0;

    // Turns of the backend.
    void submit(const Op& op) { ops_.push_back(op); }
    /// One turn with the submitted operations; the harness keeps events until a case asks for them.
    size_t turn(std::chrono::milliseconds sleep = std::chrono::milliseconds(0));
    size_t turn(Wait wait);
    /// Each wait that a case does not choose itself begins with a spin of this length.
    void spin_first(std::chrono::microseconds spin) { spin_first_ = spin; }
    /// The maximum number of events that a turn may write.
    void set_span(size_t size) { span_ = size; }
    /// The next event of this kind and token; turns until it comes. Fails the case if it does not.
    Event expect(OpKind kind, Token token);
    /// The same, if it comes within a few turns.
    std::optional<Event> poll_for(OpKind kind, Token token);
    /// The next event of any kind and token.
    Event next();
    /// Whether no event comes within a few turns.
    bool quiet();
    std::string describe_waiting() const;

    // Steps that most cases share.
    /// Makes a connection, accepted by an accept stream, which stays armed.
    Link link(int listener);
    /// Accepts a connection; arms the stream first if it is not armed.
    int accept(int listener);
    /// Ends the accept stream.
    void stop_accept(int listener);
    void receive(const Link& link, uint32_t size);
    /// Takes the bytes of a receive event and releases its buffer.
    Bytes take(const Event& event);
    /// Receives until `size` bytes came or the stream ended; `end` is the result that ended it,
    /// else 1.
    Bytes receive_all(const Link& link, size_t size, int32_t& end);
    /// Starts to send a pattern of `size` bytes; the backend owns the buffer until the event.
    BufferId send(const Link& link, uint32_t size, uint64_t from = 0, bool more = false);
    void send_rest(
        const Link& link, BufferId buffer, uint32_t offset, uint32_t size, bool more = false);
    void release(BufferId buffer) { streams_.move(buffer, Owner::worker, Owner::pool); }
    void close(const Link& link);
    void release_connection(const Link& link); ///< until its event has come
    /// Receives as a peer until `size` bytes came or the stream ended; `end` as above.
    Bytes peer_receive_all(int peer, size_t size, int32_t& end);
    void peer_send_all(int peer, std::span<const std::byte> bytes);
    int peer_end(int peer); ///< reads until the end: 0 or -errno

protected:
    /// Called when the backend gives the descriptor of an accepted connection.
    virtual void accepted(int /*fd*/) {}
    Pools pools() { return {streams_, datagrams_}; }

    void set_backend(std::unique_ptr<Backend> backend) { backend_ = std::move(backend); }

private:
    BufferPool streams_;
    DatagramPool datagrams_;
    std::unique_ptr<Backend> backend_; ///< declared after the pools that it uses
    std::vector<Op> ops_;
    std::vector<Event> waiting_;
    size_t span_ = 256;
    std::chrono::microseconds spin_first_{0};
    uint32_t next_slot_ = 10;
    int accepting_ = -1; ///< the listener whose accept stream is armed
};

std::unique_ptr<Harness> make_simulated();
std::unique_ptr<Harness> make_epoll();
std::unique_ptr<Harness> make_uring();
std::unique_ptr<Harness> make_uring_uncapped();                      ///< as on a kernel before 6.17
std::unique_ptr<Harness> make_uring_coop();                          ///< as on a kernel before 6.1
std::unique_ptr<Harness> spinning(std::unique_ptr<Harness> harness); ///< before it sleeps

struct Simulated {
    static std::unique_ptr<Harness> make() { return make_simulated(); }
};
struct Epoll {
    static std::unique_ptr<Harness> make() { return make_epoll(); }
};
struct Uring {
    static std::unique_ptr<Harness> make() { return make_uring(); }
};
struct UringUncapped {
    static std::unique_ptr<Harness> make() { return make_uring_uncapped(); }
};
struct UringCoop {
    static std::unique_ptr<Harness> make() { return make_uring_coop(); }
};
struct EpollSpinning {
    static std::unique_ptr<Harness> make() { return spinning(make_epoll()); }
};
struct UringSpinning {
    static std::unique_ptr<Harness> make() { return spinning(make_uring()); }
};
struct UringCoopSpinning {
    static std::unique_ptr<Harness> make() { return spinning(make_uring_coop()); }
};

} // namespace riposte::test

TYPE_TO_STRING_AS("simulated", riposte::test::Simulated);
TYPE_TO_STRING_AS("epoll", riposte::test::Epoll);
TYPE_TO_STRING_AS("io_uring", riposte::test::Uring);
TYPE_TO_STRING_AS("io_uring without capped receive", riposte::test::UringUncapped);
TYPE_TO_STRING_AS("io_uring without deferred task run", riposte::test::UringCoop);
TYPE_TO_STRING_AS("epoll that spins first", riposte::test::EpollSpinning);
TYPE_TO_STRING_AS("io_uring that spins first", riposte::test::UringSpinning);
TYPE_TO_STRING_AS(
    "io_uring without deferred task run that spins first", riposte::test::UringCoopSpinning);

/// The backends of this build.
#if RIPOSTE_HAVE_IO_URING
#define CONFORMANCE_SUBJECTS                                                                       \
    riposte::test::Simulated, riposte::test::Epoll, riposte::test::EpollSpinning,                  \
        riposte::test::Uring, riposte::test::UringUncapped, riposte::test::UringCoop,              \
        riposte::test::UringSpinning, riposte::test::UringCoopSpinning
#else
#define CONFORMANCE_SUBJECTS                                                                       \
    riposte::test::Simulated, riposte::test::Epoll, riposte::test::EpollSpinning
#endif

/// A case that every backend must pass; each is a test of its own. The body gets `Harness&
/// harness`.
#define CONFORMANCE_CASE(name) CONFORMANCE_CASE_NAMED(name, DOCTEST_ANONYMOUS(conformance_case_))
#define CONFORMANCE_CASE_NAMED(name, body)                                                         \
    static void body(riposte::test::Harness& harness);                                             \
    TEST_CASE_TEMPLATE(name, Subject, CONFORMANCE_SUBJECTS) {                                      \
        const std::unique_ptr<riposte::test::Harness> subject = Subject::make();                   \
        const std::string reason = subject->open();                                                \
        if (!reason.empty())                                                                       \
            SKIP(reason);                                                                          \
        body(*subject);                                                                            \
    }                                                                                              \
    static void body(riposte::test::Harness& harness)
