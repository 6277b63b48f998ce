#include "client/ping/wake_order.h"

#include <cassert>
#include <utility>

namespace riposte::client {

void WakeOrder::set(size_t lane, uint64_t at_ns) {
    assert(lane < times_.size());
    const uint64_t before_ns = std::exchange(times_[lane], at_ns);
    if (before_ns == at_ns)
        return;
    if (at_ns == UINT64_MAX) {
        remove(lane);
        return;
    }
    if (places_[lane] == nowhere) {
        places_[lane] = heap_.size();
        heap_.push_back(lane);
    }
    at_ns < before_ns ? raise(places_[lane]) : sink(places_[lane]);
}

/// The last one takes its place.
void WakeOrder::remove(size_t lane) {
    const size_t place = std::exchange(places_[lane], nowhere);
    const size_t last = heap_.back();
    heap_.pop_back();
    if (last == lane)
        return;
    heap_[place] = last;
    places_[last] = place;
    raise(place);
    sink(places_[last]);
}

void WakeOrder::exchange(size_t place, size_t other) {
    std::swap(heap_[place], heap_[other]);
    places_[heap_[place]] = place;
    places_[heap_[other]] = other;
}

void WakeOrder::raise(size_t place) {
    while (place > 0 && is_earlier(place, (place - 1) / 2)) {
        exchange(place, (place - 1) / 2);
        place = (place - 1) / 2;
    }
}

void WakeOrder::sink(size_t place) {
    for (;;) {
        size_t least = place;
        for (const size_t child : {2 * place + 1, 2 * place + 2})
            if (child < heap_.size() && is_earlier(child, least))
                least = child;
        if (least == place)
            return;
        exchange(place, least);
        place = least;
    }
}

} // namespace riposte::client
