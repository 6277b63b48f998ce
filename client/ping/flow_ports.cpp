#include "client/ping/flow_ports.h"

#include "client/net/local_port.h"
#include "client/net/path_shape.h"

#include <cerrno>

#include <fmt/format.h>
#include <sys/socket.h>

namespace riposte::client {

namespace {

/// Does a socket of another program have the port? Nothing is sent. Over TCP, connections to other
/// peers do not count, since both ends of a connection tell it from others.
bool is_taken(const Target& target, int family) {
    const bool is_stream = target.transport == Transport::tcp;
    const Fd fd(::socket(family, (is_stream ? SOCK_STREAM : SOCK_DGRAM) | SOCK_CLOEXEC, 0));
    if (!fd)
        return false;
    const auto refused = shape_path(fd.get(), family, is_stream, target.path, target.sources);
    return refused && refused->error == EADDRINUSE;
}

} // namespace

Target from_port(const Target& target, int family, uint16_t port) {
    Target bound = target;
    if (bound.sources.empty())
        bound.sources.push_back(any_address(family));
    for (SocketAddress& source : bound.sources)
        source = with_port(source, port);
    bound.path.source_port = port;
    return bound;
}

Result<std::vector<uint16_t>> choose_flow_ports(
    const Target& target, int family, uint32_t flows,
    const std::function<void(const std::string&)>& report) {
    uint32_t port = target.path.source_port != 0 ? target.path.source_port : flow_port_first;
    std::vector<uint16_t> ports;
    ports.reserve(flows);
    for (; ports.size() < flows; port++) {
        if (port > UINT16_MAX)
            return fail(
                Exit::usage,
                fmt::format(
                    "--flows {}: no local ports are left up to {}; begin lower with --source "
                    "ADDR:PORT",
                    flows, UINT16_MAX));
        if (is_taken(from_port(target, family, static_cast<uint16_t>(port)), family))
            report(fmt::format("--flows: port {} is in use and left out", port));
        else
            ports.push_back(static_cast<uint16_t>(port));
    }
    return ports;
}

} // namespace riposte::client
