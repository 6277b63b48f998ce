#include "daemon/acl/acl.h"

#include <cstring>
#include <initializer_list>
#include <random>
#include <string_view>

#include <arpa/inet.h>
#include <doctest/doctest.h>
#include <netinet/in.h>

using namespace riposte;

namespace {

std::vector<Cidr> prefixes(std::initializer_list<std::string_view> texts) {
    std::vector<Cidr> prefixes;
    for (const std::string_view text : texts)
        prefixes.push_back(parse_cidr(text).value());
    return prefixes;
}

/// The key of a peer: an address without a prefix length.
SourceKey key(std::string_view text) {
    return parse_cidr(text).value().network;
}

Acl lists(
    std::initializer_list<std::string_view> allow, std::initializer_list<std::string_view> deny) {
    return Acl({prefixes(allow), prefixes(deny)});
}

} // namespace

TEST_CASE("without lists there is no check") {
    CHECK(make_acl({}) == nullptr);
    CHECK(make_acl({prefixes({"::1"}), {}}) != nullptr);
    CHECK(make_acl({{}, prefixes({"::1"})}) != nullptr);
}

TEST_CASE("without an allow list every peer that is not denied is allowed") {
    const Acl some = lists({}, {"192.0.2.0/24", "2001:db8::/32"});
    CHECK_FALSE(some.permits(key("192.0.2.0")));
    CHECK_FALSE(some.permits(key("192.0.2.255")));
    CHECK(some.permits(key("192.0.1.255")));
    CHECK(some.permits(key("192.0.3.0")));
    CHECK_FALSE(some.permits(key("2001:db8:ffff::1")));
    CHECK(some.permits(key("2001:db9::1")));
}

TEST_CASE("with an allow list only the peers in it are allowed") {
    const Acl some = lists({"192.0.2.0/24"}, {});
    CHECK(some.permits(key("192.0.2.7")));
    CHECK_FALSE(some.permits(key("192.0.3.7")));
    CHECK_FALSE(some.permits(key("::1")));
}

TEST_CASE("the longest prefix decides, and of equal ones deny") {
    const Acl nested = lists(
        {"10.0.0.0/8", "10.1.2.0/24", "10.9.0.0/16"}, {"10.1.0.0/16", "10.1.2.3", "10.9.0.0/16"});
    CHECK(nested.permits(key("10.2.0.1")));        // only /8
    CHECK_FALSE(nested.permits(key("10.1.1.1")));  // /16 denies
    CHECK(nested.permits(key("10.1.2.1")));        // /24 allows again
    CHECK_FALSE(nested.permits(key("10.1.2.3")));  // except this one
    CHECK_FALSE(nested.permits(key("10.9.0.1")));  // both say /16
    CHECK_FALSE(nested.permits(key("192.0.2.1"))); // in neither
}

TEST_CASE("all of one family can be denied without denying the other") {
    const Acl no_ipv4 = lists({}, {"0.0.0.0/0"});
    CHECK_FALSE(no_ipv4.permits(key("192.0.2.1")));
    CHECK_FALSE(no_ipv4.permits(key("::ffff:192.0.2.1")));
    CHECK(no_ipv4.permits(key("2001:db8::1")));
    const Acl only_ipv6 = lists({"::/0"}, {});
    CHECK(only_ipv6.permits(key("2001:db8::1")));
    CHECK_FALSE(only_ipv6.permits(key("192.0.2.1")));
}

TEST_CASE("IPv4 is the same in both notations, and on both kinds of socket") {
    const Acl mapped = lists({"::ffff:192.0.2.0/120"}, {"192.0.2.66"});
    for (const char* text : {"::ffff:192.0.2.1", "::ffff:192.0.2.66"}) {
        sockaddr_in6 v6{};
        v6.sin6_family = AF_INET6;
        REQUIRE(inet_pton(AF_INET6, text, &v6.sin6_addr) == 1);
        SocketAddress on_dual_stack;
        std::memcpy(&on_dual_stack.storage, &v6, sizeof v6);
        on_dual_stack.size = sizeof v6;
        sockaddr_in v4{};
        v4.sin_family = AF_INET;
        std::memcpy(&v4.sin_addr, &v6.sin6_addr.s6_addr[12], sizeof v4.sin_addr);
        SocketAddress on_ipv4;
        std::memcpy(&on_ipv4.storage, &v4, sizeof v4);
        on_ipv4.size = sizeof v4;
        const bool let_in = std::string_view(text).ends_with(".1");
        CHECK(mapped.permits(source_key(on_dual_stack)) == let_in);
        CHECK(mapped.permits(source_key(on_ipv4)) == let_in);
    }
}

TEST_CASE("a peer with a zone is checked by its address") {
    const Acl local = lists({"fe80::/64"}, {"fe80::66"});
    for (const uint32_t zone : {0U, 1U, 7U}) {
        sockaddr_in6 v6{};
        v6.sin6_family = AF_INET6;
        v6.sin6_scope_id = zone;
        for (const auto& [text, let_in] : {std::pair("fe80::1", true), {"fe80::66", false}}) {
            REQUIRE(inet_pton(AF_INET6, text, &v6.sin6_addr) == 1);
            SocketAddress peer;
            std::memcpy(&peer.storage, &v6, sizeof v6);
            peer.size = sizeof v6;
            CHECK(local.permits(source_key(peer)) == let_in);
        }
    }
}

TEST_CASE("an unknown address is refused") {
    CHECK_FALSE(lists({}, {"192.0.2.1"}).permits(source_key(SocketAddress{})));
    CHECK_FALSE(lists({"::/0"}, {}).permits(source_key(SocketAddress{})));
}

TEST_CASE("random lists decide as a literal form of the rule does") {
    std::mt19937 random(6);
    uint32_t let_in = 0;
    for (int round = 0; round < 2000; ++round) {
        AclConfig config;
        for (auto* list : {&config.allow, &config.deny}) {
            for (auto left = random() % 6; left > 0; --left) {
                // Few different bits, so that prefixes nest and overlap.
                SourceKey address = key("10.0.0.0");
                address[13] = static_cast<uint8_t>(random() % 4);
                address[15] = static_cast<uint8_t>(random() % 4);
                const auto bits = static_cast<uint8_t>(96 + random() % 33);
                list->push_back({first_bits(address, bits), bits});
            }
        }
        SourceKey peer = key("10.0.0.0");
        peer[13] = static_cast<uint8_t>(random() % 4);
        peer[15] = static_cast<uint8_t>(random() % 4);
        const auto longest = [&](const std::vector<Cidr>& list) {
            int most = -1;
            for (const Cidr& cidr : list)
                if (contains(cidr, peer) && cidr.bits > most)
                    most = cidr.bits;
            return most;
        };
        const bool expected = config.allow.empty() ? longest(config.deny) < 0
                                                   : longest(config.allow) > longest(config.deny);
        CHECK(Acl(config).permits(peer) == expected);
        let_in += expected;
    }
    CHECK(let_in > 200);
    CHECK(let_in < 1800);
}
