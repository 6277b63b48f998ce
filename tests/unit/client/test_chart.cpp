#include "client/show/chart.h"
#include "tests/unit/client/occurrences.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <random>
#include <sstream>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <doctest/doctest.h>

using namespace riposte::client;

namespace {

std::vector<std::string> lines_of(const std::string& text) {
    std::vector<std::string> lines;
    std::istringstream stream(text);
    for (std::string line; std::getline(stream, line);)
        lines.push_back(line);
    return lines;
}

/// Columns of the terminal: every character in a chart is one wide.
size_t columns(std::string_view line) {
    return static_cast<size_t>(std::ranges::count_if(
        line, [](char byte) { return (static_cast<unsigned char>(byte) & 0xC0U) != 0x80U; }));
}

size_t longest(const std::vector<std::string>& lines) {
    size_t most = 0;
    for (const std::string& line : lines)
        most = std::max(most, columns(line));
    return most;
}

using riposte::test::occurrences;

/// A row taken apart: " 1.5 ms ####   12  p50 p95".
struct Row {
    std::string label, bar, marks;
    uint64_t count = 0;
};

Row row_of(const std::string& line) {
    Row row;
    std::istringstream words(line);
    std::string unit;
    words >> row.label >> unit;
    row.label += " " + unit;
    std::string word;
    words >> word;
    if (word.find_first_not_of("0123456789") != std::string::npos) {
        row.bar = word;
        words >> word;
    }
    row.count = std::stoull(word);
    std::getline(words, row.marks);
    row.marks.erase(0, row.marks.find_first_not_of(' '));
    return row;
}

std::vector<Row> rows_of(const std::vector<std::string>& lines) {
    std::vector<Row> rows;
    for (size_t i = 1; i < lines.size(); ++i)
        rows.push_back(row_of(lines[i]));
    return rows;
}

Histogram recorded(const std::vector<uint64_t>& values) {
    Histogram histogram;
    for (const uint64_t value : values)
        histogram.record(value);
    return histogram;
}

/// A body and a tail forty times as slow.
Histogram two_hills() {
    std::mt19937_64 random(7);
    std::lognormal_distribution<double> body(std::log(80'000.0), 0.3);
    std::lognormal_distribution<double> tail(std::log(2e6), 0.6);
    Histogram histogram;
    for (int i = 0; i < 20'000; ++i)
        histogram.record(static_cast<uint64_t>(i % 100 == 0 ? tail(random) : body(random)));
    return histogram;
}

Histogram close_together() {
    std::mt19937_64 random(8);
    std::normal_distribution<double> duration(1.05e6, 1.5e4);
    Histogram histogram;
    for (int i = 0; i < 20'000; ++i)
        histogram.record(static_cast<uint64_t>(duration(random)));
    return histogram;
}

std::vector<Histogram> examples() {
    return {
        two_hills(),
        close_together(),
        recorded({123'456}),
        recorded({0}),
        recorded({0, UINT64_MAX}),
        recorded({1, 2, 3, 4, 5, 6, 7, 200}),
        recorded({100, 127, 128, 129, 130}),
        recorded({999'999, 1'000'000, 1'000'001}),
        recorded(std::vector<uint64_t>(1000, 5'000'000'000))};
}

} // namespace

TEST_CASE("the longest row is as wide as asked for, and no line is wider") {
    for (const Histogram& histogram : examples()) {
        for (const size_t width : {40U, 41U, 60U, 80U, 132U, 200U}) {
            for (const bool unicode : {true, false}) {
                CAPTURE(width);
                const auto lines = lines_of(render_chart(
                    "udp://127.0.0.1:7001", histogram,
                    {.width = width, .unicode = unicode, .color = false}));
                CHECK(longest(lines) == width);
            }
        }
    }
}

TEST_CASE("a chart has at most 23 lines, whatever its range") {
    std::mt19937_64 random(9);
    for (unsigned octaves = 1; octaves < 64; ++octaves) {
        CAPTURE(octaves);
        Histogram histogram;
        for (int i = 0; i < 5000; ++i)
            histogram.record(UINT64_MAX >> (random() % octaves));
        CHECK(lines_of(render_chart("x", histogram, {})).size() <= 23);
    }
    for (double ratio = 1.01; ratio < 100; ratio *= 1.1) {
        CAPTURE(ratio);
        const auto greatest = static_cast<uint64_t>(77'777 * ratio);
        const auto lines = lines_of(render_chart("x", recorded({77'777, greatest}), {}));
        CHECK(lines.size() <= 23);
        CHECK(lines.size() >= 3); // the two are distinct
    }
}

TEST_CASE("the counts of all rows add up to all answers") {
    for (const Histogram& histogram : examples()) {
        uint64_t sum = 0;
        for (const Row& row : rows_of(lines_of(render_chart("x", histogram, {}))))
            sum += row.count;
        CHECK(sum == histogram.count());
    }
}

TEST_CASE("no row at either end is empty, and each mark is there once, beside a bar, in order") {
    for (const Histogram& histogram : examples()) {
        const auto rows = rows_of(lines_of(render_chart("x", histogram, {.width = 120})));
        CHECK(rows.front().count > 0);
        CHECK(rows.back().count > 0);
        std::string marks;
        for (const Row& row : rows) {
            if (row.marks.empty())
                continue;
            CHECK(row.count > 0);
            marks += row.marks + " ";
        }
        std::string expected = "min p50 ";
        for (const auto& [name, least] : std::vector<std::pair<std::string, uint64_t>>{
                 {"p95 ", 20}, {"p99 ", 100}, {"p99.9 ", 1000}})
            if (histogram.count() >= least)
                expected += name;
        CHECK(marks == expected + "max ");
    }
}

TEST_CASE("if room is scarce, a row with three or more marks shows the first and the last") {
    const Histogram one = recorded({123'456});
    const Histogram many = recorded(std::vector<uint64_t>(1000, 123'456));
    CHECK(
        render_chart("x", many, {.width = 40, .unicode = false}).find("1000  min-max\n") !=
        std::string::npos);
    CHECK(
        render_chart("x", one, {.width = 80, .unicode = false}).find("1  min p50 max\n") !=
        std::string::npos);
    CHECK(
        render_chart("x", many, {.width = 80, .unicode = false})
            .find("1000  min p50 p95 p99 p99.9 max\n") != std::string::npos);
}

TEST_CASE("several charts have the same rows, and bars on the same scale") {
    const Histogram fast = two_hills();
    Histogram slow;
    slow.record(3'000'000, 1000);
    slow.record(40'000'000);
    const Histogram none;
    const std::vector<Charted> charted{{"fast", &fast}, {"slow", &slow}, {"none", &none}};
    const auto texts = render_charts(charted, {.width = 80, .unicode = false});
    REQUIRE(texts.size() == 3);
    CHECK(texts[2] == "none: no answer, no histogram\n");
    const auto first = rows_of(lines_of(texts[0]));
    const auto second = rows_of(lines_of(texts[1]));
    REQUIRE(first.size() == second.size());
    CHECK(first.size() <= 22);
    uint64_t most = 0;
    size_t longest_bar = 0;
    for (size_t i = 0; i < first.size(); ++i) {
        CHECK(first[i].label == second[i].label);
        most = std::max({most, first[i].count, second[i].count});
        longest_bar = std::max({longest_bar, first[i].bar.size(), second[i].bar.size()});
    }
    // Bars of both are as long as their counts say, to a column.
    for (const auto* rows : {&first, &second}) {
        for (const Row& row : *rows) {
            const double share = static_cast<double>(row.count) / static_cast<double>(most);
            const double expected = share * static_cast<double>(longest_bar);
            CHECK(std::abs(static_cast<double>(row.bar.size()) - expected) <= 1);
        }
    }
    CHECK(second.back().marks == "max");
    CHECK(first.front().marks.starts_with("min"));
}

TEST_CASE("bars are proportional to the counts, and a count above zero always has a bar") {
    std::vector<uint64_t> values;
    values.insert(values.end(), 10'000, 1'000'000);
    values.insert(values.end(), 5000, 10'000'000);
    values.insert(values.end(), 2500, 100'000'000);
    values.insert(values.end(), 1, 1'000'000'000);
    const Histogram histogram = recorded(values);

    auto ascii = rows_of(
        lines_of(render_chart("x", histogram, {.width = 80, .unicode = false, .color = false})));
    auto unicode = rows_of(lines_of(render_chart("x", histogram, {.width = 80})));
    const size_t full = ascii.front().bar.size();
    CHECK(columns(unicode.front().bar) == full);
    for (auto& rows : {&ascii, &unicode})
        std::erase_if(*rows, [](const Row& row) { return row.count == 0; });
    REQUIRE(ascii.size() == 4);
    REQUIRE(unicode.size() == 4);
    CHECK(ascii[1].bar.size() == (full + 1) / 2);
    CHECK(ascii[2].bar.size() == (full + 2) / 4);
    CHECK(ascii[3].bar == "#");
    CHECK(columns(unicode[1].bar) == (full + 1) / 2);
    CHECK(unicode[3].bar == "▏");
}

TEST_CASE("an empty row has no bar") {
    const auto rows = rows_of(lines_of(render_chart("x", recorded({1000, 1'000'000}), {})));
    REQUIRE(rows.size() > 3);
    for (size_t i = 1; i + 1 < rows.size(); ++i) {
        CHECK(rows[i].count == 0);
        CHECK(rows[i].bar.empty());
    }
}

TEST_CASE("each row begins above the previous one, also if all durations are equal") {
    const auto chart = render_chart("x", close_together(), {});
    const auto rows = rows_of(lines_of(chart));
    CHECK(chart.starts_with("x: 20000 answers, linear scale\n"));
    CHECK(rows.size() > 10);
    for (size_t i = 1; i < rows.size(); ++i) {
        CHECK(rows[i].label.ends_with(" ms"));
        CHECK(std::stod(rows[i].label) > std::stod(rows[i - 1].label));
    }
}

TEST_CASE("rows of a logarithmic scale show where they begin, with a unit") {
    const Histogram histogram = recorded({1500, 20'000, 300'000, 4'000'000, 1'100'000'000});
    const auto rows = rows_of(lines_of(render_chart("x", histogram, {})));
    CHECK(rows[0].label == "1 us");
    CHECK(rows[0].count == 1);
    CHECK(rows[1].label == "2.15 us");
    CHECK(rows[1].count == 0);
    CHECK(rows[2].label == "4.64 us");
    CHECK(rows[3].label == "10 us");
    CHECK(rows[3].count == 1);
    CHECK(rows.back().label == "1 s");
}

TEST_CASE("a uniform density over linear rows gives equal bars") {
    // Each nanosecond is equally frequent, across an octave's bound, where buckets double.
    Histogram histogram;
    for (uint64_t value = 0; value < 1'000'000; ++value)
        histogram.record(900'000 + value * 400'000 / 1'000'000);
    auto rows = rows_of(lines_of(render_chart("x", histogram, {})));
    REQUIRE(rows.size() > 5);
    for (size_t i = 2; i + 1 < rows.size(); ++i) {
        const auto difference = static_cast<int64_t>(rows[i].count - rows[1].count);
        CHECK(std::abs(difference) <= static_cast<int64_t>(rows[1].count / 1000));
    }
}

TEST_CASE("an empty chart is one line that says so") {
    CHECK(render_chart("tcp://x:1", Histogram(), {}) == "tcp://x:1: no answer, no histogram\n");
}

TEST_CASE("a single answer is one row") {
    const auto lines = lines_of(render_chart("x", recorded({98'765'432}), {.width = 60}));
    REQUIRE(lines.size() == 2);
    CHECK(lines[0] == "x: 1 answer");
    CHECK(lines[1].starts_with(" 98.6 ms "));
}

TEST_CASE("a long name is cut in the middle, and the count stays") {
    const std::string name = "tcp://" + std::string(200, 'a') + ".example.com:7001";
    const auto lines = lines_of(render_chart(name, two_hills(), {.width = 60}));
    CHECK(columns(lines[0]) == 60);
    CHECK(lines[0].starts_with("tcp://aaaa"));
    CHECK(lines[0].find("...") != std::string::npos);
    CHECK(lines[0].ends_with(".example.com:7001: 20000 answers"));
}

TEST_CASE("colour appears only on request, and the text is the same without it") {
    const Histogram histogram = two_hills();
    const std::string plain = render_chart("x", histogram, {.width = 80});
    std::string colored = render_chart("x", histogram, {.width = 80, .color = true});
    CHECK(plain.find('\033') == std::string::npos);
    CHECK(colored.find("\033[36m") != std::string::npos);
    for (const std::string_view code : {"\033[36m", "\033[0m"})
        for (size_t at = colored.find(code); at != std::string::npos; at = colored.find(code))
            colored.erase(at, code.size());
    CHECK(colored == plain);
}

TEST_CASE("without Unicode a chart is ASCII") {
    const std::string chart = render_chart("x", two_hills(), {.width = 80, .unicode = false});
    CHECK(std::ranges::all_of(chart, [](char each) { return each == '\n' || each >= ' '; }));
    CHECK(occurrences(chart, "#") > 50);
}

TEST_CASE("the percentile distribution has HdrHistogram's columns and footer") {
    const std::string text = render_hgrm(recorded({1'000'000, 1'000'000, 1'000'000, 4'000'000}));
    CHECK(
        text == "         Value     Percentile TotalCount 1/(1-Percentile)\n"
                "\n"
                "      1.000000 0.000000000000          3           1.00\n"
                "      1.000000 0.100000000000          3           1.11\n"
                "      1.000000 0.200000000000          3           1.25\n"
                "      1.001471 0.300000000000          3           1.43\n"
                "      1.001471 0.400000000000          3           1.67\n"
                "      1.001471 0.500000000000          3           2.00\n"
                "      1.001471 0.550000000000          3           2.22\n"
                "      1.001471 0.600000000000          3           2.50\n"
                "      1.001471 0.650000000000          3           2.86\n"
                "      1.001471 0.700000000000          3           3.33\n"
                "      1.001471 0.750000000000          3           4.00\n"
                "      4.000000 0.775000000000          4           4.44\n"
                "      4.000000 1.000000000000          4\n"
                "#[Mean    =       1.750000, StdDeviation   =       1.299038]\n"
                "#[Max     =       4.000000, Total count    =              4]\n"
                "#[Buckets =             58, SubBuckets     =            128]\n");
}

TEST_CASE("the percentile distribution rises to all answers and stays within 0.4%") {
    const Histogram histogram = two_hills();
    double last_value = -1;
    double last_fraction = -1;
    uint64_t last_total = 0;
    size_t rows = 0;
    for (const std::string& line : lines_of(render_hgrm(histogram))) {
        if (line.empty() || line.starts_with('#') || line.find("Value") != std::string::npos)
            continue;
        std::istringstream words(line);
        double value = 0;
        double fraction = 0;
        uint64_t total = 0;
        REQUIRE((words >> value >> fraction >> total));
        CHECK(value >= last_value);
        CHECK(fraction > last_fraction);
        CHECK(total >= last_total);
        CHECK(static_cast<double>(total) >= fraction * 20'000 * (1 - 1e-9));
        last_value = value;
        last_fraction = fraction;
        last_total = total;
        ++rows;
    }
    CHECK(rows > 50);
    CHECK(rows < 100);
    CHECK(last_total == 20'000);
    CHECK(last_fraction == 1);
    CHECK(std::abs(last_value - static_cast<double>(histogram.max_ns()) / 1e6) < 1e-6);
}

TEST_CASE("the percentile distribution of nothing is its head and its footer") {
    CHECK(
        render_hgrm(Histogram()) ==
        "         Value     Percentile TotalCount 1/(1-Percentile)\n"
        "\n"
        "#[Mean    =       0.000000, StdDeviation   =       0.000000]\n"
        "#[Max     =       0.000000, Total count    =              0]\n"
        "#[Buckets =             58, SubBuckets     =            128]\n");
}
