#include "client/net/time_slice.h"

#include <cstdint>

#include <sched.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace riposte::client {

namespace {

constexpr uint64_t shortest_slice_ns = 100'000; ///< that the kernel gives

/// sched_setattr(2)'s first version; the C library declares it only lately, and by the same name
/// as the kernel's header.
struct SchedulingAttributes {
    uint32_t size;
    uint32_t policy;
    uint64_t flags;
    int32_t nice;
    uint32_t priority;
    uint64_t runtime;
    uint64_t deadline;
    uint64_t period;
};

} // namespace

void request_short_time_slices() {
    SchedulingAttributes attributes{};
    if (::syscall(SYS_sched_getattr, 0, &attributes, sizeof(attributes), 0) < 0)
        return;
    if (attributes.policy != SCHED_OTHER && attributes.policy != SCHED_BATCH)
        return;
    attributes.size = sizeof(attributes);
    attributes.runtime = shortest_slice_ns;
    ::syscall(SYS_sched_setattr, 0, &attributes, 0);
}

} // namespace riposte::client
