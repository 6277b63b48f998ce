// Connections that outlive a restart: from one process to the next, by way of the service manager.
//
//     Released   a worker has let it go: everything that was read is answered and sent, nothing is
//                in flight, and its backend knows its descriptor no more
//     Stored     it was found in the service manager's store, as the previous process left it
//     Adopted    a worker is to continue it, at one of its listeners
//
// Each of them owns its descriptor. Between `Released` and a connection, and between a connection
// and `Adopted`, the descriptor is a plain number that leaves through the seam (backend.h).
//
// Quota bounds how many connections of one worker are on this way: a drain says how many. A
// connection that ends before it is released gives its place to another one.
#pragma once

#include "common/fd.h"
#include "daemon/services/service.h"
#include "daemon/tcp/connection.h"

#include <cassert>
#include <cstdint>
#include <utility>
#include <vector>

namespace riposte::handoff {

struct Released {
    Fd fd;
    ServiceKind kind = ServiceKind::hello;
};

struct Stored {
    Fd fd;
    ServiceKind kind = ServiceKind::hello;
};

struct Adopted {
    Fd fd; ///< non-blocking
    ServiceKind kind = ServiceKind::hello;
    uint64_t listener = 0; ///< the id of a ListenerSpec of that service; 0: there is none
};

/// Could another process continue this connection, as it is now?
inline bool is_possible(const Connection& c) noexcept {
    return c.is_open() && !c.peer_finished && !c.finish_requested &&
           c.service->resumable(c.service_state);
}

class Quota {
public:
    void set(uint32_t connections) noexcept { left_ = connections; }
    uint32_t left() const noexcept { return left_; }

    /// Marks the connection to be handed off, if that is possible and within the quota.
    bool mark(Connection& c) noexcept {
        if (left_ == 0 || c.handing_off || !is_possible(c))
            return false;
        c.handing_off = true;
        --left_;
        return true;
    }
    /// It ends in this process after all. False if it was not marked.
    bool unmark(Connection& c) noexcept {
        if (!c.handing_off)
            return false;
        c.handing_off = false;
        ++left_;
        return true;
    }

private:
    uint32_t left_ = 0;
};

} // namespace riposte::handoff
