#include "daemon/listen/stamp_tables.h"

#include "common/siphash.h"

namespace riposte {

StampTables make_stamp_tables(uint32_t sessions_max, uint32_t tables) {
    StampTables made{.sessions_max = sessions_max};
    const uint32_t each = (sessions_max + tables - 1) / tables;
    for (uint32_t i = 0; i < tables; ++i)
        made.of_worker.push_back(std::make_shared<StampSessions>(each, random_secret()));
    return made;
}

} // namespace riposte
