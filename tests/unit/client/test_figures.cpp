// Numbers as text, and the parts of summaries.
#include "client/show/figures.h"
#include "client/show/table.h"

#include <limits>
#include <optional>
#include <string>
#include <vector>

#include <doctest/doctest.h>

using namespace riposte::client;

TEST_CASE("milliseconds have three decimals, and more if three digits need them") {
    CHECK(milliseconds(0) == "0.000");
    CHECK(milliseconds(1) == "0.000001");
    CHECK(milliseconds(950) == "0.000950");
    CHECK(milliseconds(4'120) == "0.00412");
    CHECK(milliseconds(62'100) == "0.0621");
    CHECK(milliseconds(121'400) == "0.121");
    CHECK(milliseconds(1'234'000) == "1.234");
    CHECK(milliseconds(12'345'000) == "12.345");
    CHECK(milliseconds(1'234'567'000) == "1234.567");
    CHECK(milliseconds(86'400e9) == "86400000.000");
}

TEST_CASE("milliseconds that round up to the next power of ten have its decimals") {
    CHECK(milliseconds(99'949) == "0.0999");
    CHECK(milliseconds(99'951) == "0.100");
    CHECK(milliseconds(9'996) == "0.0100");
    CHECK(milliseconds(999.6) == "0.00100");
}

TEST_CASE("figures in a column have aligned decimal points") {
    using Texts = std::vector<std::string>;
    const std::vector<double> near{62'100, 121'000, 12'345'000};
    CHECK(aligned_milliseconds(near) == Texts{"0.0621", "0.1210", "12.3450"});
    const std::vector<double> large{1'234'000, 98'765'000};
    CHECK(aligned_milliseconds(large) == Texts{"1.234", "98.765"});
    CHECK(aligned_milliseconds({}).empty());
}

TEST_CASE("figures too far apart to align keep their digits, within seven characters") {
    using Texts = std::vector<std::string>;
    const std::vector<double> far{62'100, 1'234'567'890, 500'123'456};
    CHECK(aligned_milliseconds(far) == Texts{"0.0621", "1234.57", "500.123"});
    const std::vector<double> days{86'400e9, 12'345'678e6};
    CHECK(aligned_milliseconds(days) == Texts{"86400000", "12345678"});
}

TEST_CASE(
    "a percentile has the three digits that the histogram resolves, and none if it is absent") {
    CHECK(percentile_milliseconds(std::nullopt) == "-");
    CHECK(percentile_milliseconds(0) == "0.000");
    CHECK(percentile_milliseconds(1) == "0.000001");
    CHECK(percentile_milliseconds(4'126) == "0.00413");
    CHECK(percentile_milliseconds(62'100) == "0.0621");
    CHECK(percentile_milliseconds(99'960) == "0.100");
    CHECK(percentile_milliseconds(999'600) == "1.00");
    CHECK(percentile_milliseconds(12'345'000) == "12.3");
    CHECK(percentile_milliseconds(123'456'000) == "123");
    CHECK(percentile_milliseconds(999'600'000) == "1000");
    CHECK(percentile_milliseconds(1'234'567'000) == "1230");
    CHECK(percentile_milliseconds(86'400e9) == "86400000");
}

TEST_CASE("percentiles in a column have aligned decimal points, and no further digits") {
    using Texts = std::vector<std::string>;
    const std::vector<std::optional<double>> near{62'100, 12'345'000, std::nullopt};
    CHECK(aligned_percentiles(near) == Texts{"0.0621", "12.3   ", "-"});
    const std::vector<std::optional<double>> whole{1'210'000, 123'456'000};
    CHECK(aligned_percentiles(whole) == Texts{"1.21", "123   "});
    const std::vector<std::optional<double>> far{1'234, 123'456'000};
    CHECK(aligned_percentiles(far) == Texts{"0.00123", "123"});
    CHECK(aligned_percentiles({}).empty());
}

TEST_CASE("a short duration has three digits and a suitable unit") {
    CHECK(short_duration(0) == "0 ns");
    CHECK(short_duration(950) == "950 ns");
    CHECK(short_duration(999.6) == "1 us");
    CHECK(short_duration(62'100) == "62.1 us");
    CHECK(short_duration(999'400) == "999 us");
    CHECK(short_duration(999'600) == "1 ms");
    CHECK(short_duration(1'234'000) == "1.23 ms");
    CHECK(short_duration(12.3e6) == "12.3 ms");
    CHECK(short_duration(2.5e9) == "2.5 s");
    CHECK(short_duration(100e9) == "100 s");
    CHECK(short_duration(86'400e9) == "86400 s");
}

TEST_CASE("the duration of a run is in seconds, from ten minutes on in larger units") {
    CHECK(elapsed_time(0) == "0.000 s");
    CHECK(elapsed_time(9'999'000'000) == "9.999 s");
    CHECK(elapsed_time(599'000'000'000) == "599.000 s");
    CHECK(elapsed_time(600'000'000'000) == "10m 00s");
    CHECK(elapsed_time(725'900'000'000) == "12m 05s");
    CHECK(elapsed_time(100'000'000'000'000) == "27h 46m 40s");
}

TEST_CASE("an interval reads as -i takes it") {
    CHECK(interval_text(1'000'000'000) == "1s");
    CHECK(interval_text(250'000'000) == "250ms");
    CHECK(interval_text(100'000) == "100us");
    CHECK(interval_text(1'500'000) == "1500us");
    CHECK(interval_text(UINT64_MAX) == "18446744073709551us");
}

TEST_CASE("a short number has three digits, and a prefix from 1000 on") {
    CHECK(short_number(0) == "0");
    CHECK(short_number(0.004) == "0.004");
    CHECK(short_number(0.999) == "1");
    CHECK(short_number(5.25) == "5.25");
    CHECK(short_number(950) == "950");
    CHECK(short_number(999.7) == "1.00 k");
    CHECK(short_number(12'345) == "12.3 k");
    CHECK(short_number(1'250'000) == "1.25 M");
    CHECK(short_number(2e10) == "20.0 G");
    CHECK(short_number(5e16) == "50000 T");
}

TEST_CASE("a byte rate is always in MB/s") {
    CHECK(byte_rate(0) == "0.000 MB/s");
    CHECK(byte_rate(640) == "0.00064 MB/s");
    CHECK(byte_rate(64'000) == "0.0640 MB/s");
    CHECK(byte_rate(640'000) == "0.640 MB/s");
    CHECK(byte_rate(999'600) == "1.00 MB/s");
    CHECK(byte_rate(61e6) == "61.0 MB/s");
    CHECK(byte_rate(12'345e6) == "12345 MB/s");
}

TEST_CASE("a percentage is 0% only for none, and 100% only for all") {
    CHECK(percentage(0) == "0%");
    CHECK(percentage(-1) == "0%");
    CHECK(percentage(std::numeric_limits<double>::quiet_NaN()) == "0%");
    CHECK(percentage(1e-9) == "<0.001%");
    CHECK(percentage(0.001) == "0.001%");
    CHECK(percentage(0.0123) == "0.012%");
    CHECK(percentage(0.1) == "0.1%");
    CHECK(percentage(0.25) == "0.25%");
    CHECK(percentage(0.9999) == "1%");
    CHECK(percentage(5) == "5%");
    CHECK(percentage(100.0 / 3) == "33.3%");
    CHECK(percentage(99) == "99%");
    CHECK(percentage(99.94) == "99.94%");
    CHECK(percentage(99.9996) == ">99.999%");
    CHECK(percentage(100 - 1e-9) == ">99.999%");
    CHECK(percentage(100) == "100%");
    CHECK(percentage(250) == "250%");
}

TEST_CASE("the figures are those of the histogram") {
    Histogram histogram;
    for (uint64_t value = 1; value <= 100; value++)
        histogram.record(value);
    const Figures of = figures(histogram);
    CHECK(of.min_ns == 1);
    CHECK(of.mean_ns == doctest::Approx(50.5));
    CHECK(of.median_ns == 50);
    CHECK(of.p95_ns == 95);
    CHECK(of.p99_ns == 99);
    CHECK_FALSE(of.p999_ns.has_value()); // it takes 1,000 values
    CHECK(of.max_ns == 100);
    CHECK(of.stddev_ns == doctest::Approx(28.866));
}

TEST_CASE("items flow over lines of at most 80 columns, with their punctuation") {
    const std::vector<Item> few{{"a"}, {"b", Ink::plain, ";"}, {"c"}};
    CHECK(flow("", few, false) == "a, b; c\n");
    CHECK(flow("label ", few, false) == "label a, b; c\n");
    CHECK(flow("label ", {}, false) == "label \n");
    const std::vector<Item> many(20, Item{"1234567"});
    const std::string text = flow("  ", many, false);
    CHECK(
        text == "  1234567, 1234567, 1234567, 1234567, 1234567, 1234567, 1234567, 1234567,\n"
                "  1234567, 1234567, 1234567, 1234567, 1234567, 1234567, 1234567, 1234567,\n"
                "  1234567, 1234567, 1234567, 1234567\n");
}

TEST_CASE("an item that ends in the last column stays, and a longer one goes on the next line") {
    const std::vector<Item> fits{{"a", Ink::plain, ""}, {std::string(78, 'x')}};
    CHECK(flow("", fits, false) == "a " + std::string(78, 'x') + "\n");
    const std::vector<Item> long_by_one{{"a", Ink::plain, ""}, {std::string(79, 'x')}};
    CHECK(flow("", long_by_one, false) == "a\n" + std::string(79, 'x') + "\n");
    const std::vector<Item> too_long{{std::string(100, 'x')}};
    CHECK(flow("", too_long, false) == std::string(100, 'x') + "\n");
}

TEST_CASE("colour takes no columns, and punctuation none of the colour") {
    const std::vector<Item> items{{"1 lost", Ink::failure}, {"dim", Ink::quiet}, {"plain"}};
    CHECK(flow("", items, true) == "\033[1;31m1 lost\033[0m, \033[2mdim\033[0m, plain\n");
    CHECK(flow("", items, false) == "1 lost, dim, plain\n");
}

TEST_CASE("a name is cut in the middle, between characters") {
    CHECK(shorten("udp://host:7001", 15) == "udp://host:7001");
    CHECK(shorten("udp://host:7001", 14) == "udp:/...t:7001");
    CHECK(shorten("udp://host:7001", 5) == "u...1");
    CHECK(shorten("\u00e4\u00f6\u00fc\u00e4\u00f6\u00fc\u00e4", 5) == "\u00e4...\u00e4");
    CHECK(columns_of("\u00e4\u00f6") == 2);
}

TEST_CASE("names that would be equal after the cut are numbered") {
    using Names = std::vector<std::string>;
    const Names apart{"udp://a.example.com:1", "udp://a.example.com:2", "short"};
    CHECK(shorten_all(apart, 12) == Names{"udp:...com:1", "udp:...com:2", "short"});
    const Names alike{"udp://rack-a.example.com:1", "udp://rack-b.example.com:1"};
    CHECK(shorten_all(alike, 12) == Names{"1: udp...m:1", "2: udp...m:1"});
    const Names twice{"udp://rack-a.example.com:1", "udp://rack-a.example.com:1"};
    CHECK(shorten_all(twice, 12) == Names{"udp:...com:1", "udp:...com:1"});
}

TEST_CASE("a table is aligned, and short rows have no blanks at their end") {
    const std::vector<std::vector<std::string>> rows{
        {"name", "loss", "max "}, {"a", "0%", "1.5*"}, {"longer", "100%"}};
    CHECK(
        render_table(rows, 2, false) == "name    loss  max\n"
                                        "a         0%  1.5*\n"
                                        "longer  100%\n");
    CHECK(
        render_table(rows, 1, true) == "\033[2mname   loss max\033[0m\n"
                                       "a        0% 1.5*\n"
                                       "longer 100%\n");
}

TEST_CASE("a table that is too wide folds, each part with the first column") {
    const std::vector<std::vector<std::string>> rows{
        {"name", "loss", "max", "min"}, {"a", "0%", "1.5", "0.5"}, {"b", "100%"}};
    CHECK(
        render_table(rows, 1, {false, 13}) == "name loss max\n"
                                              "a      0% 1.5\n"
                                              "b    100%\n"
                                              "name min\n"
                                              "a    0.5\n");
    CHECK(render_table(rows, 1, {false, 17}) == render_table(rows, 1, false));
    CHECK(render_table(rows, 1, {false, 16}) != render_table(rows, 1, false));
    // At least one column, however narrow the terminal is.
    CHECK(render_table(rows, 1, {false, 1})
              .starts_with("name loss\na      0%\nb    100%\nname max\n"));
}

TEST_CASE("items of one kind are aligned, however long the others are") {
    const auto lines = [](const std::string& first, std::vector<Item> second, Look look) {
        const std::vector<FixedLine> all{
            {{{first}, {"b"}}, {{"c", Ink::failure, ";"}}, {{"end"}}}, {second, {{"z"}}}};
        return fixed_lines("label ", all, look);
    };
    CHECK(lines("a", {}, false) == "label a, b, c; end\n      z\n");
    CHECK(lines("a", {{"y"}}, false) == "label a, b, c; end\n      y, z\n");
    CHECK(lines("aaaaaaaaa", {{"y"}}, false) == "label aaaaaaaaa, b, c; end\n      y, z\n");
    CHECK(
        lines("a", {{"y"}}, {true, 40}) ==
        "label a, b,\n      \033[1;31mc\033[0m;\n      end\n      y,\n      z\n");
    CHECK(fixed_lines("label ", {}, false).empty());
}

TEST_CASE("a title takes two lines if it has to") {
    CHECK(
        title_line("udp://x:7", "ping statistics", false) == "--- udp://x:7 ping statistics ---\n");
    CHECK(
        title_line("udp://127.0.0.1:7001", "ping statistics", {false, 40}) ==
        "--- udp://127.0.0.1:7001\n--- ping statistics ---\n");
}

TEST_CASE("latencies of very different size stay within 80 columns") {
    Histogram small;
    Histogram huge;
    for (const uint64_t value : {1'234U, 2'000U, 3'000U})
        small.record(value);
    for (const uint64_t value : {5'000ULL, 3'600'000'000'000ULL})
        huge.record(value);
    const std::vector<Distribution> rows{{"from send", &small}, {"latency", &huge}};
    const std::string text = latency_table(rows, false);
    CHECK(
        text == "in ms         min    mean  median     p95     p99   p99.9     max  stddev\n"
                "from send 0.00123 0.00208 0.00200       -       -       - 0.00300 0.00072\n"
                "latency   0.00500 1800000 0.00500       -       -       - 3600000 1800000\n");
}
