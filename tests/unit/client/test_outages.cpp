// Outages against a model that knows all outcomes and counts runs of them afterwards.
#include "client/measure/outages.h"
#include "client/measure/stable_order.h"
#include "tests/support/nanoseconds.h"

#include <algorithm>
#include <array>
#include <cstdint>
#include <numeric>
#include <optional>
#include <random>
#include <vector>

#include <doctest/doctest.h>

using namespace riposte::client;

namespace {

using riposte::test::ms;

/// Probe k was due at k * 10 ms.
constexpr uint64_t due_of(size_t probe) {
    return (probe + 1) * 10 * ms;
}

/// All outages of a whole run. The last may lack an end.
std::vector<Outage> runs_of(const std::vector<Outcome>& outcomes) {
    std::vector<Outage> all;
    Outage run;
    for (size_t at = 0; at < outcomes.size(); at++) {
        if (outcomes[at] == Outcome::local || outcomes[at] == Outcome::pending)
            continue;
        if (outcomes[at] != Outcome::answered) {
            run.began_ns = run.probes == 0 ? due_of(at) : run.began_ns;
            run.ended_ns = due_of(at);
            run.probes++;
            continue;
        }
        if (run.probes >= 2)
            all.push_back({run.began_ns, due_of(at), run.probes, true});
        run = {};
    }
    if (run.probes >= 2)
        all.push_back(run);
    return all;
}

std::optional<Outage> longest_of(const std::vector<Outage>& all) {
    if (all.empty())
        return std::nullopt;
    return *std::ranges::max_element(all, {}, &Outage::probes); // the first of as many probes
}

Outages counted(const std::vector<Outcome>& outcomes) {
    Outages outages;
    outages.keep_list();
    for (size_t at = 0; at < outcomes.size(); at++) {
        outages.due(due_of(at));
        outages.decide(due_of(at), outcomes[at]);
    }
    outages.finish();
    return outages;
}

constexpr Outcome good = Outcome::answered;
constexpr Outcome bad = Outcome::lost;

} // namespace

TEST_CASE("a single loss is no outage") {
    const Outages outages = counted({good, bad, good, bad, good});
    CHECK(outages.count() == 0);
    CHECK_FALSE(outages.longest().has_value());
    CHECK(outages.list().empty());
}

TEST_CASE("an outage lasts from its first probe to the next answered one") {
    const Outages outages = counted({good, bad, bad, bad, good, bad, bad, good});
    CHECK(outages.count() == 2);
    CHECK(outages.longest() == Outage{due_of(1), due_of(4), 3, true});
    CHECK(outages.list().size() == 2);
}

TEST_CASE("whatever is no correct answer makes an outage") {
    const Outages outages = counted(
        {Outcome::refused, Outcome::closed, Outcome::corrupted, Outcome::wrong_size,
         Outcome::unreachable, Outcome::too_big, good});
    CHECK(outages.longest() == Outage{due_of(0), due_of(6), 6, true});
}

TEST_CASE("a probe that this machine did not send is in no outage and ends none") {
    CHECK(counted({bad, Outcome::local, good, bad, Outcome::local, Outcome::local}).count() == 0);
    CHECK(
        counted({bad, Outcome::local, bad, good}).longest() ==
        Outage{due_of(0), due_of(3), 2, true});
}

TEST_CASE("an outage at the end is not over") {
    const Outages outages = counted({good, bad, bad});
    CHECK(outages.count() == 1);
    CHECK(outages.longest() == Outage{due_of(1), due_of(2), 2, false});
    CHECK(outages.list() == std::vector{*outages.longest()});
}

