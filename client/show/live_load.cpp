#include "client/show/live_load.h"

#include "client/show/figures.h"
#include "client/show/sparkline.h"
#include "client/show/table.h"

#include <algorithm>
#include <span>

#include <fmt/format.h>

namespace riposte::client {

namespace {

constexpr size_t bars_max = 100; ///< three samples each
constexpr size_t bars_height_max = 10;

std::vector<std::string> live_lines(std::span<const std::string> texts, Ink ink, Look look) {
    std::vector<Item> items;
    for (const std::string& text : texts)
        items.push_back({text, ink});
    const std::string text = flow("", items, look);
    std::vector<std::string> lines;
    for (size_t at = 0; at < text.size();) {
        const size_t end = std::min(text.find('\n', at), text.size());
        lines.push_back(text.substr(at, end - at));
        at = end + 1;
    }
    return lines;
}

/// The minute in that number of columns: the mean rate and the greatest latency of each.
struct Minute {
    std::vector<std::optional<double>> rates;
    std::vector<std::optional<double>> latencies;
};

Minute minute_of(const std::deque<LoadSample>& samples, size_t columns) {
    Minute minute{
        .rates = std::vector<std::optional<double>>(columns),
        .latencies = std::vector<std::optional<double>>(columns)};
    std::vector<size_t> counts(columns);
    const size_t missing = LoadPage::samples_max - std::min(LoadPage::samples_max, samples.size());
    for (size_t at = 0; at < samples.size(); at++) {
        const size_t column =
            std::min((missing + at) * columns / LoadPage::samples_max, columns - 1);
        const LoadSample& sample = samples[at];
        const auto before = static_cast<double>(counts[column]++);
        minute.rates[column] =
            (minute.rates[column].value_or(0) * before + sample.rate) / (before + 1);
        if (sample.latency_ns)
            minute.latencies[column] =
                std::max(minute.latencies[column].value_or(0), *sample.latency_ns);
    }
    return minute;
}

} // namespace

std::vector<std::string> render_live_load(
    const LoadPage& page, ScreenSize size, bool unicode, bool color) {
    const Look look{color, size.columns};
    std::vector<std::string> lines{cut(page.title, size.columns)};
    const auto append = [&](const std::vector<std::string>& more) {
        lines.insert(lines.end(), more.begin(), more.end());
    };
    append(live_lines(page.figures, Ink::plain, look));
    if (!page.errors.empty())
        append(live_lines(page.errors, Ink::failure, look));

    const Minute minute = minute_of(page.samples, std::clamp<size_t>(size.columns, 1, bars_max));
    const size_t used = lines.size() + 2 + 1; // two headings, the keys
    const size_t room = size.lines - std::min(size.lines, used);
    const size_t height = std::clamp<size_t>(room / 2, 1, bars_height_max);
    const double rate_top = greatest(minute.rates);
    const double latency_top = greatest(minute.latencies);
    const auto heading = [&](const std::string& text) {
        lines.push_back(paint(cut(text, size.columns), Ink::quiet, color));
    };
    heading(fmt::format("answers/s in the last minute, up to {}", short_number(rate_top)));
    append(bars(minute.rates, rate_top, height, unicode));
    heading(fmt::format(
        "p99 in the last minute, up to {}", latency_top > 0 ? short_duration(latency_top) : "-"));
    append(bars(minute.latencies, latency_top, height, unicode));
    lines.resize(std::max(size.lines - std::min<size_t>(size.lines, 1), lines.size()));
    lines.push_back(paint(cut("q quit", size.columns), Ink::quiet, color));
    lines.resize(std::min(lines.size(), size.lines));
    return lines;
}

} // namespace riposte::client
