#include "daemon/core/host.h"

#include <linux/sockios.h>
#include <sys/ioctl.h>

namespace riposte {

ClockError SystemHost::clock_error() noexcept {
    const auto error = read_clock_error();
    return error ? *error : Host::clock_error();
}

uint32_t SystemHost::unacknowledged_bytes(int fd) noexcept {
    int bytes = 0;
    return ::ioctl(fd, SIOCOUTQ, &bytes) == 0 && bytes > 0 ? static_cast<uint32_t>(bytes) : 0;
}

} // namespace riposte
