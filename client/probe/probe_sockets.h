// The sockets of a prober, which all its targets share: one a source port and family, not
// connected. Probes leave and arrivals are read in batches; arrivals have the kernel's time; errors
// of the network come from the error queue, with the address that the datagram was for.
//
// A socket that waits to be read does not wake the process: since arrivals have the kernel's time,
// the engine reads them when it sends anyway, which costs far fewer turns, and bounds how long they
// wait.
#pragma once

#include "client/net/event_loop.h"
#include "client/net/receive_time.h"
#include "client/probe/fleet.h"
#include "common/address.h"
#include "common/error.h"
#include "common/fd.h"

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

namespace riposte::client {

struct ProbeSocketSettings {
    std::vector<uint16_t> source_ports = {}; ///< empty: own_source_ports that the kernel chooses
    std::optional<uint8_t> dscp = {};
    uint32_t payload_bytes = 64;
};

class ProbeSockets {
public:
    /// Without fixed ports: each socket has a receive buffer of its own.
    static constexpr size_t own_source_ports = 16;
    /// Probes that leave by one call: the last of them leaves some 0.1 ms after its time of
    /// sending.
    static constexpr size_t batch_max = 16;

    /// Exit::usage if a port is taken, or if there is neither IPv4 nor IPv6.
    static Result<ProbeSockets> open(const ProbeSocketSettings& settings, Fleet& fleet);

    size_t ports() const { return ports_; }

    /// Sends a probe from that port (0 is the first), soon or in flush(). What cannot be sent is
    /// decided in the fleet.
    void send(Fleet::Slot slot, size_t port, uint64_t due_ns);
    void flush();

    /// Books what has arrived; nothing that came before `empty` waits any more. Returns the later
    /// moment of which that is now true, or `empty` if not all could be read.
    Clocks read(Clocks empty);

    /// Datagrams that the kernel dropped because a socket's buffer was full.
    uint64_t overflow() const { return overflow_; }

private:
    struct Socket {
        Fd fd;
        uint32_t dropped = 0; ///< SO_RXQ_OVFL: the kernel's last count
    };
    struct Sent {
        Fleet::Slot slot;
        uint64_t sequence;
        uint64_t due_ns;
        const SocketAddress* to;
    };
    static constexpr size_t read_at_once = 32;

    ProbeSockets(EventLoop ready, const ProbeSocketSettings& settings, Fleet& fleet);
    Result<void> open_family(int family, const ProbeSocketSettings& settings);
    std::span<std::byte> batch_bytes(size_t at) {
        return std::span(batch_bytes_).subspan(at * payload_bytes_, payload_bytes_);
    }
    void give_up(size_t at, int error);
    int send_again(size_t at);
    bool read_datagrams(Socket& socket, Clocks empty, uint64_t until_ns);
    size_t read_errors(Socket& socket);
    void note_dropped(Socket& socket, const msghdr& message);

    EventLoop ready_; ///< only to see which sockets are
    Fleet* fleet_;
    size_t payload_bytes_;
    std::vector<Socket> sockets_;   ///< IPv4's by port, then IPv6's
    std::array<size_t, 2> first_{}; ///< of IPv4 and IPv6, in `sockets_`
    std::array<bool, 2> has_{};
    size_t ports_ = 0;
    uint64_t overflow_ = 0;

    std::vector<Sent> batch_; ///< leave together,
    size_t batch_socket_ = 0; ///< through this one,
    uint64_t batch_ns_ = 0;   ///< with this time of sending
    std::vector<std::byte> batch_bytes_;
    std::vector<std::byte> room_; ///< for what is read
};

} // namespace riposte::client
