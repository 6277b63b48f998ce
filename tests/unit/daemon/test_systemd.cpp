#include "build_features.h"
#include "common/fd.h"
#include "daemon/platform/systemd.h"
#include "tests/support/child.h"

#include <functional>
#include <vector>

#include <doctest/doctest.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <sys/socket.h>
#include <unistd.h>

using namespace riposte;

namespace {

struct Host {
    std::string pid = "self";
    std::string fds;
    const char* names = nullptr;
    int open = 2; ///< descriptors from 3 on that are really open
};

/// The result of take_inherited_sockets(), as text.
std::string take(const Host& environment) {
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

TEST_CASE("variables meant for another process are named, each once") {
    const auto told = [](const char* pid, const char* watchdog_pid) {
        return test::in_child([=] {
            test::forget_service_manager();
            test::set_environment("LISTEN_FDS", "2");
            test::set_environment("WATCHDOG_USEC", "1000000");
            const std::string own = std::to_string(::getpid());
            if (pid != nullptr)
                test::set_environment("LISTEN_PID", std::string_view(pid) == "self" ? own : pid);
            if (watchdog_pid != nullptr)
                test::set_environment(
                    "WATCHDOG_PID", std::string_view(watchdog_pid) == "self" ? own : watchdog_pid);
            std::string text;
            for (const Reason& each : systemd::variables_for_other_processes())
                text += each.token + ": " + each.text.substr(0, each.text.find(" (")) + "; ";
            return text;
        });
    };
    CHECK(told(nullptr, nullptr).empty());
    CHECK(told("self", "self").empty());
    CHECK(told("x", "").empty()); // refused elsewhere, or without a meaning
    CHECK(told("1", "self") == "sockets: LISTEN_FDS=2 is for process 1; ");
    CHECK(
        told("1", "1") == "sockets: LISTEN_FDS=2 is for process 1; watchdog: WATCHDOG_USEC=1000000 "
                          "is for process 1; ");
}

TEST_CASE("LISTEN_FDS=0 passes no sockets") {
    CHECK(with_pid("0").empty());
    CHECK(with_pid("0", "").empty());
}

TEST_CASE("a malformed LISTEN_PID is refused with its value") {
    for (const char* pid : {"x", "-1", "0", "12 ", "1.5", "99999999999"}) {
        CAPTURE(pid);
        CHECK(
            take({pid, "1", nullptr, 2}) ==
            fmt::format(
                "exit 78: LISTEN_PID={}: not a process id (the program that passes sockets sets "
                "it)",
                pid));
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

TEST_CASE("the watchdog's interval is for this process only") {
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

TEST_CASE("a build without libsystemd refuses sockets that it cannot take") {
    CHECK(
        with_pid("2", "hello:echo") ==
        "exit 78: LISTEN_FDS=2: sockets were passed, but this build lacks libsystemd, which is "
        "needed to accept them");
    CHECK_FALSE(systemd::watchdog_interval_us().has_value());
}

#endif
