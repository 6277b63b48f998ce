// What a prober prints: the worst targets first, and its JSON against the schema.
#include "client/probe/fleet_report.h"
#include "tests/unit/client/schema.h"

#include <memory>
#include <string>
#include <utility>

#include <doctest/doctest.h>

using namespace riposte;
using namespace riposte::client;

namespace {

constexpr uint64_t report_ms = 1'000'000;

TargetFigures target(const std::string& name, uint64_t answered, uint64_t lost, uint64_t rtt_ms) {
    CompactHistogram rtt;
    for (uint64_t i = 0; i < answered; i++)
        rtt.record(rtt_ms * report_ms);
    TargetFigures each;
    each.who = std::make_shared<const TargetIdentity>(
        TargetIdentity{.name = name, .transport = ProbeTransport::udp, .labels = {{"rack", "r1"}}});
    each.address = "192.0.2.7:7";
    each.ip_version = 4;
    each.counts.sent = answered + lost;
    each.counts.answered = answered;
    each.counts.lost = lost;
    each.rtt = HistogramFigures(rtt);
    return each;
}

FleetFigures fleet() {
    FleetFigures figures;
    figures.at = 1010;
    figures.interval_ns = 1000 * report_ms;
    figures.timeout_ns = 2000 * report_ms;
    figures.prober.started_at = 1000;
    CompactHistogram lateness;
    for (int i = 0; i < 200; i++)
        lateness.record(i < 190 ? report_ms : 20'000 * report_ms);
    figures.prober.lateness = HistogramFigures(lateness);
    figures.prober.skipped = 3;
    figures.prober.cpu_seconds = 0.5;
    figures.targets = {
        target("good:7", 200, 0, 1), target("slow:7", 200, 0, 50), target("lossy:7", 190, 10, 1)};
    TargetFigures nameless = target("nameless:7", 0, 0, 0);
    nameless.address.clear();
    nameless.ip_version = 0;
    nameless.resolve_failures = 2;
    figures.targets.push_back(std::move(nameless));
    return figures;
}

FailIf conditions(std::string_view text) {
    auto parsed = parse_fail_if(text);
    REQUIRE(parsed);
    return *std::move(parsed);
}

size_t place(const std::string& text, const std::string& word) {
    const size_t found = text.find(word);
    REQUIRE(found != std::string::npos);
    return found;
}

} // namespace

TEST_CASE("the worst targets stand first") {
    const std::string text = fleet_text(fleet(), {}, Look());
    CHECK(place(text, "nameless:7") < place(text, "lossy:7"));
    CHECK(place(text, "lossy:7") < place(text, "slow:7"));
    CHECK(place(text, "slow:7") < place(text, "good:7"));
    CHECK(text.find("the name does not resolve") != std::string::npos);
    CHECK(text.find("10 lost") != std::string::npos);
    CHECK(text.find("3 left out") != std::string::npos);
    CHECK(text.find("5.0% of a CPU") != std::string::npos);
    // Names are a stranger's.
    FleetFigures evil = fleet();
    evil.targets.push_back(target("\x1b[31m", 1, 0, 1));
    CHECK(fleet_text(evil, {}, Look()).find('\x1b') == std::string::npos);
}

TEST_CASE("a fleet is well if each target answered everything, or as the conditions say") {
    FleetFigures figures = fleet();
    CHECK(verdict(figures, {}) == Exit::failed);
    figures.targets.pop_back(); // nameless
    CHECK(verdict(figures, {}) == Exit::failed);
    CHECK(verdict(figures, conditions("loss>5%")) == Exit::ok);
    CHECK(verdict(figures, conditions("loss>4.9%")) == Exit::failed);
    figures.targets.pop_back(); // lossy
    CHECK(verdict(figures, {}) == Exit::ok);
    CHECK(verdict(figures, conditions("p99>60ms")) == Exit::ok);
    CHECK(verdict(figures, conditions("p99>40ms")) == Exit::failed);
    CHECK(verdict(figures, conditions("mean>49ms")) == Exit::failed);
    CHECK(verdict(figures, conditions("lateness.p50>2ms")) == Exit::ok);
    CHECK(verdict(figures, conditions("errors>0")) == Exit::ok);
    CHECK(
        fleet_text(figures, conditions("mean>49ms"), Look()).find("slow:7: mean is 50") !=
        std::string::npos);
    figures.targets.clear();
    CHECK(verdict(figures, {}) == Exit::failed);
}

TEST_CASE("the document of a prober is what its schema says") {
    FleetFigures figures = fleet();
    figures.groups.push_back(
        {.labels = {{"rack", "r1"}},
         .transport = ProbeTransport::udp,
         .started_at = 1000,
         .targets = 3,
         .counts = figures.targets[2].counts,
         .rtt = figures.targets[2].rtt});
    figures.discovery.push_back(
        {.source = "/etc/riposte/targets.d/*.json",
         .targets = 4,
         .succeeded_at = 1005,
         .failures = 1,
         .last_error = "a.json: line 1, column 7: not JSON"});
    Schema schema("riposte-probe-1");
    for (const char* const text : {"loss>0.1%,p99>1ms", "lateness.p99>1ms"})
        for (const std::string& fault :
             schema.faults(fleet_json(figures, conditions(text), Exit::failed)))
            CHECK(fault == "");
    FleetFigures none;
    none.interval_ns = none.timeout_ns = 1;
    for (const std::string& fault : schema.faults(fleet_json(none, {}, Exit::ok)))
        CHECK(fault == "");
    CHECK(schema.unseen().empty());
    for (const std::string& name : schema.undescribed())
        CHECK(name == "");
}

TEST_CASE("what a configuration amounts to is printed") {
    Selection selection;
    for (int i = 0; i < 40; i++)
        selection.chosen.push_back(
            {.target = {.name = "t" + std::to_string(i), .endpoint = {}, .labels = {{"a", "b"}}}});
    selection.chosen[1].is_neighbour = true;
    selection.self = "me:7";
    selection.self_listed = true;
    ProbeConfig config;
    config.interval_ms = 100;
    CHECK(
        check_text(config, selection, 41, 4096, Look()) ==
        "41 targets listed; 40 probed every 100ms: 400 probes/s; 160KiB of memory\n"
        "this host is 'me:7' in the lists\n");
    config.selection.self = "none";
    CHECK(check_text(config, selection, 41, 4096, Look())
              .ends_with("\nno target is this host, as [probe] self is 'none'\n"));
    config.selection.self = "auto";
    config.source_ports = {41000, 41001};
    config.rotate = false;
    selection.self_listed = false;
    CHECK(
        check_text(config, selection, 41, 4096, Look()).find("800 probes/s") != std::string::npos);
    CHECK(
        check_text(config, selection, 41, 4096, Look()).find("is in no list") != std::string::npos);
    config.group = {"a", "rack", "site"};
    CHECK(check_text(config, selection, 41, 4096, Look())
              .ends_with("no target has the label 'rack' of [export] group\n"
                         "no target has the label 'site' of [export] group\n"));
    const std::string list = list_text(selection, Look());
    CHECK(list.find("a=b") != std::string::npos);
    CHECK(list.find("neighbour\n") != std::string::npos);
    CHECK(list.find("all are probed\n") != std::string::npos);
}
