// The loop's deadlines, events and signals.
#include "client/net/event_loop.h"
#include "common/clock.h"
#include "tests/support/patience.h"

#include <cerrno>
#include <csignal>
#include <functional>
#include <optional>
#include <thread>
#include <utility>

#include <doctest/doctest.h>
#include <sys/eventfd.h>
#include <sys/wait.h>
#include <unistd.h>

using namespace riposte;
using namespace riposte::client;

namespace {

EventLoop open_loop() {
    auto loop = EventLoop::open();
    REQUIRE_MESSAGE(loop.has_value(), loop.error().message);
    return std::move(*loop);
}

/// The exit status of a child that does this with its own loop.
int status_of_child(const std::function<int(EventLoop&)>& act) {
    const pid_t child = ::fork();
    REQUIRE(child >= 0);
    if (child == 0) {
        auto loop = EventLoop::open();
        ::_exit(loop ? act(*loop) : 2);
    }
    int status = 0;
    REQUIRE(::waitpid(child, &status, 0) == child);
    REQUIRE(WIFEXITED(status));
    return WEXITSTATUS(status);
}

/// A bound for events that must come much earlier.
const uint64_t forever_ns =
    static_cast<uint64_t>(std::chrono::nanoseconds(test::patience()).count());

} // namespace

TEST_CASE("a wait never ends before its deadline, and then returns an empty span") {
    EventLoop loop = open_loop();
    for (const uint64_t ahead_ns : {1'000U, 200'000U, 3'000'000U}) {
        const uint64_t deadline = monotonic_ns() + ahead_ns;
        while (monotonic_ns() < deadline)
            CHECK(loop.wait(deadline).empty());
        CHECK(monotonic_ns() >= deadline);
    }
}

TEST_CASE("deadline zero only polls, and a passed deadline does not wait") {
    EventLoop loop = open_loop();
    CHECK(loop.wait(0).empty());
    CHECK(loop.wait(1).empty());
    CHECK(loop.wait(monotonic_ns()).empty());
}

TEST_CASE("a nearer deadline replaces a farther one, and vice versa") {
    EventLoop loop = open_loop();
    const Fd event(::eventfd(0, EFD_NONBLOCK));
    REQUIRE(loop.add(event.get(), EPOLLIN, 7) == 0);
    const uint64_t one = 1;
    REQUIRE(::write(event.get(), &one, sizeof(one)) == sizeof(one));
    CHECK(loop.wait(monotonic_ns() + forever_ns).size() == 1); // armed far ahead
    loop.remove(event.get());
    const uint64_t near = monotonic_ns() + 2'000'000;
    CHECK(loop.wait(near).empty());
    CHECK(monotonic_ns() >= near);
    const uint64_t later = monotonic_ns() + 4'000'000;
    while (monotonic_ns() < later)
        CHECK(loop.wait(later).empty());
}

TEST_CASE("a ready descriptor is returned with its tag, before the deadline") {
    EventLoop loop = open_loop();
    const Fd event(::eventfd(1, EFD_NONBLOCK));
    REQUIRE(loop.add(event.get(), EPOLLIN, 42) == 0);
    for (const uint64_t deadline : {uint64_t{0}, UINT64_MAX, monotonic_ns() + forever_ns}) {
        const auto events = loop.wait(deadline);
        REQUIRE(events.size() == 1);
        CHECK(uint64_t{events[0].data.u64} == 42);
        CHECK((events[0].events & EPOLLIN) != 0);
    }
    REQUIRE(loop.modify(event.get(), EPOLLIN | EPOLLOUT, 43) == 0);
    CHECK(uint64_t{loop.wait(0)[0].data.u64} == 43);
    loop.remove(event.get());
    CHECK(loop.wait(0).empty());
}

TEST_CASE("a bad descriptor is refused with its errno") {
    EventLoop loop = open_loop();
    CHECK(loop.add(-1, EPOLLIN, 1) == EBADF);
    const Fd unknown(::eventfd(0, 0));
    CHECK(loop.modify(unknown.get(), EPOLLIN, 1) == ENOENT);
}

TEST_CASE("SIGINT and SIGTERM end a wait and are remembered") {
    for (const int signal : {SIGINT, SIGTERM}) {
        EventLoop loop = open_loop();
        CHECK_FALSE(loop.interrupted());
        REQUIRE(::raise(signal) == 0);
        CHECK(loop.wait(UINT64_MAX).empty());
        CHECK(loop.interrupted());
        CHECK(loop.interrupted());
    }
}

