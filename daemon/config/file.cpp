// Reads the whole configuration file, up to a limit. A missing file and a file that the daemon may
// not read have different exit codes: an administrator has to permit the latter.

#include "common/clock.h"
#include "common/fd.h"
#include "common/text.h"
#include "daemon/config/config.h"

#include <array>
#include <cerrno>

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>

namespace riposte {
namespace {

constexpr size_t file_bytes_max = size_t{1024} * 1024;

std::unexpected<Error> refuse_file(const std::string& path, int error, std::string_view reason) {
    const bool denied = error == EACCES || error == EPERM;
    return fail(
        denied ? Exit::permission : Exit::config,
        fmt::format(
            "cannot read {}: {}; {}", escape(path, 4096), reason,
            denied ? "let the daemon's user read it" : "name a TOML file with -c"));
}

std::unexpected<Error> refuse_file(const std::string& path, int error) {
    return refuse_file(path, error, errno_text(error));
}

/// Only a regular file of bounded size: the main thread reads it and must not block.
Result<Fd> open_file(const std::string& path) {
    Fd file(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY));
    if (!file)
        return refuse_file(path, errno);
    struct stat status{};
    if (::fstat(file.get(), &status) != 0)
        return refuse_file(path, errno);
    if (S_ISDIR(status.st_mode))
        return refuse_file(path, EISDIR);
    if (!S_ISREG(status.st_mode))
        return refuse_file(path, 0, "not a regular file");
    if (static_cast<uint64_t>(status.st_size) > file_bytes_max)
        return refuse_file(path, EFBIG, "larger than 1 MiB");
    return file;
}

Result<std::string> read_file(const std::string& path) {
    const auto file = open_file(path);
    if (!file)
        return std::unexpected(file.error());
    std::string text;
    std::array<char, 16384> chunk{};
    for (;;) {
        const ssize_t size = ::read(file->get(), chunk.data(), chunk.size());
        if (size < 0 && errno == EINTR)
            continue;
        if (size < 0)
            return refuse_file(path, errno);
        if (size == 0)
            return text;
        text.append(chunk.data(), static_cast<size_t>(size));
        if (text.size() > file_bytes_max)
            return refuse_file(path, EFBIG, "larger than 1 MiB");
    }
}

} // namespace

Result<Config> load_config(const std::string& path) {
    const auto text = read_file(path);
    if (!text)
        return std::unexpected(text.error());
    return parse_config(*text, path);
}

bool is_just_written(int64_t modified_ns, int64_t now_ns) {
    constexpr int64_t settled_ns = 250'000'000;
    constexpr int64_t skew_ns = 2'000'000'000;
    return modified_ns > now_ns - settled_ns && modified_ns < now_ns + skew_ns;
}

bool is_just_written(const std::string& path) {
    struct stat status{};
    return ::stat(path.c_str(), &status) == 0 &&
           is_just_written(
               int64_t{status.st_mtim.tv_sec} * 1'000'000'000 + status.st_mtim.tv_nsec,
               static_cast<int64_t>(realtime_ns()));
}

} // namespace riposte
