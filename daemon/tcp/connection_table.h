// The slots of one worker's connections: which are free, and the generation of each.
//
// No policy: admission.h says which connections get a slot, eviction.h which give one up. A slot
// stays where it is for as long as it is used, but grow() moves them all; a connection is therefore
// named by its slot, and a reference lasts until the next grow(). Identity is slot + generation
// (Token): a slot that is used again has the next generation.
//
// Invariant: a slot is free, or on the stack of free ones, never both or neither.
#pragma once

#include "daemon/core/vector_reservation.h"
#include "daemon/tcp/connection.h"

#include <cassert>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace riposte {

class ConnectionTable {
public:
    /// So many slots at most, that each has a Token and one is left for what never gets a slot.
    static constexpr uint32_t slots_max = Token::max - 1;

    /// Memory for grow() to so many slots. Throws std::bad_alloc, and then nothing has changed.
    void reserve(uint32_t slots) {
        slots_room_.reserve(slots_, slots);
        free_room_.reserve(free_, slots);
    }
    void give_up() noexcept; ///< what was reserved
    /// More slots (never fewer). Allocates what was not reserved; not for the hot path.
    void grow(uint32_t slots);

    /// A free slot is now an open connection; there must be a free one. The lowest of those that
    /// were never used, or the last one that was given back.
    uint32_t take(int fd, const SourceKey& source, uint16_t source_port) noexcept {
        assert(!free_.empty());
        const uint32_t slot = free_.back();
        free_.pop_back();
        slots_[slot].open(fd, source, source_port);
        return slot;
    }
    /// The connection is gone: its slot is free. Allocates nothing.
    void give_back(uint32_t slot) noexcept {
        slots_[slot].vacate();
        assert(free_.size() < free_.capacity());
        free_.push_back(slot);
    }

    Connection& operator[](uint32_t slot) noexcept {
        assert(slot < slots_.size());
        return slots_[slot];
    }
    const Connection& operator[](uint32_t slot) const noexcept {
        assert(slot < slots_.size());
        return slots_[slot];
    }

    uint32_t size() const noexcept { return static_cast<uint32_t>(slots_.size()); }
    uint32_t free() const noexcept { return static_cast<uint32_t>(free_.size()); }
    uint32_t used() const noexcept { return size() - free(); }

    /// All slots, the free ones too.
    auto begin() const noexcept { return slots_.begin(); }
    auto end() const noexcept { return slots_.end(); }

private:
    std::vector<Connection> slots_;
    std::vector<uint32_t> free_; ///< a stack
    VectorReservation<Connection> slots_room_;
    VectorReservation<uint32_t> free_room_;
};

} // namespace riposte