TEST_CASE("a later outcome does not count before an earlier probe is decided") {
    Outages outages;
    for (size_t at = 0; at < 4; at++)
        outages.due(due_of(at));
    outages.decide(due_of(2), bad);
    outages.decide(due_of(3), good);
    outages.decide(due_of(0), bad);
    CHECK(outages.count() == 0);
    CHECK(outages.waiting() == 3);
    outages.decide(due_of(1), bad);
    CHECK(outages.longest() == Outage{due_of(0), due_of(3), 3, true});
    CHECK(outages.waiting() == 0);
}

TEST_CASE("a probe that is pending at the end is left out") {
    Outages outages;
    for (size_t at = 0; at < 4; at++)
        outages.due(due_of(at));
    outages.decide(due_of(0), bad);
    outages.decide(due_of(2), bad);
    outages.decide(due_of(3), good);
    outages.finish();
    CHECK(outages.longest() == Outage{due_of(0), due_of(3), 2, true});
}

TEST_CASE("a probe that was not announced, or is decided already, changes nothing") {
    Outages outages;
    outages.decide(due_of(0), bad);
    outages.due(due_of(1));
    outages.due(due_of(2));
    outages.decide(due_of(2), good);
    outages.decide(due_of(2), bad);
    outages.decide(due_of(1), bad);
    outages.decide(due_of(1), bad);
    outages.finish();
    CHECK(outages.count() == 0);
}

TEST_CASE("of too many outages the longest are listed") {
    std::vector<Outcome> outcomes;
    for (size_t at = 0; at < 2 * Outages::listed_max; at++)
        outcomes.insert(outcomes.end(), {bad, bad, good});
    outcomes.insert(outcomes.end(), {bad, bad, bad, good});
    const Outages outages = counted(outcomes);
    CHECK(outages.count() == 2 * Outages::listed_max + 1);
    CHECK(outages.list().size() == Outages::listed_max);
    CHECK(outages.list().back().probes == 3);
}

TEST_CASE("outcomes in any order give the outages of the order in which probes were due") {
    constexpr std::array<Outcome, 5> kinds{
        Outcome::answered, Outcome::lost, Outcome::refused, Outcome::corrupted, Outcome::local};
    for (uint32_t seed = 0; seed < 500; seed++) {
        CAPTURE(seed);
        std::mt19937 random(seed);
        const auto below = [&](size_t bound) { return random() % bound; };
        std::vector<Outcome> outcomes(1 + below(200));
        const size_t good_in = 1 + below(4);
        for (Outcome& outcome : outcomes)
            outcome = below(good_in) == 0 ? kinds[below(kinds.size())] : Outcome::answered;
        // Each probe is decided at most `window` probes after it was due.
        const size_t window = 1 + below(40);
        std::vector<size_t> decided_at(outcomes.size());
        for (size_t at = 0; at < outcomes.size(); at++)
            decided_at[at] = at + below(window);
        std::vector<size_t> order(outcomes.size());
        std::iota(order.begin(), order.end(), size_t{0});
        std::ranges::shuffle(order, random);
        sort_stably(order, [&](size_t at) { return decided_at[at]; });
        const size_t cut = below(3) == 0 ? below(outcomes.size()) : outcomes.size();

        Outages outages;
        outages.keep_list();
        std::vector<Outcome> known(outcomes.size(), Outcome::pending);
        size_t next = 0;
        for (size_t at = 0; at < outcomes.size(); at++) {
            outages.due(due_of(at));
            for (; next < cut && decided_at[order[next]] == at; next++) {
                outages.decide(due_of(order[next]), outcomes[order[next]]);
                known[order[next]] = outcomes[order[next]];
            }
            if (cut == outcomes.size())
                CHECK(outages.waiting() <= window);
        }
        for (; next < cut; next++) {
            outages.decide(due_of(order[next]), outcomes[order[next]]);
            known[order[next]] = outcomes[order[next]];
        }
        outages.finish();
        const std::vector<Outage> expected = runs_of(known);
        CHECK(outages.count() == expected.size());
        CHECK(outages.longest() == longest_of(expected));
        CHECK(outages.list() == expected);
    }
}
