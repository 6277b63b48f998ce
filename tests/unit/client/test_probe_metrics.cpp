// The text that Prometheus scrapes from a prober.
#include "client/probe/probe_metrics.h"
#include "tests/unit/client/fleet_sample.h"

#include <array>
#include <cstdio>
#include <fstream>
#include <iterator>
#include <map>
#include <set>
#include <sstream>
#include <string>
#include <string_view>
#include <vector>

#include <doctest/doctest.h>

using namespace riposte;
using namespace riposte::client;
using namespace riposte::client::test;

namespace {

const ExporterFigures known_exporter{
    .version = "1.2.3", .clock = ClockError{.error_ns = 2'500'000, .synchronized = true}};

std::string text_of(const FleetFigures& fleet, ProbeMetricsOptions options = {}) {
    return probe_metrics(fleet, known_exporter, options).text();
}

std::string golden(const std::string& name) {
    std::ifstream file(std::string(RIPOSTE_GOLDEN_DIR) + "/" + name);
    return {std::istreambuf_iterator<char>(file), {}};
}

std::vector<std::string> lines_of(const std::string& text) {
    std::istringstream stream(text);
    std::vector<std::string> lines;
    for (std::string line; std::getline(stream, line);)
        lines.push_back(line);
    return lines;
}

/// {series: value} of the samples.
std::map<std::string, double> samples_of(const std::string& text) {
    std::map<std::string, double> samples;
    for (const std::string& line : lines_of(text)) {
        if (line.starts_with('#'))
            continue;
        const size_t blank = line.rfind(' ');
        const std::string series = line.substr(0, blank);
        CAPTURE(series);
        CHECK(!samples.contains(series));
        samples[series] = std::stod(line.substr(blank + 1));
    }
    return samples;
}

size_t count_of(const std::string& text, std::string_view part) {
    size_t count = 0;
    for (size_t at = text.find(part); at != std::string::npos; at = text.find(part, at + 1))
        ++count;
    return count;
}

} // namespace

TEST_CASE("a fleet's text is exactly the golden one, in both formats") {
    CHECK(text_of(small_fleet()) == golden("probe_metrics.prom"));
    CHECK(
        text_of(small_fleet(), {.format = ExpositionFormat::openmetrics}) ==
        golden("probe_metrics.openmetrics"));
}

TEST_CASE("each probe of a target is sent, and waits or has one result") {
    FleetFigures fleet = small_fleet();
    const auto samples = samples_of(text_of(fleet));
    const std::string labels =
        R"({target="db1:7007",transport="udp",target_rack="r1",target_site="fra")";
    double results = 0;
    size_t rows = 0;
    for (const auto& [series, value] : samples) {
        if (!series.starts_with("riposte_probe_results_total" + labels))
            continue;
        results += value;
        ++rows;
    }
    CHECK(rows == 9);
    CHECK(results == 9);
    CHECK(samples.at("riposte_probe_waiting" + labels + "}") == 1);
    CHECK(samples.at("riposte_probe_sent_total" + labels + "}") == 10);
}

TEST_CASE("classic buckets are cumulative, end with all values, and have bounds of powers of two") {
    const auto samples = samples_of(text_of(small_fleet()));
    const std::string name =
        R"(riposte_probe_rtt_seconds_bucket{target="db1:7007",transport="udp",target_rack="r1",)"
        R"(target_site="fra",le=")";
    size_t buckets = 0;
    for (const auto& [series, value] : samples)
        if (series.starts_with(name))
            ++buckets;
    CHECK(buckets == 26);
    const auto up_to = [&](std::string_view bound) {
        return samples.at(name + std::string(bound) + "\"}");
    };
    CHECK(up_to("9.5367431640625e-07") == 1); // 500 ns
    CHECK(up_to("0.0001220703125") == 2);
    CHECK(up_to("0.000244140625") == 4);
    CHECK(up_to("0.0009765625") == 4);
    CHECK(up_to("0.001953125") == 5); // 1 ms
    CHECK(up_to("0.03125") == 6);
    CHECK(up_to("16.0") == 6);
    CHECK(up_to("+Inf") == 7);
    CHECK(count_of(text_of(small_fleet()), "riposte_probe_group_rtt_seconds_bucket") == 50);
    CHECK(count_of(text_of(small_fleet()), "riposte_probe_lateness_seconds_bucket") == 50);
}

TEST_CASE("a pair has less detail where series are limited, and its groups stay") {
    FleetFigures fleet = small_fleet();
    fleet.prober.series_limited = true;
    fleet.prober.pair = PairDetail::counters;
    const std::string counters = text_of(fleet);
    CHECK(count_of(counters, "riposte_probe_rtt_seconds") == 0);
    CHECK(count_of(counters, "riposte_probe_connect_seconds") == 0);
    CHECK(count_of(counters, "riposte_probe_results_total{") == 18);
    CHECK(samples_of(counters).at("riposte_probe_series_limited") == 1);
    fleet.prober.pair = PairDetail::none;
    const std::string none = text_of(fleet);
    CHECK(count_of(none, "target=\"") == 0);
    CHECK(count_of(none, "riposte_probe_group_rtt_seconds_bucket") == 50);
    CHECK(count_of(none, "riposte_probe_lateness_seconds_bucket") == 50);
    CHECK(samples_of(none).at("riposte_probe_series_limited") == 1);
}

