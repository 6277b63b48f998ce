// What the workers run on, all together: each opens its backend by itself, and one may get io_uring
// where the next has to fall back, as when there is only so much memory to lock.
#pragma once

#include "daemon/io/open_backend.h"

#include <cstdint>
#include <string>

namespace riposte {

class WorkerBackends {
public:
    /// How one worker came up; see OpenedBackend for the texts.
    struct Worker {
        BackendChoice backend;
        std::string fallback_reason;
        std::string lacking;
        uint32_t ring_operations;
        std::string ring_unlimited;
    };
    void add(const Worker& worker);

    uint32_t on_uring() const noexcept { return on_uring_; }
    uint32_t on_epoll() const noexcept { return on_epoll_; }

    /// "io_uring", "epoll" or "mixed".
    std::string name() const;
    /// "io_uring", "epoll" or "mixed (io_uring in 1 worker, epoll in 3)".
    std::string text() const;
    /// Why not io_uring, in every worker, or what it lacks on this kernel; "" if there is nothing
    /// to say.
    std::string reason() const;

    /// Why the first of those on epoll is, and "" if all were told to be or none is.
    const std::string& fallback_reason() const noexcept { return fallback_reason_; }
    const std::string& lacking() const noexcept { return lacking_; }
    /// What every ring is limited to; 0: there is no ring, or one takes every operation.
    uint32_t ring_operations() const noexcept {
        return ring_unlimited_.empty() ? ring_operations_ : 0;
    }
    /// Why one of the rings is not limited; "" if there is none such.
    const std::string& ring_unlimited() const noexcept { return ring_unlimited_; }

private:
    uint32_t on_uring_ = 0;
    uint32_t on_epoll_ = 0;
    uint32_t ring_operations_ = 0;
    std::string fallback_reason_;
    std::string lacking_;
    std::string ring_unlimited_;
};

} // namespace riposte
