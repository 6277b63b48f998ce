// Which datagrams may be answered: each rule at its limits.
#include "daemon/telemetry/counters.h"
#include "daemon/udp/responder.h"
#include "daemon/udp/source_filter.h"

#include <initializer_list>
#include <string>

#include <arpa/inet.h>
#include <doctest/doctest.h>

using namespace riposte;

namespace {

DatagramInfo from_ipv4(const std::string& address, uint16_t port) {
    DatagramInfo arrival{};
    arrival.peer.v4.sin_family = AF_INET;
    arrival.peer.v4.sin_port = htons(port);
    REQUIRE(inet_pton(AF_INET, address.c_str(), &arrival.peer.v4.sin_addr) == 1);
    arrival.peer_size = sizeof arrival.peer.v4;
    return arrival;
}

/// `asked` is our address as the kernel reports it; "": none.
DatagramInfo from_ipv6(const std::string& address, uint16_t port, const std::string& asked = "") {
    DatagramInfo arrival{};
    arrival.peer.v6.sin6_family = AF_INET6;
    arrival.peer.v6.sin6_port = htons(port);
    REQUIRE(inet_pton(AF_INET6, address.c_str(), &arrival.peer.v6.sin6_addr) == 1);
    arrival.peer_size = sizeof arrival.peer.v6;
    if (!asked.empty()) {
        arrival.local_family = AF_INET6;
        REQUIRE(inet_pton(AF_INET6, asked.c_str(), &arrival.local.v6.ipi6_addr) == 1);
    }
    return arrival;
}

struct ReflectionSubject {
    std::string refuses(const DatagramInfo& arrival) {
        SourceKey source;
        const auto refusal = rules.check(arrival, false, source);
        return refusal ? std::string(row_of(counter_of(*refusal)).text) : "answered";
    }

    /// A datagram from this port of a host, over IPv4 and IPv6.
    std::string port(uint16_t port) {
        const std::string outcome = refuses(from_ipv4("192.0.2.1", port));
        CHECK(refuses(from_ipv6("2001:db8::1", port)) == outcome);
        CHECK(refuses(from_ipv6("::ffff:192.0.2.1", port, "::ffff:192.0.2.9")) == outcome);
        return outcome;
    }

    void serve(std::initializer_list<uint16_t> ports, const std::vector<Cidr>& exempt = {}) {
        auto served = std::make_shared<PortSet>();
        for (const uint16_t port : ports)
            served->set(port);
        rules = SourceFilter(served, exempt);
    }

    SourceFilter rules{};
};

const std::string is_answered = "answered";
const std::string reserved = "datagrams from reserved ports";
const std::string own = "datagrams from ports served here";
const std::string no_host = "datagrams from addresses of no host";
const std::string group = "datagrams to broadcast or multicast";
const std::string malformed = "malformed datagrams";

} // namespace

TEST_CASE_FIXTURE(ReflectionSubject, "reserved ports get no answer") {
    CHECK(port(0) == reserved);
    CHECK(port(1) == reserved);
    CHECK(port(7) == reserved);
    CHECK(port(1023) == reserved);
    CHECK(port(1024) == is_answered);
    CHECK(port(2048) == is_answered);
    CHECK(port(2049) == reserved);
    CHECK(port(2050) == is_answered);
    CHECK(port(65535) == is_answered);
}

TEST_CASE_FIXTURE(ReflectionSubject, "a port that we serve gets no answer, whatever the address") {
    serve({7, 7001, 65535});
    CHECK(port(7) == own);
    CHECK(port(7000) == is_answered);
    CHECK(port(7001) == own);
    CHECK(port(7002) == is_answered);
    CHECK(port(65535) == own);
    CHECK(refuses(from_ipv4("127.0.0.1", 7001)) == own);
    CHECK(refuses(from_ipv6("::1", 7001)) == own);
}

