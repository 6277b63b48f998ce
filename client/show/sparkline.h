// Values as bars of a character's width each, one to several lines high.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

namespace riposte::client {

/// Bars as high as the values, from 0 to `top`, on `height` lines, the top one first. A bar takes
/// an eighth of a line at least (U+2581 to U+2588; without `unicode`, one of eight characters of
/// ASCII); no value is a blank.
std::vector<std::string> bars(
    std::span<const std::optional<double>> values, double top, size_t height, bool unicode);

/// On one line, on a logarithmic scale: the least of the values is the lowest bar, a value of ten
/// times the least or more the highest. So a calm minute is low and even, whatever the round trip.
std::string sparkline(std::span<const std::optional<double>> values, bool unicode);

/// The greatest of them; 0: there is none.
double greatest(std::span<const std::optional<double>> values);

} // namespace riposte::client
