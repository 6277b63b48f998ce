// Kernel timestamps and their conversion to the monotonic clock. Loopback shows that the kernel
// gives timestamps; numbers alone test how good and bad ones are converted.
#include "client/net/receive_time.h"
#include "common/clock.h"
#include "tests/support/nanoseconds.h"
#include "tests/support/patience.h"

#include <array>
#include <cerrno>
#include <cstring>

#include <doctest/doctest.h>
#include <linux/errqueue.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

using namespace riposte;
using namespace riposte::client;

namespace {

using riposte::test::second;
constexpr Clocks now{.monotonic_ns = 5000 * second, .realtime_ns = 1'700'000'000 * second};
/// The clocks one hour earlier.
constexpr Clocks earlier{
    .monotonic_ns = 1400 * second, .realtime_ns = 1'700'000'000 * second - 3600 * second};

struct Pair {
    Fd near, far;
};

sockaddr_in loopback() {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    return address;
}

/// Two sockets connected over loopback.
Pair connected(int type) {
    Pair pair{Fd(::socket(AF_INET, type, 0)), {}};
    Fd listener(::socket(AF_INET, type, 0));
    sockaddr_in address = loopback();
    socklen_t size = sizeof(address);
    auto* any = reinterpret_cast<sockaddr*>(&address);
    REQUIRE(::bind(listener.get(), any, size) == 0);
    if (type == SOCK_STREAM)
        REQUIRE(::listen(listener.get(), 1) == 0);
    REQUIRE(::getsockname(listener.get(), any, &size) == 0);
    REQUIRE(::connect(pair.near.get(), any, size) == 0);
    if (type == SOCK_STREAM) {
        pair.far = Fd(::accept(listener.get(), nullptr, nullptr));
    } else {
        REQUIRE(::getsockname(pair.near.get(), any, &size) == 0);
        REQUIRE(::connect(listener.get(), any, size) == 0);
        pair.far = std::move(listener);
    }
    REQUIRE(pair.far);
    return pair;
}

/// Sends one byte from `far` to `near` and returns its time of arrival. The kernel starts
/// timestamps from a work queue, which a busy machine may delay: tries until a timestamp arrives.
ReceiveTime receive_stamped_byte(const Pair& pair, uint64_t& sent_ns) {
    ReceiveTime received;
    ArrivalClock clock;
    const auto end = std::chrono::steady_clock::now() + test::patience();
    while (received.clock != ReceiveClock::kernel && std::chrono::steady_clock::now() < end) {
        if (sent_ns > 0)
            ::usleep(1000);
        sent_ns = monotonic_ns();
        REQUIRE(::send(pair.far.get(), "x", 1, 0) == 1);
        pollfd wait{.fd = pair.near.get(), .events = POLLIN, .revents = 0};
        REQUIRE(::poll(&wait, 1, test::patience_ms()) == 1);
        std::array<std::byte, 8> buffer{};
        REQUIRE(receive_stamped(pair.near.get(), buffer, clock, received) == 1);
        CHECK(buffer[0] == std::byte{'x'});
    }
    return received;
}

} // namespace

TEST_CASE(
    "a timestamp converts to the time equally long ago on the monotonic clock, however long") {
    for (const uint64_t ago : {uint64_t{0}, uint64_t{12'345}, second, second + 1, 3599 * second}) {
        const ReceiveTime received = receive_time(now.realtime_ns - ago, earlier, now);
        CHECK(received.ns == now.monotonic_ns - ago);
        CHECK(received.clock == ReceiveClock::kernel);
    }
}

TEST_CASE("an impossible timestamp is not used") {
    // In the future, or before the socket was last empty.
    for (const uint64_t stamp :
         {now.realtime_ns + 1, now.realtime_ns - 3610 * second, uint64_t{1}, UINT64_MAX}) {
        const ReceiveTime received = receive_time(stamp, earlier, now);
        CHECK(received.ns == now.monotonic_ns);
        CHECK(received.clock == ReceiveClock::user_space);
    }
    CHECK(receive_time(std::nullopt, earlier, now).clock == ReceiveClock::user_space);
}

TEST_CASE("a clock step is not mistaken for elapsed time") {
    const auto stepped = [](int64_t by) {
        return Clocks{
            .monotonic_ns = now.monotonic_ns,
            .realtime_ns = now.realtime_ns + static_cast<uint64_t>(by)};
    };
    const auto hours = [](int64_t count) { return count * 3600 * static_cast<int64_t>(second); };
    // Two hours ahead or back, or suspended for two hours: the clocks from before the step convert
    // a timestamp from before it, the current ones a timestamp from after it, each a minute old.
    for (const int64_t step : {hours(2), hours(-2)}) {
        const Clocks then = stepped(step);
        for (const uint64_t stamp :
             {now.realtime_ns - 60 * second, then.realtime_ns - 60 * second}) {
            const ReceiveTime received = receive_time(stamp, earlier, then);
            CHECK(received.ns == now.monotonic_ns - 60 * second);
            CHECK(received.clock == ReceiveClock::kernel);
        }
    }
    // Ten minutes: many timestamps could be from before or after the step, but none in the future.
    const Clocks ahead = stepped(hours(1) / 6);
    CHECK(
        receive_time(now.realtime_ns - 60 * second, earlier, ahead).clock ==
        ReceiveClock::user_space);
    const ReceiveTime recent = receive_time(ahead.realtime_ns - second, earlier, ahead);
    CHECK(recent.ns == now.monotonic_ns - second);
    CHECK(recent.clock == ReceiveClock::kernel);
    // Slewing by NTP is not a step.
    CHECK(
        receive_time(now.realtime_ns - second, earlier, stepped(1'000'000'000)).clock ==
        ReceiveClock::kernel);
}

TEST_CASE("a received message arrived after the socket was last found empty") {
    ArrivalClock clock;
    const Clocks begun = read_clocks();
    const auto later = [&](uint64_t ns) {
        return Clocks{
            .monotonic_ns = begun.monotonic_ns + ns, .realtime_ns = begun.realtime_ns + ns};
    };
    const auto is_used = [&](uint64_t stamp_ns, uint64_t now_ns) {
        return clock.take(begun.realtime_ns + stamp_ns, later(now_ns)).clock ==
               ReceiveClock::kernel;
    };
    CHECK(is_used(1 * second, 10 * second));
    CHECK(is_used(2 * second, 11 * second)); // it waited behind the first
    clock.found_empty();
    CHECK_FALSE(is_used(2 * second, 12 * second));
    CHECK(is_used(11 * second, 12 * second));
}

TEST_CASE("the clocks are read at the same time") {
    for (int i = 0; i < 1000; i++) {
        const uint64_t before_ns = monotonic_ns();
        const Clocks clocks = read_clocks();
        CHECK(clocks.monotonic_ns >= before_ns);
        CHECK(clocks.monotonic_ns <= monotonic_ns());
    }
}

TEST_CASE("a result's clock is mixed as soon as the two differ") {
    using enum ReceiveClock;
    CHECK(combine(none, kernel) == kernel);
    CHECK(combine(none, user_space) == user_space);
    CHECK(combine(kernel, kernel) == kernel);
    CHECK(combine(kernel, user_space) == mixed);
    CHECK(combine(user_space, kernel) == mixed);
    CHECK(combine(mixed, kernel) == mixed);
}

TEST_CASE("the timestamp is found among other control data, and zero means none") {
    alignas(cmsghdr) std::array<std::byte, 256> control{};
    msghdr message{};
    message.msg_control = control.data();
    message.msg_controllen = CMSG_SPACE(sizeof(int)) + CMSG_SPACE(sizeof(scm_timestamping));
    cmsghdr* first = CMSG_FIRSTHDR(&message);
    first->cmsg_level = IPPROTO_IP;
    first->cmsg_type = IP_TTL;
    first->cmsg_len = CMSG_LEN(sizeof(int));
    cmsghdr* second_one = CMSG_NXTHDR(&message, first);
    REQUIRE(second_one != nullptr);
    second_one->cmsg_level = SOL_SOCKET;
    second_one->cmsg_type = SCM_TIMESTAMPING;
    second_one->cmsg_len = CMSG_LEN(sizeof(scm_timestamping));
    CHECK(!find_receive_stamp(message));

    scm_timestamping stamps{};
    stamps.ts[0] = {.tv_sec = 1'700'000'000, .tv_nsec = 42};
    std::memcpy(CMSG_DATA(second_one), &stamps, sizeof(stamps));
    CHECK(find_receive_stamp(message) == 1'700'000'000 * second + 42);

    message.msg_controllen = CMSG_SPACE(sizeof(int));
    CHECK(!find_receive_stamp(message));
}

TEST_CASE("the kernel timestamps data over UDP and over TCP") {
    const Fd hold = hold_receive_stamps();
    REQUIRE(hold);
    for (const int type : {SOCK_DGRAM, SOCK_STREAM}) {
        CAPTURE(type);
        const Pair pair = connected(type);
        enable_receive_stamps(pair.near.get());
        // The clocks are read one after the other: allow some tolerance, and much of it if each
        // read is interrupted.
        const auto end = std::chrono::steady_clock::now() + test::patience();
        bool after_sending = false;
        while (!after_sending && std::chrono::steady_clock::now() < end) {
            uint64_t sent_ns = 0;
            const ReceiveTime received = receive_stamped_byte(pair, sent_ns);
            CHECK(received.clock == ReceiveClock::kernel);
            CHECK(received.ns <= monotonic_ns());
            after_sending = received.ns + 10'000'000 >= sent_ns;
        }
        CHECK(after_sending);
    }
}

TEST_CASE("without timestamps the time is that of the read") {
    const Pair pair = connected(SOCK_DGRAM);
    REQUIRE(::send(pair.far.get(), "x", 1, 0) == 1);
    std::array<std::byte, 8> buffer{};
    ArrivalClock clock;
    ReceiveTime received;
    const uint64_t before_ns = monotonic_ns();
    REQUIRE(receive_stamped(pair.near.get(), buffer, clock, received) == 1);
    CHECK(received.clock == ReceiveClock::user_space);
    CHECK(received.ns >= before_ns);
}

TEST_CASE("an error of recvmsg is returned as its negative errno") {
    std::array<std::byte, 8> buffer{};
    ArrivalClock clock;
    ReceiveTime received;
    CHECK(receive_stamped(-1, buffer, clock, received) == -EBADF);
}
