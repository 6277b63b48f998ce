#include "build_features.h"
#include "client/show/plot.h"
#include "tests/support/nanoseconds.h"
#include "tests/unit/client/occurrences.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <initializer_list>
#include <map>
#include <optional>
#include <random>
#include <set>
#include <sstream>
#include <string>
#include <string_view>
#include <vector>

#include <doctest/doctest.h>

using namespace riposte::client;

namespace {

using riposte::test::ms;
using riposte::test::second;

/// An endpoint's figures.
struct Measured {
    std::string name;
    Histogram histogram{};
    Series series{0};
    PlottedCounts counts{};
    std::vector<PlottedSpan> outages{};

    void record(uint64_t at_ns, uint64_t value_ns) {
        histogram.record(value_ns);
        series.record(at_ns, value_ns);
    }
};

std::string plot(
    const std::vector<Measured>& measured, const std::string& title = "riposte ping",
    const std::string& subtitle = "64 bytes") {
    std::vector<Plotted> curves;
    curves.reserve(measured.size());
    for (const Measured& each : measured)
        curves.push_back({each.name, &each.histogram, &each.series, each.counts, each.outages});
    return render_svg({.title = title, .subtitle = subtitle, .started_at = 1741529159.2}, curves);
}

/// Two hundred answers in ten seconds, with latencies of `middle_ns`, some much longer.
Measured some(const std::string& name, double middle_ns, uint64_t seed) {
    std::mt19937_64 random(seed);
    std::lognormal_distribution<double> duration(std::log(middle_ns), 0.5);
    Measured measured{.name = name};
    for (uint64_t i = 0; i < 200; ++i)
        measured.record(i * 50 * ms, static_cast<uint64_t>(duration(random)));
    return measured;
}

std::vector<Measured> several(size_t count) {
    std::vector<Measured> all;
    all.reserve(count);
    for (size_t i = 0; i < count; ++i)
        all.push_back(some(
            "tcp://127.0.0.1:" + std::to_string(7001 + i), 50'000.0 * static_cast<double>(i + 1),
            i));
    return all;
}

using riposte::test::occurrences;

struct Element {
    std::string name;
    std::map<std::string, std::string> attributes;

