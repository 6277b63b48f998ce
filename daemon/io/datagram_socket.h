// Receives and sends datagrams in batches (recvmmsg(2) and sendmmsg(2)), with the address of ours
// that each one was sent to.
//
// Both kernel backends use this; the io_uring one waits for readiness through its ring and then
// calls it.
//
// Trains: datagrams that the kernel has joined (UDP_GRO) stay together on their way through the
// worker and leave as one message (UDP_SEGMENT), and so do consecutive replies to one peer. See
// datagram_train.h. The kernel may refuse segmentation when sending, even though setsockopt(2)
// succeeded: with EIO where the route does not support it (no checksum offload, IPsec), and the
// socket then sends datagrams one by one from there on; with EINVAL or EMSGSIZE where a datagram is
// larger than the path's packets, and the datagrams of that message are then sent one by one,
// because a single datagram may be fragmented.
//
// Addresses: a socket that is bound to one address replies from it anyway. If it is bound to all
// addresses, the kernel reports the destination address (IP_PKTINFO, IPV6_PKTINFO; ip(7), ipv6(7)),
// and the reply requests it as its source. Broadcast and multicast also reach such a socket;
// DatagramInfo::to_group is then set. For IPv4 the kernel reports two addresses, the destination
// and the one of ours that a reply would leave from (ip(7), ipi_addr and ipi_spec_dst). If they
// differ, the destination is a group's address, which includes the broadcast address of a subnet
// whose mask only the kernel knows.
//
// Buffers for the next batch are taken in advance and held, so that the cost of a call depends on
// what arrives and not on what could arrive. The backend owns them. This cannot starve a socket,
// because all sockets of a backend receive into the same held buffers.
#pragma once

#include "daemon/io/backend.h"
#include "daemon/io/datagram_train.h"
#include "daemon/io/outbox.h"
#include "daemon/io/transmit_times.h"

#include <array>
#include <cstdint>
#include <memory>
#include <span>

#include <sys/socket.h>

namespace riposte {

class DatagramBatch {
public:
    static constexpr uint32_t batch_max = 32;

    /// sendmmsg(2), or a test's substitute.
    using SendMessages = int (*)(int fd, mmsghdr* messages, unsigned count, int flags);

    explicit DatagramBatch(DatagramPool& pool, SendMessages send_messages = ::sendmmsg);
    /// The held buffers stay the backend's, whose destructor frees them.
    ~DatagramBatch();

    struct Received {
        int32_t result = 0; ///< number of datagrams and trains, or -errno (-EAGAIN: none waits)
        bool more = false;  ///< the batch was full: more may be waiting
    };
    struct Datagram {
        BufferId buffer; ///< the backend's
        uint32_t size;   ///< bytes, of all datagrams of a train
    };
    /// Receives up to `datagrams.size()` datagrams or trains. -ENOBUFS if there is no buffer.
    Received receive(int fd, std::span<Datagram> datagrams) noexcept;

    /// The socket has something in its error queue: reads it, and puts an event for each time of
    /// transmission into `outbox`. Does not wait.
    void read_errors(Token token, int fd, Outbox& outbox) noexcept {
        transmit_times_.read(token, fd, outbox);
    }

    /// Sends the replies at the front of `ops` that leave by the same socket (the first operation
    /// is a send_to), puts an event for each into `outbox`, and returns their number. Never waits.
    size_t send(std::span<const Op> ops, Outbox& outbox) noexcept;

private:
    struct Incoming;
    struct Outgoing;

    void refill() noexcept;
    void put_in_place(uint32_t place, BufferId buffer) noexcept;
    void send_run(std::span<const Op> ops, std::span<Event> events) noexcept;
    uint32_t prepare(
        std::span<const Op> ops, TrainPosition from, TrainPosition single_until,
        bool segments) noexcept;
    void write_header(uint32_t index, std::span<const Op> ops) noexcept;
    void number_timed(
        std::span<const Op> ops, std::span<const TrainMessage> messages, uint32_t done,
        bool sent) noexcept;
    bool sends_singly(Token token) const noexcept;
    void send_singly(Token token) noexcept;

    DatagramPool& pool_;
    SendMessages send_messages_;
    std::unique_ptr<Incoming> in_;
    std::unique_ptr<Outgoing> out_;
    TransmitTimes transmit_times_;
    /// Sockets on which segmentation failed, by their listener's token, because descriptors are
    /// reused. A new entry overwrites the oldest, which costs that socket one more failure.
    std::array<Token, 16> single_{};
    uint32_t single_count_ = 0; ///< entries ever made
};

} // namespace riposte
