// How many probes were answered and how many failed in the course of a run: 4 KiB at most.
#pragma once

#include "client/measure/time_columns.h"

#include <cstdint>
#include <vector>

namespace riposte::client {

class FateSeries {
public:
    struct Column {
        uint64_t start_ns; ///< from the start of the run
        uint64_t width_ns;
        uint64_t answers;
        uint64_t failures;
    };

    explicit FateSeries(uint64_t start_ns, uint64_t width_ns = 10'000'000)
        : columns_(start_ns, width_ns) {}

    /// Of a probe that belongs to the moment `at_ns`.
    void record(uint64_t at_ns, bool is_answered) {
        Fates& fates = columns_.at(at_ns);
        ++(is_answered ? fates.answers : fates.failures);
    }

    /// Up to the last one used, empty ones included.
    std::vector<Column> columns() const {
        std::vector<Column> columns;
        columns.reserve(columns_.cells().size());
        const uint64_t width_ns = columns_.width_ns();
        for (const Fates& fates : columns_.cells())
            columns.push_back(
                {.start_ns = columns.size() * width_ns,
                 .width_ns = width_ns,
                 .answers = fates.answers,
                 .failures = fates.failures});
        return columns;
    }

private:
    struct Fates {
        uint64_t answers = 0;
        uint64_t failures = 0;

        void merge(const Fates& other) {
            answers += other.answers;
            failures += other.failures;
        }
    };

    TimeColumns<Fates> columns_;
};

} // namespace riposte::client