TEST_CASE("labels are escaped, and a target without an address has none") {
    const std::string text = text_of(small_fleet());
    CHECK(
        text.find(R"(riposte_probe_sent_total{target="a\"b\\c\nd",transport="tcp"} 4)") !=
        std::string::npos);
    CHECK(count_of(text, "riposte_probe_target_info{") == 1);
    CHECK(count_of(text, "192.0.2.1") == 1); // in no other series
    FleetFigures fleet = small_fleet();
    fleet.targets[0].listed = false;
    CHECK(count_of(text_of(fleet), "riposte_probe_target_info{") == 0);
    CHECK(count_of(text_of(fleet), "riposte_probe_sent_total{") == 2); // its last counts stay
}

TEST_CASE("every counter and histogram of OpenMetrics says since when it counts, unless unwanted") {
    const std::string text = text_of(small_fleet(), {.format = ExpositionFormat::openmetrics});
    CHECK(count_of(text, "_total") == count_of(text, "_total{") + count_of(text, "_total "));
    const size_t counters = count_of(text, "_total{") + count_of(text, "_total ");
    const size_t histograms = count_of(text, "_count{") + count_of(text, "_count ");
    CHECK(count_of(text, "_created") == counters + histograms);
    CHECK(
        text.find("riposte_probe_sent_created{target=\"a\\\"b\\\\c\\nd\",transport=\"tcp\"} "
                  "1700000050.125\n") != std::string::npos);
    CHECK(count_of(text_of(small_fleet()), "_created") == 0);
    const ProbeMetricsOptions without{.format = ExpositionFormat::openmetrics, .created = false};
    CHECK(count_of(text_of(small_fleet(), without), "_created") == 0);
}

TEST_CASE("an unreadable clock is left out, and an empty fleet is a valid document") {
    const FleetFigures empty;
    const std::string text = probe_metrics(empty, {.version = "1"}, {}).text();
    CHECK(count_of(text, "riposte_clock") == 0);
    CHECK(samples_of(text).at("riposte_probe_lateness_seconds_count") == 0);
    CHECK(probe_metrics(empty, {.version = "1"}, {.format = ExpositionFormat::openmetrics})
              .text()
              .ends_with("\n# EOF\n"));
}

TEST_CASE("each family has one HELP and one TYPE, before its samples") {
    for (const auto format : {ExpositionFormat::prometheus, ExpositionFormat::openmetrics}) {
        std::set<std::string> families;
        std::string family;
        for (const std::string& line : lines_of(text_of(small_fleet(), {.format = format}))) {
            CAPTURE(line);
            std::istringstream words(line);
            std::string hash;
            std::string word;
            std::string name;
            words >> hash >> word >> name;
            if (hash == "#" && word == "HELP") {
                CHECK(families.insert(name).second);
                CHECK(line.ends_with("."));
                family = name;
            } else if (hash == "#" && word != "EOF") {
                CHECK(name == family);
            } else if (hash != "#") {
                CHECK(line.starts_with(family));
            }
        }
        CHECK(families.size() > 20);
    }
}

TEST_CASE("a pair has as many series as the budget of series counts for it") {
    for (const auto transport : {ProbeTransport::udp, ProbeTransport::tcp})
        for (const auto detail : {PairDetail::none, PairDetail::counters, PairDetail::histogram}) {
            FleetFigures fleet;
            fleet.prober.pair = detail;
            fleet.targets.push_back(target_named("db1:7007", transport, {{"rack", "r1"}}));
            fleet.targets.back().address = "192.0.2.1:7007";
            for (const bool created : {false, true}) {
                const std::string text =
                    text_of(fleet, {.format = ExpositionFormat::openmetrics, .created = created});
                CAPTURE(text);
                CHECK(
                    count_of(text, "target=\"db1:7007\"") ==
                    pair_series(transport, detail, created));
            }
        }
}

TEST_CASE("what all pairs export is bounded by the number of series") {
    std::vector<TargetFigures> targets;
    for (int i = 0; i < 10; ++i)
        targets.push_back(target_named("a:7", ProbeTransport::udp, {}));
    const size_t histograms = 10 * pair_series(ProbeTransport::udp, PairDetail::histogram, true);
    const size_t counters = 10 * pair_series(ProbeTransport::udp, PairDetail::counters, true);
    const auto detail = [&](PairDetail wanted, size_t series_max) {
        return affordable_detail(targets, wanted, series_max, true);
    };
    CHECK(detail(PairDetail::histogram, histograms) == PairDetail::histogram);
    CHECK(detail(PairDetail::histogram, histograms - 1) == PairDetail::counters);
    CHECK(detail(PairDetail::histogram, counters) == PairDetail::counters);
    CHECK(detail(PairDetail::histogram, counters - 1) == PairDetail::none);
    CHECK(detail(PairDetail::counters, histograms) == PairDetail::counters);
    CHECK(detail(PairDetail::none, histograms) == PairDetail::none);
    CHECK(affordable_detail({}, PairDetail::histogram, 0, true) == PairDetail::histogram);
}
