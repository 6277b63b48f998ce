// The texts of causes, their bounded tallies, the hints that follow from them; and TCP's own
// figures.
#include "client/measure/cause.h"
#include "client/measure/tcp_info.h"
#include "client/measure/verdict.h"
#include "client/ping/ping_result.h"
#include "client/show/causes.h"

#include <array>
#include <cerrno>
#include <cstring>
#include <string>

#include <arpa/inet.h>
#include <doctest/doctest.h>
#include <linux/tcp.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

using namespace riposte;
using namespace riposte::client;

namespace {

SocketAddress address_of(const std::string& host) {
    SocketAddress address;
    if (host.find(':') == std::string::npos) {
        auto* const in = reinterpret_cast<sockaddr_in*>(address.get());
        in->sin_family = AF_INET;
        REQUIRE(inet_pton(AF_INET, host.c_str(), &in->sin_addr) == 1);
        address.size = sizeof(sockaddr_in);
    } else {
        auto* const in = reinterpret_cast<sockaddr_in6*>(address.get());
        in->sin6_family = AF_INET6;
        REQUIRE(inet_pton(AF_INET6, host.c_str(), &in->sin6_addr) == 1);
        address.size = sizeof(sockaddr_in6);
    }
    return address;
}

Cause icmp(uint8_t type, uint8_t code, const std::string& from, int error = EHOSTUNREACH) {
    const bool v6 = from.find(':') != std::string::npos;
    return {
        .kind = v6 ? CauseKind::icmpv6 : CauseKind::icmp,
        .type = type,
        .code = code,
        .error = error,
        .from = address_of(from)};
}

PingResult failed(uint64_t refused, uint64_t unreachable, uint64_t lost) {
    PingResult result;
    result.address = "192.0.2.7:7001";
    result.counts.sent = refused + unreachable + lost;
    result.counts.refused = refused;
    result.counts.unreachable = unreachable;
    result.counts.lost = lost;
    return result;
}

} // namespace

TEST_CASE("a cause reads with its ICMP type in words and its sender") {
    CHECK(describe(icmp(3, 1, "192.0.2.1")) == "host unreachable (ICMP from 192.0.2.1)");
    CHECK(describe(icmp(3, 3, "192.0.2.1")) == "port unreachable (ICMP from 192.0.2.1)");
    CHECK(
        describe(icmp(3, 13, "192.0.2.1")) == "administratively prohibited (ICMP from 192.0.2.1)");
    CHECK(describe(icmp(11, 0, "192.0.2.1")) == "time to live exceeded (ICMP from 192.0.2.1)");
    CHECK(
        describe(icmp(1, 1, "2001:db8::1")) ==
        "administratively prohibited (ICMPv6 from 2001:db8::1)");
    CHECK(describe(icmp(1, 4, "2001:db8::1")) == "port unreachable (ICMPv6 from 2001:db8::1)");
    CHECK(describe(icmp(3, 99, "192.0.2.1")) == "ICMP type 3 code 99 (ICMP from 192.0.2.1)");
    Cause own = icmp(3, 1, "192.0.2.2");
    own.own = true;
    CHECK(describe(own) == "host unreachable (ICMP from this machine)");
    Cause too_big = icmp(2, 0, "2001:db8::1", EMSGSIZE);
    too_big.mtu = 1280;
    CHECK(describe(too_big) == "too big: the path MTU is 1280 (ICMPv6 from 2001:db8::1)");
}

TEST_CASE("an error of connect is the peer's, the network's, or this machine's") {
    CHECK(describe(cause_of(ECONNREFUSED, address_of("192.0.2.7"))) == "refused by 192.0.2.7");
    CHECK(describe(cause_of(ECONNRESET, address_of("192.0.2.7"))) == "reset by 192.0.2.7");
    CHECK(describe(cause_of(0, address_of("192.0.2.7"))) == "closed by 192.0.2.7");
    CHECK(describe(cause_of(ETIMEDOUT)) == "no connection");
    CHECK(describe(cause_of(ENETUNREACH)) == "no route on this machine");
    CHECK(describe(cause_of(EPERM)) == "prohibited by a firewall on this machine");
    CHECK(describe(cause_of(ENOBUFS)) == "no buffer space available on this machine");
}

TEST_CASE("causes that differ in type, code or sender are counted apart, up to a bound") {
    CauseTally tally;
    tally.note(icmp(3, 1, "192.0.2.1"));
    tally.note(icmp(3, 1, "192.0.2.1"), 2);
    tally.note(icmp(3, 1, "192.0.2.2"));
    tally.note(icmp(3, 3, "192.0.2.1"));
    tally.note(cause_of(ENETUNREACH));
    tally.note(cause_of(EPERM));
    CHECK(tally.entries().size() == 5);
    CHECK(tally.entries()[0].count == 3);
    for (uint8_t code = 5; code < 12; code++)
        tally.note(icmp(3, code, "192.0.2.1"));
    CHECK(tally.entries().size() == CauseTally::entries_max);
    CHECK(tally.others() == 4);
    CHECK(tally.count(CauseKind::icmp) == 8);
    const auto items = cause_items(tally, 5, Transport::udp);
    CHECK(items.front().text == "5 no answer"); // the most frequent first
    CHECK(items[1].text == "3 host unreachable (ICMP from 192.0.2.1)");
    CHECK(items.back().text == "4 others");
}

