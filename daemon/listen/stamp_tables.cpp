#include "daemon/listen/stamp_tables.h"

#include <algorithm>

namespace riposte {

std::vector<StampSession> StampTables::sessions() const {
    std::vector<StampSession> all;
    for (const auto& table : of_worker)
        std::ranges::copy_if(
            table->places(), std::back_inserter(all),
            [](const StampSession& session) { return session.tag != 0; });
    // A session that was given to every worker has the newest state at the one that served it.
    std::ranges::sort(all, [](const StampSession& a, const StampSession& b) {
        return a.tag != b.tag ? a.tag < b.tag : a.received > b.received;
    });
    const auto repeated = std::ranges::unique(all, {}, &StampSession::tag);
    all.erase(repeated.begin(), repeated.end());
    return all;
}

size_t StampTables::adopt(std::span<const StampSession> sessions) const {
    size_t adopted = 0;
    for (const StampSession& session : sessions) {
        bool placed = false;
        for (const auto& table : of_worker)
            placed |= table->adopt(session);
        adopted += placed ? size_t{1} : 0;
    }
    return adopted;
}

StampTables make_stamp_tables(uint32_t sessions_max, const StampTableRules& rules) {
    StampTables made{.sessions_max = sessions_max};
    const uint32_t each = (sessions_max + rules.workers - 1) / rules.workers;
    for (uint32_t i = 0; i < rules.workers; ++i)
        made.of_worker.push_back(std::make_shared<StampSessions>(each, rules.secret));
    return made;
}

} // namespace riposte
