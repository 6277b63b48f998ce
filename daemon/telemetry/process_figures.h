// The kernel's figures of this process: those that the Prometheus client libraries call process_*.
// See proc(5).
//
// The files are opened once, before the process is sealed (sandbox.h), and read repeatedly:
// afterwards open(2) is not permitted. A figure that the kernel does not give, for example without
// /proc, is empty.
#pragma once

#include "common/fd.h"

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace riposte {

struct ProcessFigures {
    std::optional<double> cpu_seconds;        ///< user and system, of all threads
    std::optional<double> start_time_seconds; ///< since 1970
    std::optional<uint64_t> resident_bytes;
    std::optional<uint64_t> virtual_bytes;
    std::optional<uint64_t> open_descriptors;
    std::optional<uint64_t> descriptors_max; ///< RLIMIT_NOFILE, soft
    std::optional<uint64_t> threads;
};

/// The required fields of /proc/PID/stat. The second field is the program's name, which may hold
/// anything, blanks and parentheses too. Pure; false if it is not such a line.
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
    /// Opens the files that exist.
    explicit ProcessFigureReader(const std::string& proc = "/proc/self");

    ProcessFigures read() const noexcept;

private:
    std::optional<uint64_t> count_descriptors() const noexcept;

    Fd stat_;
    Fd descriptors_;
    double boot_seconds_ = 0; ///< since 1970
    std::optional<uint64_t> descriptors_max_;
};

} // namespace riposte
