#include "daemon/worker/worker_backends.h"

#include "common/text.h"

#include <algorithm>

#include <fmt/format.h>

namespace riposte {

void WorkerBackends::add(const Worker& worker) {
    const auto keep_first = [](Reason& kept, const Reason& reason) {
        if (kept.empty())
            kept = reason;
    };
    keep_first(fallback_reason_, worker.fallback_reason);
    keep_first(lacking_, worker.lacking);
    keep_first(ring_unlimited_, worker.ring_unlimited);
    if (worker.backend == BackendChoice::epoll) {
        ++on_epoll_;
        return;
    }
    ring_operations_ = std::max(ring_operations_, worker.ring_operations);
    ++on_uring_;
}

std::string WorkerBackends::name() const {
    return on_epoll_ == 0 ? "io_uring" : on_uring_ == 0 ? "epoll" : "mixed";
}

std::string WorkerBackends::text() const {
    if (on_epoll_ == 0 || on_uring_ == 0)
        return name();
    return fmt::format(
        "mixed (io_uring in {}, epoll in {})", plural(on_uring_, "worker"), on_epoll_);
}

std::string WorkerBackends::reason() const {
    if (on_epoll_ > 0 && on_uring_ > 0)
        return fmt::format(
            "epoll in {} of {}: {}", on_epoll_, plural(on_uring_ + on_epoll_, "worker"),
            fallback_reason_.text);
    if (!fallback_reason_.empty())
        return fallback_reason_.text;
    return lacking_.empty() ? "" : "lacks " + lacking_.text;
}

} // namespace riposte
