// Who is in the fleet: what it keeps of targets that have gone, and when names are looked up.
#include "client/probe/fleet.h"
#include "client/probe/target_names.h"
#include "tests/unit/client/fleet_truth.h"

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include <doctest/doctest.h>
#include <fmt/format.h>
#include <poll.h>

using namespace riposte;
using namespace riposte::client;
using fleet_truth::ms;

namespace {

std::vector<ChosenTarget> targets_of(const std::vector<std::string>& hosts) {
    std::vector<ChosenTarget> chosen;
    chosen.reserve(hosts.size());
    for (const std::string& host : hosts)
        chosen.push_back(
            {.target = {
                 .name = host,
                 .endpoint = {.transport = {}, .host = host, .port = 7},
                 .labels = {{"rack", "r1"}}}});
    return chosen;
}

} // namespace

TEST_CASE("targets that have gone are bounded: beyond, the oldest are forgotten early") {
    constexpr size_t records_max = 30;
    Fleet fleet({.records_max = records_max, .group = {"rack"}}, 7);
    fleet_truth::Bytes bytes(64);
    uint64_t sent = 0;
    for (size_t round = 0; round < 20; round++) {
        std::vector<std::string> hosts;
        for (size_t i = 0; i < 10; i++)
            hosts.push_back(fmt::format("h{}-{}", round, i));
        const Fleet::Moment now{.ns = (round + 1) * ms, .seconds = 0};
        fleet.set_targets(targets_of(hosts), now);
        for (const Fleet::Slot slot : fleet.listed()) {
            fleet.set_address(slot, fleet_truth::address_of(0x7f000001, 7));
            fleet.send(slot, now.ns, bytes);
            sent++;
        }
        const FleetFigures figures = fleet.figures({});
        CHECK(figures.targets.size() <= records_max);
        CHECK(fleet.forgotten_early() == (round < 3 ? 0 : (round - 2) * 10));
        CHECK(fleet.waiting() == figures.targets.size());
        CHECK(fleet.listed().size() == 10);
        // The sums have lost nothing.
        REQUIRE(figures.groups.size() == 1);
        const OutcomeCounts& counts = figures.groups.front().counts;
        CHECK(counts.sent == sent);
        CHECK(counts.sent == counts.decided() + counts.undecided());
        CHECK(counts.undecided() == fleet.waiting());
    }
}

TEST_CASE("a target without an address is listed, and not probed") {
    Fleet fleet({}, 7);
    fleet.set_targets(targets_of({"a", "b", "c"}), {.ns = 1, .seconds = 0});
    CHECK(fleet.count_probed() == 0);
    fleet.set_address(1, fleet_truth::address_of(0x7f000001, 7));
    fleet.set_address(2, fleet_truth::address_of(0x7f000001, 8));
    CHECK(fleet.count_probed() == 2);
    fleet.set_targets(targets_of({"a", "b"}), {.ns = 2, .seconds = 0}); // c has gone
    CHECK(fleet.count_probed() == 1);
    CHECK(fleet.listed().size() == 2);
}

TEST_CASE("a name without an address is looked up again soon, and then less often") {
    const std::string never(64, 'x'); // too long to be a label: the resolver refuses it by itself
    Fleet fleet({}, 7);
    fleet.set_targets(targets_of({never + ".invalid"}), {.ns = 1, .seconds = 0});
    auto names = TargetNames::open();
    REQUIRE(names);
    names->set_every(10'000 * ms);
    uint64_t now_ns = ms;
    names->add_new(fleet, now_ns);
    for (const uint64_t pause_s : {1U, 2U, 4U, 8U, 10U, 10U}) {
        pollfd ready{.fd = names->fd(), .events = POLLIN, .revents = 0};
        REQUIRE(::poll(&ready, 1, -1) == 1);
        names->turn(fleet, now_ns);
        CHECK(names->next_ns() == now_ns + pause_s * 1000 * ms);
        now_ns = names->next_ns();
        names->turn(fleet, now_ns); // the next lookup begins
    }
    CHECK(fleet.figures({}).targets.front().resolve_failures == 6);
}
