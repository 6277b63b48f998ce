// Deadlines of connections: a hashed timing wheel (Varghese and Lauck, 1987).
//
// Deadlines move with every byte, and almost all of them move later, so setting one is a store: an
// entry stays in its bucket, and is looked at again when that bucket is due. Only a deadline that
// moves earlier relinks. Expiry is therefore never early and at most one tick late. An empty wheel
// asks for no wake-up, which is what lets an idle daemon sleep for ever.
#pragma once

#include "daemon/core/room.h"

#include <array>
#include <cstdint>
#include <limits>
#include <vector>

namespace riposte {

class TimerWheel {
public:
    static constexpr uint64_t tick_ms = 16;
    static constexpr uint64_t never = std::numeric_limits<uint64_t>::max();

    /// Entries are 0 .. count-1, none set.
    explicit TimerWheel(uint32_t count) { grow(count); }

    /// Memory for grow() to so many entries. Throws std::bad_alloc, and then nothing has changed.
    void reserve(uint32_t count) { room_.reserve(entries_, count); }
    void give_up() noexcept { room_.give_up(); }
    /// More entries (never fewer). Allocates what was not reserved; not for the hot path.
    void grow(uint32_t count);

    static constexpr uint64_t entry_bytes() noexcept { return sizeof(Entry); }

    /// Milliseconds of the caller's clock. Set again to move, either way.
    void set(uint32_t entry, uint64_t deadline_ms) noexcept;
    void clear(uint32_t entry) noexcept;

    /// Removes one entry whose deadline has passed and returns it, or `none`.
    static constexpr uint32_t none = UINT32_MAX;
    uint32_t expired(uint64_t now_ms) noexcept;

    /// When expired() should be asked next; `never` if nothing is set. May be early. It is asked
    /// for in every turn of a worker, and looked for only when the last answer has passed.
    uint64_t next_ms() noexcept;

private:
    static constexpr uint32_t buckets = 1024; // 16 s a turn; longer deadlines go round

    struct Entry {
        uint64_t deadline_ms = never;
        uint64_t tick = 0; ///< of the bucket that it is linked in; valid while linked
        uint32_t next = none;
        uint32_t previous = none;
        bool linked = false;
    };

    void link(uint32_t entry, uint64_t tick) noexcept;
    void unlink(uint32_t entry) noexcept;
    uint64_t find_next_tick() const noexcept;

    std::vector<Entry> entries_;
    Room<Entry> room_;
    std::array<uint32_t, buckets> heads_ = filled();
    uint32_t linked_ = 0;
    uint64_t tick_ = 0;      ///< no linked entry has an earlier one
    uint64_t next_tick_ = 0; ///< nor one that is due before this; 0: not known

    static constexpr std::array<uint32_t, buckets> filled() {
        std::array<uint32_t, buckets> heads{};
        heads.fill(none);
        return heads;
    }
};

} // namespace riposte
