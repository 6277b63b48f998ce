#include "daemon/acl/source_key.h"

#include <algorithm>
#include <cassert>
#include <cstring>

#include <arpa/inet.h>

namespace riposte {
namespace {

constexpr std::array<uint8_t, 12> mapped{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
static_assert(mapped.size() * 8 == ipv4_offset_bits);

} // namespace

SourceKey source_key(const SocketAddress& address) {
    if (address.family() == AF_INET) {
        sockaddr_in v4{};
        std::memcpy(&v4, &address.storage, sizeof v4);
        return ipv4_key(v4.sin_addr);
    }
    if (address.family() == AF_INET6) {
        sockaddr_in6 v6{};
        std::memcpy(&v6, &address.storage, sizeof v6);
        return ipv6_key(v6.sin6_addr);
    }
    return {};
}

SourceKey ipv4_key(const in_addr& address) noexcept {
    SourceKey key{};
    std::ranges::copy(mapped, key.begin());
    std::memcpy(&key[mapped.size()], &address, sizeof address);
    return key;
}

SourceKey ipv6_key(const in6_addr& address) noexcept {
    SourceKey key{};
    std::memcpy(key.data(), &address, key.size());
    return key;
}

SocketAddress source_address(const SourceKey& key, uint16_t port) {
    sockaddr_in6 v6{};
    v6.sin6_family = AF_INET6;
    v6.sin6_port = htons(port);
    std::memcpy(&v6.sin6_addr, key.data(), key.size());
    SocketAddress address;
    std::memcpy(&address.storage, &v6, sizeof v6);
    address.size = sizeof v6;
    return address;
}

bool is_ipv4(const SourceKey& key) noexcept {
    return std::equal(mapped.begin(), mapped.end(), key.begin());
}

SourceKey first_bits(const SourceKey& key, uint8_t bits) noexcept {
    assert(bits <= key.size() * 8);
    SourceKey prefix{};
    const size_t whole = bits / 8;
    std::copy_n(key.begin(), whole, prefix.begin());
    if (bits % 8 != 0)
        prefix[whole] = static_cast<uint8_t>(key[whole] & (0xff00U >> (bits % 8)));
    return prefix;
}

} // namespace riposte
