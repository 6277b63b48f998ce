// The limits on TCP connections ([limits] in riposted.toml(5)), of the process or of one worker.
//
// With N workers, each holds an N-th (rounded up) of the connections and of the connections of one
// source, and an N-th of the buffers. The kernel chooses which worker a connection comes to, so
// with several workers a source may be refused a little below its limit.
#pragma once

#include <cstdint>
#include <string_view>

namespace riposte {

/// What happens to a connection that comes when `connections_max` are open.
enum class WhenFull : uint8_t {
    refuse,
    close_idle, ///< it gets the place of the connection that is idle for longest
};

std::string_view to_string(WhenFull when_full); ///< "refuse", "close_idle"

struct TcpLimits {
    uint32_t connections_max = 8192;            ///< open TCP connections of the process
    uint32_t connections_per_source_max = 1024; ///< of one source
    uint32_t source_prefix_ipv4_bits =
        32; ///< addresses that agree in this many bits are one source
    uint32_t source_prefix_ipv6_bits = 64;
    WhenFull when_full = WhenFull::refuse;    ///< at `connections_max`
    uint32_t first_byte_timeout_ms = 30'000;  ///< accepted, and nothing ever arrived
    uint32_t idle_timeout_ms = 60'000;        ///< nothing arrived and nothing is pending
    uint32_t write_stall_timeout_ms = 10'000; ///< a reply is pending and the peer reads nothing
    uint32_t rate_min = 0;            ///< bytes a second, of a peer that goes on sending; 0: any
    uint32_t write_rate_min = 100;    ///< bytes a second, of a peer whose reply is pending; 0: any
    uint32_t rate_window_ms = 10'000; ///< over which both are measured
    uint32_t linger_timeout_ms = 5'000;                 ///< after our FIN, waiting for the peer's
    uint64_t buffer_memory_bytes = uint64_t{128} << 20; ///< stream buffers of the process

    bool operator==(const TcpLimits&) const = default;
};

/// One worker's share of the limits of the process.
TcpLimits worker_share(const TcpLimits& limits, uint32_t workers);

} // namespace riposte
