// What a conformance case works with: one backend, its pools, sockets for it, and peers that the
// case plays itself. The same for the kernel's backends and the simulated one, so that a case is
// written once, in terms of operations, events, and what a peer sees.
//
// A case waits only for what must come, with a bound that is far beyond any reasonable delay; that
// something does not come is looked for during a few short turns.
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

/// Which addresses a datagram socket is bound to.
enum class Bound : uint8_t { ipv4, ipv6, any_ipv4, dual_stack };

/// A connection: our descriptor, our name for it, and the peer at its other end.
struct Link {
    int fd = -1;
    Token token{};
    int peer = -1;
};

using Bytes = std::vector<std::byte>;

/// A sequence in which no part can be taken for another.
Bytes pattern(size_t size, uint64_t from = 0);

class Bench {
public:
    static constexpr uint32_t stream_buffers = 16;
    static constexpr uint32_t stream_buffer_bytes = 4096;
    static constexpr uint32_t datagram_buffers = 48;
    static constexpr Token accept_token{1, 1};

    Bench();
    virtual ~Bench() = default;
    Bench(const Bench&) = delete;
    Bench& operator=(const Bench&) = delete;

    /// Opens the backend. The reason if this machine can not have it; else "".
    virtual std::string open() = 0;
    Backend& backend() { return *backend_; }
    bool has_backend() const { return backend_ != nullptr; }
    void destroy_backend() { backend_.reset(); }
    BufferPool& streams() { return streams_; }
    DatagramPool& datagrams() { return datagrams_; }

    // Sockets of ours. The bench closes what the case leaves.
    virtual int listen() = 0;
    virtual int datagram_socket(Bound bound) = 0;
    virtual bool has_ipv6() = 0;
    virtual bool is_open(int fd) = 0;
    /// No further descriptor can be had until permit_descriptors().
    virtual void refuse_descriptors() = 0;
    virtual void permit_descriptors() = 0;
    /// Does what a peer does end a turn's wait? Where it does not, only wake() does.
    virtual bool peers_wake() const = 0;

    // Peers. Nothing here waits: results are sizes, 0 at EOF, or -errno.
    virtual int connect(int listener) = 0;
    virtual int32_t peer_send(int peer, std::span<const std::byte> bytes) = 0;
    virtual int32_t peer_receive(int peer, std::span<std::byte> bytes) = 0;
    virtual void peer_finish(int peer) = 0;
    virtual void peer_reset(int peer) = 0;

    // What the backend has released. The number is free afterwards, the connection open under
    // another, which is returned: as when another process has it.
    virtual int pass_on(int fd) = 0;
    /// What waits in the kernel for a connection that the backend does not know: size, or -errno.
    virtual int32_t read_directly(int fd, std::span<std::byte> bytes) = 0;
    /// The backend has it again, as one that it has never seen.
    virtual void bring_back(int fd) = 0;

    /// Somebody who will ask the datagram socket at `address` ("127.0.0.2", "::1") of it.
    virtual int asker(int fd, const std::string& address) = 0;
    /// Asks; with `segment_bytes`, a train of datagrams of this size. False if the machine can not
    /// send one.
    virtual bool question(
        int asker, std::span<const std::byte> bytes, uint16_t segment_bytes = 0) = 0;
    /// Both: one datagram. Returns the asker.
    int ask(int fd, const std::string& address, std::span<const std::byte> bytes);
    virtual SocketAddress asker_address(int asker) = 0;
    virtual SocketAddress asked_address(int asker) = 0;
    /// What came back: `peer` is the asker, `local` the address that it came from.
    virtual std::optional<sim::Datagram> answer(int asker) = 0;
    /// Makes a reply from this buffer fail at once.
    virtual void block_answer(BufferId buffer) = 0;

    // Turning the backend.
    void give(const Op& op) { ops_.push_back(op); }
    /// One turn with what was given; events wait in the bench until a case asks for them.
    size_t turn(std::chrono::milliseconds sleep = std::chrono::milliseconds(0));
    size_t turn(Wait wait);
    /// Each wait that a case does not choose itself begins with a look of this length.
    void look_first(std::chrono::microseconds spin) { look_first_ = spin; }
    /// How many events a turn may write.
    void set_span(size_t size) { span_ = size; }
    /// The next event of this kind and token; turns until it is there. Fails the case if it does
    /// not come.
    Event expect(OpKind kind, Token token);
    /// The same if it is there after a few turns.
    std::optional<Event> look_for(OpKind kind, Token token);
    /// The next event, whatever it is.
    Event next();
    /// Is there no event at all, even after a few turns?
    bool quiet();
    std::string describe_waiting() const;

