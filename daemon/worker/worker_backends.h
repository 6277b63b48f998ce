// Summarises the backends of all workers. Each worker opens its own, and one may get io_uring while
// the next must fall back, for instance when the memory that may be locked is used up.
#pragma once

#include "common/reason.h"
#include "daemon/io/open_backend.h"

#include <cstdint>
#include <string>

namespace riposte {

class WorkerBackends {
public:
    /// The backend of one worker; see OpenedBackend for the texts.
    struct Worker {
        BackendChoice backend;
        Reason fallback_reason;
        Reason lacking;
        uint32_t ring_operations;
        Reason ring_unlimited;
    };
    void add(const Worker& worker);

    uint32_t on_uring() const noexcept { return on_uring_; }
    uint32_t on_epoll() const noexcept { return on_epoll_; }

    /// "io_uring", "epoll" or "mixed".
    std::string name() const;
    /// "io_uring", "epoll" or "mixed (io_uring in 1 worker, epoll in 3)".
    std::string text() const;
    /// Why not every worker has io_uring, or what it lacks on this kernel; "" if neither.
    std::string reason() const;

    /// Why a worker fell back to epoll (the first one's reason); empty if none did.
    const Reason& fallback_reason() const noexcept { return fallback_reason_; }
    const Reason& lacking() const noexcept { return lacking_; }
    /// How many kinds of operations every ring permits; 0: there is no ring, or one permits all.
    uint32_t ring_operations() const noexcept {
        return ring_unlimited_.empty() ? ring_operations_ : 0;
    }
    /// Why a ring permits every operation (the first one's reason); empty if none does.
    const Reason& ring_unlimited() const noexcept { return ring_unlimited_; }

private:
    uint32_t on_uring_ = 0;
    uint32_t on_epoll_ = 0;
    uint32_t ring_operations_ = 0;
    Reason fallback_reason_;
    Reason lacking_;
    Reason ring_unlimited_;
};

} // namespace riposte
