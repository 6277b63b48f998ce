#include "client/probe/target_books.h"

#include <algorithm>
#include <bit>
#include <cassert>
#include <utility>

namespace riposte::client {

size_t books_window(uint64_t interval_ns, uint64_t timeout_ns, size_t probes_at_once) {
    constexpr size_t least = 64;
    const uint64_t waiting = (timeout_ns / interval_ns + 1) * probes_at_once;
    return std::bit_ceil(std::max<size_t>(2 * waiting, least));
}

const TargetBooks::Probe* TargetBooks::find(uint64_t sequence) const {
    if (sequence == 0 || sequence > last_ || sequence < first_remembered())
        return nullptr;
    return &window_[sequence & (window_.size() - 1)];
}

TargetBooks::Probe* TargetBooks::find(uint64_t sequence) {
    return const_cast<Probe*>(std::as_const(*this).find(sequence));
}

std::optional<uint64_t> TargetBooks::displaced() const {
    if (last_ < window_.size() || !waits(first_remembered()))
        return std::nullopt;
    return first_remembered();
}

uint64_t TargetBooks::send(uint64_t now_ns) {
    if (const auto oldest = displaced())
        decide(*oldest, Outcome::lost);
    last_++;
    window_[last_ & (window_.size() - 1)] = {.sent_ns = now_ns};
    counts_.sent++;
    return last_;
}

bool TargetBooks::waits(uint64_t sequence) const {
    const Probe* const probe = find(sequence);
    return probe != nullptr && probe->outcome == Outcome::pending;
}

bool TargetBooks::decide(uint64_t sequence, Outcome outcome) {
    assert(outcome != Outcome::pending && outcome != Outcome::answered);
    if (!waits(sequence))
        return false;
    find(sequence)->outcome = outcome;
    counts_.add(outcome);
    return true;
}

TargetBooks::Arrival TargetBooks::answer(uint64_t sequence, Outcome outcome, uint64_t received_ns) {
    Probe* const probe = find(sequence);
    assert(probe != nullptr && outcome != Outcome::pending);
    Arrival arrival;
    const bool was_waiting = probe->outcome == Outcome::pending;
    const bool is_waiting = was_waiting && received_ns < probe->sent_ns + timeout_ns_;
    if (probe->late_seen || (!was_waiting && !is_unanswered(probe->outcome))) {
        counts_.duplicated++;
        arrival.duplicate = true;
        return arrival;
    }
    arrival.reordered = sequence < highest_answered_;
    highest_answered_ = std::max(highest_answered_, sequence);
    counts_.reordered += arrival.reordered ? 1U : 0U;
    if (!is_waiting) {
        counts_.late++;
        probe->late_seen = true;
        arrival.late = true;
        if (was_waiting) {
            decide(sequence, Outcome::lost);
            arrival.outcome = Outcome::lost;
        }
        return arrival;
    }
    probe->outcome = outcome;
    counts_.add(outcome);
    arrival.outcome = outcome;
    // The clocks of sending and of arrival are read apart.
    arrival.rtt_ns = received_ns - std::min(probe->sent_ns, received_ns);
    if (outcome == Outcome::answered)
        rtt_.record(arrival.rtt_ns);
    return arrival;
}

std::optional<uint64_t> TargetBooks::oldest_waiting() const {
    for (uint64_t sequence = first_remembered(); sequence <= last_; sequence++)
        if (waits(sequence))
            return sequence;
    return std::nullopt;
}

} // namespace riposte::client
