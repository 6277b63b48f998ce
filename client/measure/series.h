// How durations changed in the course of a run, in bounded memory however long it lasts.
//
// Each column of time (time_columns.h) counts its durations in a coarse log-linear histogram (32
// cells an octave from 1 us on, so that percentiles are within 1/32 of the exact ones): at most one
// MiB in all.
#pragma once

#include "client/measure/time_columns.h"

#include <array>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace riposte::client {

class Series {
public:
    struct Column {
        uint64_t start_ns; ///< from the start of the run
        uint64_t width_ns;
        uint64_t count;    ///< answers
        uint64_t failures; ///< lost, refused, wrong
        uint64_t min_ns;   ///< this and what follows: 0 without an answer
        uint64_t p50_ns;
        uint64_t p99_ns;
        uint64_t max_ns;
    };

    /// `start_ns` on the clock that record() is given; `width_ns` of the first columns.
    explicit Series(uint64_t start_ns, uint64_t width_ns = 10'000'000)
        : columns_(start_ns, width_ns) {}

    /// A duration that belongs to the moment `at_ns`; a moment before the start is the start.
    void record(uint64_t at_ns, uint64_t value_ns);
    void record_failure(uint64_t at_ns);

    /// The columns up to the last one used, empty ones included.
    std::vector<Column> columns() const;

private:
    static constexpr unsigned sub_cell_bits = 5;
    static constexpr unsigned first_octave = 10; ///< 1,024 ns; what is less, in the first cell
    static constexpr unsigned last_octave = 39;  ///< to 18 minutes; what is more, in the last cell
    static constexpr size_t cells = size_t{last_octave - first_octave + 1} << sub_cell_bits;

    struct Cells {
        uint64_t count = 0;
        uint64_t failures = 0;
        uint64_t min_ns = UINT64_MAX;
        uint64_t max_ns = 0;
        std::array<uint32_t, cells> counts{}; ///< they stay at their limit

        void merge(const Cells& other);
        uint64_t nearest_rank_ns(uint64_t rank) const; ///< rank: 1 to count
    };

    static size_t cell_of(uint64_t value_ns);
    static uint64_t low_of(size_t cell);
    static uint64_t width_of(size_t cell);

    TimeColumns<Cells> columns_;
};

} // namespace riposte::client
