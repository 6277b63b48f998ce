// What has happened between two pictures of a fleet: cumulative figures, less those of an earlier
// moment. Where there is no earlier one (a target is new), since it is counted.
#pragma once

#include "client/probe/figures.h"

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string_view>
#include <unordered_map>

namespace riposte::client {

/// The counters that only grow, less earlier ones.
OutcomeCounts counts_since(const OutcomeCounts& now, const OutcomeCounts* before);

/// HistogramFigures::quantile() of the values since `before`.
std::optional<double> quantile_since(
    const HistogramFigures& now, const HistogramFigures* before, double q);

/// Keeps an earlier picture to compare with: at least `window_ns` old, as soon as there is one, and
/// less than twice as old while pictures come all the time.
class EarlierPicture {
public:
    static constexpr uint64_t window_ns = 60'000'000'000;

    /// The earlier picture for `now`; null: there is none yet.
    std::shared_ptr<const FleetFigures> before(std::shared_ptr<const FleetFigures> now);

private:
    std::shared_ptr<const FleetFigures> earlier_;
    std::shared_ptr<const FleetFigures> next_; ///< will be the earlier one when it is old enough
};

/// Finds the figures of a target in a picture.
class TargetIndex {
public:
    explicit TargetIndex(const FleetFigures* figures); ///< null: it finds nothing
    const TargetFigures* find(const TargetIdentity& who) const;

private:
    struct Key {
        std::string_view name;
        ProbeTransport transport;
        bool operator==(const Key&) const = default;
    };
    struct Hash {
        size_t operator()(const Key& key) const {
            return std::hash<std::string_view>()(key.name) + static_cast<size_t>(key.transport);
        }
    };

    std::unordered_map<Key, const TargetFigures*, Hash> targets_;
};

} // namespace riposte::client
