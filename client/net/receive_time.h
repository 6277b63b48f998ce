// When a packet arrived, by the kernel's timestamp (SO_TIMESTAMPING, software), so that the time
// until this process woke up is not counted against the peer.
//
// Stamps are of CLOCK_REALTIME, which may step and is slewed; measurements are of CLOCK_MONOTONIC.
// Both are read when the packet is taken, and only the age of the packet is carried over: the
// clocks agree over that time, or differ by its thousandth at most.
//
// A packet may have waited for as long as this process was stopped, and its stamp is used all the
// same. Its lower bound is the last moment at which the socket was empty: the packet came later. If
// CLOCK_REALTIME and CLOCK_MONOTONIC advanced by different amounts between that moment and the
// reading, CLOCK_REALTIME was stepped, or the machine was suspended, which CLOCK_MONOTONIC does not
// count. The stamp is then from before or after the step, and is used if only one is possible.
//
// Segments of a stream that wait together are merged by the kernel, and then have the time of the
// last (tcp_try_coalesce): over TCP a stamp says when bytes had come at the latest.
#pragma once

#include "client/net/reply_header.h"
#include "common/fd.h"

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

#include <sys/socket.h>

namespace riposte::client {

/// Where the time of an answer's arrival was taken.
enum class ReceiveClock : uint8_t {
    none,       ///< nothing arrived
    kernel,     ///< SO_TIMESTAMPING: when the kernel took the packet in
    user_space, ///< after the system call that brought it
    mixed,
};

/// A moment of CLOCK_MONOTONIC in nanoseconds, and where it was taken (never none or mixed).
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

/// `stamp_ns` (CLOCK_REALTIME) on the monotonic clock, or `now` if it is missing or implausible. At
/// `empty` nothing waited in the socket.
ReceiveTime receive_time(std::optional<uint64_t> stamp_ns, Clocks empty, Clocks now);

/// For one queue of a socket: when each packet arrived that is taken from it.
class ArrivalClock {
public:
    /// Nothing has come yet.
    ArrivalClock() : empty_(read_clocks()), taken_(empty_) {}

    /// What has just been taken.
    ReceiveTime take(std::optional<uint64_t> stamp_ns) { return take(stamp_ns, read_clocks()); }
    /// The same, with the clocks as they were read after it was taken.
    ReceiveTime take(std::optional<uint64_t> stamp_ns, Clocks now) {
        taken_ = now;
        return receive_time(stamp_ns, empty_, now);
    }
    /// The queue was empty when the last packet had been taken.
    void found_empty() { empty_ = taken_; }

private:
    Clocks empty_;
    Clocks taken_;
};

/// What the clock of a result becomes when one more answer is counted.
ReceiveClock combine(ReceiveClock so_far, ReceiveClock one_more);

/// Asks for timestamps on a socket. Packets without one show that the kernel provides none.
void enable_receive_stamps(int fd);

/// Keeps stamping switched on in the kernel while it lives: it is off as long as no socket wants
/// it, and takes a moment to come on, which would cost a new socket its first stamps.
Fd hold_receive_stamps();

/// The stamp among a message's control data, on CLOCK_REALTIME. A zero stamp is none.
std::optional<uint64_t> find_receive_stamp(const msghdr& message);

/// recvmsg(2) into `buffer`: its size or -errno, and when the (last of the) bytes came; of a
/// datagram also its `header`, if it was asked for (enable_reply_header).
ssize_t receive_stamped(
    int fd, std::span<std::byte> buffer, ArrivalClock& clock, ReceiveTime& received,
    ReplyHeader* header = nullptr);

} // namespace riposte::client
