// Quantities with units are read exactly, as a whole part and up to nine decimals: no floating
// point, so that "0.1s" is 100 ms and what cannot be represented is refused instead of rounded.

#include "common/units.h"

#include "common/text.h"

#include <array>
#include <charconv>
#include <numeric>
#include <ranges>
#include <span>

#include <fmt/format.h>

namespace riposte {
namespace {

constexpr size_t decimals_max = 9;
constexpr uint64_t duration_ms_max = 2147483647; // 2^31-1
constexpr uint64_t size_bytes_max = uint64_t{1} << 40;

struct Unit {
    std::string_view name;
    uint64_t factor;
};

constexpr std::array<Unit, 5> duration_units{
    {{"", 1000}, {"ms", 1}, {"s", 1000}, {"m", 60'000}, {"h", 3'600'000}}};
constexpr std::array<Unit, 6> fine_duration_units{
    {{"", 1'000'000},
     {"us", 1},
     {"ms", 1000},
     {"s", 1'000'000},
     {"m", 60'000'000},
     {"h", 3'600'000'000}}};
constexpr std::array<Unit, 7> finest_duration_units{
    {{"", 1'000'000'000},
     {"ns", 1},
     {"us", 1000},
     {"ms", 1'000'000},
     {"s", 1'000'000'000},
     {"m", 60'000'000'000},
     {"h", 3'600'000'000'000}}};
constexpr std::array<Unit, 5> size_units{
    {{"", 1}, {"B", 1}, {"KiB", 1 << 10}, {"MiB", 1 << 20}, {"GiB", 1 << 30}}};

/// The words that differ between the two kinds of quantity.
struct Kind {
    std::span<const Unit> units;
    uint64_t max;
    std::string_view example; ///< "write ... like 250ms, 10s or 2m"
    std::string_view unit_names;
    std::string_view noun;
    std::string_view too_fine;
    std::string_view too_large;
};

constexpr Kind duration_kind{
    duration_units,
    duration_ms_max,
    "250ms, 10s or 2m",
    "ms, s, m or h",
    "duration",
    "is finer than a millisecond; write whole milliseconds",
    "is too long; the longest is 2147483647ms (24 days)"};
constexpr Kind fine_duration_kind{
    fine_duration_units,
    duration_ms_max * 1000,
    "200us, 10ms or 1s",
    "us, ms, s, m or h",
    "duration",
    "is finer than a microsecond; write whole microseconds",
    duration_kind.too_large};
constexpr Kind finest_duration_kind{
    finest_duration_units,
    duration_ms_max * 1'000'000,
    "200us, 10ms or 1s",
    "ns, us, ms, s, m or h",
    "duration",
    "is finer than a nanosecond; write whole nanoseconds",
    duration_kind.too_large};
constexpr Kind size_kind{
    size_units,
    size_bytes_max,
    "512, 64KiB or 1MiB",
    "B, KiB, MiB or GiB",
    "size",
    "is not a whole number of bytes; write whole bytes",
    "is too large; the largest is 1024GiB"};

/// The value of `digits` if it is at most `max`.
std::optional<uint64_t> whole_number(std::string_view digits, uint64_t max) {
    uint64_t value = 0;
    for (const char c : digits) {
        value = value * 10 + static_cast<uint64_t>(c - '0');
        if (value > max)
            return std::nullopt;
    }
    return value;
}

std::string_view take_digits(std::string_view& text) {
    size_t size = 0;
    while (size < text.size() && is_digit(text[size]))
        size++;
    const std::string_view digits = text.substr(0, size);
    text.remove_prefix(size);
    return digits;
}

const Unit* find_unit(std::span<const Unit> units, std::string_view name) {
    for (const Unit& unit : units)
        if (unit.name == name)
            return &unit;
    return nullptr;
}

std::expected<uint64_t, std::string> parse(std::string_view text, const Kind& kind) {
    const std::string shown = escape(text, 40);
    const auto refuse = [&](std::string_view why) {
        return std::unexpected(fmt::format("'{}' {}", shown, why));
    };
    if (text.empty())
        return std::unexpected(
            fmt::format("the {} is empty; write one like {}", kind.noun, kind.example));
    std::string_view rest = text;
    if (rest.starts_with('-') && rest.size() > 1 && is_digit(rest[1]))
        return refuse(fmt::format("is negative; write a {} like {}", kind.noun, kind.example));

    const std::string_view whole_digits = take_digits(rest);
    std::string_view decimals;
    const bool point = rest.starts_with('.');
    if (point) {
        rest.remove_prefix(1);
        decimals = take_digits(rest);
    }
    if (whole_digits.empty() || (point && decimals.empty()))
        return refuse(fmt::format(
            "is not a {}; write a number with a unit, like {}", kind.noun, kind.example));
    const Unit* unit = find_unit(kind.units, rest);
    if (unit == nullptr)
        return refuse(fmt::format(
            "has the unknown unit '{}'; the units are {}", escape(rest, 20), kind.unit_names));

    while (decimals.ends_with('0'))
        decimals.remove_suffix(1);
    if (decimals.size() > decimals_max)
        return refuse(kind.too_fine);
    uint64_t scale = 1;
    for (size_t i = 0; i < decimals.size(); i++)
        scale *= 10;
    // A factor above 10^9 is a multiple of every scale, so no product is above 10^18.
    const uint64_t shared = std::gcd(unit->factor, scale);
    const uint64_t fraction = whole_number(decimals, scale).value_or(0) * (unit->factor / shared);
    if (fraction % (scale / shared) != 0)
        return refuse(kind.too_fine);
    const auto whole = whole_number(whole_digits, kind.max / unit->factor);
    const uint64_t part = fraction / (scale / shared);
    if (!whole || *whole * unit->factor + part > kind.max)
        return refuse(kind.too_large);
    return *whole * unit->factor + part;
}

} // namespace

std::expected<uint32_t, std::string> parse_duration_ms(std::string_view text) {
    const auto value = parse(text, duration_kind);
    if (!value)
        return std::unexpected(value.error());
    return static_cast<uint32_t>(*value);
}

std::string format_duration(uint32_t milliseconds) {
    if (milliseconds == 0)
        return "0s";
    if (milliseconds % 3'600'000 == 0)
        return fmt::format("{}h", milliseconds / 3'600'000);
    if (milliseconds % 60'000 == 0)
        return fmt::format("{}m", milliseconds / 60'000);
    if (milliseconds % 1000 == 0)
        return fmt::format("{}s", milliseconds / 1000);
    return fmt::format("{}ms", milliseconds);
}

std::expected<uint64_t, std::string> parse_duration_us(std::string_view text) {
    return parse(text, fine_duration_kind);
}

std::expected<uint64_t, std::string> parse_duration_ns(std::string_view text) {
    return parse(text, finest_duration_kind);
}

std::string format_duration_us(uint64_t microseconds) {
    const uint64_t milliseconds = microseconds / 1000;
    if (microseconds % 1000 == 0 && milliseconds <= duration_ms_max)
        return format_duration(static_cast<uint32_t>(milliseconds));
    return fmt::format("{}us", microseconds);
}

std::expected<uint64_t, std::string> parse_size(std::string_view text) {
    return parse(text, size_kind);
}

std::string format_size(uint64_t bytes) {
    for (const Unit& unit : std::views::reverse(size_units))
        if (unit.factor > 1 && bytes > 0 && bytes % unit.factor == 0)
            return fmt::format("{}{}", bytes / unit.factor, unit.name);
    return fmt::format("{}", bytes);
}

std::optional<double> parse_decimal(std::string_view text) {
    std::string_view rest = text;
    if (take_digits(rest).empty())
        return std::nullopt;
    if (rest.starts_with('.')) {
        rest.remove_prefix(1);
        if (take_digits(rest).empty())
            return std::nullopt;
    }
    double value = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (!rest.empty() || error != std::errc{})
        return std::nullopt;
    return value;
}

} // namespace riposte
