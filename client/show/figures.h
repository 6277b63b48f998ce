// Figures as people read them, the same in every report.
#pragma once

#include "client/measure/histogram.h"

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

namespace riposte::client {

/// Exact milliseconds as ping(8) prints them, with three decimals, and more (up to nanoseconds)
/// where three significant digits need them: "0.0621", "0.121", "1.234", "1234.567".
std::string milliseconds(double nanoseconds);

/// The same for figures that stand below each other: all with as many decimals as the least of them
/// needs, so that the points are aligned. Where the greatest would be longer than 7 characters
/// then, each has the decimals that it needs itself, and that 7 characters hold.
std::vector<std::string> aligned_milliseconds(std::span<const double> nanoseconds);

/// Milliseconds of a percentile, with the three significant digits that the histogram's 0.4%
/// justify: "0.0621", "1.23", "123", "1230"; "-" for one that does not exist
/// (Histogram::has_percentile).
std::string percentile_milliseconds(std::optional<double> nanoseconds);

/// The same below each other: blanks stand where another one has further decimals, so that the
/// points are aligned, unless that would take more than 7 characters.
std::vector<std::string> aligned_percentiles(std::span<const std::optional<double>> nanoseconds);

/// With the unit that suits, three significant digits: "62.1 us", "1.23 ms", "2.5 s".
std::string short_duration(double nanoseconds);

/// How long a run took: "9.999 s", from ten minutes on "12m 05s", "27h 46m 40s".
std::string elapsed_time(uint64_t nanoseconds);

/// "2025-03-09T14:05:59.250Z" (RFC 3339); `seconds` since 1970.
std::string utc_time(double seconds);
/// With microseconds: "2025-03-09T14:05:59.250123Z".
std::string utc_time_fine(double seconds);
/// For people: "2025-03-09 14:05:59 UTC".
std::string utc_clock(double seconds);

/// The pace of probes, as -i reads it back: "1s", "250ms", "100us".
std::string interval_text(uint64_t nanoseconds);

/// With a unit: "950", "12.3 k", "1.25 M".
std::string short_number(double number);
/// Always in MB/s (10^6 bytes), so that figures compare: "61.0 MB/s", "0.0640 MB/s".
std::string byte_rate(double bytes_per_second);

/// "0%", "0.1%", "33.3%", "100%": never "0%" for more than none, nor "100%" for less than all.
std::string percentage(double percent);

/// The figures that every summary has. Of values so few that they have no such percentile, it is
/// absent.
struct Figures {
    double min_ns, mean_ns;
    std::optional<double> median_ns; ///< of no value at all
    std::optional<double> p95_ns, p99_ns, p999_ns;
    double max_ns, stddev_ns;
};
Figures figures(const Histogram& histogram);
/// In nanoseconds; nothing if there is no such percentile.
std::optional<double> percentile_of(const Histogram& histogram, double percent);

} // namespace riposte::client
