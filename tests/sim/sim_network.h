// A kernel's sockets without the kernel, for one server and its peers.
//
// The simulated backend calls the near side, which looks like system calls: descriptors are small
// numbers, the lowest free one is reused first, errors are -errno. Peers call the far side. Nothing
// here is random and nothing waits: the callers choose which side acts when, and how much.
//
//   streams    bytes are in two bounded queues, one for each direction; a full one takes no more.
//              FIN comes after the bytes that were sent. RST overtakes them: what the other side
//              has not read by then is lost, which is the worst that TCP permits. Closing with
//              unread input, and sending to a closed socket, cause RST.
//   datagrams  one bounded queue for each socket; each datagram has its peer and the local address.
#pragma once

#include "common/address.h"
#include "tests/sim/sim_faults.h"

#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <span>
#include <vector>

namespace riposte::sim {

/// "127.0.0.SOURCE:PORT"
SocketAddress ipv4_address(uint8_t source, uint16_t port);
/// "[fd00::SOURCE]:PORT"
SocketAddress ipv6_address(uint8_t source, uint16_t port);
bool same(const SocketAddress& a, const SocketAddress& b);

struct Datagram {
    SocketAddress peer;
    SocketAddress local; ///< our address that the request was sent to
    std::vector<std::byte> bytes;
    uint16_t segment_bytes = 0; ///< of a request: a train of datagrams of this size
    bool cut = false;           ///< the kernel could not report all that came with a request
    bool to_group = false; ///< a request to a broadcast or multicast address, received at `local`
    uint64_t received_ns = 0;    ///< of a request: the kernel's time; 0: it has none
    uint8_t ttl = 0;             ///< likewise
    uint8_t traffic_class = 0;   ///< of a request as it arrived, of a measured answer as it left
    uint64_t transmitted_ns = 0; ///< of a timed answer: when it left
};

/// First in, first out; `bytes()` are those in the queue.
class ByteQueue {
public:
    std::span<const std::byte> bytes() const { return std::span(data_).subspan(begin_); }
    size_t size() const { return data_.size() - begin_; }
    void push(std::span<const std::byte> bytes);
    size_t pop(std::span<std::byte> to);
    void clear();

private:
    std::vector<std::byte> data_;
    size_t begin_ = 0;
};

struct Stream {
    int listener = -1; ///< the descriptor that it was made to
    int fd = -1;       ///< of our side, while it is open
    SocketAddress peer;
    ByteQueue to_server;
    ByteQueue to_peer;
    uint64_t read = 0;          ///< bytes that our side read
    uint64_t written = 0;       ///< bytes that our side wrote
    bool peer_finished = false; ///< FIN is behind to_server
    bool peer_closed = false;   ///< the peer will not read to_peer
    bool peer_reset = false;    ///< RST came from the peer
    bool finished = false;      ///< our FIN is behind to_peer
    bool aborted = false;       ///< close will send RST
    bool closed = false;        ///< our side is closed
    bool server_reset = false;  ///< RST went to the peer
};

using StreamId = uint32_t;

class SimNetwork {
public:
    struct Sizes {
        uint32_t to_server_bytes = 16 * 1024;
        uint32_t to_peer_bytes = 16 * 1024;
        uint32_t backlog = 4096;
        uint32_t datagrams = 4096; ///< that wait at a socket
        int descriptors = 20'000;  ///< accept fails with -EMFILE above
    };

    explicit SimNetwork(const Sizes& sizes);
    SimNetwork() : SimNetwork(Sizes{}) {}

    // The owner of the listeners.
    int listen();
    int open_datagram_socket();
    /// Connections that wait in its backlog are reset.
    void close_listener(int fd);
    void set_descriptors(int count) { sizes_.descriptors = count; }

    // The far side.
    std::optional<StreamId> connect(int listener, const SocketAddress& peer);
    /// The number of bytes taken; after a RST, or to a closed socket, all are taken and lost.
    size_t peer_send(StreamId id, std::span<const std::byte> bytes);
    /// Size, 0 at EOF, -EAGAIN, -ECONNRESET.
    int32_t peer_receive(StreamId id, std::span<std::byte> bytes);
    void peer_finish(StreamId id);
    void peer_close(StreamId id);
    void peer_reset(StreamId id);
    /// False if the socket is closed or its queue is full: the datagram is lost. It overtakes this
    /// number of queued datagrams.
    bool ask(int fd, Datagram datagram, uint32_t overtakes = 0);
    uint32_t datagrams_waiting(int fd) const {
        return static_cast<uint32_t>(entry(fd).datagrams.size());
    }
    /// The datagrams that our side sent, oldest first; the caller removes them.
    std::deque<Datagram>& answers() { return answers_; }

    // The near side.
    bool is_listener(int fd) const { return kind_of(fd) == Kind::listener; }
    bool is_datagram_socket(int fd) const { return kind_of(fd) == Kind::datagrams; }
    bool is_stream(int fd) const { return kind_of(fd) == Kind::stream; }
    int accept(int listener); ///< -EAGAIN, -EMFILE
    /// Removes the oldest connection from the backlog and resets it, as if its peer had given up.
    bool lose_oldest(int listener);
    int32_t receive(int fd, std::span<std::byte> bytes); ///< 0 at EOF, -EAGAIN, -ECONNRESET
    bool readable(int fd) const;
    int32_t send(int fd, std::span<const std::byte> bytes); ///< -EAGAIN, -EPIPE
    bool writable(int fd) const;
    void finish(int fd);
    void abort(int fd); ///< shutdown both ways; close() will send RST
    int32_t close(int fd);
    /// Moves the connection to another number, as if to another process; `fd` is free.
    int pass_on(int fd);
    Datagram receive_from(int fd); ///< only if has_datagram()
    bool has_datagram(int fd) const { return !entry(fd).datagrams.empty(); }
    bool has_connection(int fd) const { return !entry(fd).backlog.empty(); }
    void send_to(Datagram answer);

    const Stream& stream(StreamId id) const { return *streams_[id]; }
    const Stream& stream_of(int fd) const { return *streams_[entry(fd).stream]; }
    uint32_t streams() const { return static_cast<uint32_t>(streams_.size()); }
    /// Descriptors of connections that are open on our side.
    uint32_t open_streams() const { return open_streams_; }
    int descriptors_used() const;
    /// Grows with every action: while it is constant, nothing happens.
    uint64_t activity() const { return activity_; }
    /// The code that injects a fault counts it here.
    FaultCounts& faults() { return faults_; }

private:
    enum class Kind : uint8_t { free, listener, stream, datagrams };

    struct Entry {
        Kind kind = Kind::free;
        StreamId stream = 0;
        std::deque<StreamId> backlog{};
        std::deque<Datagram> datagrams{};
    };

    Kind kind_of(int fd) const;
    const Entry& entry(int fd) const { return entries_[static_cast<size_t>(fd)]; }
    Entry& entry(int fd) { return entries_[static_cast<size_t>(fd)]; }
    int open(Kind kind);
    Stream& at(int fd) { return *streams_[entry(fd).stream]; }
    void reset_peer(Stream& stream);

    Sizes sizes_;
    std::vector<Entry> entries_;
    std::vector<std::unique_ptr<Stream>> streams_;
    std::deque<Datagram> answers_;
    uint32_t open_streams_ = 0;
    uint64_t activity_ = 0;
    FaultCounts faults_;
};

} // namespace riposte::sim
