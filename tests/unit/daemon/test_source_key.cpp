#include "daemon/acl/source_key.h"

#include <cstring>

#include <arpa/inet.h>
#include <doctest/doctest.h>
#include <netinet/in.h>

using namespace riposte;

namespace {

SocketAddress ipv4(const char* text, uint16_t port = 1) {
    sockaddr_in v4{};
    v4.sin_family = AF_INET;
    v4.sin_port = htons(port);
    REQUIRE(inet_pton(AF_INET, text, &v4.sin_addr) == 1);
    SocketAddress address;
    std::memcpy(&address.storage, &v4, sizeof v4);
    address.size = sizeof v4;
    return address;
}

SocketAddress ipv6(const char* text, uint16_t port = 1) {
    sockaddr_in6 v6{};
    v6.sin6_family = AF_INET6;
    v6.sin6_port = htons(port);
    REQUIRE(inet_pton(AF_INET6, text, &v6.sin6_addr) == 1);
    SocketAddress address;
    std::memcpy(&address.storage, &v6, sizeof v6);
    address.size = sizeof v6;
    return address;
}

} // namespace

TEST_CASE("an IPv4 address and its v4-mapped form are one source, whatever the port") {
    CHECK(source_key(ipv4("192.0.2.7", 1)) == source_key(ipv6("::ffff:192.0.2.7", 2)));
    CHECK(source_key(ipv4("192.0.2.7")) != source_key(ipv4("192.0.2.8")));
    CHECK(source_key(ipv6("2001:db8::1")) != source_key(ipv6("2001:db8::2")));
}

TEST_CASE("a source's address can be printed from its key") {
    CHECK(to_string(source_address(source_key(ipv4("192.0.2.7")), 80)) == "192.0.2.7:80");
    CHECK(to_string(source_address(source_key(ipv6("2001:db8::1")), 80)) == "[2001:db8::1]:80");
}

TEST_CASE("an address that is not IP has the key of no source") {
    SocketAddress local;
    local.storage.ss_family = AF_UNIX;
    CHECK(source_key(local) == SourceKey{});
}

TEST_CASE("the family shows in the key") {
    CHECK(is_ipv4(source_key(ipv4("0.0.0.0"))));
    CHECK(is_ipv4(source_key(ipv6("::ffff:192.0.2.7"))));
    CHECK_FALSE(is_ipv4(source_key(ipv6("::192.0.2.7"))));
    CHECK_FALSE(is_ipv4(source_key(ipv6("::1"))));
}

TEST_CASE("the first bits of a key are kept and the others are zero") {
    SourceKey all;
    all.fill(0xff);
    for (unsigned bits = 0; bits <= 128; ++bits) {
        const SourceKey prefix = first_bits(all, static_cast<uint8_t>(bits));
        for (unsigned bit = 0; bit < 128; ++bit) {
            const unsigned found = prefix[bit / 8] >> (7 - bit % 8) & 1U;
            CHECK_MESSAGE(found == (bit < bits ? 1U : 0U), bits, " bits, bit ", bit);
        }
    }
}
