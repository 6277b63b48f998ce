// Parts of the plot: its axes, and text in SVG.
#include "client/show/plot_scale.h"
#include "client/show/svg.h"
#include "tests/support/nanoseconds.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include <doctest/doctest.h>

using namespace riposte::client;

namespace {

using riposte::test::ms;
using riposte::test::second;

std::vector<std::string> labels_of(const std::vector<Tick>& ticks) {
    std::vector<std::string> labels;
    for (const Tick& tick : ticks)
        if (!tick.label.empty())
            labels.push_back(tick.label);
    return labels;
}

using Labels = std::vector<std::string>;

} // namespace

TEST_CASE("scales keep their ends within the axis, and ticks ascend without touching") {
    const uint64_t value = 123'456;
    for (double ratio = 1; ratio < 1e14; ratio = ratio * 1.07 + 0.001) {
        const auto greatest = static_cast<uint64_t>(static_cast<double>(value) * ratio);
        const LatencyScale scale(value, greatest);
        CAPTURE(ratio);
        CHECK(scale.place(value) > 0);
        CHECK(scale.place(static_cast<double>(greatest)) < 1);
        double last = -1;
        double last_label = -1;
        size_t labels = 0;
        for (const Tick& tick : scale.ticks()) {
            CHECK(tick.at > last);
            last = tick.at;
            if (tick.label.empty())
                continue;
            CHECK(tick.at - last_label > 0.06);
            last_label = tick.at;
            ++labels;
        }
        CHECK(labels >= 2);
        CHECK(labels <= 14);
        auto names = labels_of(scale.ticks());
        std::ranges::sort(names);
        CHECK(std::ranges::adjacent_find(names) == names.end()); // each is different
    }
}

TEST_CASE("ticks of latency are round and have units") {
    CHECK(
        labels_of(LatencyScale(20'000, 9 * ms).ticks()) ==
        Labels{"20 us", "50 us", "100 us", "200 us", "500 us", "1 ms", "2 ms", "5 ms", "10 ms"});
    CHECK(
        labels_of(LatencyScale(1'010'000, 1'090'000).ticks()) ==
        Labels{"980 us", "1 ms", "1.02 ms", "1.04 ms", "1.06 ms", "1.08 ms", "1.1 ms", "1.12 ms"});
}

TEST_CASE("time is shown in a suitable unit") {
    CHECK(TimeScale(10 * ms).title() == "time since the start (ms)");
    CHECK(TimeScale(10 * second).title() == "time since the start (s)");
    CHECK(TimeScale(600 * second).title() == "time since the start (min)");
    CHECK(TimeScale(100'000 * second).title() == "time since the start (h)");
    CHECK(labels_of(TimeScale(5 * second).ticks()).front() == "0");
    CHECK(labels_of(TimeScale(5 * second).ticks()).back() == "5");
    CHECK(
        labels_of(TimeScale(600 * second).ticks()) ==
        Labels{"0", "1", "2", "3", "4", "5", "6", "7", "8", "9", "10"});
    for (uint64_t end_ns = 1; end_ns < UINT64_MAX / 3; end_ns *= 3) {
        CHECK(TimeScale(end_ns).ticks().size() <= 11);
        CHECK(TimeScale(end_ns).ticks().size() >= 3);
    }
}

TEST_CASE("percentiles go as far as the count allows") {
    CHECK(labels_of(PercentileScale(1).ticks()) == Labels{"0", "50"});
    CHECK(labels_of(PercentileScale(10).ticks()) == Labels{"0", "50", "75", "90"});
    CHECK(
        labels_of(PercentileScale(100'000).ticks()) ==
        Labels{"0", "50", "90", "99", "99.9", "99.99", "99.999"});
    CHECK(labels_of(PercentileScale(UINT64_MAX).ticks()).back() == "99.9999999");
    CHECK(PercentileScale(1000).place(0) == 0);
    CHECK(PercentileScale(1000).place(1) == 1);
    CHECK(std::abs(PercentileScale(500).place(0.99) - 2.0 / 3) < 1e-9);
}

TEST_CASE("text for XML keeps well-formed UTF-8 and replaces what XML does not allow") {
    CHECK(xml_text("plain") == "plain");
    CHECK(xml_text("a\tb\n") == "a\tb\n");
    CHECK(xml_text("µ – 🙂") == "µ – 🙂");
    CHECK(xml_text(std::string_view("\0\x1b\x7f", 3)) == "\uFFFD\uFFFD\uFFFD");
    CHECK(xml_text("\xc2") == "\uFFFD");           // cut off
    CHECK(xml_text("\xc0\xaf") == "\uFFFD\uFFFD"); // longer than needed
    CHECK(xml_text("\xe0\x80\xaf") == "\uFFFD\uFFFD\uFFFD");
    CHECK(xml_text("\xed\xa0\x80") == "\uFFFD\uFFFD\uFFFD");           // a surrogate
    CHECK(xml_text("\xf4\x90\x80\x80") == "\uFFFD\uFFFD\uFFFD\uFFFD"); // beyond Unicode
    CHECK(xml_text("\xef\xbf\xbe") == "\uFFFD\uFFFD\uFFFD");           // U+FFFE
    CHECK(xml_text("\xc2\x80") == "\uFFFD\uFFFD");                     // a control character
    CHECK(xml_text("\x80") == "\uFFFD");
}
