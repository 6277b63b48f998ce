// The prober's schedule: each target once an interval, no herd, no burst after a stall, and every
// probe that was left out is counted.
#include "client/probe/spread_schedule.h"

#include <algorithm>
#include <cstdint>
#include <map>
#include <random>
#include <string>
#include <vector>

#include <doctest/doctest.h>
#include <fmt/format.h>

using namespace riposte::client;

namespace {

constexpr uint64_t millisecond = 1'000'000;

std::vector<SpreadSchedule::Entry> entries_for(uint32_t count, uint64_t interval_ns) {
    std::vector<SpreadSchedule::Entry> all;
    for (uint32_t slot = 0; slot < count; slot++)
        all.push_back(
            {slot, SpreadSchedule::phase_of("me", fmt::format("host{}:7", slot), interval_ns)});
    return all;
}

struct SentProbe {
    uint32_t slot;
    uint64_t due_ns;
    uint64_t sent_ns;
};

/// Everything that leaves by then, if the prober looks each millisecond.
std::vector<SentProbe> run_schedule(
    SpreadSchedule& schedule, uint64_t from_ns, uint64_t to_ns, uint64_t& intervals_skipped) {
    std::vector<SentProbe> sent;
    for (uint64_t now = from_ns; now <= to_ns; now += millisecond) {
        intervals_skipped += schedule.skip(now);
        while (schedule.next_leave_ns() <= now) {
            sent.push_back({schedule.next().slot, schedule.next_due_ns(), now});
            schedule.advance(now);
        }
    }
    return sent;
}

} // namespace

TEST_CASE("each target has one probe an interval, at its own moment") {
    SpreadSchedule schedule(1000 * millisecond, 100 * millisecond);
    CHECK(schedule.next_due_ns() == UINT64_MAX);
    schedule.set(entries_for(1000, 100 * millisecond), 1000 * millisecond);
    uint64_t skipped = 0;
    const auto sent = run_schedule(schedule, 1000 * millisecond, 2000 * millisecond - 1, skipped);
    CHECK(skipped == 0);
    CHECK(sent.size() >= 9'990); // the last millisecond's may be missing
    std::map<uint32_t, uint64_t> last;
    uint64_t latest = 0;
    std::map<uint64_t, size_t> each_ms;
    for (const SentProbe& probe : sent) {
        if (last.contains(probe.slot))
            REQUIRE(probe.due_ns - last[probe.slot] == 100 * millisecond);
        last[probe.slot] = probe.due_ns;
        latest = std::max(latest, probe.sent_ns - probe.due_ns);
        each_ms[probe.sent_ns]++;
    }
    CHECK(last.size() == 1000);
    CHECK(latest < 2 * millisecond);
    // No herd: 10 a millisecond on average.
    for (const auto& [at, count] : each_ms)
        REQUIRE(count < 40);
}

TEST_CASE("the moment of a target depends on who probes it") {
    size_t same = 0;
    std::map<uint64_t, size_t> tenths;
    for (int i = 0; i < 1000; i++) {
        const auto phase =
            SpreadSchedule::phase_of(fmt::format("source{}", i), "target:7", 1000 * millisecond);
        REQUIRE(phase < 1000 * millisecond);
        same += phase == SpreadSchedule::phase_of("me", "target:7", 1000 * millisecond) ? 1U : 0U;
        tenths[phase / (100 * millisecond)]++;
    }
    CHECK(same == 0);
    CHECK(tenths.size() == 10);
    for (const auto& [tenth, count] : tenths)
        CHECK(count > 60);
}

TEST_CASE("after a stall nothing leaves in a burst, and what was left out is counted") {
    for (const uint64_t stall_ms : {30U, 250U, 10'000U}) {
        CAPTURE(stall_ms);
        SpreadSchedule schedule(0, 1000 * millisecond);
        schedule.set(entries_for(1000, 1000 * millisecond), 0);
        uint64_t skipped = 0;
        auto sent = run_schedule(schedule, 0, 2000 * millisecond, skipped);
        const auto after = run_schedule(
            schedule, (2000 + stall_ms) * millisecond, (6000 + stall_ms) * millisecond, skipped);
        std::map<uint64_t, size_t> each_ms;
        std::map<uint32_t, uint64_t> last;
        for (const SentProbe& probe : after) {
            each_ms[probe.sent_ns]++;
            if (last.contains(probe.slot)) // never two of one target at once
                REQUIRE(probe.sent_ns - last[probe.slot] > 400 * millisecond);
            last[probe.slot] = probe.sent_ns;
            REQUIRE(probe.sent_ns - probe.due_ns < 1000 * millisecond);
        }
        // One a millisecond is the pace; at most twice that, and the bucket of 5 millisecond once.
        size_t most = 0;
        for (const auto& [at, count] : each_ms)
            most = std::max(most, count);
        CHECK(most <= 12);
        // Sent and left out are all that was due.
        const uint64_t due = schedule.next_due_ns();
        const uint64_t all = sent.size() + after.size() + skipped * 1000;
        CHECK(all >= due / millisecond - 60);
        CHECK(all <= due / millisecond + 60);
        CHECK((skipped > 0) == (stall_ms >= 1000));
    }
}

TEST_CASE("a clock that jumps by years costs no time and no burst") {
    SpreadSchedule schedule(0, 10 * millisecond);
    schedule.set(entries_for(1000, 10 * millisecond), 0);
    const uint64_t years = 10ULL * 365 * 86'400'000 * millisecond;
    const uint64_t skipped = schedule.skip(years);
    CHECK(skipped >= years / (10 * millisecond) - 1);
    CHECK(schedule.next_due_ns() > years - 10 * millisecond);
    CHECK(schedule.next_due_ns() <= years);
}

TEST_CASE("a change of targets moves none that stays, and sends none twice") {
    std::mt19937_64 random(5);
    SpreadSchedule schedule(0, 1000 * millisecond);
    std::map<uint32_t, uint64_t> last;
    uint64_t skipped = 0;
    auto all = entries_for(200, 1000 * millisecond);
    for (int change = 0; change < 60; change++) {
        auto some = all;
        std::erase_if(
            some, [&](const auto& entry) { return entry.slot >= 50 && random() % 3 == 0; });
        const uint64_t now = static_cast<uint64_t>(change) * 173 * millisecond;
        schedule.set(some, now);
        for (const SentProbe& probe :
             run_schedule(schedule, now, now + 172 * millisecond, skipped)) {
            if (last.contains(probe.slot) && probe.slot < 50)
                REQUIRE(probe.due_ns - last[probe.slot] == 1000 * millisecond);
            else if (last.contains(probe.slot))
                REQUIRE((probe.due_ns - last[probe.slot]) % (1000 * millisecond) == 0);
            if (last.contains(probe.slot))
                REQUIRE(probe.due_ns > last[probe.slot]);
            last[probe.slot] = probe.due_ns;
        }
    }
    CHECK(skipped == 0);
    CHECK(last.size() == 200);
}
