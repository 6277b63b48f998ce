// Which endpoints ping has: its operands, and the lines of --targets.
//
// A line of the file is an ENDPOINT as on the command line, or empty; what follows a # is a
// comment. It is read once, before anything is sent; its size and the number of its endpoints are
// bounded.
#include "client/options/options_values.h"
#include "client/options/raw_options.h"
#include "common/fd.h"
#include "common/text.h"

#include <cerrno>
#include <cstddef>
#include <iterator>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

namespace riposte::client {

namespace {

constexpr size_t file_bytes_max = size_t{32} << 20;
constexpr std::string_view blanks = " \t\r";

/// How messages call it.
std::string file_name(const std::string& path) {
    return path == "-" ? "standard input" : fmt::format("'{}'", escape(path));
}

std::unexpected<Error> unreadable(const std::string& path, std::string_view why) {
    return usage(fmt::format("--targets: cannot read {}: {}", file_name(path), why));
}

Result<std::string> read_whole(const std::string& path) {
    Fd file;
    if (path != "-") {
        file = Fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
        if (!file)
            return unreadable(path, reason(errno));
    }
    const int fd = path == "-" ? STDIN_FILENO : file.get();
    std::string text;
    std::string piece(65536, '\0');
    for (;;) {
        const ssize_t size = ::read(fd, piece.data(), piece.size());
        if (size < 0 && errno == EINTR)
            continue;
        if (size < 0)
            return unreadable(path, reason(errno));
        if (size == 0)
            return text;
        text.append(piece, 0, static_cast<size_t>(size));
        if (text.size() > file_bytes_max)
            return unreadable(
                path, fmt::format("it has more than {} bytes", grouped(file_bytes_max)));
    }
}

/// Without its comment and the blanks around it.
std::string_view content_of(std::string_view line) {
    line = line.substr(0, line.find('#'));
    const size_t begin = line.find_first_not_of(blanks);
    if (begin == std::string_view::npos)
        return "";
    return line.substr(begin, line.find_last_not_of(blanks) - begin + 1);
}

std::unexpected<Error> too_many(size_t count) {
    return usage(fmt::format(
        "{} endpoints, and at most {} are possible at once", grouped(count),
        grouped(ping_endpoints_max)));
}

Result<void> read_lines(const std::string& path, bool udp, std::vector<Endpoint>& all) {
    if (path.empty())
        return usage("--targets: the file's name is empty");
    const auto text = read_whole(path);
    if (!text)
        return std::unexpected(text.error());
    size_t number = 0;
    std::string_view rest = *text;
    while (!rest.empty()) {
        const size_t size = rest.find('\n');
        const std::string_view line = content_of(rest.substr(0, size));
        rest.remove_prefix(size == std::string_view::npos ? rest.size() : size + 1);
        number++;
        if (line.empty())
            continue;
        auto read = read_endpoints(std::string(line), udp, ping_endpoints_max);
        if (!read)
            return usage(fmt::format(
                "--targets: {}, line {}: {}", file_name(path), number, read.error().message));
        all.insert(
            all.end(), std::make_move_iterator(read->begin()),
            std::make_move_iterator(read->end()));
        if (all.size() > ping_endpoints_max)
            return usage(fmt::format(
                "--targets: {}, line {}: {} endpoints up to here, and at most {} are possible at "
                "once",
                file_name(path), number, grouped(all.size()), grouped(ping_endpoints_max)));
    }
    return {};
}

} // namespace

Result<std::vector<Endpoint>> read_targets(const RawPing& words) {
    std::vector<Endpoint> all;
    std::string before;
    for (const std::string& text : words.endpoints) {
        auto read = read_endpoints(text, words.common.udp, ping_endpoints_max);
        if (const std::string meant = read || before.empty() ? "" : with_port(before, text);
            !meant.empty())
            return usage(
                fmt::format("'{0}' is not an endpoint; for port {0} write {1}", text, meant));
        if (!read)
            return std::unexpected(read.error());
        before = text;
        all.insert(
            all.end(), std::make_move_iterator(read->begin()),
            std::make_move_iterator(read->end()));
        if (all.size() > ping_endpoints_max)
            return too_many(all.size());
    }
    if (words.targets)
        if (auto read = read_lines(*words.targets, words.common.udp, all); !read)
            return std::unexpected(read.error());
    if (!all.empty())
        return all;
    if (words.targets)
        return usage(fmt::format(
            "--targets: {} names no ENDPOINT; write one a line", file_name(*words.targets)));
    return no_endpoint("ping");
}

} // namespace riposte::client
