#include "daemon/listen/stamp_tables.h"

namespace riposte {

uint32_t StampTables::count() const {
    uint32_t count = 0;
    for_each_session([&](const StampSession&) { ++count; });
    return count;
}

bool StampTables::adopt(const StampSession& session) const {
    bool placed = false;
    for (const auto& table : of_worker)
        placed |= table->adopt(session);
    if (placed)
        in_use->add(session.seen_ms);
    return placed;
}

uint32_t StampTables::places() const {
    uint32_t places = 0;
    for (const auto& table : of_worker)
        places += static_cast<uint32_t>(std::as_const(*table).places().size());
    return places;
}

/// A session that was given to every worker has the newest state at the one that served it.
bool StampTables::is_newest(const StampSession& session, size_t worker) const {
    for (size_t other = 0; other < of_worker.size(); ++other) {
        const StampSession* const same =
            other == worker ? nullptr : std::as_const(*of_worker[other]).find_tag(session.tag);
        if (same != nullptr && (same->received > session.received ||
                                (same->received == session.received && other < worker)))
            return false;
    }
    return true;
}

StampTables make_stamp_tables(uint32_t sessions_max, const StampTableRules& rules) {
    StampTables made{.sessions_max = sessions_max, .in_use = std::make_shared<StampSessionCount>()};
    const uint32_t each = (sessions_max + rules.workers - 1) / rules.workers;
    for (uint32_t i = 0; i < rules.workers; ++i)
        made.of_worker.push_back(std::make_shared<StampSessions>(each, rules.secret, made.in_use));
    return made;
}

} // namespace riposte
