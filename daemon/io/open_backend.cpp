#include "daemon/io/open_backend.h"

#include "build_features.h"
#include "daemon/io/epoll_backend.h"
#include "daemon/io/uring_backend.h"

#include <fmt/format.h>

namespace riposte {
namespace {

std::expected<OpenedBackend, Reason> open_uring([[maybe_unused]] Pools pools) {
#if RIPOSTE_HAVE_IO_URING
    auto opened = UringBackend::open(pools);
    if (!opened)
        return std::unexpected(opened.error());
    OpenedBackend uring;
    uring.kind = BackendChoice::io_uring;
    uring.lacking = (*opened)->lacking();
    uring.ring_operations = (*opened)->operations();
    uring.ring_unlimited = (*opened)->unlimited();
    uring.backend = std::move(*opened);
    return uring;
#else
    return std::unexpected(Reason{.token = "not_built", .text = "this build has no liburing"});
#endif
}

} // namespace

Result<OpenedBackend> open_backend(BackendChoice choice, Pools pools) {
    Reason reason;
    if (choice != BackendChoice::epoll) {
        auto uring = open_uring(pools);
        if (uring)
            return std::move(*uring);
        reason = uring.error();
        if (choice == BackendChoice::io_uring)
            return fail(
                Exit::unavailable,
                fmt::format(
                    "io_uring is not available ({}); with backend = \"auto\", riposted would use "
                    "epoll",
                    reason.text));
    }
    auto epoll = EpollBackend::open(pools);
    if (!epoll)
        return std::unexpected(epoll.error());
    OpenedBackend opened;
    opened.backend = std::move(*epoll);
    opened.fallback_reason = reason;
    return opened;
}

} // namespace riposte
