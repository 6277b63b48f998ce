#include "client/net/local_port.h"

#include <cstddef>
#include <cstring>

#include <arpa/inet.h>
#include <netinet/in.h>

namespace riposte::client {

SocketAddress with_port(SocketAddress address, uint16_t port) {
    const in_port_t wire = htons(port);
    const size_t at = address.family() == AF_INET6 ? offsetof(sockaddr_in6, sin6_port)
                                                   : offsetof(sockaddr_in, sin_port);
    std::memcpy(reinterpret_cast<std::byte*>(&address.storage) + at, &wire, sizeof(wire));
    return address;
}

SocketAddress any_address(int family) {
    SocketAddress address;
    address.storage.ss_family = static_cast<sa_family_t>(family);
    address.size = family == AF_INET6 ? sizeof(sockaddr_in6) : sizeof(sockaddr_in);
    return address;
}

} // namespace riposte::client
