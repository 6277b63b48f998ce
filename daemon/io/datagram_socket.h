// Datagrams in batches, with the address that each one was sent to: recvmmsg(2) and sendmmsg(2).
//
// Both kernel backends use this; the io_uring one waits for readiness through its ring and then
// comes here.
// Replies leave from the address that was asked (IP_PKTINFO, IPV6_PKTINFO; ip(7), ipv6(7)).
#pragma once

#include "daemon/io/backend.h"
#include "daemon/io/outbox.h"

#include <cstdint>
#include <memory>
#include <span>

namespace riposte {

class DatagramBatch {
public:
    static constexpr uint32_t batch_max = 32;

    explicit DatagramBatch(DatagramPool& pool);
    ~DatagramBatch();

    struct Received {
        int32_t result = 0; ///< how many datagrams, or -errno (-EAGAIN: none is there)
        bool more = false;  ///< the batch was full: there may be more
    };
    /// Up to `datagrams.size()` datagrams, each in a buffer that is the backend's; `datagrams`
    /// says which and how long. -ENOBUFS if the pool is empty.
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
    struct Messages;
    void send_run(std::span<const Op> ops, std::span<Event> events) noexcept;

    DatagramPool& pool_;
    std::unique_ptr<Messages> messages_;
};

} // namespace riposte
