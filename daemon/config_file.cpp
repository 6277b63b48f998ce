// Reading the configuration file, whole and bounded. The two ways in which it can not be read end
// in different exit codes: what only an administrator can permit, and what is simply not there.

#include "common/fd.h"
#include "common/text.h"
#include "daemon/config.h"

#include <array>
#include <cerrno>

#include <fcntl.h>
#include <fmt/format.h>

namespace riposte {
namespace {

constexpr size_t file_bytes_max = size_t{1024} * 1024;

Result<std::string> read_file(const std::string& path) {
    const auto refuse = [&](int error) {
        const bool denied = error == EACCES || error == EPERM;
        return fail(
            denied ? Exit::permission : Exit::config,
            fmt::format(
                "can not read {}: {}; {}", escape(path, 4096), errno_text(error),
                denied ? "let the daemon's user read it" : "name a TOML file with -c"));
    };
    const Fd file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
    if (!file)
        return refuse(errno);
    std::string text;
    std::array<char, 16384> chunk{};
    for (;;) {
        const ssize_t size = ::read(file.get(), chunk.data(), chunk.size());
        if (size < 0 && errno == EINTR)
            continue;
        if (size < 0)
            return refuse(errno);
        if (size == 0)
            return text;
        text.append(chunk.data(), static_cast<size_t>(size));
        if (text.size() > file_bytes_max)
            return refuse(EFBIG);
    }
}

} // namespace

Result<Config> load_config(const std::string& path) {
    const auto text = read_file(path);
    if (!text)
        return std::unexpected(text.error());
    return parse_config(*text, path);
}

} // namespace riposte
