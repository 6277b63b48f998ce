#include "client/measure/fate_series.h"
#include "client/show/plot.h"
#include "tests/support/nanoseconds.h"
#include "tests/unit/client/occurrences.h"

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include <doctest/doctest.h>

using namespace riposte::client;
using riposte::test::ms;
using riposte::test::occurrences;
using riposte::test::second;

namespace {

/// The plot of one endpoint's flows, whose ports begin at 41000.
std::string plot_of(const std::vector<FateSeries>& fates, size_t bad) {
    Histogram histogram;
    Series series(0);
    std::vector<PlottedFlow> flows;
    for (uint64_t i = 0; i < fates.size(); ++i) {
        histogram.record(100'000 + i);
        series.record(i * second / fates.size() * 10, 100'000 + i);
        flows.push_back(
            {.port = static_cast<uint16_t>(41000 + i), .fates = &fates[i], .is_bad = i == bad});
    }
    const std::vector<Plotted> curves{
        {.name = "udp://server:7", .histogram = &histogram, .series = &series, .flows = flows}};
    return render_svg({.title = "t", .subtitle = "s"}, curves);
}

/// The texts of these classes that are ports, in their order.
std::vector<std::string> ports_in(const std::string& svg, const std::string& classes) {
    std::vector<std::string> ports;
    const std::string begin = "<text class=\"" + classes + '"';
    for (size_t at = svg.find(begin); at != std::string::npos; at = svg.find(begin, at + 1)) {
        const size_t text = svg.find('>', at) + 1;
        const std::string found = svg.substr(text, svg.find('<', text) - text);
        if (found.size() == 5 && found.starts_with("41"))
            ports.push_back(found);
    }
    return ports;
}

} // namespace

TEST_CASE("a series of fates counts each in the column of its time, however long the run is") {
    FateSeries fates(5 * second, 10 * ms);
    fates.record(4 * second, true); // before the start: the start
    fates.record(5 * second + 25 * ms, false);
    fates.record(5 * second + 29 * ms, true);
    auto columns = fates.columns();
    REQUIRE(columns.size() == 3);
    CHECK(columns[0].answers == 1);
    CHECK(columns[1].answers + columns[1].failures == 0);
    CHECK(columns[2].start_ns == 20 * ms);
    CHECK(columns[2].answers == 1);
    CHECK(columns[2].failures == 1);

    fates.record(86'400 * second, false);
    columns = fates.columns();
    CHECK(columns.size() <= time_columns_max);
    uint64_t answers = 0;
    uint64_t failures = 0;
    uint64_t end_ns = 0;
    for (const FateSeries::Column& column : columns) {
        CHECK(column.start_ns == end_ns);
        end_ns += column.width_ns;
        answers += column.answers;
        failures += column.failures;
    }
    CHECK(answers == 2);
    CHECK(failures == 2);
}

TEST_CASE("the plot has a strip for each flow, and those that stand out are bold") {
    std::vector<FateSeries> fates(4, FateSeries(0));
    for (uint64_t i = 0; i < 100; ++i)
        for (size_t flow = 0; flow < fates.size(); ++flow)
            fates[flow].record(i * 100 * ms, flow != 2 || i % 3 != 0);
    const std::string svg = plot_of(fates, 2);
    CHECK(occurrences(svg, ">Failures by flow") == 1);
    CHECK(occurrences(svg, "class=\"failed\"") == 1); // the others have no bar
    CHECK(ports_in(svg, "end bold") == std::vector<std::string>{"41002"});
    CHECK(ports_in(svg, "end quiet") == std::vector<std::string>{"41000", "41001", "41003"});
    CHECK(plot_of({}, 0).find("Failures by flow") == std::string::npos);
}

TEST_CASE("with the most flows there are, the one that stands out has its label") {
    std::vector<FateSeries> fates(256, FateSeries(0));
    for (FateSeries& each : fates)
        each.record(second, false);
    for (const size_t bad : {size_t{0}, size_t{101}, size_t{255}}) {
        const std::string svg = plot_of(fates, bad);
        CHECK(ports_in(svg, "end bold") == std::vector<std::string>{std::to_string(41000 + bad)});
        CHECK(occurrences(svg, "class=\"failed\"") == 256);
    }
}
