// What happens when a connection needs a stream buffer and there is none: it starves until one is
// released.
//
// The buffers may be held for peers that have stopped to read, and would be until
// write_stall_timeout. So a peer that read nothing for longer than `stalled_ms` is reset, the
// longest first, until there is a buffer for each connection that starves. No peer is reset for
// having been slow, nor as long as there are buffers.
//
// Whether a peer reads is what the kernel says: it has megabytes to deliver before there is room
// for one of our bytes. So each connection is looked at twice, and its time counts from the first
// look. After a look the next one comes after `stalled_ms` at the earliest, which bounds what the
// looks cost. Time in which this process did not look, because it slept or no connection starved,
// is not counted. None of this is done, or remembered, as long as no connection starves.
//
// Connections whose peers were sent something, and have read all of it, are woken first, then those
// that were sent nothing yet, then the others: the buffers that a stalled reader gets do not come
// back.
#pragma once

#include "daemon/core/host.h"
#include "daemon/core/timer_wheel.h"
#include "daemon/core/vector_reservation.h"
#include "daemon/tcp/connection_table.h"
#include "daemon/tcp/longest_waiting.h"

#include <cstdint>
#include <vector>

namespace riposte {

class BufferRelief {
public:
    static constexpr uint32_t stalled_ms = 1000;
    static constexpr uint32_t pause_ms = 50;    ///< between two rounds of resets
    static constexpr uint32_t resets_max = 256; ///< in one round
    static constexpr uint32_t none = LongestWaiting::none;

    /// Memory for grow() to so many slots. Throws std::bad_alloc, and then nothing has changed.
    void reserve(uint32_t slots);
    void give_up() noexcept; ///< what was reserved
    void grow(uint32_t slots);

    /// The connection waits for a buffer. `read_all`: nothing is pending, and its peer has
    /// acknowledged everything.
    void starve(uint32_t slot, Connection& c, bool read_all);
    void buffer_released() noexcept { released_ = true; }

    /// Once a turn: does a connection starve though no buffer was released, and is it time?
    bool must_reset(uint64_t now_ms) const noexcept {
        return !starved_.empty() && !released_ && now_ms >= next_round_ms_;
    }
    /// When must_reset() should be asked; never if no connection starves.
    uint64_t next_ms() const noexcept {
        return starved_.empty() ? TimerWheel::never : next_round_ms_;
    }

    /// Begins a round of resets.
    void begin_round(const ConnectionTable& connections, uint64_t now_ms);
    /// In a round: how many connections starve.
    uint32_t starving() const noexcept { return static_cast<uint32_t>(starved_.size()); }
    /// The connection that holds buffers and whose peer reads nothing for longest; `none` if there
    /// is none.
    uint32_t longest_stalled(ConnectionTable& connections, Host& host, uint64_t now_ms) noexcept;
    /// Since when that is so of this one, or not_waiting. Looks at it, if it is time.
    uint64_t stalled_since_ms(Connection& c, Host& host, uint64_t now_ms) const noexcept;

    /// After buffers were released: passes each connection that starves to `wake(slot)`, by rank.
    /// All of them: a connection that is woken alone may have nothing to receive, and the buffer
    /// would wait with it while another one starves.
    template<class Wake>
    void wake(ConnectionTable& connections, const Wake& wake) {
        if (!released_)
            return;
        released_ = false;
        woken_.swap(starved_);
        for (const int rank : {0, 1, 2}) {
            for (const uint32_t slot : woken_) {
                Connection& c = connections[slot];
                if (!c.starved || c.starved_rank != rank)
                    continue;
                c.starved = false;
                wake(slot);
            }
        }
        woken_.clear();
    }

private:
    std::vector<uint32_t> starved_; ///< slots; some may have ended since
    std::vector<uint32_t> woken_;   ///< wake()'s working copy
    VectorReservation<uint32_t> starved_room_;
    VectorReservation<uint32_t> woken_room_;
    LongestWaiting stalled_;
    uint64_t next_round_ms_ = 0;
    uint64_t watched_ms_ = 0; ///< since then connections have starved without a long break
    bool released_ = false;   ///< a buffer was, since the last wake()
};

} // namespace riposte
