#include "common/units.h"

#include <utility>
#include <vector>

#include <doctest/doctest.h>

using namespace riposte;

namespace {

std::string duration_error(std::string_view text) {
    const auto value = parse_duration_ms(text);
    return value ? "accepted" : value.error();
}

std::string fine_duration_error(std::string_view text) {
    const auto value = parse_duration_us(text);
    return value ? "accepted" : value.error();
}

std::string size_error(std::string_view text) {
    const auto value = parse_size(text);
    return value ? "accepted" : value.error();
}

} // namespace

TEST_CASE("nanoseconds are read with every unit, and nothing finer") {
    const std::vector<std::pair<std::string_view, uint64_t>> cases{
        {"500ns", 500},
        {"1.0ns", 1},
        {"1us", 1000},
        {"0.001us", 1},
        {"1.5ms", 1'500'000},
        {"0.000000001", 1},
        {"1.000000001s", 1'000'000'001},
        {"0.000000001m", 60},
        {"0.000000001h", 3600},
        {"0.999999999h", 3'599'999'996'400},
        {"2147483647ms", 2'147'483'647'000'000},
        {"2147483647000000ns", 2'147'483'647'000'000}};
    for (const auto& [text, nanoseconds] : cases) {
        CAPTURE(text);
        CHECK(parse_duration_ns(text) == nanoseconds);
    }
    CHECK(
        parse_duration_ns("0.5ns").error() ==
        "'0.5ns' is finer than a nanosecond; write whole nanoseconds");
    CHECK(
        parse_duration_ns("0.0001us").error() ==
        "'0.0001us' is finer than a nanosecond; write whole nanoseconds");
    CHECK(
        parse_duration_ns("2147483647000001ns").error() ==
        "'2147483647000001ns' is too long; the longest is 2147483647ms (24 days)");
    CHECK(
        parse_duration_ns("1x").error() ==
        "'1x' has the unknown unit 'x'; the units are ns, us, ms, s, m or h");
}

TEST_CASE("durations are read to the millisecond, a bare number is seconds") {
    const std::vector<std::pair<std::string_view, uint32_t>> cases{
        {"0", 0},
        {"10", 10'000},
        {"1.5", 1500},
        {"0.001", 1},
        {"0.25s", 250},
        {"250ms", 250},
        {"10s", 10'000},
        {"2m", 120'000},
        {"1h", 3'600'000},
        {"1.5h", 5'400'000},
        {"0.1s", 100},
        {"007s", 7000},
        {"1.000000000000s", 1000},
        {"2147483647ms", 2147483647},
        {"2147483.647", 2147483647},
        {"596h", 2'145'600'000}};
    for (const auto& [text, milliseconds] : cases) {
        CAPTURE(text);
        const auto value = parse_duration_ms(text);
        REQUIRE(value.has_value());
        CHECK(*value == milliseconds);
    }
}

TEST_CASE("a bad duration is refused with the text and a correct example") {
    const std::vector<std::pair<std::string_view, std::string_view>> cases{
        {"", "the duration is empty; write one like 250ms, 10s or 2m"},
        {"-5s", "'-5s' is negative; write a duration like 250ms, 10s or 2m"},
        {"-", "'-' is not a duration; write a number with a unit, like 250ms, 10s or 2m"},
        {"soon", "'soon' is not a duration; write a number with a unit, like 250ms, 10s or 2m"},
        {"s", "'s' is not a duration; write a number with a unit, like 250ms, 10s or 2m"},
        {"1.s", "'1.s' is not a duration; write a number with a unit, like 250ms, 10s or 2m"},
        {".5s", "'.5s' is not a duration; write a number with a unit, like 250ms, 10s or 2m"},
        {"+1s", "'+1s' is not a duration; write a number with a unit, like 250ms, 10s or 2m"},
        {"10x", "'10x' has the unknown unit 'x'; the units are ms, s, m or h"},
        {"10 s", "'10 s' has the unknown unit ' s'; the units are ms, s, m or h"},
        {"10S", "'10S' has the unknown unit 'S'; the units are ms, s, m or h"},
        {"1e3", "'1e3' has the unknown unit 'e3'; the units are ms, s, m or h"},
        {"1.2.3", "'1.2.3' has the unknown unit '.3'; the units are ms, s, m or h"},
        {"0.5ms", "'0.5ms' is finer than a millisecond; write whole milliseconds"},
        {"0.0001", "'0.0001' is finer than a millisecond; write whole milliseconds"},
        {"0.00000000000000000000001h",
         "'0.00000000000000000000001h' is finer than a millisecond; write whole milliseconds"},
        {"2147483648ms", "'2147483648ms' is too long; the longest is 2147483647ms (24 days)"},
        {"2147483.648", "'2147483.648' is too long; the longest is 2147483647ms (24 days)"},
        {"99999999999999999999999h",
         "'99999999999999999999999h' is too long; the longest is 2147483647ms (24 days)"},
        {"1\ns", "'1\\ns' has the unknown unit '\\ns'; the units are ms, s, m or h"}};
    for (const auto& [text, message] : cases)
        CHECK(duration_error(text) == message);
}

TEST_CASE("a duration is printed in the largest unit that fits, and reads back") {
    const std::vector<std::pair<uint32_t, std::string_view>> cases{
        {0, "0s"},       {1, "1ms"},        {250, "250ms"},
        {1000, "1s"},    {1500, "1500ms"},  {60'000, "1m"},
        {90'000, "90s"}, {3'600'000, "1h"}, {2147483647, "2147483647ms"}};
    for (const auto& [milliseconds, text] : cases) {
        CHECK(format_duration(milliseconds) == text);
        CHECK(parse_duration_ms(text) == milliseconds);
    }
}

TEST_CASE("fine durations are read to the microsecond, a bare number is seconds") {
    const std::vector<std::pair<std::string_view, uint64_t>> cases{
        {"0", 0},
        {"1", 1'000'000},
        {"0.2", 200'000},
        {"0.000001", 1},
        {"100us", 100},
        {"1us", 1},
        {"1.000us", 1},
        {"0.5ms", 500},
        {"1.5s", 1'500'000},
        {"0.999999s", 999'999},
        {"2m", 120'000'000},
        {"1h", 3'600'000'000},
        {"0.5h", 1'800'000'000},
        {"2147483647ms", 2'147'483'647'000},
        {"2147483647000us", 2'147'483'647'000}};
    for (const auto& [text, microseconds] : cases) {
        CAPTURE(text);
        const auto value = parse_duration_us(text);
        REQUIRE(value.has_value());
        CHECK(*value == microseconds);
    }
}

TEST_CASE("durations finer than a microsecond, too long or in another unit are refused") {
    const std::vector<std::pair<std::string_view, std::string_view>> cases{
        {"", "the duration is empty; write one like 200us, 10ms or 1s"},
        {"-5us", "'-5us' is negative; write a duration like 200us, 10ms or 1s"},
        {"us", "'us' is not a duration; write a number with a unit, like 200us, 10ms or 1s"},
        {"10ns", "'10ns' has the unknown unit 'ns'; the units are us, ms, s, m or h"},
        {"0.5us", "'0.5us' is finer than a microsecond; write whole microseconds"},
        {"0.0001ms", "'0.0001ms' is finer than a microsecond; write whole microseconds"},
        {"0.0000001", "'0.0000001' is finer than a microsecond; write whole microseconds"},
        {"0.000000001h", "'0.000000001h' is finer than a microsecond; write whole microseconds"},
        {"2147483647001us", "'2147483647001us' is too long; the longest is 2147483647ms (24 days)"},
        {"2147483.647001", "'2147483.647001' is too long; the longest is 2147483647ms (24 days)"},
        {"999999999999999999999999us",
         "'999999999999999999999999us' is too long; the longest is 2147483647ms (24 days)"}};
    for (const auto& [text, message] : cases)
        CHECK(fine_duration_error(text) == message);
}

TEST_CASE("microseconds are not a unit where milliseconds are expected") {
    CHECK(
        duration_error("5000us") ==
        "'5000us' has the unknown unit 'us'; the units are ms, s, m or h");
}

TEST_CASE("a fine duration is printed in the largest unit that fits, and reads back") {
    const std::vector<std::pair<uint64_t, std::string_view>> cases{
        {0, "0s"},
        {1, "1us"},
        {200, "200us"},
        {1000, "1ms"},
        {1500, "1500us"},
        {10'000, "10ms"},
        {1'000'000, "1s"},
        {1'500'000, "1500ms"},
        {1'000'001, "1000001us"},
        {120'000'000, "2m"},
        {3'600'000'000, "1h"},
        {2'147'483'647'000, "2147483647ms"}};
    for (const auto& [microseconds, text] : cases) {
        CHECK(format_duration_us(microseconds) == text);
        CHECK(parse_duration_us(text) == microseconds);
    }
}

TEST_CASE("sizes are bytes, their units are powers of 1024") {
    const std::vector<std::pair<std::string_view, uint64_t>> cases{
        {"0", 0},
        {"512", 512},
        {"512B", 512},
        {"64KiB", 65536},
        {"1.5KiB", 1536},
        {"1MiB", 1048576},
        {"1GiB", 1073741824},
        {"0.5GiB", 536870912},
        {"1024GiB", 1099511627776}};
    for (const auto& [text, bytes] : cases) {
        CAPTURE(text);
        const auto value = parse_size(text);
        REQUIRE(value.has_value());
        CHECK(*value == bytes);
    }
}

TEST_CASE("a bad size is refused with the text and a correct example") {
    const std::vector<std::pair<std::string_view, std::string_view>> cases{
        {"", "the size is empty; write one like 512, 64KiB or 1MiB"},
        {"-1", "'-1' is negative; write a size like 512, 64KiB or 1MiB"},
        {"big", "'big' is not a size; write a number with a unit, like 512, 64KiB or 1MiB"},
        {"64KB", "'64KB' has the unknown unit 'KB'; the units are B, KiB, MiB or GiB"},
        {"64k", "'64k' has the unknown unit 'k'; the units are B, KiB, MiB or GiB"},
        {"0.5", "'0.5' is not a whole number of bytes; write whole bytes"},
        {"0.3KiB", "'0.3KiB' is not a whole number of bytes; write whole bytes"},
        {"1099511627777", "'1099511627777' is too large; the largest is 1024GiB"},
        {"1024.5GiB", "'1024.5GiB' is too large; the largest is 1024GiB"},
        {"18446744073709551616", "'18446744073709551616' is too large; the largest is 1024GiB"}};
    for (const auto& [text, message] : cases)
        CHECK(size_error(text) == message);
}

TEST_CASE("a decimal number has digits, and possibly a point and more digits") {
    const std::vector<std::pair<std::string_view, double>> cases{
        {"0", 0}, {"1000", 1000}, {"0.5", 0.5}, {"007.250", 7.25}, {"99.999", 99.999}};
    for (const auto& [text, number] : cases)
        CHECK(parse_decimal(text) == number);
    for (const std::string_view text :
         {"", "-1", "+1", ".5", "1.", ".", "1e3", "1.5.", "1.2.3", "0x10", "inf", "nan", " 1", "1 ",
          "1,5"})
        CHECK_MESSAGE(!parse_decimal(text), text);
    CHECK_FALSE(parse_decimal(std::string(400, '9')).has_value());
}
