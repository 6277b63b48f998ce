// How many workers run.
#pragma once

#include <cstdint>

namespace riposte {

/// As configured; if that is 0, one per CPU on which this process may run.
uint32_t worker_count(uint32_t configured);

} // namespace riposte
