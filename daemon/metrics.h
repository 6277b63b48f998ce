// Counters of one worker: one thread writes, any thread reads. A reader that adds up several
// workers may see one a little later than another; each counter is right by itself.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <string>

namespace riposte {

enum class Count : uint8_t {
    connections_accepted,
    connections_closed,      ///< accepted + adopted - closed - handed over is what is open now
    connections_adopted,     ///< from the process before this one; open, like an accepted one
    connections_handed_over, ///< kept for the next process; gone, like a closed one
    connections_refused,     ///< over 'connections' or 'connections_per_source'
    connections_reset,       ///< ended by the peer's RST or another error
    idle_timeouts,
    write_stall_timeouts,
    linger_timeouts,
    accept_errors, ///< EMFILE, ENFILE, ENOBUFS, ENOMEM: accepting paused
    stream_received_bytes,
    stream_sent_bytes,
    datagrams_received,
    datagrams_sent,
    datagrams_unanswered,  ///< the service answers nothing (discard)
    datagrams_too_long,    ///< the answer would have been longer than the question
    datagrams_send_failed, ///< EAGAIN, unreachable: dropped
};

inline constexpr size_t count_kinds = static_cast<size_t>(Count::datagrams_send_failed) + 1;

class Metrics {
public:
    /// By the worker's thread only.
    void add(Count count, uint64_t n = 1) noexcept {
        auto& value = values_[static_cast<size_t>(count)];
        value.store(value.load(std::memory_order_relaxed) + n, std::memory_order_relaxed);
    }

    uint64_t get(Count count) const noexcept {
        return values_[static_cast<size_t>(count)].load(std::memory_order_relaxed);
    }

private:
    std::array<std::atomic<uint64_t>, count_kinds> values_{};
};

/// The sum over workers.
class Totals {
public:
    void add(const Metrics& metrics) noexcept;

    uint64_t operator[](Count count) const noexcept { return values_[static_cast<size_t>(count)]; }
    uint64_t connections_open() const noexcept;

    /// One line for people: "connections 2 open, 17 accepted; ...; 1 refused". What is not
    /// everyday is named only if it happened.
    std::string describe() const;

private:
    std::array<uint64_t, count_kinds> values_{};
};

} // namespace riposte
