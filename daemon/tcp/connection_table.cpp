#include "daemon/tcp/connection_table.h"

namespace riposte {

void ConnectionTable::give_up() noexcept {
    slots_room_.give_up();
    free_room_.give_up();
}

void ConnectionTable::grow(uint32_t slots) {
    assert(slots >= size() && slots <= slots_max);
    const uint32_t before = size();
    slots_room_.take_over(slots_);
    free_room_.take_over(free_);
    slots_.resize(slots);
    free_.reserve(slots);
    for (uint32_t slot = slots; slot-- > before;)
        free_.push_back(slot);
}

} // namespace riposte
