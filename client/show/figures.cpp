#include "client/show/figures.h"

#include "common/units.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <ctime>
#include <string_view>

#include <fmt/format.h>

namespace riposte::client {

namespace {

constexpr size_t aligned_width = 7;

/// Where a figure rounds up to the next power of ten, it has that one's decimals: "0.100", not
/// "0.1000".
int decimals_of(double ms) {
    if (ms >= 0.09995 || ms < 0.0000005)
        return 3;
    if (ms >= 0.009995)
        return 4;
    return ms >= 0.0009995 ? 5 : 6;
}

/// `decimals`, or as many as there is room for.
int within_width(double ms, int decimals) {
    while (decimals > 0 && fmt::format("{:.{}f}", ms, decimals).size() > aligned_width)
        decimals--;
    return decimals;
}

/// "1.250" -> "1.25", "5.0" -> "5".
std::string without_trailing_zeros(std::string text) {
    if (text.find('.') == std::string::npos)
        return text;
    text.erase(text.find_last_not_of('0') + 1);
    if (text.ends_with('.'))
        text.pop_back();
    return text;
}

/// Three significant digits of a number from 1 to below 999.5; above, all of the whole part.
std::string three_digits(double number) {
    const int decimals = number < 9.995 ? 2 : number < 99.95 ? 1 : 0;
    return fmt::format("{:.{}f}", number, decimals);
}

tm utc_parts(time_t seconds) {
    tm parts{};
    gmtime_r(&seconds, &parts);
    return parts;
}

} // namespace

std::string milliseconds(double nanoseconds) {
    const double ms = nanoseconds / 1e6;
    return fmt::format("{:.{}f}", ms, decimals_of(ms));
}

std::vector<std::string> aligned_milliseconds(std::span<const double> nanoseconds) {
    std::vector<std::string> texts;
    if (nanoseconds.empty())
        return texts;
    int decimals = 3;
    for (const double each : nanoseconds)
        decimals = std::max(decimals, decimals_of(each / 1e6));
    const double greatest = *std::ranges::max_element(nanoseconds) / 1e6;
    const bool fits = within_width(greatest, decimals) == decimals;
    texts.reserve(nanoseconds.size());
    for (const double each : nanoseconds) {
        const double ms = each / 1e6;
        texts.push_back(
            fmt::format("{:.{}f}", ms, fits ? decimals : within_width(ms, decimals_of(ms))));
    }
    return texts;
}

std::string percentile_milliseconds(std::optional<double> nanoseconds) {
    constexpr int digits = 3;
    if (!nanoseconds)
        return "-";
    const double ms = *nanoseconds / 1e6;
    if (!(ms > 0))
        return "0.000";
    const auto decimals_at = [](double value) {
        return digits - 1 - static_cast<int>(std::floor(std::log10(value)));
    };
    // What rounds up to the next power of ten has that one's decimals: "0.100", not "0.1000".
    const double unit = std::pow(10, -decimals_at(ms));
    const double rounded = std::round(ms / unit) * unit;
    const int decimals = std::clamp(decimals_at(rounded * (1 + 1e-12)), 0, 6);
    return fmt::format("{:.{}f}", decimals > 0 ? ms : rounded, decimals);
}

std::vector<std::string> aligned_percentiles(std::span<const std::optional<double>> nanoseconds) {
    // A whole number has no point: the blank in its place is one of those behind it.
    const auto behind = [](const std::string& text) {
        return text.size() - std::min(text.find('.'), text.size());
    };
    std::vector<std::string> texts;
    size_t most_behind = 0;
    size_t most_before = 0;
    for (const std::optional<double>& each : nanoseconds) {
        texts.push_back(percentile_milliseconds(each));
        if (each) {
            most_behind = std::max(most_behind, behind(texts.back()));
            most_before = std::max(most_before, texts.back().size() - behind(texts.back()));
        }
    }
    if (most_before + most_behind <= aligned_width)
        for (size_t at = 0; at < texts.size(); at++)
            if (nanoseconds[at])
                texts[at].append(most_behind - behind(texts[at]), ' ');
    return texts;
}

std::string short_duration(double nanoseconds) {
    if (nanoseconds < 999.5)
        return fmt::format("{:.0f} ns", nanoseconds);
    constexpr std::array<std::string_view, 3> units{"us", "ms", "s"};
    double value = nanoseconds / 1e3;
    size_t unit = 0;
    while (value >= 999.5 && unit + 1 < units.size()) {
        value /= 1e3;
        unit++;
    }
    return fmt::format("{} {}", without_trailing_zeros(three_digits(value)), units[unit]);
}

std::string elapsed_time(uint64_t nanoseconds) {
    const uint64_t seconds = nanoseconds / 1'000'000'000;
    if (seconds < 600)
        return fmt::format("{:.3f} s", static_cast<double>(nanoseconds) / 1e9);
    const uint64_t minutes = seconds / 60;
    if (minutes < 60)
        return fmt::format("{}m {:02}s", minutes, seconds % 60);
    return fmt::format("{}h {:02}m {:02}s", minutes / 60, minutes % 60, seconds % 60);
}

namespace {

/// With so many `decimals` of a second, of which there are `units` in it.
std::string utc_text(double seconds, int64_t units, int decimals) {
    const auto count = static_cast<int64_t>(std::floor(seconds * static_cast<double>(units) + 0.5));
    const tm parts = utc_parts(count / units);
    return fmt::format(
        "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{:0{}}Z", parts.tm_year + 1900, parts.tm_mon + 1,
        parts.tm_mday, parts.tm_hour, parts.tm_min, parts.tm_sec, count % units, decimals);
}

} // namespace

std::string utc_time(double seconds) {
    return utc_text(seconds, 1000, 3);
}

std::string utc_time_fine(double seconds) {
    return utc_text(seconds, 1'000'000, 6);
}

std::string utc_clock(double seconds) {
    const tm parts = utc_parts(static_cast<time_t>(std::floor(seconds)));
    return fmt::format(
        "{:04}-{:02}-{:02} {:02}:{:02}:{:02} UTC", parts.tm_year + 1900, parts.tm_mon + 1,
        parts.tm_mday, parts.tm_hour, parts.tm_min, parts.tm_sec);
}

std::string interval_text(uint64_t nanoseconds) {
    const uint64_t ms = nanoseconds / 1'000'000;
    if (nanoseconds % 1'000'000 == 0 && ms <= UINT32_MAX)
        return format_duration(static_cast<uint32_t>(ms));
    return fmt::format("{}us", nanoseconds / 1000);
}

std::string short_number(double number) {
    if (number < 0.995)
        return fmt::format("{:.3g}", number);
    if (number < 999.5)
        return without_trailing_zeros(three_digits(number));
    constexpr std::array<std::string_view, 4> units{"k", "M", "G", "T"};
    double value = number / 1e3;
    size_t unit = 0;
    while (value >= 999.5 && unit + 1 < units.size()) {
        value /= 1e3;
        unit++;
    }
    return fmt::format("{} {}", three_digits(value), units[unit]);
}

std::string byte_rate(double bytes_per_second) {
    const double megabytes = bytes_per_second / 1e6;
    if (megabytes >= 0.9995)
        return fmt::format("{} MB/s", three_digits(megabytes));
    const int decimals = megabytes >= 0.09995 || megabytes <= 0 ? 3 : megabytes >= 0.009995 ? 4 : 5;
    return fmt::format("{:.{}f} MB/s", megabytes, decimals);
}

std::string percentage(double percent) {
    if (!(percent > 0))
        return "0%";
    if (percent >= 100)
        return fmt::format("{:.0f}%", percent);
    if (percent < 0.001)
        return "<0.001%";
    if (percent > 99.999)
        return ">99.999%";
    const double from_the_end = std::min(percent, 100 - percent);
    const int decimals = from_the_end >= 1 ? 1 : from_the_end >= 0.1 ? 2 : 3;
    return without_trailing_zeros(fmt::format("{:.{}f}", percent, decimals)) + "%";
}

Figures figures(const Histogram& histogram) {
    return {
        .min_ns = static_cast<double>(histogram.min_ns()),
        .mean_ns = histogram.mean_ns(),
        .median_ns = percentile_of(histogram, 50),
        .p95_ns = percentile_of(histogram, 95),
        .p99_ns = percentile_of(histogram, 99),
        .p999_ns = percentile_of(histogram, 99.9),
        .max_ns = static_cast<double>(histogram.max_ns()),
        .stddev_ns = histogram.stddev_ns()};
}

std::optional<double> percentile_of(const Histogram& histogram, double percent) {
    if (!histogram.has_percentile(percent))
        return std::nullopt;
    return static_cast<double>(histogram.percentile_ns(percent));
}

} // namespace riposte::client