TEST_CASE_FIXTURE(ReflectionSubject, "an exception is for reserved ports only") {
    serve({7, 7001}, {*parse_cidr("192.0.2.0/24"), *parse_cidr("2001:db8::/32")});
    CHECK(port(123) == is_answered);
    CHECK(port(1023) == is_answered);
    CHECK(port(2049) == is_answered);
    CHECK(port(0) == reserved);
    CHECK(port(7) == own);
    CHECK(port(7001) == own);
    CHECK(refuses(from_ipv4("192.0.3.0", 123)) == reserved);
    CHECK(refuses(from_ipv6("2001:db9::", 123)) == reserved);
}

TEST_CASE_FIXTURE(ReflectionSubject, "an address that is not a host's gets no answer") {
    for (const char* address :
         {"0.0.0.0", "0.255.255.255", "224.0.0.0", "224.0.0.1", "239.255.255.255", "255.0.0.0",
          "255.255.255.255"}) {
        CAPTURE(address);
        CHECK(refuses(from_ipv4(address, 5000)) == no_host);
        CHECK(
            refuses(from_ipv6(std::string("::ffff:") + address, 5000, "::ffff:192.0.2.1")) ==
            no_host);
    }
    for (const char* address :
         {"1.0.0.0", "10.0.0.255", "127.0.0.1", "192.0.2.1", "223.255.255.255",
          "254.255.255.255"}) {
        CAPTURE(address);
        CHECK(refuses(from_ipv4(address, 5000)) == is_answered);
        CHECK(
            refuses(from_ipv6(std::string("::ffff:") + address, 5000, "::ffff:192.0.2.1")) ==
            is_answered);
    }
    for (const char* address :
         {"::", "::2", "::192.0.2.1", "::ffff:ffff", "ff00::", "ff02::1", "ffff::1"}) {
        CAPTURE(address);
        CHECK(refuses(from_ipv6(address, 5000)) == no_host);
    }
    for (const char* address : {"::1", "::1:0:0", "2001:db8::1", "fe80::1", "feff::1", "fd00::1"}) {
        CAPTURE(address);
        CHECK(refuses(from_ipv6(address, 5000)) == is_answered);
    }
}

TEST_CASE_FIXTURE(ReflectionSubject, "a v4-mapped address is accepted only if IPv4 carried it") {
    const std::string mapped = "::ffff:192.0.2.1";
    CHECK(refuses(from_ipv6(mapped, 5000, "::ffff:192.0.2.9")) == is_answered);
    CHECK(refuses(from_ipv6(mapped, 5000, "2001:db8::9")) == no_host);
    CHECK(refuses(from_ipv6(mapped, 5000)) == no_host); // bound to one address, which is IPv6
}

TEST_CASE_FIXTURE(
    ReflectionSubject, "a datagram to a multicast or broadcast address gets no answer") {
    DatagramInfo arrival = from_ipv4("192.0.2.1", 5000);
    arrival.to_group = true;
    CHECK(refuses(arrival) == group);
}

TEST_CASE_FIXTURE(
    ReflectionSubject, "a truncated datagram, or one without a source, gets no answer") {
    DatagramInfo cut = from_ipv4("192.0.2.1", 5000);
    cut.cut = true;
    CHECK(refuses(cut) == malformed);
    CHECK(refuses(DatagramInfo{}) == malformed);
    DatagramInfo unix_socket = from_ipv4("192.0.2.1", 5000);
    unix_socket.peer.any.ss_family = AF_UNIX;
    CHECK(refuses(unix_socket) == malformed);
    DatagramInfo ipv4 = from_ipv4("192.0.2.1", 5000);
    ipv4.peer_size -= 1;
    CHECK(refuses(ipv4) == malformed);
    DatagramInfo ipv6 = from_ipv6("2001:db8::1", 5000);
    ipv6.peer_size = sizeof(sockaddr_in);
    CHECK(refuses(ipv6) == malformed);
}

TEST_CASE_FIXTURE(ReflectionSubject, "the verdict comes with the source") {
    SourceKey source;
    CHECK_FALSE(rules.check(from_ipv4("192.0.2.1", 5000), false, source));
    CHECK(to_string(source_address(source, 1)) == "192.0.2.1:1");
    CHECK_FALSE(rules.check(from_ipv6("2001:db8::1", 5000), false, source));
    CHECK(to_string(source_address(source, 1)) == "[2001:db8::1]:1");
}
