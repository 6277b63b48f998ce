// Events that a backend has and that were not delivered yet: those that were complete at once, and
// those that did not fit into the span of a turn.
#pragma once

#include "daemon/io/backend.h"

#include <algorithm>
#include <cstddef>
#include <span>
#include <vector>

namespace riposte {

class Outbox {
public:
    Outbox() { events_.reserve(1024); }

    bool empty() const noexcept { return begin_ == events_.size(); }
    size_t size() const noexcept { return events_.size() - begin_; }

    void push(const Event& event) { events_.push_back(event); }

    /// Room for `count` events, to be written before anything else is called.
    std::span<Event> extend(size_t count) {
        size_t end = events_.size();
        events_.resize(end + count);
        return std::span(events_).subspan(end);
    }

    /// Moves as many as fit, the oldest first.
    size_t deliver(std::span<Event> out) noexcept {
        size_t count = std::min(out.size(), size());
        std::copy_n(events_.data() + begin_, count, out.begin());
        begin_ += count;
        if (empty()) {
            events_.clear();
            begin_ = 0;
        }
        return count;
    }

private:
    std::vector<Event> events_;
    size_t begin_ = 0;
};

} // namespace riposte