    // Steps that most cases share.
    /// A connection that was accepted by an accept stream, which stays armed.
    Link link(int listener);
    /// Accepts one; the stream is armed first if it is not.
    int accept(int listener);
    /// Ends the accept stream.
    void stop_accept(int listener);
    void receive(const Link& link, uint32_t size);
    /// Takes the bytes of a receive event and releases its buffer.
    Bytes take(const Event& event);
    /// Receives until `size` bytes came or the stream says something else, which is `end`.
    Bytes receive_all(const Link& link, size_t size, int32_t& end);
    /// Starts to send a pattern of `size` bytes; the buffer is the backend's until the event.
    BufferId send(const Link& link, uint32_t size, uint64_t from = 0, bool more = false);
    void send_rest(
        const Link& link, BufferId buffer, uint32_t offset, uint32_t size, bool more = false);
    void release(BufferId buffer) { streams_.move(buffer, Owner::worker, Owner::pool); }
    void close(const Link& link);
    void let_go(const Link& link); ///< release, to its event
    /// What a peer gets, until `size` bytes came or the stream says something else.
    Bytes peer_take(int peer, size_t size, int32_t& end);
    void peer_give(int peer, std::span<const std::byte> bytes);
    int peer_end(int peer); ///< reads until the end: 0 or -errno

protected:
    /// The backend gave a connection's descriptor to the case.
    virtual void accepted(int /*fd*/) {}
    Pools pools() { return {streams_, datagrams_}; }

    void set_backend(std::unique_ptr<Backend> backend) { backend_ = std::move(backend); }

private:
    BufferPool streams_;
    DatagramPool datagrams_;
    std::unique_ptr<Backend> backend_; ///< after the pools that it uses
    std::vector<Op> ops_;
    std::vector<Event> waiting_;
    size_t span_ = 256;
    std::chrono::microseconds look_first_{0};
    uint32_t next_slot_ = 10;
    int accepting_ = -1; ///< the listener whose accept stream is armed
};

std::unique_ptr<Bench> make_simulated();
std::unique_ptr<Bench> make_epoll();
std::unique_ptr<Bench> make_uring();
std::unique_ptr<Bench> make_uring_uncapped();                 ///< as on a kernel before 6.17
std::unique_ptr<Bench> make_uring_coop();                     ///< as on a kernel before 6.1
std::unique_ptr<Bench> looking(std::unique_ptr<Bench> bench); ///< before it sleeps

struct Simulated {
    static std::unique_ptr<Bench> make() { return make_simulated(); }
};
struct Epoll {
    static std::unique_ptr<Bench> make() { return make_epoll(); }
};
struct Uring {
    static std::unique_ptr<Bench> make() { return make_uring(); }
};
struct UringUncapped {
    static std::unique_ptr<Bench> make() { return make_uring_uncapped(); }
};
struct UringCoop {
    static std::unique_ptr<Bench> make() { return make_uring_coop(); }
};
struct EpollLooking {
    static std::unique_ptr<Bench> make() { return looking(make_epoll()); }
};
struct UringLooking {
    static std::unique_ptr<Bench> make() { return looking(make_uring()); }
};
struct UringCoopLooking {
    static std::unique_ptr<Bench> make() { return looking(make_uring_coop()); }
};

} // namespace riposte::test

TYPE_TO_STRING_AS("simulated", riposte::test::Simulated);
TYPE_TO_STRING_AS("epoll", riposte::test::Epoll);
TYPE_TO_STRING_AS("io_uring", riposte::test::Uring);
TYPE_TO_STRING_AS("io_uring without capped receive", riposte::test::UringUncapped);
TYPE_TO_STRING_AS("io_uring without deferred task run", riposte::test::UringCoop);
TYPE_TO_STRING_AS("epoll that looks first", riposte::test::EpollLooking);
TYPE_TO_STRING_AS("io_uring that looks first", riposte::test::UringLooking);
TYPE_TO_STRING_AS(
    "io_uring without deferred task run that looks first", riposte::test::UringCoopLooking);

/// The backends of this build.
#if RIPOSTE_HAVE_IO_URING
#define CONFORMANCE_SUBJECTS                                                                       \
    riposte::test::Simulated, riposte::test::Epoll, riposte::test::EpollLooking,                   \
        riposte::test::Uring, riposte::test::UringUncapped, riposte::test::UringCoop,              \
        riposte::test::UringLooking, riposte::test::UringCoopLooking
#else
#define CONFORMANCE_SUBJECTS                                                                       \
    riposte::test::Simulated, riposte::test::Epoll, riposte::test::EpollLooking
#endif

/// A case that every backend must pass; each is a test of its own. The body gets `Bench& bench`.
#define CONFORMANCE_CASE(name) CONFORMANCE_CASE_NAMED(name, DOCTEST_ANONYMOUS(conformance_case_))
#define CONFORMANCE_CASE_NAMED(name, body)                                                         \
    static void body(riposte::test::Bench& bench);                                                 \
    TEST_CASE_TEMPLATE(name, Subject, CONFORMANCE_SUBJECTS) {                                      \
        const std::unique_ptr<riposte::test::Bench> subject = Subject::make();                     \
        const std::string reason = subject->open();                                                \
        if (!reason.empty())                                                                       \
            SKIP(reason);                                                                          \
        body(*subject);                                                                            \
    }                                                                                              \
    static void body(riposte::test::Bench& bench)