    const std::string& at(const std::string& attribute) const {
        static const std::string none;
        const auto found = attributes.find(attribute);
        return found == attributes.end() ? none : found->second;
    }
    double number(const std::string& attribute) const { return std::stod("0" + at(attribute)); }
    bool has_class(std::string_view name_of_class) const {
        return (" " + at("class") + " ").find(" " + std::string(name_of_class) + " ") !=
               std::string::npos;
    }
};

/// No markup characters, except in XML's predefined entities.
bool is_escaped(std::string_view text) {
    for (size_t at = 0; at < text.size(); ++at) {
        if (text[at] == '<' || text[at] == '>')
            return false;
        const auto is_entity = [&](std::string_view entity) {
            return text.substr(at).starts_with(entity);
        };
        if (text[at] == '&' && !is_entity("&amp;") && !is_entity("&lt;") && !is_entity("&gt;") &&
            !is_entity("&quot;") && !is_entity("&#39;"))
            return false;
    }
    return true;
}

/// The text between < and >: name="value", each after one blank.
std::optional<Element> parse_tag(std::string_view tag) {
    const auto is_name = [](std::string_view name) {
        return !name.empty() && std::ranges::all_of(name, [](char each) {
            return (each >= 'a' && each <= 'z') || (each >= 'A' && each <= 'Z') || each == '-' ||
                   (each >= '0' && each <= '9');
        });
    };
    Element element;
    size_t end = std::min(tag.find(' '), tag.size());
    element.name = tag.substr(0, end);
    if (!is_name(element.name))
        return {};
    for (tag.remove_prefix(end); !tag.empty(); tag.remove_prefix(end + 1)) {
        const size_t equals = tag.find("=\"");
        if (tag.front() != ' ' || equals == std::string_view::npos)
            return {};
        end = tag.find('"', equals + 2);
        const std::string_view name = tag.substr(1, equals - 1);
        if (end == std::string_view::npos || !is_name(name))
            return {};
        const std::string_view value = tag.substr(equals + 2, end - equals - 2);
        if (!is_escaped(value) || !element.attributes.emplace(name, value).second)
            return {};
    }
    return element;
}

/// All elements in order; empty if tags are not balanced or text is not escaped.
std::optional<std::vector<Element>> elements_of(const std::string& svg) {
    std::vector<Element> elements;
    std::vector<std::string> open;
    std::string_view rest = svg;
    while (!rest.empty()) {
        const size_t start = std::min(rest.find('<'), rest.size());
        if (!is_escaped(rest.substr(0, start)))
            return {};
        rest.remove_prefix(start);
        if (rest.empty())
            break;
        const size_t end = rest.find('>');
        if (end == std::string_view::npos)
            return {};
        std::string_view tag = rest.substr(1, end - 1);
        rest.remove_prefix(end + 1);
        if (tag.starts_with('/')) {
            if (open.empty() || open.back() != tag.substr(1))
                return {};
            open.pop_back();
            continue;
        }
        const bool is_whole = tag.ends_with('/');
        if (is_whole)
            tag.remove_suffix(1);
        const auto element = parse_tag(tag);
        if (!element)
            return {};
        elements.push_back(*element);
        if (!is_whole)
            open.push_back(element->name);
    }
    if (!open.empty() || elements.empty() || elements.front().name != "svg")
        return {};
    return elements;
}

bool is_well_formed(const std::string& svg) {
    return elements_of(svg).has_value();
}

struct Box {
    double left, top, right, bottom;
    bool has(double x, double y) const {
        constexpr double rounding = 0.06;
        return x >= left - rounding && x <= right + rounding && y >= top - rounding &&
               y <= bottom + rounding;
    }
};

/// The panels, bounded by the lower axes and the vertical gridlines.
std::vector<Box> panels_of(const std::vector<Element>& elements) {
    std::vector<Box> panels;
    for (const Element& each : elements)
        if (each.name == "line" && each.has_class("frame"))
            panels.push_back({each.number("x1"), 0, each.number("x2"), each.number("y2")});
    for (const Element& each : elements)
        for (Box& panel : panels)
            if (each.has_class("grid") && each.at("x1") == each.at("x2") &&
                each.number("y2") == panel.bottom)
                panel.top = each.number("y1");
    return panels;
}

/// True if all points of curves and bands lie in a panel, and there are some.
bool curves_stay_within(const std::vector<Element>& elements, const std::vector<Box>& panels) {
    size_t points = 0;
    for (const Element& each : elements) {
        if (each.name != "path")
            continue;
        if (!each.has_class("line") && !each.has_class("band") && !each.has_class("points"))
            continue;
        // "M1.0 2.0L3.0 4.0Z"; a dot ends in "h.01".
        std::string data = each.at("d");
        for (size_t at = data.find("h.01"); at != std::string::npos; at = data.find("h.01"))
            data.erase(at, 4);
        std::ranges::replace_if(
            data, [](char part) { return part == 'M' || part == 'L' || part == 'Z'; }, ' ');
        std::istringstream numbers(data);
        for (double x = 0, y = 0; numbers >> x >> y; ++points)
            if (std::ranges::none_of(panels, [&](const Box& box) { return box.has(x, y); }))
                return false;
        if (!numbers.eof())
            return false;
    }
    return points > 0;
}

std::vector<std::vector<Measured>> measured_examples() {
    std::vector<std::vector<Measured>> all{several(1), several(3), several(8), several(30)};
    Measured one{.name = "one"};
    one.record(0, 123'456);
    all.push_back({one});
    Measured equal{.name = "equal"};
    for (uint64_t i = 0; i < 300; ++i)
        equal.record(i * second, 250'000);
    all.push_back({equal});
    Measured extremes{.name = "extremes"};
    extremes.record(0, 0);
    extremes.record(UINT64_MAX / 2, UINT64_MAX);
    all.push_back({extremes});
    Measured failed{.name = "failed"};
    failed.series.record_failure(second);
    all.push_back({failed, one, several(1).front()});
    return all;
}

} // namespace

TEST_CASE("the check for well-formed documents refuses malformed ones") {
    CHECK(is_well_formed("<svg a=\"1\"><g><p/></g>x &amp; y</svg>\n"));
    for (const std::string_view wrong :
         {"<svg>", "<svg></g>", "<svg><g></svg></g>", "<svg a=1></svg>", "<svg>&</svg>",
          "<svg>a > b</svg>", "<svg a=\"&x\"></svg>", "<svg a=\"1\" a=\"2\"></svg>", "<g></g>", ""})
        CHECK_FALSE(is_well_formed(std::string(wrong)));
}

TEST_CASE("a plot is well-formed and has a size, whatever its contents") {
    for (const auto& measured : measured_examples()) {
        CAPTURE(measured.front().name);
        const std::string svg = plot(measured);
        CHECK(is_well_formed(svg));
        CHECK(svg.find("nan") == std::string::npos);
        CHECK(svg.find("inf") == std::string::npos);
        CHECK(svg.find(R"(width="960")") != std::string::npos);
        CHECK(occurrences(svg, "Latency over time") == 1);
        CHECK(occurrences(svg, "Latency by percentile") == 1);
    }
}

TEST_CASE("curves, bands and points stay within their panel") {
    for (const auto& measured : measured_examples()) {
        CAPTURE(measured.front().name);
        const auto elements = elements_of(plot(measured));
        REQUIRE(elements.has_value());
        const auto panels = panels_of(*elements);
        REQUIRE(panels.size() == 2);
        for (const Box& panel : panels)
            CHECK(panel.bottom - panel.top > 200);
        CHECK(curves_stay_within(*elements, panels));
    }
}

TEST_CASE("a plot loads no other file and runs no script") {
    std::string svg = plot(several(3));
    const std::string name = "xmlns=\"http://www.w3.org/2000/svg\"";
    REQUIRE(svg.find(name) != std::string::npos);
    svg.erase(svg.find(name), name.size());
    for (const std::string_view word :
         {"<script", "href", "url(", "@import", "http:", "https:", "<image", "<foreignObject",
          "onload"})
        CHECK(svg.find(word) == std::string::npos);
}

TEST_CASE("a plot has colours for a light background outside the media query for a dark one") {
    const std::string svg = plot(several(8));
    const size_t dark = svg.find("@media (prefers-color-scheme:dark){");
    REQUIRE(dark != std::string::npos);
    for (const std::string_view rule : {".page{fill:#", ".s0{stroke:#", ".s7{stroke:#"}) {
        CHECK(svg.find(rule) < dark);
        CHECK(svg.find(rule, dark) != std::string::npos);
    }
}

TEST_CASE("title, subtitle and names are escaped") {
    auto measured = several(2);
    measured[0].name = "<b>&'\"";
    const std::string svg = plot(measured, "a <script> & \"b\"", "c > d\x01 \xff");
    CHECK(is_well_formed(svg));
    CHECK(occurrences(svg, "a &lt;script&gt; &amp; &quot;b&quot;") == 2); // <title>, and shown
    CHECK(svg.find("&lt;b&gt;&amp;&#39;&quot;</text>") != std::string::npos);
    CHECK(svg.find("c &gt; d\uFFFD \uFFFD</text>") != std::string::npos);
}

TEST_CASE("each curve has a line in both panels, and the table names it") {
    for (const size_t count : {size_t{1}, size_t{2}, size_t{3}, size_t{8}}) {
        CAPTURE(count);
        const auto measured = several(count);
        const std::string svg = plot(measured);
        for (size_t i = 0; i < count; ++i) {
            const std::string line = "<path class=\"line s" + std::to_string(i);
            CHECK(occurrences(svg, line) == 2);
            CHECK(occurrences(svg, measured[i].name + "</text>") == 1);
        }
        CHECK(occurrences(svg, "<path class=\"line") == 2 * count);
    }
}

TEST_CASE("24 curves have 24 lines, and from five on each has its number in both panels") {
    const auto lines_of = [](const std::string& svg) {
        std::set<std::string> lines;
        const std::string start = "<path class=\"line ";
        for (size_t at = svg.find(start); at != std::string::npos; at = svg.find(start, at + 1))
            lines.insert(svg.substr(at, svg.find(" d=", at) - at));
        return lines;
    };
    CHECK(lines_of(plot(several(24))).size() == 24);
    CHECK(occurrences(plot(several(4)), "class=\"tag") == 0);
    const std::string svg = plot(several(5));
    CHECK(occurrences(svg, "class=\"tag") == 10);
    for (int i = 1; i <= 5; ++i) {
        CAPTURE(i);
        CHECK(occurrences(svg, ">" + std::to_string(i) + " tcp://127.0.0.1:") == 1);
        const std::string of_curve = "class=\"tag f" + std::to_string(i - 1) + "\"";
        CHECK(occurrences(svg, of_curve) == 2);
    }
}

TEST_CASE("the plot has the date, the version and the counts") {
    auto measured = several(2);
    measured[0].counts = {.sent = 12'345, .answered = 12'300, .lost = 43, .failed = 2};
    measured[1].counts = {.sent = 777, .answered = 777};
    std::string svg = plot(measured);
    CHECK(occurrences(svg, ">started 2025-03-09 14:05:59 UTC; riposte " RIPOSTE_VERSION "<") == 1);
    for (const std::string_view text :
         {">sent<", ">answered<", ">lost<", ">failed otherwise<", ">12345<", ">12300<", ">43<",
          ">p99.9<"})
        CHECK(occurrences(svg, text) == 1);
    CHECK(occurrences(svg, ">777<") == 2);
    measured[0].counts.failed = 0;
    svg = plot(measured);
    CHECK(occurrences(svg, ">failed otherwise<") == 0);
    CHECK(occurrences(svg, ">-<") == 2); // p99.9 of 200
}

TEST_CASE("bands are drawn for at most three curves") {
    const auto bands = [](size_t count) {
        auto measured = several(count);
        for (Measured& each : measured)
            for (uint64_t i = 0; i < 200; ++i)
                each.record(i * 50 * ms, 300'000);
        return occurrences(plot(measured), "<path class=\"band");
    };
    CHECK(bands(1) == 1);
    CHECK(bands(3) == 3);
    CHECK(bands(4) == 0);
}

TEST_CASE("the key names the drawn items, and nothing else") {
    auto measured = several(1);
    CHECK(plot(measured).find(">median<") == std::string::npos); // one answer in each column
    CHECK(plot(measured).find(">failed") == std::string::npos);
    for (uint64_t i = 0; i < 200; ++i)
        measured[0].record(i * 50 * ms, 300'000);
    const auto named = [&](std::string_view band) {
        const std::string svg = plot(measured);
        for (const std::string_view name :
             std::initializer_list<std::string_view>{">median<", ">max<", band})
            CHECK(occurrences(svg, name) == (name == ">max<" ? 2 : 1)); // the table has it, too
    };
    named(">min to max<"); // two answers have no p99
    for (uint64_t i = 0; i < 100; ++i)
        measured[0].record(second, 300'000);
    named(">min to p99<");
    measured[0].series.record_failure(0);
    const std::string svg = plot(measured);
    CHECK(occurrences(svg, ">failed: 0.01% to 100%, log scale<") == 1);
    CHECK(occurrences(svg, ">failed<") == 1); // beside the strip
}

TEST_CASE("failures are bars below the panel of time, as high as their share") {
    // A column of a thousand with this many failures, one of ten, and one with failures only.
    Measured measured{.name = "x"};
    const auto column = [&](uint64_t at_ns, uint64_t answers, uint64_t failures) {
        for (uint64_t i = 0; i < answers; ++i)
            measured.record(at_ns, 100'000);
        for (uint64_t i = 0; i < failures; ++i)
            measured.series.record_failure(at_ns);
    };
    column(0, 999, 1);
    column(second, 9, 1);
    column(2 * second, 0, 7);
    column(2 * second + 10 * ms, 99'999, 1);
    const auto heights = [&] {
        const auto elements = elements_of(plot({measured}));
        REQUIRE(elements.has_value());
        std::vector<double> found;
        for (const Element& each : *elements) {
            if (each.name != "path" || !each.has_class("failed"))
                continue;
            std::string data = each.at("d");
            std::ranges::replace_if(
                data, [](char part) { return part == 'M' || part == 'L' || part == 'Z'; }, ' ');
            std::istringstream numbers(data);
            // Four corners: at the bottom, at the top, at the top, at the bottom.
            for (std::array<double, 8> of{}; numbers >> of[0];) {
                for (size_t i = 1; i < of.size(); ++i)
                    numbers >> of.at(i);
                found.push_back(of[1] - of[3]);
            }
        }
        return found;
    }();
    REQUIRE(heights.size() == 4);
    CHECK(heights[2] > 30);
    CHECK(heights[0] == doctest::Approx(heights[2] / 4).epsilon(0.02));
    CHECK(heights[1] == doctest::Approx(heights[2] * 3 / 4).epsilon(0.02));
    CHECK(heights[3] < heights[0]);
    CHECK(heights[3] > 1); // visible nevertheless
}

TEST_CASE("outages are shaded over the whole height of the panel of time") {
    auto measured = several(1);
    measured[0].outages = {{2 * second, 4 * second}, {10 * second, 10 * second}};
    const std::string svg = plot(measured);
    CHECK(occurrences(svg, ">outage<") == 1);
    std::vector<Element> shades;
    const auto elements = elements_of(svg);
    REQUIRE(elements.has_value());
    for (const Element& each : *elements)
        if (each.name == "rect" && each.has_class("outage") && each.number("height") > 100)
            shades.push_back(each);
    REQUIRE(shades.size() == 2);
    CHECK(shades[0].has_class("failed"));
    CHECK(shades[0].number("width") > 100);
    CHECK(shades[1].number("width") == 2);
    CHECK(shades[1].number("x") + 2 <= 84 + 852 + 0.1);
    measured.push_back(some("other", 90'000, 7));
    CHECK(plot(measured).find("\"outage f0\"") != std::string::npos);
    measured[0].outages.clear();
    CHECK(plot(measured).find(">outage<") == std::string::npos);
}

TEST_CASE("a line is cut where no answer came for long") {
    Measured measured{.name = "x"};
    const auto moves = [&] {
        const std::string svg = plot({measured});
        const size_t start = svg.find("<path class=\"line s0\" d=");
        return occurrences(svg.substr(start, svg.find('>', start) - start), "M");
    };
    for (uint64_t i = 0; i < 50; ++i)
        measured.record(i * 100 * ms, 100'000);
    CHECK(moves() == 1);
    for (uint64_t i = 100; i < 150; ++i)
        measured.record(i * 100 * ms, 100'000);
    CHECK(moves() == 2);
}

TEST_CASE("axes have units") {
    const std::string svg = plot(several(1));
    CHECK(occurrences(svg, ">latency (log scale)<") == 2);
    CHECK(occurrences(svg, ">50 us<") == 2);
    CHECK(occurrences(svg, ">time since the start (s)<") == 1);
    CHECK(occurrences(svg, ">percentile (%)<") == 1);
    CHECK(occurrences(svg, ">99<") == 1);
}

TEST_CASE("a single curve has all its percentiles beside it") {
    Measured measured{.name = "x"};
    for (uint64_t i = 1; i <= 1000; ++i)
        measured.record(i * ms, i * 1000);
    std::string svg = plot({measured});
    CHECK(occurrences(svg, "<circle") == 5);
    for (const std::string_view label :
         {">p50 501 us<", ">p90 899 us<", ">p99 989 us<", ">p99.9 997 us<", ">max 1 ms<"})
        CHECK(occurrences(svg, label) == 1);
}

TEST_CASE("several curves have their percentiles beside them if there is room") {
    auto measured = several(2);
    for (uint64_t i = 0; i < 300; ++i)
        measured[1].record(i * ms, 40'000'000);
    const std::string svg = plot(measured);
    for (const std::string_view of_curve : {R"(class="f0")", R"(class="f1")"})
        CHECK(occurrences(svg, of_curve) >= 3);
    CHECK(occurrences(svg, ">p99 40") == 1);
    CHECK(occurrences(svg, ">max ") == 2);
    CHECK(occurrences(plot(several(20)), "<circle") >= 3);
}

TEST_CASE("without an answer the plot says so") {
    Measured silent{.name = "silent"};
    silent.series.record_failure(0);
    CHECK(occurrences(plot({silent}), ">no answer<") == 2); // each panel
    Measured idle{.name = "idle"};
    CHECK(occurrences(plot({idle}), ">no answer<") == 2);
    const std::string svg = plot({silent, several(1).front()});
    CHECK(occurrences(svg, ">no answer<") == 0);
    CHECK(occurrences(svg, ">silent (no answer)</text>") == 1);
}

TEST_CASE("a curve without a series has only its distribution") {
    const Measured measured = several(1).front();
    const std::vector<Plotted> curves{{"x", &measured.histogram, nullptr}};
    const std::string svg = render_svg({.title = "t", .subtitle = "s"}, curves);
    CHECK(is_well_formed(svg));
    CHECK(occurrences(svg, "<path class=\"line s0\"") == 1);
}

TEST_CASE(
    "a long subtitle is wrapped to at most three lines, its own breaks kept, above the date") {
    const auto lines = [](const std::string& subtitle) {
        return occurrences(plot(several(1), "t", subtitle), "<text class=\"subtitle\"");
    };
    CHECK(lines("") == 1);
    CHECK(lines("one") == 2);
    CHECK(lines("one\ntwo") == 3);
    std::string words;
    for (int i = 0; i < 200; ++i)
        words += "word ";
    CHECK(lines(words) == 4);
    CHECK(lines(std::string(1000, 'x')) == 2);
    CHECK(plot(several(1), "t", words).find("...</text>") != std::string::npos);
}
