#include "daemon/supervisor/watchdog.h"

#include <array>
#include <cstdint>
#include <optional>

#include <doctest/doctest.h>

using namespace riposte;

namespace {

/// What the watchdog sees of a worker.
struct FakeWorker {
    uint64_t pinged = 0;
    bool hangs = false;
    bool has_stopped = false;

    void ping(uint64_t number) { pinged = number; }
    uint64_t answered() const { return hangs ? 0 : pinged; }
    bool stopped() const { return has_stopped; }
};

struct Watched {
    FakeWorker first;
    FakeWorker second;
    std::array<FakeWorker*, 2> workers{&first, &second};
    Watchdog watchdog;
};

} // namespace

TEST_CASE("without an interval no tick is ever due") {
    const Watchdog watchdog;
    CHECK(watchdog.deadline_us() == std::nullopt);
    CHECK_FALSE(watchdog.is_due(UINT64_MAX));
}

TEST_CASE("a tick is due at each third of the manager's interval") {
    Watched f;
    f.watchdog.start(3'000'000, 500);
    CHECK(f.watchdog.deadline_us() == 1'000'500);
    CHECK_FALSE(f.watchdog.is_due(1'000'499));
    CHECK(f.watchdog.is_due(1'000'500));
    f.watchdog.tick(f.workers, 1'200'000); // late: the next one is a whole third later
    CHECK(f.watchdog.deadline_us() == 2'200'000);
}

TEST_CASE("a tiny interval does not make the main thread spin") {
    Watched f;
    f.watchdog.start(1, 0);
    CHECK(f.watchdog.deadline_us() == 1000);
}

TEST_CASE("the first tick needs no answer, later ones one of every worker") {
    Watched f;
    f.watchdog.start(3000, 0);
    CHECK(f.watchdog.tick(f.workers, 1000));
    f.watchdog.ping(f.workers);
    CHECK(f.watchdog.tick(f.workers, 2000));
    f.watchdog.ping(f.workers);
    f.second.hangs = true;
    CHECK_FALSE(f.watchdog.tick(f.workers, 3000));
    CHECK_FALSE(f.watchdog.tick(f.workers, 4000));
    f.second.hangs = false; // it answers the last ping late
    CHECK(f.watchdog.tick(f.workers, 5000));
}

TEST_CASE("a worker that has stopped cannot hang") {
    Watched f;
    f.watchdog.start(3000, 0);
    f.watchdog.ping(f.workers);
    f.first.hangs = f.first.has_stopped = true;
    CHECK(f.watchdog.tick(f.workers, 1000));
}
