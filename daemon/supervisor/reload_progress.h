// Where a reload (SIGHUP) stands. Pure: the owner (reload.h) does the work and passes in the time.
//
//     idle -> rereading -> preparing -> applying -> idle
//
//   rereading   the file was just written, and is read again at deadline_us()
//   preparing   the workers reserve memory for the new configuration
//   applying    it holds: the plans wait for memory until deadline_us(), or to settle
//
// Each phase but `idle` may be skipped, and ends in `idle` if the reload is refused. A request
// while the workers prepare or apply is kept: one more reload follows, however often it was
// requested. A stop drops a reload that is not applied yet, and permits no other one; plans that
// were sent settle during the drain.
#pragma once

#include <cstdint>
#include <optional>

namespace riposte {

class ReloadProgress {
public:
    static constexpr uint64_t reread_pause_us = 250'000;
    static constexpr uint32_t rereads_max = 20;
    static constexpr uint64_t resend_pause_us = 100'000;

    enum class Phase : uint8_t { idle, rereading, preparing, applying };
    Phase phase() const noexcept { return phase_; }

    /// A request, or the end of the pause before a reread. True: read the file now.
    bool request() noexcept;
    /// The file that was read has just been written. False: it was read often enough, take it.
    bool reread(uint64_t now_us) noexcept;
    /// Returns the sequence by which the workers answer.
    uint64_t prepare() noexcept;
    uint64_t prepare_sequence() const noexcept { return prepare_sequence_; }
    /// The workers have prepared, and the configuration holds. Returns the sequence of the plans.
    uint64_t apply() noexcept;
    uint64_t plan_sequence() const noexcept { return plan_sequence_; }
    /// There is no memory for the plans: they are sent later.
    void resend(uint64_t now_us) noexcept;
    void sent() noexcept { deadline_us_.reset(); }
    /// Applied, or refused.
    void end() noexcept;
    /// After end(). True, once: another reload was requested meanwhile.
    bool take_next() noexcept;
    void stop() noexcept;

    /// When the file is read again, or the plans are sent again.
    std::optional<uint64_t> deadline_us() const noexcept { return deadline_us_; }
    bool is_due(uint64_t now_us) const noexcept { return deadline_us_ && now_us >= *deadline_us_; }
    /// Were all plans sent, so that they can settle?
    bool is_settling() const noexcept { return phase_ == Phase::applying && !deadline_us_; }

private:
    Phase phase_ = Phase::idle;
    bool next_ = false;    ///< requested while another one was under way
    bool stopped_ = false; ///< for good
    uint32_t rereads_ = 0; ///< in this reload
    uint64_t prepare_sequence_ = 0;
    uint64_t plan_sequence_ = 0;
    std::optional<uint64_t> deadline_us_;
};

} // namespace riposte
