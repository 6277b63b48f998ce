// The prober of UDP: ping_udp.cpp. A protocol of its own (ping_stamp.h) has other datagrams on the
// same sockets.
#pragma once

#include "client/net/receive_time.h"
#include "client/net/reply_header.h"
#include "client/ping/prober.h"

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

namespace riposte::client {

class UdpProber : public Prober {
public:
    UdpProber(ProberSettings given, EventLoop& its_loop, ProbeListener& its_listener);

    Result<void> prepare() override;
    Result<void> send(uint64_t due_ns) override;
    Result<void> ready(ProberTag tag, uint32_t events) override;
    Result<void> expire(uint64_t now_ns) override;
    uint64_t next_deadline_ns() const override { return next_expiry_ns(); }
    void finish() override;
    void update() override;

protected:
    /// The datagram that is sent as that probe.
    virtual std::span<const std::byte> payload(uint64_t sequence) {
        return account().payload(sequence);
    }
    /// A datagram came: what it means, if the listener shall know.
    virtual std::optional<ProbeOutcome> take(
        std::span<const std::byte> bytes, ReceiveTime received, const ReplyHeader& header);
    /// The probe that an ICMP error quotes, if it can be identified.
    virtual std::optional<uint64_t> quoted(std::span<const std::byte> bytes) {
        return account().quoted(bytes);
    }
    /// Sends what is no probe, if there is a socket: 0 or errno.
    int send_aside(std::span<const std::byte> bytes);

private:
    /// One flow, or all probes.
    struct Socket {
        uint64_t flow = 0; ///< its number
        Fd fd;
        uint16_t port = 0; ///< with --flows: the local one
        ArrivalClock datagrams_clock;
        ArrivalClock errors_clock;
    };

    std::vector<Socket> make_sockets() const;
    Result<void> leave_address() override;
    /// What keeps the socket from being connected; `error` 0: nothing, it is.
    Result<Cause> open(Socket& socket);
    Result<void> open_flows();
    Socket& socket_of(uint64_t sequence) { return sockets_[(sequence - 1) % sockets_.size()]; }
    void transmit(uint64_t sequence);
    void send_failed(uint64_t sequence, const Cause& cause);
    void receive(Socket& socket, uint64_t until_ns);
    bool receive_one(Socket& socket, ReceiveTime& received);
    void read_errors(Socket& socket);
    bool read_error(Socket& socket);
    void read_waiting(uint64_t now_ns);
    const Socket* any_open() const;
    bool is_known_too_big() const;
    void give_up_expired(uint64_t now_ns);

    Target target_; ///< of the socket that is opened: with its port
    std::vector<Socket> sockets_;
    uint64_t generation_ = 0;   ///< of `sockets_`, for the tags
    std::vector<Socket> older_; ///< of the address before, while its probes are under way,
    uint64_t older_last_ = 0;   ///< which are those up to this one
    Cause last_error_;          ///< the latest ICMP error
    std::optional<Cause> path_too_small_; ///< the latest ICMP error that said so
    uint32_t link_mtu_ = 0;               ///< of this machine's link, when it was too small
};

} // namespace riposte::client
