#include "client/measure/series.h"

#include <algorithm>
#include <bit>
#include <limits>

namespace riposte::client {

namespace {

uint32_t capped_sum(uint32_t a, uint32_t b) {
    constexpr uint32_t cap = std::numeric_limits<uint32_t>::max();
    return a > cap - b ? cap : a + b;
}

} // namespace

/// The octave in front of the bits that follow the leading one.
size_t Series::cell_of(uint64_t value_ns) {
    const auto bits = static_cast<unsigned>(std::bit_width(value_ns));
    if (bits <= first_octave)
        return 0;
    const unsigned octave = bits - 1;
    if (octave > last_octave)
        return cells - 1;
    const uint64_t leading = value_ns >> (octave - sub_cell_bits); // the leading one included
    const uint64_t below_octave = uint64_t{1} << sub_cell_bits;
    return ((octave - first_octave) << sub_cell_bits) + (leading - below_octave);
}

uint64_t Series::low_of(size_t cell) {
    const uint64_t below_octave = uint64_t{1} << sub_cell_bits;
    return (below_octave + cell % below_octave) * width_of(cell);
}

uint64_t Series::width_of(size_t cell) {
    const size_t octave = first_octave + (cell >> sub_cell_bits);
    return uint64_t{1} << (octave - sub_cell_bits);
}

void Series::Cells::merge(const Cells& other) {
    count += other.count;
    failures += other.failures;
    min_ns = std::min(min_ns, other.min_ns);
    max_ns = std::max(max_ns, other.max_ns);
    for (size_t cell = 0; cell < cells; ++cell)
        counts[cell] = capped_sum(counts[cell], other.counts[cell]);
}

uint64_t Series::Cells::nearest_rank_ns(uint64_t rank) const {
    uint64_t seen = 0;
    for (size_t cell = 0; cell < cells; ++cell) {
        const uint32_t here = counts[cell];
        if (seen + here < rank) {
            seen += here;
            continue;
        }
        // As if those in a cell were evenly spread over it: a curve of percentiles then has no
        // steps of the cells' width.
        const double share = (static_cast<double>(rank - seen) - 0.5) / here;
        const double within = share * static_cast<double>(width_of(cell));
        return std::clamp(low_of(cell) + static_cast<uint64_t>(within), min_ns, max_ns);
    }
    return max_ns; // a cell was at its limit
}

void Series::record(uint64_t at_ns, uint64_t value_ns) {
    Cells& column = columns_.at(at_ns);
    ++column.count;
    column.min_ns = std::min(column.min_ns, value_ns);
    column.max_ns = std::max(column.max_ns, value_ns);
    uint32_t& count = column.counts[cell_of(value_ns)];
    count = capped_sum(count, 1);
}

void Series::record_failure(uint64_t at_ns) {
    ++columns_.at(at_ns).failures;
}

std::vector<Series::Column> Series::columns() const {
    std::vector<Column> columns;
    columns.reserve(columns_.cells().size());
    const uint64_t width_ns = columns_.width_ns();
    for (const Cells& cells_of_column : columns_.cells()) {
        const uint64_t count = cells_of_column.count;
        Column column{
            .start_ns = columns.size() * width_ns,
            .width_ns = width_ns,
            .count = count,
            .failures = cells_of_column.failures,
            .min_ns = 0,
            .p50_ns = 0,
            .p99_ns = 0,
            .max_ns = 0};
        if (count > 0) {
            column.min_ns = cells_of_column.min_ns;
            column.p50_ns = cells_of_column.nearest_rank_ns(count - count / 2);
            column.p99_ns = cells_of_column.nearest_rank_ns(count - count / 100);
            column.max_ns = cells_of_column.max_ns;
        }
        columns.push_back(column);
    }
    return columns;
}

} // namespace riposte::client
