#include "common/http/socket.h"

#include "common/address.h"
#include "common/http/address.h"
#include "common/text.h"

#include <cerrno>
#include <expected>
#include <optional>
#include <string_view>

#include <fcntl.h>
#include <fmt/format.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

namespace riposte {
namespace {

sockaddr_un unix_address(std::string_view path) {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    path.copy(address.sun_path, unix_path_bytes_max);
    return address;
}

Error bind_unix_error(int error) {
    switch (error) {
    case EACCES:
    case EPERM:
    case EROFS:
        return {
            Exit::permission,
            fmt::format(
                "{}; let the user of this process write to its directory", errno_text(error))};
    case ENOENT:
    case ENOTDIR:
        return {
            Exit::config, fmt::format(
                              "{}; create its directory (a unit does so by RuntimeDirectory=)",
                              errno_text(error))};
    default:
        return {Exit::os, errno_text(error)};
    }
}

/// Removes a stale socket at `path`. Empty if the path is free, else why the file stays.
std::optional<Error> clear_away(const std::string& path) {
    struct stat status{};
    if (::lstat(path.c_str(), &status) != 0)
        return errno == ENOENT || errno == ENOTDIR // bind(2) reports it
                   ? std::nullopt
                   : std::optional(bind_unix_error(errno));
    if (!S_ISSOCK(status.st_mode))
        return Error{Exit::config, "a file is in the way; remove it, or name another path"};
    const Fd probe(::socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
    const sockaddr_un address = unix_address(path);
    if (!probe)
        return Error{Exit::os, errno_text(errno)};
    if (::connect(probe.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0 ||
        errno != ECONNREFUSED)
        return Error{
            Exit::os, "another process answers there (ss -lxp shows it); stop it, or name "
                      "another path"};
    if (status.st_uid != ::geteuid())
        return Error{
            Exit::permission, fmt::format(
                                  "an old socket of the user {} is in the way; remove it, or name "
                                  "another path",
                                  status.st_uid)};
    if (::unlink(path.c_str()) != 0 && errno != ENOENT)
        return Error{Exit::os, fmt::format("cannot remove an old socket: {}", errno_text(errno))};
    return std::nullopt;
}

/// The error is an errno. `*` takes IPv4 as well.
std::expected<Fd, int> bind_tcp(const SocketAddress& address, bool wildcard) {
    Fd fd(::socket(address.family(), SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
    const int on = 1;
    const int only = wildcard ? 0 : 1;
    if (!fd || ::setsockopt(fd.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) != 0)
        return std::unexpected(errno);
    if (address.family() == AF_INET6 &&
        ::setsockopt(fd.get(), IPPROTO_IPV6, IPV6_V6ONLY, &only, sizeof only) != 0)
        return std::unexpected(errno);
    if (::bind(fd.get(), address.get(), address.size) != 0 || ::listen(fd.get(), http_backlog) != 0)
        return std::unexpected(errno);
    return fd;
}

Error tcp_error(int error, const SocketAddress& address) {
    const std::string where = fmt::format("tcp://{}", to_string(address));
    switch (error) {
    case EADDRINUSE:
        return {
            Exit::os, fmt::format(
                          "{}: another process listens there (ss -ltnp shows it); stop it, or name "
                          "another port",
                          where)};
    case EADDRNOTAVAIL:
        return {
            Exit::config,
            fmt::format("{}: no address of this machine (ip addr shows them)", where)};
    case EACCES:
        return {
            Exit::permission, fmt::format("{}: not permitted; name a port from 1024 on", where)};
    default:
        return {Exit::os, fmt::format("{}: {}", where, errno_text(error))};
    }
}

SocketAddress every_ipv4(uint16_t port) {
    SocketAddress address;
    auto& ipv4 = reinterpret_cast<sockaddr_in&>(address.storage);
    ipv4.sin_family = AF_INET;
    ipv4.sin_port = htons(port);
    address.size = sizeof ipv4;
    return address;
}

} // namespace

SocketFile::SocketFile(std::string path) : path_(std::move(path)) {
    struct stat status{};
    if (::lstat(path_.c_str(), &status) != 0) {
        path_.clear();
        return;
    }
    device_ = status.st_dev;
    inode_ = status.st_ino;
}

SocketFile::~SocketFile() {
    struct stat status{};
    if (!path_.empty() && ::lstat(path_.c_str(), &status) == 0 && status.st_dev == device_ &&
        status.st_ino == inode_)
        ::unlinkat(AT_FDCWD, path_.c_str(), 0); // the call that the sandbox permits (sandbox.cpp)
}

Result<HttpSocket> listen_on_unix(const std::string& path) {
    if (auto problem = clear_away(path))
        return std::unexpected(*std::move(problem));
    Fd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
    if (!fd)
        return std::unexpected(bind_unix_error(errno));
    const sockaddr_un address = unix_address(path);
    const mode_t mask = ::umask(0111); // the file is created with mode 0666
    const int bound = ::bind(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address);
    const int error = errno;
    ::umask(mask);
    if (bound != 0)
        return std::unexpected(bind_unix_error(error));
    SocketFile file(path);
    if (::listen(fd.get(), http_backlog) != 0)
        return std::unexpected(bind_unix_error(errno));
    return HttpSocket{
        .fd = std::move(fd),
        .address = fmt::format("unix:{}", escape(path)),
        .file = std::move(file)};
}

Result<std::vector<HttpSocket>> listen_on_tcp(const Endpoint& endpoint) {
    auto addresses = resolve(endpoint, Transport::tcp, Family::any, true);
    if (!addresses)
        return fail(Exit::config, addresses.error());
    const bool wildcard = endpoint.host == "*";
    std::vector<HttpSocket> sockets;
    for (SocketAddress address : *addresses) {
        auto fd = bind_tcp(address, wildcard);
        if (!fd && fd.error() == EAFNOSUPPORT && wildcard) {
            address = every_ipv4(endpoint.port);
            fd = bind_tcp(address, true);
        }
        if (!fd)
            return std::unexpected(tcp_error(fd.error(), address));
        const std::string bound = fmt::format("tcp://{}", to_string(local_address(fd->get())));
        sockets.push_back({.fd = *std::move(fd), .address = bound});
    }
    return sockets;
}

} // namespace riposte
