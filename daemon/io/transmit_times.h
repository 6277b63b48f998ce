// Asks the kernel when datagrams left, and reads its answers: the software timestamps of
// transmission (SO_TIMESTAMPING; Documentation/networking/timestamping.rst).
//
// A request is a control message of the datagram, so others cost nothing. The answer comes to the
// socket's error queue when a device takes the datagram: an empty message with the time and with
// the number of the request (SOF_TIMESTAMPING_OPT_ID, OPT_TSONLY), which the kernel counts from 0
// for each socket. That needs an option of the socket, which is set at its first request and makes
// the kernel report the time of arrival twice from then on.
//
// Some kernels count a request even if its datagram is then not sent. So after a failure the count
// begins anew: the option is set again, and times that were not read by then are lost. One that
// comes later still has a number of the old count, so the worker compares times, too
// (timed_answers.h).
//
// While the error queue has something, epoll and io_uring report the socket again and again, so a
// backend that sees an error reads the queue, whatever is in it. ICMP errors, which only an
// inherited socket may have asked for (IP_RECVERR), are read and dropped.
#pragma once

#include "daemon/io/backend.h"
#include "daemon/io/outbox.h"

#include <array>
#include <cstdint>

#include <linux/net_tstamp.h>

namespace riposte {

/// The content of the control message SO_TIMESTAMPING of a datagram with a request.
inline constexpr uint32_t transmit_time_request = SOF_TIMESTAMPING_TX_SOFTWARE;

class TransmitTimes {
public:
    /// Before a datagram with a request is sent. False: this socket cannot have any.
    bool begin(Token token, int fd) noexcept;
    /// The datagram was sent; the transmit_id of its time. begin() was true.
    uint32_t sent(Token token) noexcept;
    /// The datagram was not sent, or not yet.
    void failed(Token token) noexcept;

    /// Empties the socket's error queue and puts an event for each time into `outbox`.
    void read(Token token, int fd, Outbox& outbox) noexcept;

private:
    struct Socket {
        Token token{};
        bool used = false;
        bool counts = false;   ///< the kernel numbers requests from 0 on, since `first_id`
        uint32_t first_id = 0; ///< transmit_id of the kernel's number 0
        uint32_t requests = 0; ///< the kernel's next number
    };

    Socket* find(Token token) noexcept;

    /// Sockets with requests. One more takes the place of the oldest, whose times are then lost
    /// until its next request.
    std::array<Socket, 16> sockets_{};
    uint32_t places_used_ = 0; ///< ever
};

} // namespace riposte
