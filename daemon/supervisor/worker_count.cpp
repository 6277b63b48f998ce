#include "daemon/supervisor/worker_count.h"

#include <algorithm>

#include <sched.h>

namespace riposte {

uint32_t worker_count(uint32_t configured) {
    if (configured > 0)
        return configured;
    cpu_set_t cpus;
    CPU_ZERO(&cpus);
    if (sched_getaffinity(0, sizeof cpus, &cpus) != 0)
        return 1;
    return static_cast<uint32_t>(std::max(CPU_COUNT(&cpus), 1));
}

} // namespace riposte
