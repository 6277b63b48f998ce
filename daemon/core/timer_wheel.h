// Deadlines of connections: a hashed timing wheel (Varghese and Lauck, 1987).
//
// Deadlines move with every byte, and almost all of them move later, so setting one is a single
// store: the entry stays in its bucket and is examined again when that bucket is due. Only a
// deadline that moves earlier relinks the entry. An entry therefore never expires early, and at
// most one tick late. An empty wheel needs no wake-up, so an idle daemon sleeps without a timeout.
#pragma once

#include "daemon/core/vector_reservation.h"

#include <array>
#include <cstdint>
#include <limits>
#include <vector>

namespace riposte {

class TimerWheel {
public:
    static constexpr uint64_t tick_ms = 16;
    static constexpr uint64_t never = std::numeric_limits<uint64_t>::max();

    /// Entries are numbered 0 to count-1; none has a deadline.
    explicit TimerWheel(uint32_t count) { grow(count); }

    /// Reserves memory for grow() to `count` entries. Throws std::bad_alloc, and then nothing has
    /// changed.
    void reserve(uint32_t count) { reservation_.reserve(entries_, count); }
    void give_up() noexcept { reservation_.give_up(); }
    /// Grows to `count` entries (never shrinks). Allocates what was not reserved; not for the hot
    /// path.
    void grow(uint32_t count);

    static constexpr uint64_t entry_bytes() noexcept { return sizeof(Entry); }

    /// Sets the entry's deadline, in milliseconds of the caller's clock, or moves it, earlier or
    /// later.
    void set(uint32_t entry, uint64_t deadline_ms) noexcept;
    void clear(uint32_t entry) noexcept;

    /// Removes one entry whose deadline has passed and returns it, or `none`.
    static constexpr uint32_t none = UINT32_MAX;
    uint32_t expired(uint64_t now_ms) noexcept;

    /// When to call expired() next, in milliseconds; `never` if no deadline is set. May be early.
    /// Cheap enough for every turn of a worker: the wheel is searched only when the last result
    /// has passed.
    uint64_t next_ms() noexcept;

private:
    static constexpr uint32_t buckets = 1024; // 16 s a revolution; longer deadlines take several

    struct Entry {
        uint64_t deadline_ms = never;
        uint64_t tick = 0; ///< when the bucket that holds it is due; valid while linked
        uint32_t next = none;
        uint32_t previous = none;
        bool linked = false;
    };

    void link(uint32_t entry, uint64_t tick) noexcept;
    void unlink(uint32_t entry) noexcept;
    uint64_t find_next_tick() const noexcept;

    std::vector<Entry> entries_;
    VectorReservation<Entry> reservation_;
    std::array<uint32_t, buckets> heads_ = no_heads();
    uint32_t linked_ = 0;
    uint64_t tick_ = 0;      ///< no linked entry has an earlier tick
    uint64_t next_tick_ = 0; ///< no linked entry is due before this one; 0: not known

    static constexpr std::array<uint32_t, buckets> no_heads() {
        std::array<uint32_t, buckets> heads{};
        heads.fill(none);
        return heads;
    }
};

} // namespace riposte
