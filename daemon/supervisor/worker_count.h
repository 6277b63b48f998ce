// How many workers run.
#pragma once

#include <cstdint>

namespace riposte {

/// As configured, or where that is 0 one per CPU that this process may run on.
uint32_t worker_count(uint32_t configured);

} // namespace riposte
