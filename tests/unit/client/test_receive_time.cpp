// Kernel stamps and their way to the monotonic clock. That the kernel gives any is seen over
// loopback; what is made of good and bad ones is a matter of numbers.
#include "client/ping/receive_time.h"
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

struct Pair {
    Fd near, far;
};

sockaddr_in loopback() {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    return address;
}

/// Two sockets that are connected over loopback.
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

/// One byte from `far` to `near`, and when it came. The kernel begins to stamp from a work queue of
/// its own, which a busy machine may let wait: it is tried until a stamp comes.
ReceiveTime receive_stamped_byte(const Pair& pair, uint64_t& sent_ns) {
    ReceiveTime received;
    const auto end = std::chrono::steady_clock::now() + test::patience();
    while (received.clock != ReceiveClock::kernel && std::chrono::steady_clock::now() < end) {
        if (sent_ns > 0)
            ::usleep(1000);
        sent_ns = monotonic_ns();
        REQUIRE(::send(pair.far.get(), "x", 1, 0) == 1);
        pollfd wait{.fd = pair.near.get(), .events = POLLIN, .revents = 0};
        REQUIRE(::poll(&wait, 1, test::patience_ms()) == 1);
        std::array<std::byte, 8> buffer{};
        REQUIRE(receive_stamped(pair.near.get(), buffer, received) == 1);
        CHECK(buffer[0] == std::byte{'x'});
    }
    return received;
}

} // namespace

TEST_CASE("a stamp becomes the moment as long ago on the monotonic clock") {
    const ReceiveTime received = receive_time(now.realtime_ns - 12'345, now);
    CHECK(received.ns == now.monotonic_ns - 12'345);
    CHECK(received.clock == ReceiveClock::kernel);
    CHECK(receive_time(now.realtime_ns, now).ns == now.monotonic_ns);
    CHECK(receive_time(now.realtime_ns - second, now).clock == ReceiveClock::kernel);
}

TEST_CASE("a stamp that can not be true is not used") {
    for (const uint64_t stamp :
         {now.realtime_ns + 1, now.realtime_ns - second - 1, now.realtime_ns + 3600 * second,
          uint64_t{1}}) {
        const ReceiveTime received = receive_time(stamp, now);
        CHECK(received.ns == now.monotonic_ns);
        CHECK(received.clock == ReceiveClock::user_space);
    }
    CHECK(receive_time(std::nullopt, now).clock == ReceiveClock::user_space);
    // Just after boot the moment would lie before the clock's beginning.
    const Clocks young{.monotonic_ns = 10, .realtime_ns = now.realtime_ns};
    CHECK(receive_time(now.realtime_ns - 11, young).ns == 10);
}

TEST_CASE("the clocks are read at the same moment") {
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

TEST_CASE("the stamp is found among other control data, and a zero one is none") {
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

TEST_CASE("the kernel stamps what comes over UDP and over TCP") {
    const Fd hold = hold_receive_stamps();
    REQUIRE(hold);
    for (const int type : {SOCK_DGRAM, SOCK_STREAM}) {
        CAPTURE(type);
        const Pair pair = connected(type);
        enable_receive_stamps(pair.near.get());
        // The clocks are read one after the other: some play, and much of it if they are
        // interrupted each time.
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

TEST_CASE("without stamps the time is that of the reading") {
    const Pair pair = connected(SOCK_DGRAM);
    REQUIRE(::send(pair.far.get(), "x", 1, 0) == 1);
    std::array<std::byte, 8> buffer{};
    ReceiveTime received;
    const uint64_t before_ns = monotonic_ns();
    REQUIRE(receive_stamped(pair.near.get(), buffer, received) == 1);
    CHECK(received.clock == ReceiveClock::user_space);
    CHECK(received.ns >= before_ns);
}

TEST_CASE("what recvmsg fails with comes back as its negative errno") {
    std::array<std::byte, 8> buffer{};
    ReceiveTime received;
    CHECK(receive_stamped(-1, buffer, received) == -EBADF);
}
