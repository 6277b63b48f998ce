// How many sessions of a listener asked within the last quarter of an hour, or so: counted when a
// session is seen in a later span of time than before, not by going through the tables. Sessions
// that are not seen again leave the figure when their span is over, without anyone's doing.
//
// A span is 2^16 ms, so that they go on when the low 32 bits of the clock begin anew. Every worker
// of the listener counts here, at most once a span and session; any thread reads.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>

namespace riposte {

class StampSessionCount {
public:
    static constexpr uint32_t span_bits = 16;
    static constexpr uint32_t spans = 13; ///< whole ones; with the current one 14 to 15 minutes

    /// A session is in use that was seen at this time, for the first time or since it was
    /// forgotten.
    void add(uint32_t seen_ms) noexcept { change(span_of(seen_ms), 1); }
    /// It was last seen at this time, and is forgotten.
    void remove(uint32_t seen_ms) noexcept { change(span_of(seen_ms), -1); }
    void move(uint32_t before_ms, uint32_t now_ms) noexcept {
        if (span_of(before_ms) == span_of(now_ms))
            return;
        remove(before_ms);
        add(now_ms);
    }

    uint32_t in_use(uint32_t now_ms) const noexcept {
        uint32_t sum = 0;
        for (const std::atomic<uint64_t>& each : spans_) {
            const uint64_t value = each.load(std::memory_order_relaxed);
            const auto age = static_cast<uint16_t>(span_of(now_ms) - span_in(value));
            sum += age <= spans ? static_cast<uint32_t>(value) : 0;
        }
        return sum;
    }

private:
    static constexpr size_t places = 32; ///< more than spans that count, so that each has its own

    static uint16_t span_of(uint32_t ms) noexcept { return static_cast<uint16_t>(ms >> span_bits); }
    static uint16_t span_in(uint64_t value) noexcept { return static_cast<uint16_t>(value >> 32); }

    /// A place that still has the sessions of an earlier span begins anew; of a span that has no
    /// place any more nothing is left to remove.
    void change(uint16_t span, int by) noexcept {
        std::atomic<uint64_t>& place = spans_[span % places];
        uint64_t value = place.load(std::memory_order_relaxed);
        uint64_t changed = 0;
        do {
            uint32_t count = span_in(value) == span ? static_cast<uint32_t>(value) : 0;
            if (by < 0 && count == 0)
                return;
            count = by < 0 ? count - 1 : count + 1;
            changed = uint64_t{span} << 32 | count;
        } while (!place.compare_exchange_weak(value, changed, std::memory_order_relaxed));
    }

    std::array<std::atomic<uint64_t>, places> spans_{};
};

} // namespace riposte
