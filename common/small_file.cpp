#include "common/small_file.h"

#include "common/fd.h"
#include "common/text.h"
#include "common/units.h"

#include <array>
#include <cerrno>

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>

namespace riposte {
namespace {

std::unexpected<Error> refuse_file(
    const std::string& path, std::string_view reason, std::string_view advice) {
    return fail(
        Exit::config, fmt::format("cannot read {}: {}; {}", escape(path, 4096), reason, advice));
}

std::unexpected<Error> refuse_file(const std::string& path, int error, const FileRules& rules) {
    if (error != EACCES && error != EPERM)
        return refuse_file(path, errno_text(error), rules.advice);
    return fail(
        Exit::permission, fmt::format(
                              "cannot read {}: {}; let {} read it", escape(path, 4096),
                              errno_text(error), rules.reader));
}

std::string too_large(const FileRules& rules) {
    return fmt::format("larger than {}", format_size(rules.bytes_max));
}

Result<Fd> open_file(const std::string& path, const FileRules& rules) {
    Fd file(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY));
    if (!file)
        return refuse_file(path, errno, rules);
    struct stat status{};
    if (::fstat(file.get(), &status) != 0)
        return refuse_file(path, errno, rules);
    if (S_ISDIR(status.st_mode))
        return refuse_file(path, EISDIR, rules);
    if (!S_ISREG(status.st_mode))
        return refuse_file(path, "not a regular file", rules.advice);
    if (rules.secret && (status.st_mode & S_IRWXO) != 0)
        return refuse_file(
            path, "every user may read or write it, and it is secret",
            fmt::format("chmod o= {}", escape(path, 4096)));
    if (static_cast<uint64_t>(status.st_size) > rules.bytes_max)
        return refuse_file(path, too_large(rules), rules.advice);
    return file;
}

} // namespace

Result<std::string> read_small_file(const std::string& path, const FileRules& rules) {
    const auto file = open_file(path, rules);
    if (!file)
        return std::unexpected(file.error());
    std::string text;
    std::array<char, 16384> chunk{};
    for (;;) {
        const ssize_t size = ::read(file->get(), chunk.data(), chunk.size());
        if (size < 0 && errno == EINTR)
            continue;
        if (size < 0)
            return refuse_file(path, errno, rules);
        if (size == 0)
            return text;
        text.append(chunk.data(), static_cast<size_t>(size));
        if (text.size() > rules.bytes_max)
            return refuse_file(path, too_large(rules), rules.advice);
    }
}

} // namespace riposte
