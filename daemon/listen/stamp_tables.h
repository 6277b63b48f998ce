// The session tables of a listener with the service stamp: one for each worker that serves it.
//
// With several workers the kernel gives each session to one of them, by its hash of addresses and
// ports, so each has its part of `sessions_max`. An inherited socket is one for all workers; only
// one of them serves it then, and has all sessions. All tables have one secret, so that a session
// can continue in another process, and there with another worker.
#pragma once

#include "common/siphash.h"
#include "daemon/services/stamp_options.h"
#include "daemon/services/stamp_sessions.h"

#include <cstddef>
#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

namespace riposte {

/// How tables are made.
struct StampTableRules {
    uint32_t workers = 1; ///< that serve a listener
    HashSecret secret{};

    StampTableRules of_one_worker() const { return {.workers = 1, .secret = secret}; }
};

struct StampTables {
    uint32_t sessions_max = 0; ///< as configured; 0: there are none
    std::vector<std::shared_ptr<StampSessions>> of_worker{};
    std::shared_ptr<StampSessionCount> in_use{}; ///< of all workers; null: there are none

    /// Calls `visit` with every session in use, once, always in the same order. No worker runs.
    template<class Visit>
    void for_each_session(const Visit& visit) const {
        for (size_t worker = 0; worker < of_worker.size(); ++worker)
            for (const StampSession& session : std::as_const(*of_worker[worker]).places())
                if (session.tag != 0 && is_newest(session, worker))
                    visit(session);
    }
    uint32_t count() const;  ///< of these sessions
    uint32_t places() const; ///< of all workers; while they run, too

    /// Gives the session to every worker, because any of them may be the one that the kernel
    /// chooses now. False: none has a place. No worker runs.
    bool adopt(const StampSession& session) const;

private:
    bool is_newest(const StampSession& session, size_t worker) const;
};

StampTables make_stamp_tables(uint32_t sessions_max, const StampTableRules& rules);

} // namespace riposte
