#include "client/probe/figures.h"

#include <algorithm>
#include <cmath>
#include <numeric>

namespace riposte::client {

std::string_view to_key(ProbeTransport transport) {
    switch (transport) {
    case ProbeTransport::udp:
        return "udp";
    case ProbeTransport::tcp:
        return "tcp";
    }
    return "";
}

HistogramFigures::HistogramFigures(const CompactHistogram& histogram)
    : count(histogram.count()), sum_ns(histogram.sum_ns()) {
    if (count == 0)
        return;
    while (histogram.count_in(first) == 0)
        first++;
    size_t last = CompactHistogram::above_all;
    while (histogram.count_in(last) == 0)
        last--;
    counts.reserve(last - first + 1);
    for (size_t bucket = first; bucket <= last; bucket++)
        counts.push_back(histogram.count_in(bucket));
}

uint64_t HistogramFigures::count_in(size_t bucket) const {
    return bucket >= first && bucket - first < counts.size() ? counts[bucket - first] : 0;
}

uint64_t HistogramFigures::count_up_to(size_t bucket) const {
    if (bucket < first)
        return 0;
    const auto end =
        counts.begin() + static_cast<std::ptrdiff_t>(std::min(bucket - first + 1, counts.size()));
    return std::accumulate(counts.begin(), end, uint64_t{0});
}

std::optional<double> HistogramFigures::quantile(double q) const {
    if (count == 0)
        return std::nullopt;
    const auto rank =
        std::max(static_cast<uint64_t>(std::ceil(q * static_cast<double>(count))), uint64_t{1});
    uint64_t seen = 0;
    for (size_t place = 0; place < counts.size(); place++)
        if (seen += counts[place]; seen >= rank)
            return CompactHistogram::upper_bound(first + place);
    return CompactHistogram::upper_bound(CompactHistogram::above_all);
}

} // namespace riposte::client
