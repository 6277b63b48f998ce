#include "client/show/sparkline.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <string_view>

namespace riposte::client {

namespace {

constexpr size_t steps = 8;
constexpr std::array<std::string_view, steps + 1> blocks{
    " ", "\u2581", "\u2582", "\u2583", "\u2584", "\u2585", "\u2586", "\u2587", "\u2588"};
constexpr std::array<std::string_view, steps + 1> ascii{" ", "_", ".", "-", "~",
                                                        "=", "+", "*", "#"};

std::string_view step(size_t eighths, bool unicode) {
    return (unicode ? blocks : ascii)[std::min(eighths, steps)];
}

} // namespace

double greatest(std::span<const std::optional<double>> values) {
    double most = 0;
    for (const std::optional<double>& value : values)
        most = std::max(most, value.value_or(0));
    return most;
}

std::vector<std::string> bars(
    std::span<const std::optional<double>> values, double top, size_t height, bool unicode) {
    std::vector<std::string> lines(height);
    for (const std::optional<double>& value : values) {
        const double share = value && top > 0 ? std::clamp(*value / top, 0.0, 1.0) : 0;
        auto eighths =
            static_cast<size_t>(std::lround(share * static_cast<double>(height * steps)));
        if (value)
            eighths = std::max(eighths, size_t{1});
        for (size_t line = 0; line < height; line++) {
            const size_t below = (height - 1 - line) * steps;
            lines[line] += step(eighths - std::min(eighths, below), unicode);
        }
    }
    return lines;
}

std::string sparkline(std::span<const std::optional<double>> values, bool unicode) {
    double least = 0;
    for (const std::optional<double>& value : values)
        if (value && *value > 0 && (least == 0 || *value < least))
            least = *value;
    std::string text;
    for (const std::optional<double>& value : values) {
        if (!value) {
            text += ' ';
            continue;
        }
        const double decades = least > 0 && *value > least ? std::log10(*value / least) : 0;
        const auto above = static_cast<size_t>(std::lround(std::min(decades, 1.0) * (steps - 1)));
        text += step(1 + above, unicode);
    }
    return text;
}

} // namespace riposte::client