TEST_CASE("silence after connecting differs from silence before it") {
    CauseTally tally;
    tally.note(cause_of(ETIMEDOUT), 2);
    const auto items = cause_items(tally, 3, Transport::tcp);
    REQUIRE(items.size() == 2);
    CHECK(items[0].text == "2 no connection");
    CHECK(items[1].text == "1 connected, no answer");
    CHECK(cause_items({}, 3, Transport::udp).empty());
    CHECK(cause_items({}, 0, Transport::tcp).empty());
}

TEST_CASE("the hint fits the causes") {
    const auto hint = [](const PingResult& result) {
        return why_no_answer(result, result.connections);
    };
    PingResult result = failed(3, 0, 0);
    result.causes.note(cause_of(ECONNREFUSED, address_of("192.0.2.7")), 3);
    CHECK(hint(result) == "no answer came: nothing listens there; is riposted running?");
    result = failed(3, 0, 0);
    result.causes.note(icmp(3, 3, "192.0.2.7"), 3);
    CHECK(hint(result) == "no answer came: nothing listens there; is riposted running?");
    result = failed(3, 0, 0);
    result.causes.note(icmp(3, 3, "192.0.2.1"), 3);
    CHECK(
        hint(result) ==
        "no answer came: 192.0.2.1 refuses on behalf of the host; is it a firewall?");
    result = failed(0, 3, 0);
    result.causes.note(icmp(3, 13, "192.0.2.1"), 3);
    CHECK(hint(result) == "no answer came: a firewall at 192.0.2.1 prohibits it");
    result = failed(0, 3, 0);
    result.causes.note(icmp(3, 1, "192.0.2.1"), 3);
    CHECK(
        hint(result) ==
        "no answer came: 192.0.2.1 has no route to it; is the address right, and is the host up?");
    result = failed(0, 3, 0);
    result.causes.note(cause_of(ENETUNREACH), 3);
    CHECK(hint(result) == "no answer came: is the address right, and is there a route to it?");
    result = failed(0, 0, 3);
    result.connections = 1;
    CHECK(
        hint(result) ==
        "the port accepts connections, but nothing answers: is this the right service?");
    result.causes.note(cause_of(ETIMEDOUT));
    CHECK(hint(result) == "no answer came: is the address right, or does a firewall drop it?");
    result = failed(0, 0, 0);
    result.counts.sent = result.counts.too_big = 2;
    CHECK(hint(result) == "no answer came: none fits into one packet; choose a smaller -s");
}

TEST_CASE("if this machine sent nothing, the text says why") {
    PingResult result = failed(0, 0, 0);
    result.counts.sent = result.counts.local = 2;
    result.causes.note(cause_of(EPERM), 2);
    CHECK(
        why_no_answer(result, 0) ==
        "this machine sent nothing: prohibited by a firewall on this machine");
}

TEST_CASE("TCP's figures are summed over connections, each round trip by its segments") {
    TcpTotals totals;
    CHECK(describe(totals).empty());
    CHECK_FALSE(totals.smoothed_rtt_ns().has_value());
    totals.add(
        {.retransmits = 30,
         .segments_sent = 900,
         .min_rtt_ns = 10'100'000,
         .smoothed_rtt_ns = 10'000'000,
         .state = CongestionState::recovery});
    totals.add(
        {.retransmits = 1,
         .segments_sent = 100,
         .min_rtt_ns = 11'000'000,
         .smoothed_rtt_ns = 20'000'000});
    totals.add({.retransmits = 2, .segments_sent = 20}); // never connected: no round trip
    CHECK(totals.connections == 3);
    CHECK(*totals.min_rtt_ns == 10'100'000);
    CHECK(*totals.smoothed_rtt_ns() == doctest::Approx(11'000'000));
    totals.congestion = "cubic";
    totals.handshake_retransmits = 2;
    CHECK(
        describe(totals) ==
        "33 retransmits of 1020 segments (3.2%), 2 of SYN, min rtt 10.100 ms, smoothed 11.000 ms, "
        "cubic, worst state recovery");
}

TEST_CASE("an older kernel's shorter structure gives only the figures that it has") {
    tcp_info info{};
    info.tcpi_total_retrans = 7;
    info.tcpi_data_segs_out = 100;
    info.tcpi_min_rtt = 250;
    info.tcpi_rtt = 300;
    info.tcpi_ca_state = 3;
    const TcpReading whole = read_tcp_info(&info, sizeof(info));
    CHECK(whole.retransmits == 7);
    CHECK(whole.segments_sent == 101);
    CHECK(whole.min_rtt_ns == 250'000);
    CHECK(whole.smoothed_rtt_ns == 300'000);
    CHECK(whole.state == CongestionState::recovery);
    // The structure of Linux 2.6 ends after tcpi_total_retrans.
    const TcpReading old = read_tcp_info(&info, offsetof(tcp_info, tcpi_total_retrans) + 4);
    CHECK(old.retransmits == 7);
    CHECK(old.segments_sent == 1);
    CHECK(old.min_rtt_ns == 0);
    info.tcpi_min_rtt = UINT32_MAX; // nothing was measured
    CHECK(read_tcp_info(&info, sizeof(info)).min_rtt_ns == 0);
}

TEST_CASE("a socket other than TCP adds nothing") {
    const int fd = ::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    REQUIRE(fd >= 0);
    TcpTotals totals;
    totals.add_socket(fd, true);
    totals.observe(fd);
    ::close(fd);
    CHECK(totals.connections == 0);
}
