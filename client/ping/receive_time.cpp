#include "client/ping/receive_time.h"

#include "common/clock.h"

#include <array>
#include <cerrno>
#include <cstring>

#include <linux/errqueue.h>
#include <linux/net_tstamp.h>

namespace riposte::client {

namespace {

constexpr uint64_t second_ns = 1'000'000'000;
constexpr uint64_t delay_max_ns = second_ns;

/// The clocks are read within this time of each other, if that succeeds in so many trials: a
/// process that is put aside between the two readings would else be that much wrong.
constexpr uint64_t clock_gap_ns = 2'000;
constexpr int clock_reads_max = 8;

} // namespace

Clocks read_clocks() {
    Clocks best{.monotonic_ns = 0, .realtime_ns = 0};
    uint64_t least_ns = UINT64_MAX;
    for (int i = 0; i < clock_reads_max && least_ns > clock_gap_ns; i++) {
        const uint64_t before_ns = monotonic_ns();
        const uint64_t wall_ns = realtime_ns();
        const uint64_t gap_ns = monotonic_ns() - before_ns;
        if (gap_ns < least_ns) {
            best = {.monotonic_ns = before_ns + gap_ns / 2, .realtime_ns = wall_ns};
            least_ns = gap_ns;
        }
    }
    return best;
}

ReceiveTime receive_time(std::optional<uint64_t> stamp_ns, Clocks now) {
    const ReceiveTime own{.ns = now.monotonic_ns, .clock = ReceiveClock::user_space};
    if (!stamp_ns || *stamp_ns > now.realtime_ns)
        return own;
    const uint64_t delay_ns = now.realtime_ns - *stamp_ns;
    if (delay_ns > delay_max_ns || delay_ns > now.monotonic_ns)
        return own;
    return {.ns = now.monotonic_ns - delay_ns, .clock = ReceiveClock::kernel};
}

ReceiveClock combine(ReceiveClock so_far, ReceiveClock one_more) {
    if (so_far == ReceiveClock::none || so_far == one_more)
        return one_more;
    return one_more == ReceiveClock::none ? so_far : ReceiveClock::mixed;
}

void enable_receive_stamps(int fd) {
    const int flags = SOF_TIMESTAMPING_RX_SOFTWARE | SOF_TIMESTAMPING_SOFTWARE;
    ::setsockopt(fd, SOL_SOCKET, SO_TIMESTAMPING, &flags, sizeof(flags));
}

Fd hold_receive_stamps() {
    for (const int family : {AF_INET, AF_INET6}) {
        Fd fd(::socket(family, SOCK_DGRAM | SOCK_CLOEXEC, 0));
        if (!fd)
            continue;
        enable_receive_stamps(fd.get());
        return fd;
    }
    return {};
}

std::optional<uint64_t> find_receive_stamp(const msghdr& message) {
    // CMSG_NXTHDR wants what it only reads to be writable.
    auto* header = const_cast<msghdr*>(&message);
    for (cmsghdr* control = CMSG_FIRSTHDR(header); control != nullptr;
         control = CMSG_NXTHDR(header, control)) {
        if (control->cmsg_level != SOL_SOCKET || control->cmsg_type != SCM_TIMESTAMPING ||
            control->cmsg_len < CMSG_LEN(sizeof(scm_timestamping)))
            continue;
        scm_timestamping stamps{};
        std::memcpy(&stamps, CMSG_DATA(control), sizeof(stamps));
        const timespec& software = stamps.ts[0];
        if (software.tv_sec <= 0 || software.tv_nsec < 0)
            return std::nullopt;
        return static_cast<uint64_t>(software.tv_sec) * second_ns +
               static_cast<uint64_t>(software.tv_nsec);
    }
    return std::nullopt;
}

ssize_t receive_stamped(int fd, std::span<std::byte> buffer, ReceiveTime& received) {
    iovec bytes{.iov_base = buffer.data(), .iov_len = buffer.size()};
    alignas(cmsghdr) std::array<std::byte, CMSG_SPACE(sizeof(scm_timestamping)) + 64> control;
    msghdr message{};
    message.msg_iov = &bytes;
    message.msg_iovlen = 1;
    message.msg_control = control.data();
    message.msg_controllen = control.size();
    ssize_t size = 0;
    do
        size = ::recvmsg(fd, &message, 0);
    while (size < 0 && errno == EINTR);
    if (size < 0)
        return -errno;
    received = receive_time(find_receive_stamp(message), read_clocks());
    return size;
}

} // namespace riposte::client
