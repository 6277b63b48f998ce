// A service manager's environment variables: LISTEN_PID, LISTEN_FDS, LISTEN_FDNAMES, FDSTORE, and
// the names of descriptors. For any values, the count is one that was announced for this process,
// and an error names its variable. Each name is that of a service, of a stored connection, or
// refused in one line.
//
// The input is lines: flags, then one each for LISTEN_PID, LISTEN_FDS, FDSTORE; the rest are the
// names. No descriptor is opened or touched: sd_listen_fds(3) itself is libsystemd's.
#include "daemon/listen/listen_socket.h"
#include "daemon/platform/systemd.h"
#include "daemon/supervisor/fd_store.h"
#include "tests/fuzz/fuzz.h"

#include <optional>
#include <vector>

using namespace riposte;
using fuzz::require;

namespace {

constexpr unsigned own_pid = 4711;
constexpr unsigned count_max = 65536;

/// As getenv(3) would give it, or nothing.
std::optional<std::string> variable(std::string_view text, bool is_set) {
    if (!is_set)
        return std::nullopt;
    return std::string(text.substr(0, text.find('\0')));
}

std::string_view take_line(std::string_view& text) {
    const size_t end = std::min(text.find('\n'), text.size());
    const std::string_view line = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    return line;
}

bool is_number(std::string_view text) {
    return !text.empty() && text.find_first_not_of("0123456789") == std::string_view::npos;
}

/// The number, if it is one of up to `max`.
std::optional<unsigned> number_of(std::string_view text, unsigned max) {
    if (!is_number(text))
        return std::nullopt;
    uint64_t number = 0;
    for (const char digit : text)
        number = std::min<uint64_t>(number * 10 + static_cast<uint64_t>(digit - '0'), 1ULL << 40);
    return number <= max ? std::optional(static_cast<unsigned>(number)) : std::nullopt;
}

void require_refusal(const Error& error, std::string_view what) {
    require(error.exit == Exit::config, "the exit code is that of the configuration", what);
    fuzz::require_one_line(error.message);
}

void count(const systemd::ListenVariables& variables) {
    const auto counted = systemd::count_passed(variables, own_pid);
    if (!counted) {
        require_refusal(counted.error(), "");
        require(
            counted.error().message.starts_with("LISTEN_"), "names the variable",
            counted.error().message);
        require(variables.pid && variables.fds, "a variable that is not set cannot be wrong");
        return;
    }
    const bool ours =
        variables.pid && variables.fds && number_of(*variables.pid, UINT32_MAX) == own_pid;
    if (!ours) {
        require(*counted == 0, "nothing is for us");
        return;
    }
    require(number_of(*variables.fds, count_max) == *counted, "as many as were announced");
    if (variables.names && *counted > 0) {
        const auto colons = std::ranges::count(*variables.names, ':');
        require(static_cast<size_t>(colons) + 1 == *counted, "a name for each");
    }
}

/// A name of a listener.
void name_service(std::string_view name) {
    constexpr int fd = 3;
    const auto kind = inherited_service(fd, name);
    if (!kind) {
        require_refusal(kind.error(), name);
        require(
            kind.error().message.starts_with("inherited socket 3"), "names the descriptor",
            kind.error().message);
        return;
    }
    const std::string_view service = to_string(*kind);
    const std::string unit = "riposted-" + std::string(service) + ".socket";
    const bool is_unnamed =
        name.empty() || name == "unknown" || name == "riposted" || name == "riposted.socket";
    require(
        name == service || name == unit || (is_unnamed && *kind == ServiceKind::hello),
        "a name that is one of ours", name);
}

/// The stored descriptors. None of them is a socket: nothing is adopted.
void name_stored(const std::vector<std::string>& names) {
    static constexpr std::string_view prefix = "connection-";
    std::vector<systemd::InheritedSocket> inherited;
    inherited.reserve(names.size());
    for (const std::string& name : names)
        inherited.push_back({Fd(), name});
    const Inheritance taken = take_connections(inherited);
    require(taken.connections.empty() && taken.ended == 0, "none is a connection");
    const auto is_stored = [](std::string_view name) { return name.starts_with(prefix); };
    const auto stored = std::ranges::count_if(names, is_stored);
    require(
        inherited.size() + static_cast<size_t>(stored) == names.size(),
        "the rest stays, in its order");
    for (const auto& each : inherited)
        require(!is_stored(each.name), "a stored connection is not a listener", each.name);
    for (const Reason& problem : taken.problems)
        fuzz::require_one_line(problem.text);
    require(taken.problems.empty() == (stored == 0), "what was closed is said");
    for (const std::string& name : taken.names)
        require(std::ranges::count(taken.names, name) == 1 && is_stored(name), "each once", name);
}

} // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) { // NOLINT(*-naming)
    constexpr size_t names_max = 100;
    fuzz::Input input(data, size);
    const uint8_t flags = input.byte();
    const std::string text = input.rest();
    std::string_view rest = text;
    const auto pid = variable(take_line(rest), (flags & 1) == 0);
    const auto fds = variable(take_line(rest), (flags & 2) == 0);
    const auto store = variable(take_line(rest), true);
    const auto names = variable(rest, (flags & 4) == 0);
    count({.pid = pid, .fds = fds, .names = names});

    const uint32_t capacity = systemd::parse_store_capacity(*store);
    require(
        capacity <= systemd::store_capacity_max && (capacity == 0 || is_number(*store)),
        "a capacity is a number, and bounded", *store);

    std::vector<std::string> each;
    if (names) {
        for (size_t begin = 0; begin <= names->size() && each.size() < names_max;) {
            const size_t end = std::min(names->find(':', begin), names->size());
            each.push_back(names->substr(begin, end - begin));
            name_service(each.back());
            begin = end + 1;
        }
    }
    name_stored(each);
    return 0;
}
