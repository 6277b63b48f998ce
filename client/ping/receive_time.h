// When a packet came in, by the kernel's own stamp (SO_TIMESTAMPING, software), so that the time
// until this process woke up is not counted as the peer's.
//
// Stamps are of CLOCK_REALTIME, which may step and is slewed; measurements are of CLOCK_MONOTONIC.
// Both are read when the packet is taken, and only how long ago it came in is carried over: over
// the microseconds between, the clocks agree. A stamp of the future or of more than a second ago
// tells that the clock was stepped (or that this process was stopped), and is not used.
#pragma once

#include "client/ping/ping_result.h"
#include "common/fd.h"

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

#include <sys/socket.h>

namespace riposte::client {

/// A moment of CLOCK_MONOTONIC in nanoseconds, and who took it (never none or mixed).
struct ReceiveTime {
    uint64_t ns = 0;
    ReceiveClock clock = ReceiveClock::user_space;
};

/// Both clocks, read together: within some microseconds at worst, whatever else the machine does.
struct Clocks {
    uint64_t monotonic_ns;
    uint64_t realtime_ns;
};
Clocks read_clocks();

/// `stamp_ns` (CLOCK_REALTIME) on the monotonic clock, or `now` if it is missing or implausible.
ReceiveTime receive_time(std::optional<uint64_t> stamp_ns, Clocks now);

/// What the clock of a result becomes when one more answer is counted.
ReceiveClock combine(ReceiveClock so_far, ReceiveClock one_more);

/// Asks for stamps on a socket. That the kernel gives none shows when it gives none.
void enable_receive_stamps(int fd);

/// Keeps stamping switched on in the kernel while it lives: it is off as long as no socket wants
/// it, and takes a moment to come on, which would cost a new socket its first stamps.
Fd hold_receive_stamps();

/// The stamp among a message's control data, on CLOCK_REALTIME. A zero stamp is none.
std::optional<uint64_t> find_receive_stamp(const msghdr& message);

/// recvmsg(2) into `buffer`: its size or -errno, and when the (last of the) bytes came.
ssize_t receive_stamped(int fd, std::span<std::byte> buffer, ReceiveTime& received);

} // namespace riposte::client
