// Shared by the tests of listeners: configurations from a line of text, and sockets that occupy
// their ports.
#pragma once

#include "common/address.h"
#include "daemon/listen/listeners.h"
#include "tests/support/has_ipv6.h"

#include <filesystem>
#include <initializer_list>
#include <iterator>
#include <optional>
#include <string>
#include <vector>

#include <fmt/format.h>
#include <sys/socket.h>

namespace riposte::test {

inline ListenerConfig listen_on(
    ServiceKind service, std::initializer_list<std::string> addresses, std::string message = {}) {
    ListenerConfig listen;
    listen.service = service;
    listen.origin = "riposted.toml:12:1";
    if (!message.empty())
        listen.options.message = std::move(message);
    for (const std::string& address : addresses)
        listen.addresses.push_back(
            parse_endpoint(address, {.wildcard = true, .default_port = {}}).value());
    return listen;
}

using Sections = std::vector<ListenerConfig>;

inline Sections hello_on(std::initializer_list<std::string> addresses) {
    return {listen_on(ServiceKind::hello, addresses)};
}

/// "exit 71: message", or the labels.
inline std::string outcome(const Result<Listeners>& listeners) {
    if (!listeners)
        return fmt::format(
            "exit {}: {}", static_cast<int>(listeners.error().exit), listeners.error().message);
    std::string labels;
    for (const std::string& label : listeners->labels())
        labels += label + "\n";
    return labels;
}

inline std::string outcome(const Result<void>& applied) {
    if (applied)
        return "applied";
    return fmt::format(
        "exit {}: {}", static_cast<int>(applied.error().exit), applied.error().message);
}

inline std::string open_outcome(const Sections& sections, uint32_t workers = 1) {
    return outcome(Listeners::open(sections, {}, workers));
}

inline int option(int fd, int level, int name) {
    int value = -1;
    socklen_t size = sizeof value;
    ::getsockopt(fd, level, name, &value, &size);
    return value;
}

inline uint16_t port_of(int fd) {
    return local_address(fd).port();
}

/// Another process's socket on `host`, and the port that it got. `before_bind` is a socket-level
/// option to set.
inline Fd foreign_socket(const std::string& host, Transport transport, int before_bind = 0) {
    const auto address = resolve({transport, host, 0}, transport, Family::any, true);
    if (!address)
        return Fd();
    Fd fd(::socket(
        address->front().family(),
        (transport == Transport::tcp ? SOCK_STREAM : SOCK_DGRAM) | SOCK_CLOEXEC, 0));
    if (!fd)
        return Fd();
    const int on = 1;
    if (before_bind != 0)
        ::setsockopt(fd.get(), SOL_SOCKET, before_bind, &on, sizeof on);
    if (::bind(fd.get(), address->front().get(), address->front().size) != 0)
        return Fd();
    if (transport == Transport::tcp && ::listen(fd.get(), 1) != 0)
        return Fd();
    return fd;
}

/// errno of a connection attempt, 0 if it succeeded.
inline int connect_error(const std::string& host, uint16_t port) {
    const auto address = resolve({Transport::tcp, host, port}, Transport::tcp, Family::any, false);
    if (!address)
        return -1;
    const Fd fd(::socket(address->front().family(), SOCK_STREAM | SOCK_CLOEXEC, 0));
    return ::connect(fd.get(), address->front().get(), address->front().size) == 0 ? 0 : errno;
}

inline size_t open_descriptors() {
    const std::filesystem::directory_iterator directory("/proc/self/fd");
    return static_cast<size_t>(std::distance(begin(directory), end(directory)));
}

} // namespace riposte::test
