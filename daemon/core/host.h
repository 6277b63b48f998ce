// What a worker reads from the system besides its backend: the clocks and facts about a socket. The
// functions are virtual so that the simulator can supply them.
#pragma once

#include "common/address.h"
#include "common/clock.h"
#include "common/clock_error.h"

#include <cstdint>

namespace riposte {

class Host {
public:
    Host() = default;
    Host(const Host&) = delete;
    Host& operator=(const Host&) = delete;
    virtual ~Host() = default;

    virtual uint64_t now_ns() noexcept = 0;      ///< monotonic
    virtual int64_t wall_seconds() noexcept = 0; ///< since 1970, UTC
    virtual uint64_t wall_ns() noexcept = 0;     ///< the same clock in nanoseconds
    /// Of the wall clock. By default nothing is known of it.
    virtual ClockError clock_error() noexcept { return clock_error_of(INT64_MAX / 1000); }
    virtual SocketAddress peer_address(int fd) = 0;
    /// Bytes that we sent and the peer has not acknowledged yet (SIOCOUTQ, tcp(7)); 0 if the kernel
    /// does not say.
    virtual uint32_t unacknowledged_bytes(int fd) noexcept = 0;
};

class SystemHost final : public Host {
public:
    uint64_t now_ns() noexcept override { return monotonic_ns(); }
    int64_t wall_seconds() noexcept override { return riposte::wall_seconds(); }
    uint64_t wall_ns() noexcept override { return realtime_ns(); }
    ClockError clock_error() noexcept override;
    SocketAddress peer_address(int fd) override { return riposte::peer_address(fd); }
    uint32_t unacknowledged_bytes(int fd) noexcept override;
};

} // namespace riposte
