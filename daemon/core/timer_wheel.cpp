#include "daemon/core/timer_wheel.h"

#include <algorithm>
#include <cassert>

namespace riposte {

void TimerWheel::grow(uint32_t count) {
    reservation_.take_over(entries_);
    if (count > entries_.size())
        entries_.resize(count);
}

void TimerWheel::link(uint32_t entry, uint64_t tick) noexcept {
    Entry& e = entries_[entry];
    uint32_t& head = heads_[tick % buckets];
    e.tick = tick;
    e.previous = none;
    e.next = head;
    if (head != none)
        entries_[head].previous = entry;
    head = entry;
    e.linked = true;
    tick_ = linked_ == 0 ? tick : std::min(tick_, tick);
    next_tick_ = std::min(next_tick_, tick);
    ++linked_;
}

void TimerWheel::unlink(uint32_t entry) noexcept {
    Entry& e = entries_[entry];
    if (e.previous != none)
        entries_[e.previous].next = e.next;
    else
        heads_[e.tick % buckets] = e.next;
    if (e.next != none)
        entries_[e.next].previous = e.previous;
    e.linked = false;
    --linked_;
}

void TimerWheel::set(uint32_t entry, uint64_t deadline_ms) noexcept {
    Entry& e = entries_[entry];
    uint64_t tick = deadline_ms / tick_ms + 1; // the first tick after the deadline
    e.deadline_ms = deadline_ms;
    if (e.linked && e.tick <= tick)
        return;
    if (e.linked)
        unlink(entry);
    link(entry, tick);
}

void TimerWheel::clear(uint32_t entry) noexcept {
    entries_[entry].deadline_ms = never;
    if (entries_[entry].linked)
        unlink(entry);
}

uint32_t TimerWheel::expired(uint64_t now_ms) noexcept {
    uint64_t now_tick = now_ms / tick_ms;
    if (linked_ == 0 || now_tick < next_tick_)
        return none;
    next_tick_ = 0;
    // After a sleep of more than one revolution every bucket is due, each only once.
    uint64_t tick = now_tick > tick_ + buckets ? now_tick - buckets : tick_;
    for (; linked_ > 0 && tick <= now_tick; ++tick) {
        for (uint32_t i = heads_[tick % buckets]; i != none;) {
            uint32_t following = entries_[i].next;
            if (entries_[i].tick <= now_tick) {
                unlink(i);
                uint64_t due = entries_[i].deadline_ms / tick_ms + 1;
                if (due <= now_tick) {
                    entries_[i].deadline_ms = never;
                    tick_ = tick; // this bucket may hold more expired entries
                    return i;
                }
                link(i, due); // its deadline has moved later since it was linked
            }
            i = following;
        }
    }
    if (linked_ > 0)
        tick_ = now_tick + 1;
    return none;
}

uint64_t TimerWheel::next_ms() noexcept {
    if (linked_ == 0)
        return never;
    if (next_tick_ == 0)
        next_tick_ = find_next_tick();
    return next_tick_ * tick_ms;
}

uint64_t TimerWheel::find_next_tick() const noexcept {
    for (uint64_t tick = tick_; tick < tick_ + buckets; ++tick)
        for (uint32_t i = heads_[tick % buckets]; i != none; i = entries_[i].next)
            if (entries_[i].tick <= tick)
                return tick;
    return tick_ + buckets;
}

} // namespace riposte