TEST_CASE("SIGQUIT ends a wait and asks once for an interim line") {
    EventLoop loop = open_loop();
    CHECK_FALSE(loop.take_interim());
    REQUIRE(::raise(SIGQUIT) == 0);
    CHECK(loop.wait(UINT64_MAX).empty());
    CHECK(loop.take_interim());
    CHECK_FALSE(loop.take_interim());
    CHECK_FALSE(loop.interrupted());
}

TEST_CASE("SIGQUIT is noted before a loop exists, if requested") {
    EventLoop::note_interim();
    REQUIRE(::raise(SIGQUIT) == 0);
    CHECK(open_loop().take_interim());
    // It counted for that run only.
    CHECK_FALSE(open_loop().take_interim());
}

TEST_CASE("a second SIGINT ends the process with 130") {
    CHECK(status_of_child([](EventLoop&) {
              ::raise(SIGINT);
              ::raise(SIGINT);
              return 1;
          }) == 130);
}

TEST_CASE("a run that handles the second SIGINT or SIGTERM is notified, and the third ends it") {
    const auto twice = [](EventLoop& loop) {
        loop.handle_second(true);
        ::raise(SIGINT);
        const bool once = loop.interrupts() == 1;
        ::raise(SIGTERM);
        return once && loop.interrupts() == 2 && loop.wait(UINT64_MAX).empty() ? 10 : 1;
    };
    CHECK(status_of_child(twice) == 10);
    CHECK(status_of_child([&](EventLoop& loop) {
              const int status = twice(loop);
              ::raise(SIGINT);
              return status;
          }) == 130);
}

TEST_CASE("a second SIGINT that is no longer handled ends the process at once") {
    CHECK(status_of_child([](EventLoop& loop) {
              loop.handle_second(true);
              ::raise(SIGINT);
              loop.handle_second(false);
              ::raise(SIGINT);
              return 1;
          }) == 130);
}

TEST_CASE("while a screen is shown, a terminal's signals end a wait and are remembered once") {
    EventLoop loop = open_loop();
    loop.handle_screen(true);
    std::raise(SIGWINCH);
    CHECK(loop.wait(monotonic_ns() + forever_ns).empty());
    auto events = loop.take_screen_events();
    CHECK(events.resized);
    CHECK_FALSE(events.suspend);
    CHECK_FALSE(events.continued);
    std::raise(SIGTSTP); // stops nothing by itself
    std::raise(SIGCONT);
    CHECK(loop.wait(monotonic_ns() + forever_ns).empty());
    events = loop.take_screen_events();
    CHECK_FALSE(events.resized);
    CHECK(events.suspend);
    CHECK(events.continued);
    CHECK_FALSE(loop.take_screen_events().suspend);
    loop.handle_screen(false);
    std::raise(SIGWINCH);
    CHECK_FALSE(loop.take_screen_events().resized);
}

TEST_CASE("asking for the end is an interrupt, and what was left to do is done before an exit") {
    CHECK(status_of_child([](EventLoop& loop) {
              loop.interrupt();
              return loop.interrupts() == 1 ? 0 : 1;
          }) == 0);
    CHECK(status_of_child([](EventLoop& loop) {
              EventLoop::before_exit([] { ::_exit(42); });
              loop.interrupt();
              loop.interrupt();
              return 0;
          }) == 42);
}

TEST_CASE("after the loop the signals have their default action again") {
    {
        const EventLoop loop = open_loop();
    }
    for (const int signal : {SIGINT, SIGTERM, SIGQUIT}) {
        struct sigaction action{};
        REQUIRE(::sigaction(signal, nullptr, &action) == 0);
        const bool is_default = action.sa_handler == SIG_DFL;
        CHECK(is_default);
    }
    // The next loop starts without the interrupts of the last one.
    CHECK_FALSE(open_loop().interrupted());
}

TEST_CASE(
    "a loop without signals waits for what another thread says, beside the one that has them") {
    auto main_loop = EventLoop::open();
    REQUIRE(main_loop);
    auto opened = EventLoop::open_without_signals();
    REQUIRE(opened);
    std::optional<EventLoop> other(std::move(*opened));
    std::thread waiter([&] { other->wait(UINT64_MAX); });
    other->wake();
    waiter.join();
    other->wake(); // before the wait: the next one ends at once
    CHECK(other->wait(UINT64_MAX).empty());
    other.reset(); // it has gone, and the signals have not
    ::raise(SIGINT);
    CHECK(main_loop->interrupted());
    CHECK(main_loop->wait(UINT64_MAX).empty());
}
