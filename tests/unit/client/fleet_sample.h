// A small fleet, whose every figure is known: for what exports or shows figures.
#pragma once

#include "client/probe/figures.h"

#include <cstdint>
#include <initializer_list>
#include <memory>
#include <string>
#include <utility>

namespace riposte::client::test {

inline HistogramFigures recorded(std::initializer_list<uint64_t> values_ns) {
    CompactHistogram histogram;
    for (const uint64_t value_ns : values_ns)
        histogram.record(value_ns);
    return HistogramFigures{histogram};
}

inline TargetFigures target_named(std::string name, ProbeTransport transport, Labels labels) {
    TargetFigures target;
    target.who = std::make_shared<const TargetIdentity>(
        TargetIdentity{std::move(name), transport, std::move(labels)});
    return target;
}

/// Two targets, of which one is answered and the other is not, and the group of the first one.
inline FleetFigures small_fleet() {
    FleetFigures fleet;
    fleet.at = 1'700'000'100.5;
    fleet.at_ns = 5'000'000'000;
    fleet.interval_ns = 1'000'000'000;
    fleet.timeout_ns = 2'000'000'000;
    fleet.prober.started_at = 1'700'000'000;
    fleet.prober.lateness = recorded({1000, 20'000'000});
    fleet.prober.skipped = 3;
    fleet.prober.receive_overflow = 2;
    fleet.prober.cpu_seconds = 0.25;

    TargetFigures one =
        target_named("db1:7007", ProbeTransport::udp, {{"rack", "r1"}, {"site", "fra"}});
    one.address = "192.0.2.1:7007";
    one.ip_version = 4;
    one.started_at = 1'700'000'000;
    one.counts = {.sent = 10, .answered = 7, .lost = 1, .local = 1, .reordered = 2, .late = 1};
    one.rtt = recorded({500, 100'000, 200'000, 200'000, 1'000'000, 20'000'000, 17'000'000'000});
    fleet.targets.push_back(std::move(one));

    TargetFigures two = target_named("a\"b\\c\nd", ProbeTransport::tcp, {});
    two.started_at = 1'700'000'050.125;
    two.counts = {.sent = 4, .refused = 4};
    two.connect = recorded({3'000'000});
    two.resolve_failures = 5;
    fleet.targets.push_back(std::move(two));

    GroupFigures group;
    group.labels = {{"site", "fra"}};
    group.started_at = 1'700'000'000;
    group.targets = 1;
    group.counts = fleet.targets[0].counts;
    group.rtt = fleet.targets[0].rtt;
    fleet.groups.push_back(std::move(group));

    fleet.discovery.push_back(
        {.source = "/etc/riposte/targets.d/*.json",
         .targets = 2,
         .succeeded_at = 1'700'000'001,
         .failures = 1,
         .last_error = "half a file"});
    return fleet;
}

} // namespace riposte::client::test
