#include "build_features.h"
#include "common/fd.h"
#include "daemon/systemd.h"
#include "tests/support/child.h"

#include <functional>
#include <vector>

#include <doctest/doctest.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

using namespace riposte;

namespace {

struct Environment {
    std::string pid = "self";
    std::string fds;
    const char* names = nullptr;
    int open = 2; ///< descriptors 3 and up that really are there
};

/// What take_inherited_sockets() says to that, as text.
std::string take(const Environment& environment) {
    return test::in_child([&] {
        test::forget_service_manager();
        for (int fd = 3; fd < 20; ++fd)
            ::close(fd);
        for (int i = 0; i < environment.open; ++i) {
            if (::socket(AF_INET, SOCK_DGRAM, 0) != 3 + i)
                return std::string("(descriptors are not what they should be)");
        }
        if (!environment.pid.empty())
            test::set_environment(
                "LISTEN_PID",
                environment.pid == "self" ? std::to_string(::getpid()) : environment.pid);
        test::set_environment("LISTEN_FDS", environment.fds);
        if (environment.names != nullptr)
            test::set_environment("LISTEN_FDNAMES", environment.names);

        const auto sockets = systemd::take_inherited_sockets();
        if (!sockets)
            return fmt::format(
                "exit {}: {}", static_cast<int>(sockets.error().exit), sockets.error().message);
        std::vector<std::string> seen;
        for (const auto& socket : *sockets) {
            const bool on_exec = (::fcntl(socket.fd.get(), F_GETFD) & FD_CLOEXEC) == 0;
            seen.push_back(fmt::format(
                "{}={}{}", socket.fd.get(), socket.name, on_exec ? " NOT CLOEXEC" : ""));
        }
        const bool cleared = !test::has_environment("LISTEN_PID") &&
                             !test::has_environment("LISTEN_FDS") &&
                             !test::has_environment("LISTEN_FDNAMES");
        return fmt::format("{}{}", fmt::join(seen, " "), cleared ? "" : " NOT CLEARED");
    });
}

std::string with_pid(std::string fds, const char* names = nullptr, int open = 2) {
    return take({"self", std::move(fds), names, open});
}

#if RIPOSTE_HAVE_SYSTEMD

/// What `body` sends to a NOTIFY_SOCKET of the test's own, each datagram in brackets.
std::string notified(const std::function<void()>& body) {
    return test::in_child([&] {
        test::forget_service_manager();
        const Fd manager(::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
        sockaddr_un address{};
        address.sun_family = AF_UNIX;
        socklen_t size = sizeof(sa_family_t); // autobind: a fresh abstract name
        auto* generic = reinterpret_cast<sockaddr*>(&address);
        if (::bind(manager.get(), generic, size) != 0)
            return std::string("(bind failed)");
        size = sizeof address;
        ::getsockname(manager.get(), generic, &size);
        const std::string name(address.sun_path + 1, size - sizeof(sa_family_t) - 1);
        test::set_environment("NOTIFY_SOCKET", "@" + name);
        body();
        std::string text;
        char bytes[4096];
        ssize_t received = 0;
        while ((received = ::recv(manager.get(), bytes, sizeof bytes, 0)) >= 0)
            text += fmt::format("[{}]", std::string_view(bytes, static_cast<size_t>(received)));
        return text;
    });
}

#endif

} // namespace

TEST_CASE("without LISTEN_FDS nothing is inherited") {
    CHECK(test::in_child([] {
              test::forget_service_manager();
              const auto sockets = systemd::take_inherited_sockets();
              return std::string(sockets && sockets->empty() ? "none" : "some");
          }) == "none");
}

TEST_CASE("sockets meant for another process are left alone, and the variables cleared") {
    CHECK(take({"1", "2", "hello:echo", 2}).empty());
    CHECK(take({"1", "nonsense", nullptr, 0}).empty());
    CHECK(take({"", "2", nullptr, 2}).empty());
}

TEST_CASE("no sockets are no sockets") {
    CHECK(with_pid("0").empty());
    CHECK(with_pid("0", "").empty());
}

TEST_CASE("a malformed LISTEN_PID is refused with its value") {
    for (const char* pid : {"x", "-1", "0", "12 ", "1.5", "99999999999"}) {
        CAPTURE(pid);
        CHECK(
            take({pid, "1", nullptr, 2}) ==
            fmt::format(
                "exit 78: LISTEN_PID={}: not a process id (set by whoever passes sockets)", pid));
    }
}

TEST_CASE("a malformed LISTEN_FDS is refused with its value") {
    for (const char* fds : {"", "x", "-1", "2x", " 2", "65537", "4294967296"}) {
        CAPTURE(fds);
        CHECK(
            with_pid(fds) ==
            fmt::format("exit 78: LISTEN_FDS={}: not a number of sockets (0 to 65536)", fds));
    }
    CHECK(with_pid("1\n2") == "exit 78: LISTEN_FDS=1\\n2: not a number of sockets (0 to 65536)");
}

TEST_CASE("LISTEN_FDNAMES must have a name for each socket") {
    CHECK(with_pid("2", "hello") == "exit 78: LISTEN_FDNAMES=hello: 1 name for LISTEN_FDS=2");
    CHECK(with_pid("2", "a:b:c") == "exit 78: LISTEN_FDNAMES=a:b:c: 3 names for LISTEN_FDS=2");
    CHECK(with_pid("2", "") == "exit 78: LISTEN_FDNAMES=: 1 name for LISTEN_FDS=2");
}

TEST_CASE("a descriptor that is not open is refused by number") {
    CHECK(with_pid("2", nullptr, 1) == "exit 78: LISTEN_FDS=2: descriptor 4 is not open");
    CHECK(with_pid("1", "hello", 0) == "exit 78: LISTEN_FDS=1: descriptor 3 is not open");
}

#if RIPOSTE_HAVE_SYSTEMD

TEST_CASE("sockets are taken with their names, close-on-exec, and the variables cleared") {
    CHECK(with_pid("2", "hello:echo") == "3=hello 4=echo");
    CHECK(with_pid("1", "riposted.socket") == "3=riposted.socket");
    CHECK(with_pid("2", ":echo") == "3= 4=echo");
    CHECK(with_pid("2") == "3=unknown 4=unknown");
}

TEST_CASE("each notification is one datagram of the form that sd_notify(3) gives") {
    CHECK(notified([] { systemd::notify_ready("listening"); }) == "[READY=1\nSTATUS=listening]");
    CHECK(notified([] { systemd::notify_status("3 open"); }) == "[STATUS=3 open]");
    CHECK(notified([] {
              systemd::notify_stopping("draining", 7'000'000);
          }) == "[STOPPING=1\nSTATUS=draining\nEXTEND_TIMEOUT_USEC=7000000]");
    CHECK(notified([] { systemd::notify_watchdog(); }) == "[WATCHDOG=1]");
    CHECK(notified([] {
              systemd::notify_stopping("a", 1);
              systemd::notify_watchdog();
          }) == "[STOPPING=1\nSTATUS=a\nEXTEND_TIMEOUT_USEC=1][WATCHDOG=1]");
}

TEST_CASE("a reload is announced with the monotonic time in microseconds") {
    const std::string text = notified([] { systemd::notify_reloading(); });
    const std::string_view prefix = "[RELOADING=1\nMONOTONIC_USEC=";
    REQUIRE(text.starts_with(prefix));
    REQUIRE(text.ends_with("]"));
    const std::string number = text.substr(prefix.size(), text.size() - prefix.size() - 1);
    REQUIRE_FALSE(number.empty());
    REQUIRE(number.find_first_not_of("0123456789") == std::string::npos);
    timespec now{};
    ::clock_gettime(CLOCK_MONOTONIC, &now);
    CHECK(std::stoull(number) / 1'000'000 <= static_cast<unsigned long long>(now.tv_sec));
    CHECK(std::stoull(number) > 0);
}

TEST_CASE("a status can not bring in another variable") {
    CHECK(notified([] { systemd::notify_status("bad\nMAINPID=1"); }) == "[STATUS=bad MAINPID=1]");
}

TEST_CASE("the watchdog's interval is this process's own") {
    const auto interval = [](const std::function<void()>& prepare) {
        return test::in_child([&] {
            test::forget_service_manager();
            prepare();
            const auto us = systemd::watchdog_interval_us();
            return us ? std::to_string(*us) : std::string("none");
        });
    };
    CHECK(interval([] {}) == "none");
    CHECK(interval([] { test::set_environment("WATCHDOG_USEC", "30000000"); }) == "30000000");
    CHECK(interval([] {
              test::set_environment("WATCHDOG_USEC", "30000000");
              test::set_environment("WATCHDOG_PID", std::to_string(::getpid()));
          }) == "30000000");
    CHECK(interval([] {
              test::set_environment("WATCHDOG_USEC", "30000000");
              test::set_environment("WATCHDOG_PID", "1");
          }) == "none");
    CHECK(interval([] { test::set_environment("WATCHDOG_USEC", "soon"); }) == "none");
    CHECK(interval([] { test::set_environment("WATCHDOG_USEC", "0"); }) == "none");
}

#else

TEST_CASE("a build without libsystemd refuses sockets that it can not take") {
    CHECK(
        with_pid("2", "hello:echo") ==
        "exit 78: LISTEN_FDS=2: sockets were passed, but this build has no libsystemd to take "
        "them with");
    CHECK_FALSE(systemd::watchdog_interval_us().has_value());
}

#endif

TEST_CASE("without a service manager notifications do nothing") {
    CHECK(test::in_child([] {
              test::forget_service_manager();
              systemd::notify_ready("a");
              systemd::notify_reloading();
              systemd::notify_watchdog();
              test::set_environment("NOTIFY_SOCKET", "/nonexistent/notify");
              systemd::notify_stopping("a", 1);
              systemd::remove_stored("a");
              return std::string(systemd::await_processed(1000) != 0 ? "survived" : "confirmed");
          }) == "survived");
}
