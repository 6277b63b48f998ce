// Durations, sizes and plain numbers. An accepted text has exactly its value, by a second parser
// with wider numbers; a refused one is not such a text, not an integer, or too large. A printed
// value reads back.
#include "common/units.h"
#include "tests/fuzz/fuzz.h"

#include <array>
#include <cmath>
#include <optional>

using namespace riposte;
using fuzz::require;

namespace {

struct Unit {
    std::string_view name;
    uint64_t factor;
};

struct Grammar {
    std::array<Unit, 6> units; ///< the first one is for a number without
    uint64_t max;
};

constexpr uint64_t duration_ms_max = (uint64_t{1} << 31) - 1;
constexpr Grammar milliseconds{
    {{{"", 1000}, {"ms", 1}, {"s", 1000}, {"m", 60'000}, {"h", 3'600'000}, {"ms", 1}}},
    duration_ms_max};
constexpr Grammar microseconds{
    {{{"", 1'000'000},
      {"us", 1},
      {"ms", 1000},
      {"s", 1'000'000},
      {"m", 60'000'000},
      {"h", 3'600'000'000}}},
    duration_ms_max * 1000};
constexpr Grammar bytes{
    {{{"", 1}, {"B", 1}, {"KiB", 1 << 10}, {"MiB", 1 << 20}, {"GiB", 1 << 30}, {"B", 1}}},
    uint64_t{1} << 40};

bool is_digit(char c) {
    return c >= '0' && c <= '9';
}

__extension__ using Wide = unsigned __int128;

constexpr size_t decimals_max = 9; // more are refused, though 2^-30 GiB is a whole byte

/// The value of the text in the smallest unit: an integer up to the maximum, or nothing.
std::optional<uint64_t> meaning(std::string_view text, const Grammar& grammar) {
    size_t at = 0;
    Wide whole = 0;
    for (; at < text.size() && is_digit(text[at]); at++)
        whole = std::min<Wide>(whole * 10 + static_cast<unsigned>(text[at] - '0'), Wide{1} << 50);
    if (at == 0)
        return std::nullopt;
    Wide numerator = 0;
    Wide denominator = 1;
    bool too_fine = false;
    if (at < text.size() && text[at] == '.') {
        const size_t decimals_at = ++at;
        for (; at < text.size() && is_digit(text[at]); at++) {
            if (at - decimals_at >= decimals_max) {
                too_fine = too_fine || text[at] != '0';
                continue;
            }
            numerator = numerator * 10 + static_cast<unsigned>(text[at] - '0');
            denominator *= 10;
        }
        if (at == decimals_at)
            return std::nullopt;
    }
    const auto* unit = std::ranges::find(grammar.units, text.substr(at), &Unit::name);
    if (unit == grammar.units.end())
        return std::nullopt;
    const Wide scaled = (whole * denominator + numerator) * unit->factor;
    if (too_fine || scaled % denominator != 0 || scaled / denominator > grammar.max)
        return std::nullopt;
    return static_cast<uint64_t>(scaled / denominator);
}

template<class Parse>
void read(std::string_view text, const Grammar& grammar, Parse parse) {
    const auto value = parse(text);
    const auto meant = meaning(text, grammar);
    require(value.has_value() == meant.has_value(), "accepted if it is one", text);
    if (value)
        require(*value == *meant, "it is what the text says", text);
    else
        fuzz::require_one_line(value.error());
}

void read_decimal(std::string_view text) {
    const auto value = parse_decimal(text);
    if (!value)
        return;
    require(std::isfinite(*value) && *value >= 0, "a decimal is a number", text);
    require(std::strtod(std::string(text).c_str(), nullptr) == *value, "and the same one", text);
}

void print(uint64_t number) {
    const auto ms = static_cast<uint32_t>(number % (duration_ms_max + 1));
    require(parse_duration_ms(format_duration(ms)) == ms, "milliseconds read back");
    const uint64_t us = number % (duration_ms_max * 1000 + 1);
    require(parse_duration_us(format_duration_us(us)) == us, "microseconds read back");
    const uint64_t size = number % (bytes.max + 1);
    require(parse_size(format_size(size)) == size, "sizes read back");
}

} // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) { // NOLINT(*-naming)
    fuzz::Input input(data, size);
    switch (input.below(5)) {
    case 0:
        read(input.rest(), milliseconds, parse_duration_ms);
        break;
    case 1:
        read(input.rest(), microseconds, parse_duration_us);
        break;
    case 2:
        read(input.rest(), bytes, parse_size);
        break;
    case 3:
        read_decimal(input.rest());
        break;
    default:
        print(input.number());
        break;
    }
    return 0;
}
