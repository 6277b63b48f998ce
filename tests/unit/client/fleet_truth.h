// What test_fleet_model.cpp knows of the probes and datagrams of a simulated fleet.
#pragma once

#include "client/measure/outcome.h"
#include "common/address.h"

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <map>
#include <string>
#include <vector>

#include <arpa/inet.h>
#include <netinet/in.h>

namespace riposte::client::fleet_truth {

using Bytes = std::vector<std::byte>;

inline constexpr uint64_t ms = 1'000'000;
inline constexpr size_t payload_bytes = 64;
inline constexpr size_t names_max = 12;
inline constexpr size_t window = 64;

inline SocketAddress address_of(uint32_t host, uint16_t port) {
    SocketAddress address;
    sockaddr_in specific{};
    specific.sin_family = AF_INET;
    specific.sin_addr.s_addr = htonl(host);
    specific.sin_port = htons(port);
    std::memcpy(&address.storage, &specific, sizeof(specific));
    address.size = sizeof(specific);
    return address;
}

/// One probe, as it is.
struct TrueProbe {
    std::string target;
    std::string rack; ///< at its sending
    uint64_t sequence;
    uint64_t sent_ns;
    SocketAddress to;
    Bytes bytes;
    Outcome outcome = Outcome::pending;
    bool late_seen = false;
};

struct Datagram {
    size_t origin; ///< which probe; none if it is more than there are
    Bytes bytes;
    SocketAddress from;
    bool header_damaged = false;
    bool damaged = false;
};

/// What happened at all, so that "no difference" means something.
struct Seen {
    std::map<std::string, uint64_t> counts;
};

} // namespace riposte::client::fleet_truth
