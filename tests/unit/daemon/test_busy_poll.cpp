#include "daemon/worker/busy_poll.h"

#include <doctest/doctest.h>

using namespace riposte;
using std::chrono::microseconds;
using std::chrono::milliseconds;

namespace {

constexpr milliseconds no_deadline{-1};

microseconds spin(const BusyPoll& poll, milliseconds sleep = no_deadline) {
    const Wait wait = poll.wait(sleep);
    CHECK(wait.sleep == sleep);
    return wait.spin;
}

} // namespace

TEST_CASE("without busy_poll a worker never spins before it sleeps") {
    BusyPoll poll;
    CHECK_FALSE(poll.on());
    poll.turned(1, 1'000'000);
    CHECK(spin(poll) == microseconds(0));
    poll.set(50);
    CHECK(poll.on());
    poll.set(0);
    CHECK_FALSE(poll.on());
}

TEST_CASE("a worker spins only after a turn with events") {
    BusyPoll poll;
    poll.set(50);
    CHECK(spin(poll) == microseconds(0));
    poll.turned(0, 1'000'000);
    CHECK(spin(poll) == microseconds(0));
    poll.turned(3, 2'000'000);
    CHECK(spin(poll) == microseconds(50));
    poll.turned(0, 9'000'000); // it slept until a deadline or a wake-up
    CHECK(spin(poll) == microseconds(0));
}

TEST_CASE("turns without events use up the spin time, and an event renews it") {
    BusyPoll poll;
    poll.set(50);
    poll.turned(1, 1'000);
    poll.turned(0, 1'020);
    CHECK(spin(poll) == microseconds(30));
    poll.turned(0, 1'049);
    CHECK(spin(poll) == microseconds(1));
    poll.turned(1, 1'049);
    CHECK(spin(poll) == microseconds(50));
    poll.turned(0, 1'099);
    CHECK(spin(poll) == microseconds(0));
}

TEST_CASE("a worker never spins beyond the next deadline") {
    BusyPoll poll;
    poll.set(2500);
    poll.turned(1, 1'000'000);
    CHECK(spin(poll, milliseconds(10)) == microseconds(2500));
    CHECK(spin(poll, milliseconds(3)) == microseconds(2500));
    CHECK(spin(poll, milliseconds(2)) == microseconds(2000));
    CHECK(spin(poll, milliseconds(0)) == microseconds(0));
}

TEST_CASE("a new spin time takes effect with the next event") {
    BusyPoll poll;
    poll.set(50);
    poll.turned(1, 1'000);
    poll.set(10'000);
    CHECK(spin(poll) == microseconds(0));
    poll.turned(0, 1'010);
    CHECK(spin(poll) == microseconds(0));
    poll.turned(1, 1'020);
    CHECK(spin(poll) == microseconds(10'000));
}

TEST_CASE("a spin is part of the sleep, not additional") {
    CHECK(Wait{milliseconds(-1), microseconds(50)}.after_spin() < microseconds(0));
    CHECK(Wait{milliseconds(10)}.after_spin() == microseconds(10'000));
    CHECK(Wait{milliseconds(10), microseconds(50)}.after_spin() == microseconds(9'950));
    CHECK(Wait{milliseconds(2), microseconds(2000)}.after_spin() == microseconds(0));
}
