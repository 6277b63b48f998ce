#include "client/net/receive_time.h"

#include "common/clock.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdlib>
#include <cstring>

#include <linux/errqueue.h>
#include <linux/net_tstamp.h>

namespace riposte::client {

namespace {

constexpr uint64_t second_ns = 1'000'000'000;

/// How much the clocks may differ in how long a time was, if neither was stepped: what reading them
/// one after the other costs on a busy machine, and what adjtimex(2) slews at most (a thousandth).
constexpr int64_t reading_play_ns = 1'000'000;
constexpr int64_t slew_share = 1000;

/// The clocks are read within this time of each other, if that succeeds within the number of
/// trials: otherwise a process that is descheduled between the two readings would be wrong by that
/// time.
constexpr uint64_t clock_gap_ns = 2'000;
constexpr int clock_reads_max = 8;

/// a - b, of moments far from the limits of their type.
int64_t difference(uint64_t a, uint64_t b) {
    return static_cast<int64_t>(a - b);
}

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

ReceiveTime receive_time(std::optional<uint64_t> stamp_ns, Clocks empty, Clocks now) {
    const ReceiveTime own{.ns = now.monotonic_ns, .clock = ReceiveClock::user_space};
    if (!stamp_ns)
        return own;
    const int64_t passed_ns = difference(now.monotonic_ns, empty.monotonic_ns);
    const int64_t play_ns = reading_play_ns + passed_ns / slew_share;
    const int64_t step_ns = difference(now.realtime_ns, empty.realtime_ns) - passed_ns;
    // As if nothing had been stepped since it came, or nothing before.
    const int64_t age_ns = difference(now.realtime_ns, *stamp_ns);
    const int64_t age_before_step_ns = age_ns - step_ns;
    const auto is_possible = [&](int64_t age) { return age >= 0 && age <= passed_ns + play_ns; };
    const auto came = [&](int64_t age) {
        // Just after boot the moment could lie before the clock's beginning.
        const auto ago_ns = std::min(static_cast<uint64_t>(age), now.monotonic_ns);
        return ReceiveTime{.ns = now.monotonic_ns - ago_ns, .clock = ReceiveClock::kernel};
    };
    if (std::abs(step_ns) <= play_ns)
        return is_possible(age_ns) ? came(age_ns) : own;
    if (is_possible(age_ns) == is_possible(age_before_step_ns))
        return own;
    return came(is_possible(age_ns) ? age_ns : age_before_step_ns);
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

ssize_t receive_stamped(
    int fd, std::span<std::byte> buffer, ArrivalClock& clock, ReceiveTime& received,
    ReplyHeader* header) {
    iovec bytes{.iov_base = buffer.data(), .iov_len = buffer.size()};
    alignas(cmsghdr)
        std::array<std::byte, CMSG_SPACE(sizeof(scm_timestamping)) + reply_header_bytes>
            control;
    msghdr message{};
    message.msg_iov = &bytes;
    message.msg_iovlen = 1;
    message.msg_control = control.data();
    message.msg_controllen = control.size();
    ssize_t size = 0;
    do
        size = ::recvmsg(fd, &message, 0);
    while (size < 0 && errno == EINTR);
    if (size < 0) {
        const int error = errno;
        if (error == EAGAIN)
            clock.found_empty();
        return -error;
    }
    received = clock.take(find_receive_stamp(message));
    if (header != nullptr)
        *header = find_reply_header(message);
    return size;
}

} // namespace riposte::client
