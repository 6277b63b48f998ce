// Figures as people read them, the same in every report.
#pragma once

#include "client/measure/histogram.h"

#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace riposte::client {

/// Milliseconds as ping(8) prints them, with three decimals, and more (up to nanoseconds) where
/// three significant digits need them: "0.0621", "0.121", "1.234", "1234.567".
std::string milliseconds(double nanoseconds);

/// The same for figures that stand below each other: all with as many decimals as the least of them
/// needs, so that the points are aligned. Where the greatest would be longer than 7 characters
/// then, each has the decimals that it needs itself, and that 7 characters hold.
std::vector<std::string> aligned_milliseconds(std::span<const double> nanoseconds);

/// With the unit that suits, three significant digits: "62.1 us", "1.23 ms", "2.5 s".
std::string short_duration(double nanoseconds);

/// How long a run took: "9.999 s", from ten minutes on "12m 05s", "27h 46m 40s".
std::string elapsed_time(uint64_t nanoseconds);

/// The pace of probes, as -i reads it back: "1s", "250ms", "100us".
std::string interval_text(uint64_t nanoseconds);

/// With a unit: "950", "12.3 k", "1.25 M".
std::string short_number(double number);
/// Always in MB/s (10^6 bytes), so that figures compare: "61.0 MB/s", "0.0640 MB/s".
std::string byte_rate(double bytes_per_second);

/// "0%", "0.1%", "33.3%", "100%": never "0%" for more than none, nor "100%" for less than all.
std::string percentage(double percent);

/// The figures that every summary has.
struct Figures {
    double min_ns, mean_ns, median_ns, p95_ns, p99_ns, p999_ns, max_ns, stddev_ns;
};
Figures figures(const Histogram& histogram);

} // namespace riposte::client
