#include "daemon/acl/cidr.h"

#include <algorithm>
#include <array>
#include <random>
#include <string>
#include <tuple>
#include <vector>

#include <doctest/doctest.h>

using namespace riposte;

namespace {

Cidr cidr(std::string_view text) {
    const auto parsed = parse_cidr(text);
    REQUIRE_MESSAGE(parsed.has_value(), text);
    return *parsed;
}

SourceKey key_of(std::string_view address) {
    return cidr(address).network;
}

bool holds(std::string_view prefix, std::string_view address) {
    return contains(cidr(prefix), key_of(address));
}

CidrSet set(const std::vector<std::string_view>& prefixes) {
    std::vector<Cidr> all;
    all.reserve(prefixes.size());
    for (const std::string_view prefix : prefixes)
        all.push_back(cidr(prefix));
    return CidrSet(all);
}

} // namespace

TEST_CASE("a prefix is printed as it is written") {
    for (const std::string_view text :
         {"0.0.0.0/0", "192.0.2.0/24", "192.0.2.7", "255.255.255.255", "10.0.0.0/8", "::/0",
          "::", "::1", "2001:db8::/32", "2001:db8::1", "fe80::/10", "8000::/1"})
        CHECK(to_string(cidr(text)) == text);
}

TEST_CASE("several spellings are one prefix") {
    CHECK(cidr("192.0.2.7/32") == cidr("192.0.2.7"));
    CHECK(cidr("2001:DB8:0::1/128") == cidr("2001:db8::1"));
    CHECK(cidr("::ffff:192.0.2.0/120") == cidr("192.0.2.0/24"));
    CHECK(to_string(cidr("::ffff:0:0/96")) == "0.0.0.0/0");
}

TEST_CASE("text that is not a prefix is refused, with the position of the fault and the remedy") {
    const std::array<std::tuple<std::string_view, size_t, std::string_view>, 18> wrong{{
        {"", 0, "'' is not an address prefix; write one like 192.0.2.0/24 or 2001:db8::/32"},
        {"/8", 0, "'/8' is not an address prefix"},
        {"localhost", 0, "'localhost' is not an address prefix"},
        {"192.0.2", 0, "'192.0.2' is not an address prefix"},
        {"0x7f000001", 0, "'0x7f000001' is not an address prefix"},
        {"127.0x1/8", 0, "'127.0x1/8' is not an address prefix"},
        {"0177.0.0.1", 0, "'0177.0.0.1' is not an address prefix"},
        {"localhost.", 0, "'localhost.' is not an address prefix"},
        {"192.0.2.0/33", 9, "'192.0.2.0/33': the length must be from /0 to /32"},
        {"192.0.2.0/", 9, "the length must be from /0 to /32"},
        {"192.0.2.0/-1", 9, "the length must be from /0 to /32"},
        {"192.0.2.0/24 ", 9, "the length must be from /0 to /32"},
        {"192.0.2.0/4294967300", 9, "the length must be from /0 to /32"},
        {"2001:db8::/129", 10, "the length must be from /0 to /128"},
        {"192.0.2.1/24", 9,
         "'192.0.2.1/24' has bits set beyond its length; did you mean "
         "'192.0.2.0/24'?"},
        {"2001:db8::1/64", 11, "did you mean '2001:db8::/64'?"},
        {"fe80::1%eth0", 7, "'fe80::1%eth0' has a zone; a prefix cannot have one: remove it"},
        {"[::1]", 0, "'[::1]' is not an address prefix"},
    }};
    for (const auto& [text, offset, message] : wrong) {
        const auto parsed = parse_cidr(text);
        REQUIRE_MESSAGE(!parsed.has_value(), text);
        CHECK(parsed.error().offset == offset);
        CHECK_MESSAGE(
            parsed.error().message.find(message) != std::string::npos, parsed.error().message);
    }
    CHECK_FALSE(parse_cidr(std::string_view("192.0.2.0\0", 10)).has_value());
}

TEST_CASE("a prefix holds its addresses, the first and the last, and not their neighbours") {
    CHECK(holds("192.0.2.0/24", "192.0.2.0"));
    CHECK(holds("192.0.2.0/24", "192.0.2.255"));
    CHECK_FALSE(holds("192.0.2.0/24", "192.0.1.255"));
    CHECK_FALSE(holds("192.0.2.0/24", "192.0.3.0"));
    CHECK(holds("2001:db8::/33", "2001:db8:7fff:ffff::"));
    CHECK_FALSE(holds("2001:db8::/33", "2001:db8:8000::"));
    CHECK(holds("192.0.2.0/24", "::ffff:192.0.2.9"));
}

TEST_CASE("an IPv6 prefix holds no IPv4 address, nor vice versa") {
    CHECK_FALSE(holds("::/0", "192.0.2.1"));
    CHECK(holds("::/0", "2001:db8::1"));
    CHECK_FALSE(holds("0.0.0.0/0", "2001:db8::1"));
    CHECK_FALSE(holds("0.0.0.0/0", "::1"));
    CHECK(set({"::/0"}).longest_match(key_of("192.0.2.1")) == CidrSet::none);
    CHECK(set({"0.0.0.0/0", "::/0"}).longest_match(key_of("192.0.2.1")) == 96);
}

TEST_CASE("the longest match is found") {
    CHECK(CidrSet().empty());
    CHECK(CidrSet().longest_match(key_of("192.0.2.1")) == CidrSet::none);
    const CidrSet some = set({"192.0.2.0/24", "192.0.2.1", "192.0.0.0/16", "2001:db8::/32"});
    CHECK_FALSE(some.empty());
    CHECK(some.longest_match(key_of("192.0.2.1")) == 128);
    CHECK(some.longest_match(key_of("192.0.2.2")) == 96 + 24);
    CHECK(some.longest_match(key_of("192.0.3.2")) == 96 + 16);
    CHECK(some.longest_match(key_of("192.1.3.2")) == CidrSet::none);
    CHECK(some.longest_match(key_of("2001:db8::9")) == 32);
}

TEST_CASE("a set gives the same result as its prefixes one by one") {
    std::mt19937 random(6);
    for (int round = 0; round < 200; ++round) {
        std::vector<Cidr> prefixes;
        auto address = [&] {
            // Few values in the last bytes, so that prefixes nest.
            SourceKey made = key_of(random() % 2 == 0 ? "192.0.2.0" : "2001:db8::");
            for (size_t byte = 13; byte < made.size(); ++byte)
                made[byte] = static_cast<uint8_t>(random() % 4 * 64);
            return made;
        };
        for (size_t i = random() % 20; i-- > 0;) {
            const SourceKey made = address();
            const unsigned least = is_ipv4(made) ? ipv4_offset_bits : 0U;
            const auto bits = static_cast<uint8_t>(least + random() % (129 - least));
            prefixes.push_back({first_bits(made, bits), bits});
        }
        const CidrSet all(prefixes);
        for (int i = 0; i < 20; ++i) {
            const SourceKey asked = address();
            int longest = CidrSet::none;
            for (const Cidr& each : prefixes)
                if (contains(each, asked))
                    longest = std::max<int>(longest, each.bits);
            CHECK(all.longest_match(asked) == longest);
        }
    }
}
