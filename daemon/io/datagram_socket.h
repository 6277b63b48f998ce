// Datagrams in batches, with the address that each one was sent to: recvmmsg(2) and sendmmsg(2).
//
// Both kernel backends use this; the io_uring one waits for readiness through its ring and then
// comes here.
//
// Trains: what the kernel has joined (UDP_GRO) stays together on its way through the worker, and
// goes out as one message (UDP_SEGMENT), as do answers that follow each other to one peer. See
// datagram_train.h. Segmentation can be refused when it comes to sending, whatever setsockopt(2)
// said: EIO where the route can not have it (no checksum offload, IPsec), and then the socket sends
// one by one from there on; EINVAL or EMSGSIZE where a datagram is larger than the path's packets,
// and then that message goes one by one, for a datagram on its own may be fragmented.
//
// Addresses: a socket that is bound to one address answers from it anyway. Where it is bound to
// all, the kernel tells the address that was asked (IP_PKTINFO, IPV6_PKTINFO; ip(7), ipv6(7)), and
// the reply says to leave from there. Such a socket is also reached by broadcast and multicast, and
// then DatagramInfo::to_group says so. Of IPv4 the kernel tells two addresses, the one that was
// asked and the one of ours that would answer (ip(7), ipi_addr and ipi_spec_dst): where they
// differ, the first belongs to a group, be it the broadcast address of some subnet whose mask only
// the kernel knows.
//
// Buffers for the next batch are taken in advance and kept, so that a call costs what arrives and
// not what could arrive. Kept ones are the backend's; the pool's others are enough for nobody to
// starve, because all sockets of a backend receive into the same ones.
#pragma once

#include "daemon/io/backend.h"
#include "daemon/io/datagram_train.h"
#include "daemon/io/outbox.h"

#include <array>
#include <cstdint>
#include <memory>
#include <span>

#include <sys/socket.h>

namespace riposte {

class DatagramBatch {
public:
    static constexpr uint32_t batch_max = 32;

    /// sendmmsg(2), or what a test puts into its place.
    using SendMessages = int (*)(int fd, mmsghdr* messages, unsigned count, int flags);

    explicit DatagramBatch(DatagramPool& pool, SendMessages send_messages = ::sendmmsg);
    /// What it keeps stays the backend's, who gives everything back.
    ~DatagramBatch();

    struct Received {
        int32_t result = 0; ///< how many datagrams and trains, or -errno (-EAGAIN: none is there)
        bool more = false;  ///< the batch was full: there may be more
    };
    /// Up to `datagrams.size()` datagrams or trains, each in a buffer that is the backend's;
    /// `datagrams` says which and how long. -ENOBUFS if there is no buffer.
    struct Datagram {
        BufferId buffer;
        uint32_t size;
    };
    Received receive(int fd, std::span<Datagram> datagrams) noexcept;

    /// Sends the replies at the front of `ops` that leave by the same socket, puts an event for
    /// each into `outbox`, and returns how many these were (the first one is a send_to). Never
    /// waits.
    size_t send(std::span<const Op> ops, Outbox& outbox) noexcept;

private:
    struct Incoming;
    struct Outgoing;

    void refill() noexcept;
    void put_in_place(uint32_t place, BufferId buffer) noexcept;
    void send_run(std::span<const Op> ops, std::span<Event> events) noexcept;
    uint32_t prepare(
        std::span<const Op> ops, TrainPlace from, TrainPlace single_until, bool segments) noexcept;
    void write_header(uint32_t index, std::span<const Op> ops) noexcept;
    bool sends_singly(Token token) const noexcept;
    void send_singly(Token token) noexcept;

    DatagramPool& pool_;
    SendMessages send_messages_;
    std::unique_ptr<Incoming> in_;
    std::unique_ptr<Outgoing> out_;
    /// Sockets on which segmentation failed, by their listener's token, because descriptors are
    /// used again. The oldest is forgotten, which costs it one more failure.
    std::array<Token, 16> single_{};
    uint32_t single_count_ = 0; ///< ever
};

} // namespace riposte
