// Which request is due when. Sans-I/O: it is given the time, and says what may be sent.
//
// A run is a warm-up, whose requests do not count, and the measured time. In a closed loop a
// request may be sent whenever an answer has made room. In an open loop request k of either phase
// is intended at the phase's start + k / rate, whatever the server does: nothing is remembered of
// those that wait, since all of it follows from the index, and a pause of any length costs no
// memory. Requests of the warm-up that are still due at its end are dropped; those of the measured
// time count as unsent.
//
// A request of an open loop that leaves after its time was late for one of two reasons: the
// generator came late (nothing was left over when it looked the last time, so that it was free to
// send, and did not), or there was no room for it (something was left over).
//
// Times are nanoseconds of CLOCK_MONOTONIC.
#pragma once

#include <cstdint>
#include <optional>

namespace riposte::client {

struct LoadPlan {
    std::optional<double> rate = {}; ///< requests a second; absent: closed loop
    uint64_t warmup_ns = 0;
    uint64_t duration_ns = 0;           ///< of the measured time; 0: no end
    std::optional<uint64_t> count = {}; ///< measured requests
};

/// A request whose turn it is in an open loop; lateness and wait together are the time from its
/// intended time to its sending.
struct DueRequest {
    uint64_t intended_ns = 0;
    uint64_t lateness_ns = 0; ///< until the generator saw that it was due
    uint64_t wait_ns = 0;     ///< from then on, because there was no room
};

enum class LoadPhase : uint8_t { warming_up, measuring, over };

class LoadSchedule {
public:
    explicit LoadSchedule(const LoadPlan& plan);

    /// The warm-up begins.
    void start(uint64_t now_ns);
    /// Advances the time: call it with each new time before any query. At the end of the
    /// measured time what is due by then may still be taken, once: until close().
    void advance(uint64_t now_ns);
    /// Ends the run early.
    void stop(uint64_t now_ns);
    /// Nothing more is sent. What was due and not taken is unsent.
    void close();

    LoadPhase phase() const { return phase_; }
    bool is_open_loop() const { return period_ns_ > 0; }
    /// A request counts if it was intended at this time or later.
    uint64_t measured_from_ns() const { return measured_from_ns_; }
    /// When the measured time ended, or will; UINT64_MAX if that is not known yet.
    uint64_t end_ns() const { return end_ns_; }
    /// When advance() has something to do next, other than requests that fall due.
    uint64_t next_phase_ns() const;

    /// Closed loop: how many of `wanted` requests may be sent now. They are taken by it.
    uint64_t take(uint64_t wanted);
    /// Closed loop: the time to note for requests that are sent at `now_ns`.
    uint64_t stamp(uint64_t now_ns) const {
        return phase_ == LoadPhase::warming_up && now_ns >= measured_from_ns_
                   ? measured_from_ns_ - 1
                   : now_ns;
    }

    /// Open loop: how many requests are due and not taken. 0 in a closed loop.
    uint64_t due() const { return is_open_loop() ? due_ - taken_ : 0; }
    /// Open loop: takes the one whose turn it is, to be sent at `now_ns`. Only if one is due.
    DueRequest take_due(uint64_t now_ns);
    /// Open loop: when the next one falls due; UINT64_MAX if none will.
    uint64_t next_due_ns() const;
    uint64_t unsent() const { return unsent_; }
    /// Open loop: when the next request that is not taken is due, or was; UINT64_MAX: there is
    /// none, or the loop is closed.
    uint64_t next_untaken_ns() const;
    /// Open loop: how many are due and not taken whose time was before `ns`.
    uint64_t untaken_before(uint64_t ns) const;

private:
    uint64_t intended_ns(uint64_t index) const {
        return base_ns_ + static_cast<uint64_t>(static_cast<double>(index) * period_ns_);
    }
    uint64_t fallen_due(uint64_t now_ns) const;
    void enter(LoadPhase phase);

    LoadPlan plan_;
    double period_ns_ = 0; ///< open loop
    LoadPhase phase_ = LoadPhase::warming_up;
    uint64_t measured_from_ns_ = UINT64_MAX;
    uint64_t end_ns_ = UINT64_MAX;
    uint64_t limit_ = UINT64_MAX; ///< requests of this phase
    uint64_t taken_ = 0;          ///< of this phase
    // Open loop only.
    uint64_t base_ns_ = 0; ///< the phase's start
    uint64_t due_ = 0;     ///< requests of this phase that are due, taken or not
    bool blocked_ = false; ///< some were left over before the last advance(): there was no room
    /// Requests below `seen_` were seen due at `seen_ns_`, when nothing was left over; those from
    /// there on fell due while there was no room.
    uint64_t seen_ = 0;
    uint64_t seen_ns_ = 0;
    uint64_t unsent_ = 0;
};

} // namespace riposte::client
