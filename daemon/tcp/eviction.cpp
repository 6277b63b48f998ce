#include "daemon/tcp/eviction.h"

namespace riposte {

uint32_t Eviction::choose(ConnectionTable& connections, uint64_t now_ms) noexcept {
    if (leaving_ >= at_once_max || connections.free() == 0)
        return none;
    const uint32_t slot = idle_.longest(connections.size(), now_ms, [&connections](uint32_t at) {
        return idle_since_ms(connections[at]);
    });
    if (slot == none)
        return none;
    connections[slot].evicted = true;
    ++leaving_;
    chosen_.push_back(slot);
    return slot;
}

} // namespace riposte
