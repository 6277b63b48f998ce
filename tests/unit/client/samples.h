// Parts of results that several documents have.
#pragma once

#include "client/measure/cause.h"
#include "client/options/options.h"

#include <cerrno>
#include <cstdint>

#include <arpa/inet.h>
#include <netinet/in.h>

namespace riposte::test {

/// Every option that says where packets go.
inline client::PathOptions full_path() {
    return {
        .interface = "eth0",
        .source = "192.0.2.1",
        .source_port = 5000,
        .mark = 23,
        .dscp = 46,
        .ttl = 9,
        .df = true};
}

/// The ICMP message of the router 198.51.100.1, whose next link has this MTU.
inline client::Cause too_big_for(uint32_t mtu) {
    client::Cause cause{
        .kind = client::CauseKind::icmp, .type = 3, .code = 4, .error = EMSGSIZE, .mtu = mtu};
    auto* const from = reinterpret_cast<sockaddr_in*>(&cause.from.storage);
    from->sin_family = AF_INET;
    ::inet_pton(AF_INET, "198.51.100.1", &from->sin_addr);
    cause.from.size = sizeof(sockaddr_in);
    return cause;
}

} // namespace riposte::test
