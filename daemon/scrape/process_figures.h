// What the kernel says of this process: the figures that the Prometheus client libraries call
// process_*. See proc(5).
//
// The files are opened once, before the process is sealed (sandbox.h), and read again and again:
// afterwards there is no open(2). A figure that the kernel does not give is 0.
#pragma once

#include "common/fd.h"

#include <cstdint>
#include <string_view>

namespace riposte {

struct ProcessFigures {
    double cpu_seconds = 0;        ///< user and system, of all threads
    double start_time_seconds = 0; ///< since 1970
    uint64_t resident_bytes = 0;
    uint64_t virtual_bytes = 0;
    uint64_t open_descriptors = 0;
    uint64_t descriptors_max = 0; ///< RLIMIT_NOFILE, soft
    uint64_t threads = 0;
};

/// The fields of /proc/PID/stat that are needed. The second field is the program's name, which may
/// hold anything, blanks and parentheses too. Pure; false if it is not such a line.
struct ProcessStat {
    uint64_t cpu_ticks = 0;
    uint64_t threads = 0;
    uint64_t start_ticks = 0; ///< since boot
    uint64_t virtual_bytes = 0;
    uint64_t resident_pages = 0;
};
bool parse_process_stat(std::string_view line, ProcessStat& stat) noexcept;

class ProcessFigureReader {
public:
    /// Opens what there is of it.
    ProcessFigureReader();

    ProcessFigures read() const noexcept;

private:
    uint64_t count_descriptors() const noexcept;

    Fd stat_;
    Fd descriptors_;
    double boot_seconds_ = 0; ///< since 1970
    uint64_t descriptors_max_ = 0;
};

} // namespace riposte
