#include "client/measure/recent.h"

#include <algorithm>
#include <cassert>

namespace riposte::client {

void RecentCell::add(const RecentCell& other) {
    max_rtt_ns = std::max(max_rtt_ns, other.max_rtt_ns);
    answered += other.answered;
    failed += other.failed;
}

void RecentMinute::decide(uint64_t due_ns, uint64_t now_ns, Outcome outcome, uint64_t rtt_ns) {
    if (outcome == Outcome::local)
        return;
    const uint64_t now = now_ns / cell_ns;
    Loss& loss = losses_[now % losses_.size()];
    if (loss.number != now)
        loss = {.number = now};
    loss.decided++;
    loss.unanswered += static_cast<uint32_t>(is_unanswered(outcome));

    const uint64_t due = due_ns / cell_ns;
    Slot& slot = slots_[due % slots_.size()];
    if (slot.number > due)
        return; // more than a minute ago
    if (slot.number != due)
        slot = {.number = due, .cell = {}};
    RecentCell cell;
    if (outcome == Outcome::answered)
        cell = {.max_rtt_ns = rtt_ns, .answered = 1};
    else
        cell.failed = 1;
    slot.cell.add(cell);
}

std::optional<double> RecentMinute::loss_percent(uint64_t now_ns) const {
    const uint64_t now = now_ns / cell_ns;
    uint64_t decided = 0;
    uint64_t unanswered = 0;
    for (const Loss& loss : losses_) {
        if (loss.decided == 0 || loss.number > now || now - loss.number > loss_seconds)
            continue;
        decided += loss.decided;
        unanswered += loss.unanswered;
    }
    if (decided == 0)
        return std::nullopt;
    return 100 * static_cast<double>(unanswered) / static_cast<double>(decided);
}

/// The current second, which has only begun, belongs to the last cell.
std::vector<RecentCell> RecentMinute::minute(uint64_t now_ns, size_t count) const {
    assert(count >= 1 && count <= cells);
    std::vector<RecentCell> all(count);
    const uint64_t now = now_ns / cell_ns;
    for (const Slot& slot : slots_) {
        if (slot.number > now || now - slot.number >= cells)
            continue;
        const uint64_t place = cells - 1 - (now - slot.number);
        all[place * count / cells].add(slot.cell);
    }
    return all;
}

} // namespace riposte::client
