#include "daemon/telemetry/process_figures.h"

#include "common/clock.h"

#include <array>
#include <charconv>
#include <cstddef>

#include <dirent.h>
#include <fcntl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

namespace riposte {
namespace {

double since_boot_seconds() {
    timespec now{};
    clock_gettime(CLOCK_BOOTTIME, &now);
    return static_cast<double>(now.tv_sec) + static_cast<double>(now.tv_nsec) / 1e9;
}

uint64_t page_bytes() {
    return static_cast<uint64_t>(::sysconf(_SC_PAGESIZE));
}

} // namespace

bool parse_process_stat(std::string_view line, ProcessStat& stat) noexcept {
    const size_t name_end = line.rfind(") ");
    if (name_end == std::string_view::npos)
        return false;
    line.remove_prefix(name_end + 2);
    std::array<uint64_t, 25> fields{}; // by their number in proc(5); 0 if not such a number
    for (size_t number = 3; number < fields.size(); ++number) {
        const size_t size = line.find_first_of(" \n");
        if (size == 0 || line.empty())
            return false;
        const std::string_view word = line.substr(0, size);
        std::from_chars(word.data(), word.data() + word.size(), fields[number]);
        line.remove_prefix(size == std::string_view::npos ? line.size() : size + 1);
    }
    stat = {
        .cpu_ticks = fields[14] + fields[15],
        .threads = fields[20],
        .start_ticks = fields[22],
        .virtual_bytes = fields[23],
        .resident_pages = fields[24]};
    return true;
}

ProcessFigureReader::ProcessFigureReader(const std::string& proc)
    : stat_(::open((proc + "/stat").c_str(), O_RDONLY | O_CLOEXEC)),
      descriptors_(::open((proc + "/fd").c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC)),
      boot_seconds_(wall_time_seconds() - since_boot_seconds()) {
    rlimit limit{};
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0)
        descriptors_max_ = limit.rlim_cur;
}

ProcessFigures ProcessFigureReader::read() const noexcept {
    ProcessFigures figures;
    figures.descriptors_max = descriptors_max_;
    figures.open_descriptors = count_descriptors();
    std::array<char, 1024> text{};
    const ssize_t size = stat_ ? ::pread(stat_.get(), text.data(), text.size(), 0) : -1;
    ProcessStat stat{};
    if (size <= 0 || !parse_process_stat({text.data(), static_cast<size_t>(size)}, stat))
        return figures;
    const auto ticks = static_cast<double>(::sysconf(_SC_CLK_TCK));
    figures.cpu_seconds = static_cast<double>(stat.cpu_ticks) / ticks;
    figures.start_time_seconds = boot_seconds_ + static_cast<double>(stat.start_ticks) / ticks;
    figures.resident_bytes = stat.resident_pages * page_bytes();
    figures.virtual_bytes = stat.virtual_bytes;
    figures.threads = stat.threads;
    return figures;
}

/// Linux 6.2 and later report the number as the directory's size; with older ones it is counted.
std::optional<uint64_t> ProcessFigureReader::count_descriptors() const noexcept {
    struct stat directory{};
    if (!descriptors_ || ::fstat(descriptors_.get(), &directory) != 0)
        return std::nullopt;
    if (directory.st_size > 0)
        return static_cast<uint64_t>(directory.st_size);
    uint64_t count = 0;
    ::lseek(descriptors_.get(), 0, SEEK_SET);
    alignas(dirent64) std::array<char, 8192> entries{};
    while (true) {
        const ssize_t size = ::getdents64(descriptors_.get(), entries.data(), entries.size());
        if (size < 0)
            return std::nullopt;
        if (size == 0)
            return count;
        for (size_t at = 0; at < static_cast<size_t>(size);) {
            const auto* entry = reinterpret_cast<const dirent64*>(entries.data() + at);
            count += entry->d_name[0] != '.';
            at += entry->d_reclen;
        }
    }
}

} // namespace riposte
