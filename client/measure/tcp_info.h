// What TCP knows about the connections of a run: TCP retransmits lost segments, so that an
// application sees late answers instead of lost ones. The kernel counts retransmissions (TCP_INFO,
// tcp(7)); they are read when a connection ends, and at the end of the run for those still open.
//
// Segments are those that are sent again when they are lost: the ones with data, and the SYN. Bare
// acknowledgements are not among them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace riposte::client {

/// The kernel's enum tcp_ca_state, from the best to the worst.
enum class CongestionState : uint8_t { open, disorder, cwr, recovery, loss };
std::string_view to_key(CongestionState state);

/// Of one connection, or of an attempt to make one.
struct TcpReading {
    uint64_t retransmits = 0;     ///< segments that were sent again, SYN included
    uint64_t segments_sent = 0;   ///< with data, and SYN; those sent again included
    uint64_t min_rtt_ns = 0;      ///< 0: no segment was acknowledged, or the kernel does not say
    uint64_t smoothed_rtt_ns = 0; ///< 0: as above
    CongestionState state = CongestionState::open;
    uint64_t bytes_acked = 0;       ///< that the peer acknowledged; the SYN counts as one
    uint64_t delivery_rate = 0;     ///< bytes a second, as the kernel measured it last
    uint64_t busy_ns = 0;           ///< there was something to send, or unacknowledged
    uint64_t peer_limited_ns = 0;   ///< of it: the peer's receive window was full
    uint64_t buffer_limited_ns = 0; ///< of it: the send buffer of this machine was too small
    uint64_t out_of_order = 0;      ///< segments that arrived before an earlier one
    uint64_t receive_rtt_ns = 0;    ///< the receiver's estimate; 0: none
    bool is_closed = false;         ///< both ways: by a reset, if this end has closed neither
};

/// Of a connection's TCP_INFO as the kernel returned it: `bytes` of it, which on older kernels are
/// fewer than this program was built with.
TcpReading read_tcp_info(const void* info, size_t bytes);
/// Of a socket; nothing if the kernel does not say.
std::optional<TcpReading> read_tcp_info(int fd);

/// "cubic": the socket's congestion control (TCP_CONGESTION); empty if the kernel does not say.
std::string congestion_algorithm(int fd);

/// The sums over the connections of a run.
struct TcpTotals {
    uint64_t connections = 0; ///< that were read, and attempts that failed
    uint64_t retransmits = 0;
    uint64_t handshake_retransmits = 0; ///< SYN, among `retransmits`
    uint64_t segments_sent = 0;
    std::optional<uint64_t> min_rtt_ns;
    std::string congestion;                        ///< of the first connection
    CongestionState state = CongestionState::open; ///< the worst that was seen

    /// The kernel's smoothed round trip: the mean over the connections, each by its segments.
    std::optional<double> smoothed_rtt_ns() const;

    void add(const TcpReading& reading);
    /// A connection that ends, or of the end of the run: adds what the kernel says of it.
    void add_socket(int fd, bool connected);
    /// A connection was made, in `took_ns`: counts the SYNs that were retransmitted.
    void note_connected(int fd, uint64_t took_ns);
    /// Reads the state of a connection that continues.
    void observe(int fd);

private:
    double smoothed_sum_ns_ = 0;
    double smoothed_weight_ = 0;
};

} // namespace riposte::client
