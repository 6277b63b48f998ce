#include "common/standard_streams.h"

#include <initializer_list>

#include <fcntl.h>
#include <unistd.h>

namespace riposte {

bool reserve_standard_streams() {
    // open(2) gives the lowest free number: in this order, each hole is filled by its own call.
    for (const int fd : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO}) {
        if (::fcntl(fd, F_GETFD) >= 0)
            continue;
        // The wrong way round. What O_PATH opens can neither be read nor written, for where there
        // is no /dev.
        if (::open("/dev/null", fd == STDIN_FILENO ? O_WRONLY : O_RDONLY) != fd &&
            ::open("/", O_PATH | O_DIRECTORY) != fd)
            return false;
    }
    return true;
}

bool is_writable_stream(int fd) {
    const int flags = ::fcntl(fd, F_GETFL);
    return flags >= 0 && (flags & O_PATH) == 0 && (flags & O_ACCMODE) != O_RDONLY;
}

} // namespace riposte
