// Load over UDP: connected sockets, each with a tracker of its requests (load_datagrams.h).
//
// In an open loop due requests leave, whatever the outcome of earlier ones; only the memory for
// outstanding requests is limited (outstanding_max). In a closed loop each socket has `depth`
// places: a request keeps its own until it is answered, or until three times the retransmission
// timeout of the round trips so far (round_trip_timer.h), at most -W, have passed; then the next
// one has the place, and the answer may still come. So a datagram that is lost holds a socket up
// for some round trips, and no request is called lost before its time.
//
// What is due on a socket leaves in one sendmmsg(2), what has come is taken by one recvmmsg(2).
// Events are edge-triggered, and a socket is read only while answers are awaited from it: with one
// request outstanding that is one recv(2) an answer. An unexpected datagram, such as a duplicate,
// stays in the socket until the next read, or the last one. ICMP errors come by the error queue
// (IP_RECVERR), where they quote the datagram that they are about.
//
// The kernel's timestamp of a datagram decides whether it arrived within the timeout, and gives its
// latency, however late it is read (this process may have been stopped). Timestamps cost some 6 to
// 10% of the CPU time of a request.
#pragma once

#include "client/load/load_datagrams.h"
#include "client/load/load_engine.h"
#include "client/load/round_trip_timer.h"
#include "client/net/receive_time.h"
#include "common/fd.h"

#include <array>
#include <queue>

#include <sys/socket.h>
#include <sys/uio.h>

namespace riposte::client {

/// From the oldest request that waits to the newest, over all sockets together (or four times
/// `depth` for each); 24 bytes each, rounded up to a power of two for each socket.
inline constexpr uint64_t outstanding_max = uint64_t{1} << 22;

class UdpLoad final : public LoadEngine {
public:
    explicit UdpLoad(const LoadContext& context);

    Result<void> open() override;
    void start() override;
    void handle(std::span<const epoll_event> events, uint64_t now_ns) override;
    void pump(uint64_t now_ns) override;
    uint64_t next_pump_ns() const override;
    void sweep(uint64_t now_ns) override;
    void take_arrivals(uint64_t now_ns) override;
    void finish() override;

private:
    struct Socket {
        Fd fd;
        DatagramTracker tracker;
        RoundTripTimer timer = {};
        ArrivalClock datagrams_clock = {};
        ArrivalClock errors_clock = {};
        bool paused = false;  ///< closed loop: after an error, for a while
        bool watched = false; ///< closed loop: is in `looks_`
    };

    /// When a socket's places are to be looked at.
    struct Look {
        uint64_t at_ns;
        uint32_t index;
        bool operator>(const Look& other) const { return at_ns > other.at_ns; }
    };

    /// Messages of a fixed size for recvmmsg(2) or sendmmsg(2).
    struct Batch {
        Batch(size_t message_bytes, size_t messages);
        std::span<std::byte> message(size_t index) {
            return {bytes.data() + index * message_bytes, message_bytes};
        }

        size_t message_bytes;
        std::vector<std::byte> bytes;
        std::vector<iovec> pieces;
        std::vector<mmsghdr> headers;
    };

    /// Room for the times of each message.
    struct alignas(cmsghdr) Control {
        std::array<std::byte, 96> bytes;
    };

    uint32_t index_of(const Socket& socket) const {
        return static_cast<uint32_t>(&socket - sockets_.data());
    }

    int receive(Socket& socket, size_t wanted);
    void receive_all(Socket& socket, bool to_the_end, uint64_t now_ns);
    void take(Socket& socket, std::span<const std::byte> bytes, uint64_t received_ns);
    void expire(Socket& socket, uint64_t now_ns);
    bool is_known_too_big() const;
    bool take_error(Socket& socket);
    void take_errors(Socket& socket, int error, uint64_t now_ns);
    void has_room(Socket& socket);
    uint64_t patience_ns(const Socket& socket) const;
    void watch(Socket& socket);
    void give_up_places(Socket& socket, uint64_t now_ns);
    void send(Socket& socket, uint64_t count);
    void send_batch(Socket& socket, size_t count);
    void pause(Socket& socket, uint64_t now_ns);

    Fd stamping_; ///< keeps it switched on
    DatagramShape shape_;
    std::vector<Socket> sockets_;
    Batch in_;
    std::vector<Control> controls_; ///< of the messages in `in_`
    Batch out_;
    std::vector<ProbeHeader> probes_; ///< of the messages in `out_`
    std::vector<std::byte> scratch_;
    Cause last_error_; ///< the latest ICMP error
    Cause too_small_;  ///< the latest error with the MTU of a link that is too small
    RoundRobin ready_; ///< open loop: sockets with room
    RetryQueue retries_;
    std::priority_queue<Look, std::vector<Look>, std::greater<>> looks_;
};

} // namespace riposte::client
