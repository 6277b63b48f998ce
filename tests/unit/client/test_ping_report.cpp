// Every text of ping, exactly, and its JSON against the schema.
#include "client/ping/ping_path_text.h"
#include "client/ping/ping_report.h"
#include "client/show/json.h"
#include "client/show/table.h"
#include "tests/unit/client/samples.h"
#include "tests/unit/client/schema.h"
#include "tests/unit/client/stamp_sample.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <functional>
#include <limits>
#include <sstream>
#include <string>
#include <string_view>
#include <vector>

#include <arpa/inet.h>
#include <doctest/doctest.h>
#include <fmt/format.h>
#include <netinet/in.h>

using namespace riposte;
using namespace riposte::client;

namespace {

constexpr PingStyle plain{};
constexpr PingStyle several{.several = true};
constexpr PingStyle colored{.color = true};

PingResult udp(std::string name = "udp://127.0.0.1:7001") {
    PingResult result;
    result.name = std::move(name);
    result.address = "127.0.0.1:7001";
    result.payload_bytes = 56;
    result.interval_ns = 10'000'000;
    result.timeout_ns = 1'000'000'000;
    result.wait_ns = 1'000'000'000;
    result.started_at = 1762000000.25;
    result.elapsed_ns = 9'999'000'000;
    return result;
}

/// Answers after 58.1 us, one in a hundred after 117 us, to probes that left 4 us late, the 500th 3
/// ms late.
void answer(PingResult& result, uint64_t count) {
    result.counts.answered += count;
    for (uint64_t at = 0; at < count; at++) {
        const uint64_t rtt = at % 100 == 99 ? 117'000 : 58'100;
        result.rtt.record(rtt);
        result.delay_variation.record(rtt);
        result.lateness.record(at == 500 ? 3'000'000 : 4000);
        if (at > 0)
            result.ipdv.record(at % 2 == 0 ? 10'000 : 12'000);
    }
    if (count > 1)
        result.rfc3550_jitter_ns = 11'000;
    result.clock = ReceiveClock::kernel;
}

PingResult typical() {
    PingResult result = udp();
    answer(result, 998);
    result.counts.sent = 1000;
    result.counts.lost = 2;
    return result;
}

/// So many probes in a row without an answer, with one that is answered before each run and, if
/// `is_over`, behind the last.
void lose(PingResult& result, const std::vector<size_t>& runs, bool is_over = true) {
    uint64_t due_ns = result.started_ns;
    const auto probe = [&](Outcome outcome) {
        result.outages.due(due_ns);
        result.outages.decide(due_ns, outcome);
        due_ns += 400'000'000;
    };
    for (const size_t run : runs) {
        probe(Outcome::answered);
        for (size_t at = 0; at < run; at++)
            probe(Outcome::lost);
    }
    if (is_over)
        probe(Outcome::answered);
}

ProbeOutcome arrived() {
    ProbeOutcome arrival;
    arrival.outcome = Outcome::answered;
    arrival.sequence = 3;
    arrival.rtt_ns = 62'100;
    arrival.bytes = 56;
    return arrival;
}

SocketAddress ipv4(const char* host) {
    SocketAddress address;
    auto* const in = reinterpret_cast<sockaddr_in*>(address.get());
    in->sin_family = AF_INET;
    inet_pton(AF_INET, host, &in->sin_addr);
    address.size = sizeof(sockaddr_in);
    return address;
}

Cause refusal() {
    return cause_of(ECONNREFUSED, ipv4("192.0.2.7"));
}

Cause icmp(uint8_t type, uint8_t code, int error) {
    return {
        .kind = CauseKind::icmp,
        .type = type,
        .code = code,
        .error = error,
        .from = ipv4("192.0.2.1")};
}

TcpTotals tcp_totals() {
    TcpTotals totals;
    totals.add(
        {.retransmits = 1, .segments_sent = 4, .min_rtt_ns = 50'000, .smoothed_rtt_ns = 60'000});
    totals.congestion = "cubic";
    return totals;
}

bool ascii_fits(const std::string& text) {
    std::istringstream lines(text);
    std::string line;
    while (std::getline(lines, line))
        if (line.size() > 80)
            return false;
    return text.ends_with('\n');
}

} // namespace

TEST_CASE("the summary has the longest outage, and how many there were") {
    PingResult result = typical();
    result.started_ns = 5'000'000'000;
    CHECK(outages_text(result, plain).empty());
    lose(result, {3});
    CHECK(
        outages_text(result, plain) ==
        "1 outage: 3 probes in a row, 1.200 s from 2025-11-01 12:26:40 UTC\n");
    PingResult several_outages = typical();
    lose(several_outages, {3, 2, 4}, false);
    const std::string text =
        "3 outages; the longest: 4 probes in a row, from 2025-11-01 12:26:43 UTC to the end\n";
    CHECK(outages_text(several_outages, {.columns = 100}) == text);
    CHECK(ascii_fits(outages_text(several_outages, plain)));
    CHECK(ping_summary(several_outages, {.columns = 100}).find('\n' + text) != std::string::npos);
}

TEST_CASE("the header names the address only if the endpoint does not") {
    CHECK(ping_header(udp()) == "PING udp://127.0.0.1:7001: 56 bytes of payload, every 10ms\n");
    PingResult named = udp("udp://localhost:7001");
    named.interval_ns = 1'000'000'000;
    CHECK(
        ping_header(named) ==
        "PING udp://localhost:7001 (127.0.0.1:7001): 56 bytes of payload, every 1s\n");
}

TEST_CASE("an answer is one line as ping prints it") {
    CHECK(
        ping_line(udp(), arrived(), plain) ==
        "56 bytes from 127.0.0.1:7001: seq=3 time=0.0621 ms\n");
    CHECK(
        ping_line(udp(), arrived(), several) ==
        "udp://127.0.0.1:7001: 56 bytes from 127.0.0.1:7001: seq=3 time=0.0621 ms\n");
    CHECK(ping_line(udp(), arrived(), colored) == ping_line(udp(), arrived(), plain));
}

TEST_CASE("an answer's line has its flow, and the header that it came with") {
    PingResult result = udp();
    ProbeOutcome arrival = arrived();
    arrival.header = {.ttl = 64, .traffic_class = 0, .fragment = {}};
    CHECK(
        ping_line(result, arrival, plain) ==
        "56 bytes from 127.0.0.1:7001: seq=3 ttl=64 time=0.0621 ms\n");
    arrival.header = {.ttl = 57, .traffic_class = 46 << 2 | 3, .fragment = {}};
    result.flows.resize(2);
    result.flows[0].port = 41000;
    CHECK(
        ping_line(result, arrival, plain) ==
        "56 bytes from 127.0.0.1:7001: seq=3 port=41000 ttl=57 dscp=ef ecn=ce time=0.0621 ms\n");
    arrival.header = {.ttl = {}, .traffic_class = 5 << 2 | 2, .fragment = {}};
    arrival.sequence = 0;
    CHECK(ping_line(result, arrival, plain).contains("answers no probe of ours"));
    CHECK(header_marks(arrival.header) == " dscp=5 ecn=ect0");
    CHECK(ping_failure_line(result, {.sequence = 3, .outcome = Outcome::lost}, plain)
              .ends_with(" port=41000\n"));
}

TEST_CASE("the summary says more of the headers of replies if they changed or were asked about") {
    PingResult result = typical();
    const auto says = [&](std::string_view line) {
        return ping_summary(result, plain).contains(fmt::format("\n{}\n", line));
    };
    result.headers.note({.ttl = 64, .traffic_class = 0, .fragment = {}});
    CHECK_FALSE(ping_summary(result, plain).contains("replies: "));
    result.path.dscp = 0;
    CHECK(says("replies: ttl 64, dscp be"));
    result.path.dscp = 46;
    CHECK(says("replies: ttl 64, dscp be (sent ef)"));
    result.headers.note({.ttl = 57, .traffic_class = 46 << 2 | 3, .fragment = {}});
    CHECK(says("replies: ttl 57 to 64 (changed 1 time), dscp be, ef (sent ef),\n"
               "         1 marked as congested (ECN)"));
}

TEST_CASE("the summary names the flows that are worse") {
    PingResult result = typical();
    for (uint16_t i = 0; i < 32; i++) {
        FlowResult each;
        each.port = static_cast<uint16_t>(41000 + i);
        each.counts = {.sent = 100, .answered = 100};
        each.rtt.record(20'000'000, 100);
        result.flows.push_back(std::move(each));
    }
    CHECK(ping_summary(result, plain).contains("\nnone of 32 flows stands out\n"));
    for (const size_t bad : {3UL, 19UL})
        result.flows[bad].counts = {.sent = 100, .answered = 69, .lost = 31};
    CHECK(ping_summary(result, plain).contains("\nflows 41003, 41019 lose 31%, all others 0%\n"));
    result.flows[19].counts = {.sent = 100, .answered = 100};
    result.flows[7].rtt.clear();
    result.flows[7].rtt.record(32'000'000, 100);
    const std::string text = ping_summary(result, plain);
    CHECK(text.contains("\nflow 41003 loses 31%, all others 0%\n"));
    CHECK(text.contains("\nflow 41007 is 12 ms slower than the others\n"));
    CHECK(ascii_fits(text));
}

TEST_CASE("ports in a row are written as a range") {
    CHECK(ports_text({}).empty());
    CHECK(ports_text(std::vector<uint16_t>{1, 3}) == "1, 3");
    CHECK(ports_text(std::vector<uint16_t>{1, 2, 3, 5, 6, 8, 9, 10}) == "1-3, 5, 6, 8-10");
}

TEST_CASE("remarks about an answer follow it") {
    const PingResult result = udp();
    ProbeOutcome arrival = arrived();
    arrival.connect_ns = 101'000;
    arrival.reordered = true;
    arrival.late_by_ns = 1'000'000; // too little to report
    CHECK(
        ping_line(result, arrival, plain) == "56 bytes from 127.0.0.1:7001: seq=3 time=0.0621 ms "
                                             "connect=0.101 ms (out of order)\n");
    arrival = arrived();
    arrival.late_by_ns = 12'300'000;
    CHECK(
        ping_line(result, arrival, plain) ==
        "56 bytes from 127.0.0.1:7001: seq=3 time=0.0621 ms (sent 12.3 ms late)\n");
    arrival = arrived();
    arrival.outcome = Outcome::pending;
    arrival.duplicate = true;
    CHECK(
        ping_line(result, arrival, plain) ==
        "56 bytes from 127.0.0.1:7001: seq=3 time=0.0621 ms (duplicate)\n");
    arrival.duplicate = false;
    arrival.late = true;
    arrival.rtt_ns = 1'234'567'000;
    CHECK(
        ping_line(result, arrival, plain) ==
        "56 bytes from 127.0.0.1:7001: seq=3 time=1234.567 ms (late)\n");
}

TEST_CASE("a wrong answer is reported as wrong, and a stray one as stray") {
    const PingResult result = udp();
    ProbeOutcome arrival = arrived();
    arrival.outcome = Outcome::corrupted;
    arrival.wrong_byte = 17;
    CHECK(
        ping_line(result, arrival, plain) ==
        "56 bytes from 127.0.0.1:7001: seq=3 time=0.0621 ms corrupted at byte 17\n");
    CHECK(
        ping_line(result, arrival, colored) ==
        "56 bytes from 127.0.0.1:7001: seq=3 time=0.0621 ms\033[1;31m corrupted at byte 17\033[0m"
        "\n");
    arrival.outcome = Outcome::wrong_size;
    arrival.bytes = 1;
    CHECK(
        ping_line(result, arrival, plain) ==
        "1 byte from 127.0.0.1:7001: seq=3 time=0.0621 ms wrong size, not 56 bytes\n");
    ProbeOutcome stray;
    stray.bytes = 0;
    CHECK(
        ping_line(result, stray, plain) ==
        "0 bytes from 127.0.0.1:7001: answers no probe of ours\n");
}

TEST_CASE("a probe without an answer is one line with the reason") {
    const PingResult result = udp();
    const auto line = [&](ProbeFailure failure) {
        failure.sequence = 4;
        return ping_failure_line(result, failure, plain);
    };
    CHECK(line({.outcome = Outcome::lost}) == "no answer to seq=4 within 1s\n");
    PingResult lingering = udp();
    lingering.wait_ns = 1'337'482'123;
    CHECK(
        ping_failure_line(lingering, {.sequence = 4}, plain) ==
        "no answer to seq=4 within 1337ms\n");
    CHECK(
        line({.outcome = Outcome::lost, .connect_ns = 280'000}) ==
        "connected in 0.280 ms, no answer to seq=4 within 1s\n");
    CHECK(
        line({.outcome = Outcome::lost, .cause = {.kind = CauseKind::no_connection}}) ==
        "no connection for seq=4 within 1s\n");
    CHECK(
        line({.outcome = Outcome::refused, .cause = refusal(), .took_ns = 210'000}) ==
        "seq=4 refused in 0.210 ms by 192.0.2.7\n");
    CHECK(
        line({.outcome = Outcome::refused, .cause = icmp(3, 3, ECONNREFUSED), .took_ns = 50'000}) ==
        "seq=4 refused in 0.0500 ms: port unreachable (ICMP from 192.0.2.1)\n");
    CHECK(
        line({.outcome = Outcome::unreachable, .cause = icmp(3, 1, EHOSTUNREACH)}) ==
        "seq=4 unreachable: host unreachable (ICMP from 192.0.2.1)\n");
    CHECK(
        line({.outcome = Outcome::unreachable, .cause = cause_of(ENETUNREACH)}) ==
        "seq=4 unreachable: no route on this machine\n");
    CHECK(
        line({.outcome = Outcome::closed, .cause = cause_of(0)}) ==
        "seq=4 closed: the connection ended before the answer\n");
    CHECK(
        line({.outcome = Outcome::closed, .cause = cause_of(ECONNRESET)}) ==
        "seq=4 closed: the connection was reset before the answer\n");
    Cause too_big = icmp(3, 4, EMSGSIZE);
    too_big.mtu = 1400;
    CHECK(
        line({.outcome = Outcome::too_big, .cause = too_big}) ==
        "seq=4 too big: the path MTU is 1400 (ICMP from 192.0.2.1)\n");
    CHECK(
        line(
            {.outcome = Outcome::too_big,
             .cause = {.kind = CauseKind::local, .error = EMSGSIZE, .mtu = 1400}}) ==
        "seq=4 too big: the MTU of this machine's link is 1400\n");
    CHECK(
        ping_failure_line(result, {.sequence = 4}, {.several = true, .color = true}) ==
        "udp://127.0.0.1:7001: \033[1;31mno answer to seq=4 within 1s\033[0m\n");
}

TEST_CASE("one line says that the service is not an echo") {
    CHECK(
        ping_other_service_line(udp(), several) ==
        "udp://127.0.0.1:7001: not an echo service: answers are timed but not verified\n");
}

TEST_CASE("the summary of a typical run") {
    CHECK(
        ping_summary(typical(), plain) ==
        "--- udp://127.0.0.1:7001 ping statistics ---\n"
        "1000 sent, 998 answered, 2 lost (0.2%); 9.999 s\n"
        "in ms     min    mean  median     p95     p99   p99.9     max  stddev\n"
        "rtt    0.0581  0.0586  0.0581  0.0581  0.0581       -  0.1170 0.00557\n"
        "ipdv   0.0100  0.0110  0.0120  0.0120  0.0120       -  0.0120 0.00100\n"
        "pdv    0.0000 0.00053  0.000   0.000   0.000        -  0.0589 0.00557\n"
        "sent late by 4.01 us (median), 4.01 us (p95), 4.01 us (p99), 3 ms (max)\n"
        "RFC 3550 jitter 0.0110 ms; rtt: from the sending; times of arrival: kernel clock\n");
}

TEST_CASE("colour marks failures only") {
    const std::string text = ping_summary(typical(), colored);
    CHECK(text.starts_with("\033[2m--- udp://127.0.0.1:7001 ping statistics ---\033[0m\n"
                           "1000 sent, 998 answered, \033[1;31m2 lost (0.2%)\033[0m; 9.999 s\n"));
    PingResult clean = typical();
    clean.counts.lost = 0;
    clean.counts.sent = 998;
    CHECK(ping_summary(clean, colored).find("\033[1;31m") == std::string::npos);
}

TEST_CASE("the summary over TCP has the time to connect and the number of connections") {
    PingResult result = udp("tcp://localhost:7001");
    result.transport = Transport::tcp;
    answer(result, 1);
    result.counts.sent = 3;
    result.counts.closed = 1;
    result.counts.lost = 1;
    result.connections = 2;
    result.connect.record(90'000);
    result.clock = ReceiveClock::mixed;
    result.other_service = true;
    result.causes.note(cause_of(ECONNRESET, ipv4("192.0.2.7")));
    result.tcp = tcp_totals();
    CHECK(
        ping_summary(result, plain) ==
        "--- tcp://localhost:7001 ping statistics ---\n"
        "3 sent, 1 answered, 1 lost (33.3%); 2 connections, 9.999 s\n"
        "1 closed (33.3%), 66.7% without an answer\n"
        "causes: 1 reset by 192.0.2.7, 1 connected, no answer\n"
        "TCP: 1 retransmit of 4 segments (25%), min rtt 0.0500 ms, smoothed 0.0600 ms,\n"
        "     cubic\n"
        "in ms       min    mean  median     p95     p99   p99.9     max  stddev\n"
        "rtt      0.0581  0.0581  0.0581       -       -       -  0.0581   0.000\n"
        "connect  0.0900  0.0900  0.0900       -       -       -  0.0900   0.000\n"
        "sent late by 4 us (median), 4 us (max)\n"
        "rtt: from the sending; times of arrival: kernel clock in part\n"
        "not an echo service: answers were timed but not verified\n");
}

TEST_CASE("a summary without any answer has one line instead of figures") {
    PingResult result = udp();
    CHECK(
        ping_summary(result, plain) == "--- udp://127.0.0.1:7001 ping statistics ---\n"
                                       "0 sent, 0 answered, 0 lost; 9.999 s\n"
                                       "nothing was sent\n");
    result.counts = {.sent = 10, .refused = 10};
    result.lateness.record(4000);
    CHECK(
        ping_summary(result, plain) ==
        "--- udp://127.0.0.1:7001 ping statistics ---\n"
        "10 sent, 0 answered, 0 lost (0%); 9.999 s\n"
        "10 refused (100%)\n"
        "no answer came: nothing listens there; is riposted running?\n");
}

TEST_CASE("the reason for having no answer is as far as the counts show it") {
    const auto last_line = [](const OutcomeCounts& counts) {
        PingResult result = udp();
        result.counts = counts;
        std::string text = ping_summary(result, plain);
        text.pop_back();
        return text.substr(text.rfind('\n') + 1);
    };
    CHECK(last_line({.sent = 1}) == "no answer yet");
    CHECK(
        last_line({.sent = 2, .lost = 1, .refused = 1}) ==
        "no answer came: is the address right, or does a firewall drop it?");
    CHECK(
        last_line({.sent = 2, .unreachable = 1}) ==
        "no answer came: is the address right, and is there a route to it?");
    CHECK(
        last_line({.sent = 1, .closed = 1}) ==
        "no answer came: the peer closes the connection first");
    CHECK(last_line({.sent = 2, .refused = 1, .closed = 1}) == "no answer came");
    CHECK(
        last_line({.sent = 2, .answered = 2}) ==
        "the service spoke before the probes left: there is no round trip to time");
    CHECK(
        last_line({.sent = 2, .lost = 1, .corrupted = 1}) ==
        "no correct answer came: is it another service, or is the path broken?");
}

TEST_CASE("rare counts appear only if they are not zero") {
    PingResult result = typical();
    result.counts.sent = 1011;
    result.counts.late = 1;
    result.counts.stray = 2;
    result.counts.unreachable = 4;
    const std::string text = ping_summary(result, plain);
    CHECK(
        text.find("; 9.999 s\n"
                  "4 unreachable (0.4%)\n"
                  "0.6% without an answer\n"
                  "1 late, 2 stray, 7 undecided\n"
                  "in ms") != std::string::npos);
    CHECK(ascii_fits(text));
}

TEST_CASE("huge numbers stay within 80 columns") {
    PingResult result = udp("tcp://[2001:db8:ffff:ffff:ffff:ffff:ffff:ffff]:65535");
    constexpr uint64_t many = 1'000'000'000'000'000'000;
    result.counts = {
        .sent = 9 * many,
        .answered = many,
        .lost = many,
        .corrupted = many,
        .wrong_size = many,
        .refused = many,
        .unreachable = many,
        .closed = many,
        .duplicated = many,
        .reordered = many,
        .late = many,
        .stray = many};
    result.connections = many;
    result.elapsed_ns = UINT64_MAX;
    result.rtt.record(1);
    result.rtt.record(UINT64_MAX / 2);
    result.ipdv.record(3'600'000'000'000);
    result.connect.record(1'234'567'890'123);
    result.lateness.record(3'600'000'000'000);
    result.rfc3550_jitter_ns = 1e15;
    result.clock = ReceiveClock::user_space;
    const std::string text = ping_summary(result, plain);
    CAPTURE(text);
    CHECK(text.find("1000000000000000000 connections,\n5124095h 34m 33s\n") != std::string::npos);
    result.rtt.clear();
    result.rtt.record(86'400'000'000'000);
    CHECK(ascii_fits(ping_summary(result, plain)));
}

TEST_CASE("the interim line is one line") {
    CHECK(
        ping_interim(typical(), plain) ==
        "998/1000 answered, 0.2% loss, median/p99/max 0.0581/0.0581/0.117 ms\n");
    CHECK(ping_interim(udp(), several) == "udp://127.0.0.1:7001: 0/0 answered\n");
    PingResult wrong = udp();
    wrong.counts = {.sent = 3, .corrupted = 1, .wrong_size = 1, .refused = 1};
    CHECK(
        ping_interim(wrong, colored) ==
        "0/3 answered, \033[1;31m33.3% loss\033[0m, \033[1;31m2 wrong\033[0m\n");
}

TEST_CASE("endpoints are compared in rows, and the least median is marked") {
    const PingResult fast = typical();
    PingResult slow = udp("tcp://localhost:7001");
    slow.counts = {.sent = 1, .answered = 1};
    slow.rtt.record(12'345'000);
    PingResult silent = udp("udp://[::1]:7001");
    silent.counts = {.sent = 3, .lost = 3};
    const PingResult unasked = udp("udp://10.0.0.1:7001");
    const std::array<const PingResult*, 4> all{&fast, &slow, &silent, &unasked};
    CHECK(
        ping_comparison(all, plain) ==
        "in ms                 loss      min   median      p95     p99     max    ipdv\n"
        "udp://127.0.0.1:7001  0.2%   0.0581   0.0581*  0.0581  0.0581   0.117  0.0110\n"
        "tcp://localhost:7001    0%  12.3450  12.3           -       -  12.345       -\n"
        "udp://[::1]:7001      100%\n"
        "udp://10.0.0.1:7001      -\n"
        "* the least median\n");
}

TEST_CASE("nothing is marked without a comparison") {
    const PingResult good = typical();
    PingResult silent = udp("udp://[::1]:7001");
    silent.counts = {.sent = 3, .lost = 3};
    const std::array<const PingResult*, 2> one{&good, &silent};
    CHECK(ping_comparison(one, plain).find('*') == std::string::npos);
    const std::array<const PingResult*, 2> none{&silent, &silent};
    CHECK(
        ping_comparison(none, plain) == "in ms             loss\n"
                                        "udp://[::1]:7001  100%\n"
                                        "udp://[::1]:7001  100%\n");
    CHECK(ping_comparison({}, plain).empty());
}

TEST_CASE("no line is wider than a terminal of 40 columns, and no text is lost there") {
    PingResult result = typical();
    result.name = "tcp://localhost:7001";
    result.transport = Transport::tcp;
    result.counts.sent = 1'000'123;
    result.counts.closed = result.counts.refused = result.counts.corrupted = 1;
    result.counts.duplicated = result.counts.reordered = result.counts.wrong_size = 100'000;
    result.counts.late = result.counts.stray = 123'456;
    result.connections = 123'456;
    result.connect.record(90'000);
    result.other_service = true;
    PingResult other = typical();
    const std::array<const PingResult*, 2> all{&result, &other};
    const auto words_of = [](std::string text) {
        std::ranges::replace(text, '\n', ' ');
        std::istringstream stream(text);
        std::vector<std::string> words;
        for (std::string word; stream >> word;)
            words.push_back(word);
        std::ranges::sort(words);
        words.erase(std::ranges::unique(words).begin(), words.end());
        return words;
    };
    for (const auto& text_of : std::vector<std::function<std::string(const PingStyle&)>>{
             [&](const PingStyle& style) { return ping_header(result, style.look()); },
             [&](const PingStyle& style) {
                 const ProbeOutcome answer{
                     .outcome = Outcome::answered,
                     .sequence = 1234,
                     .reordered = true,
                     .rtt_ns = 123'456'789,
                     .late_by_ns = 12'000'000,
                     .bytes = 1200};
                 return "[1762000000.123456] " + ping_line(result, answer, style);
             },
             [&](const PingStyle& style) {
                 const ProbeFailure failure{
                     .sequence = 1234, .outcome = Outcome::unreachable, .cause = cause_of(EPERM)};
                 return ping_failure_line(result, failure, style);
             },
             [&](const PingStyle& style) { return ping_summary(result, style); },
             [&](const PingStyle& style) { return ping_comparison(all, style); }}) {
        const std::string text = fold(text_of({.columns = 40}), 40);
        CAPTURE(text);
        std::istringstream lines(text);
        for (std::string line; std::getline(lines, line);)
            CHECK(columns_of(line) <= 40);
        CHECK(words_of(text) == words_of(text_of({})));
    }
}

TEST_CASE("a line about a probe is wrapped between words on a narrow terminal, and only there") {
    const std::string line = "64 bytes from 127.0.0.1:7001: seq=1 time=0.123 ms connect=0.3 ms\n";
    CHECK(fold(line, 80) == line);
    CHECK(
        fold(line, 40) == "64 bytes from 127.0.0.1:7001: seq=1\n"
                          "  time=0.123 ms connect=0.3 ms\n");
    CHECK(fold("short\n", 40) == "short\n");
    // Colours take no column.
    CHECK(
        fold("seq=12345678 \033[1;31mwrong size, not 56 bytes\033[0m\n", 40) ==
        "seq=12345678 \033[1;31mwrong size, not 56 bytes\033[0m\n");
}

TEST_CASE("the counters are aligned, however long they are") {
    const auto lines_of = [](uint64_t times) {
        PingResult result = typical();
        OutcomeCounts& counts = result.counts;
        counts.sent = 2000 * times;
        counts.answered = 995 * times;
        counts.lost = counts.refused = counts.unreachable = counts.closed = times;
        counts.corrupted = counts.wrong_size = times;
        counts.duplicated = counts.reordered = counts.late = counts.stray = times;
        std::string text = ping_summary(result, plain);
        std::erase_if(text, [](char each) { return each >= '0' && each <= '9'; });
        return text.substr(0, text.find("in ms"));
    };
    for (const uint64_t times : {10U, 100U, 1000U, 10'000U})
        CHECK(lines_of(times) == lines_of(1));
}

TEST_CASE("a percentile that few answers do not have is left out") {
    PingResult result = udp();
    answer(result, 3);
    result.counts.sent = 3;
    const std::string text = ping_summary(result, plain);
    CAPTURE(text);
    CHECK(text.contains("rtt    0.0581  0.0581  0.0581       -       -       -  0.0581"));
    CHECK(ping_interim(result, plain).contains("median/p99/max 0.0581/-/0.0581 ms"));
}

TEST_CASE("long names are cut in the middle to keep rows within 80 columns") {
    PingResult a = typical();
    a.name = "udp://a-very-long-host-name.in-a-rack.example.com:7001";
    PingResult b = typical();
    b.name = "udp://another-very-long-host-name.in-a-rack.example.com:7002";
    const std::array<const PingResult*, 2> all{&a, &b};
    const std::string text = ping_comparison(all, plain);
    CAPTURE(text);
    CHECK(ascii_fits(text));
    CHECK(text.find("\nudp://a-very-lo...") != std::string::npos);
    CHECK(text.find(".com:7002 0.2%") != std::string::npos);
}

namespace {

/// Four: the second loses, the third is slower, over TCP the fourth needs repairs.
void add_flows(PingResult& result) {
    for (uint16_t i = 0; i < 4; i++) {
        FlowResult flow;
        flow.port = static_cast<uint16_t>(41000 + i);
        const uint64_t lost = i == 1 ? 60 : 0;
        flow.counts = {.sent = 100, .answered = 100 - lost, .lost = lost};
        flow.rtt.record(i == 2 ? 50'000'000 : 20'000'000, 100);
        if (result.transport == Transport::tcp) {
            flow.repaired = i == 3 ? 30 : 0;
            flow.failure_runs = lost;
            flow.segments = 100;
        }
        result.flows.push_back(std::move(flow));
    }
}

} // namespace

TEST_CASE("over TCP the summary names flows that need repairs") {
    PingResult result = typical();
    result.transport = Transport::tcp;
    add_flows(result);
    const std::string text = ping_summary(result, plain);
    CHECK(text.contains("\nflow 41001 loses 60%, all others 0%\n"));
    CHECK(text.contains("\nflow 41003 needs TCP to repair 30%, all others 0%\n"));
    CHECK(text.contains("\nflow 41002 is 30 ms slower than the others\n"));
}

TEST_CASE(
    "the JSON document of several endpoints matches its schema, and the schema has nothing else") {
    PingResult full = typical();
    full.rtt.record(62'100, 1000); // enough for a p99.9
    full.path_mtu = 1400;
    full.fragmented = true;
    full.path = test::full_path();
    full.headers.note({.ttl = 64, .traffic_class = 3, .fragment = {}});
    add_flows(full);
    full.refusal.record(50'000);
    lose(full, {2, 3});
    full.causes.note(icmp(3, 4, EMSGSIZE));
    Cause too_big = icmp(3, 4, EMSGSIZE);
    too_big.mtu = 1400;
    full.causes.note(too_big);
    PingResult tcp = typical();
    tcp.transport = Transport::tcp;
    tcp.connections = 1;
    tcp.connect.record(90'000);
    tcp.clock = ReceiveClock::user_space;
    tcp.tcp = tcp_totals();
    tcp.other_service = true;
    add_flows(tcp);
    PingResult mixed = typical();
    mixed.clock = ReceiveClock::mixed;
    mixed.earlier_addresses = {"192.0.2.1:7"};
    mixed.connects_only = true;
    PingResult stamp = typical();
    stamp.stamp = test::stamp_sample();
    const PingResult empty = udp();
    const std::array<const PingResult*, 5> all{&full, &tcp, &mixed, &stamp, &empty};
    const auto fail_if = parse_fail_if("p99>2ms, loss > 0.1%");
    REQUIRE(fail_if.has_value());

    Schema schema("riposte-ping-2");
    const std::array<NotMeasured, 1> missing{
        {{.name = "udp://nowhere.test:7", .error = "cannot resolve 'nowhere.test': unknown"}}};
    CHECK(
        schema.faults(ping_json(all, *fail_if, Exit::failed, missing)) ==
        std::vector<std::string>{});
    CHECK(schema.unseen().empty());
    CHECK(schema.undescribed().empty());
    CHECK(schema.faults("{}").size() == 6);
    CHECK(schema.faults("[").size() == 1);
}

TEST_CASE("the JSON document has the measurement, in seconds") {
    const PingResult result = typical();
    const std::array<const PingResult*, 1> all{&result};
    const auto fail_if = parse_fail_if("p99>2ms,loss>0.1%,connect.max>1s");
    REQUIRE(fail_if.has_value());
    const std::string text = ping_json(all, *fail_if, Exit::failed);
    CHECK(std::ranges::count(text, '\n') == 1);
    const auto document = nlohmann::json::parse(text);
    CHECK(document["schema"] == "riposte/ping/2");
    CHECK(document["started_at"] == "2025-11-01T12:26:40.250Z");
    CHECK(document["exit"] == 1);
    CHECK(
        document["fail_if"].dump() ==
        R"([{"condition":"p99>2ms","met":false},{"condition":"loss>0.1%","met":true},)"
        R"({"condition":"connect.max>1s","met":true}])");
    const auto& endpoint = document["endpoints"][0];
    CHECK(endpoint["name"] == "udp://127.0.0.1:7001");
    CHECK(endpoint["interval"] == 0.01);
    CHECK(endpoint["timeout"] == 1.0);
    CHECK(endpoint["elapsed"] == 9.999);
    CHECK(endpoint["service"] == "echo");
    CHECK(endpoint["clock"] == "kernel");
    CHECK(endpoint["counts"]["lost"] == 2);
    CHECK(endpoint["counts"]["undecided"] == 0);
    CHECK(endpoint["loss_percent"] == 0.2);
    CHECK(endpoint["rfc3550_jitter"] == 1.1e-5);
    CHECK(endpoint["rtt"]["count"] == 998);
    CHECK(endpoint["rtt"]["min"] == 58.1e-6);
    CHECK(endpoint["rtt"]["max"] == 117e-6);
    CHECK(endpoint["lateness"]["p99"].get<double>() == doctest::Approx(4e-6).epsilon(0.004));
    CHECK(endpoint["lateness"]["max"] == 3e-3);
    CHECK(endpoint["ipdv"]["count"] == 997);
    CHECK(endpoint["ipdv"]["max"] == 12e-6);
    CHECK(endpoint["pdv"]["count"] == 998);
    CHECK(endpoint["pdv"]["median"] == 0);
    CHECK(endpoint["pdv"]["max"] == 58.9e-6);
    CHECK_FALSE(endpoint.contains("rtt_from_send"));
    CHECK_FALSE(endpoint.contains("jitter"));
    CHECK(endpoint["fail_if"][0]["value"].get<double>() == doctest::Approx(58.1e-6).epsilon(0.01));
    CHECK(endpoint["fail_if"][1]["value"] == 0.2);
    CHECK_FALSE(endpoint["fail_if"][2].contains("value"));
    CHECK(endpoint["fail_if"][2]["met"] == true);
    CHECK_FALSE(endpoint.contains("connect"));
    CHECK_FALSE(endpoint.contains("connections"));
    CHECK(endpoint["rtt"].contains("p99"));
    CHECK_FALSE(endpoint["rtt"].contains("p99_9")); // it takes 1,000 answers
    CHECK_FALSE(endpoint.contains("tcp"));
    CHECK(endpoint["errors"].dump() == R"([{"count":2,"kind":"no_answer","text":"no answer"}])");
    uint64_t sum = 0;
    for (const auto& bucket : endpoint["rtt"]["histogram"]) {
        CHECK(bucket[0].get<double>() <= bucket[1].get<double>());
        sum += bucket[2].get<uint64_t>();
    }
    CHECK(sum == 998);
}

TEST_CASE("probes that the run did not wait for are undecided, and in no ratio") {
    PingResult result = typical();
    result.counts.sent = 1003;
    CHECK(*loss_percent(result.counts) == doctest::Approx(0.2));
    CHECK(ping_summary(result, plain).find("2 lost (0.2%)") != std::string::npos);
    CHECK(ping_summary(result, plain).find("3 undecided") != std::string::npos);
    const std::array<const PingResult*, 1> all{&result};
    const auto document = nlohmann::json::parse(ping_json(all, {}, Exit::interrupted));
    CHECK(document["exit"] == 130);
    CHECK(document["endpoints"][0]["counts"]["undecided"] == 3);
    CHECK(document["endpoints"][0]["loss_percent"] == doctest::Approx(0.2));
}

TEST_CASE("figures that were not measured are absent from the JSON document") {
    const PingResult result = udp();
    const std::array<const PingResult*, 1> all{&result};
    const auto document = nlohmann::json::parse(ping_json(all, {}, Exit::failed));
    const auto& endpoint = document["endpoints"][0];
    for (const char* key :
         {"service", "clock", "loss_percent", "rtt", "lateness", "connect", "ipdv", "pdv",
          "rfc3550_jitter", "connections"})
        CHECK_FALSE(endpoint.contains(key));
    CHECK(document["fail_if"].empty());
}

TEST_CASE("the JSON document has TCP's repairs and the causes of missing answers") {
    PingResult tcp = udp("tcp://127.0.0.1:7001");
    tcp.transport = Transport::tcp;
    tcp.counts = {.sent = 3, .lost = 1, .refused = 1, .unreachable = 1};
    tcp.tcp = tcp_totals();
    tcp.causes.note(refusal());
    tcp.causes.note(icmp(3, 1, EHOSTUNREACH));
    const std::array<const PingResult*, 1> all{&tcp};
    const auto document = nlohmann::json::parse(ping_json(all, {}, Exit::failed));
    const auto& endpoint = document["endpoints"][0];
    CHECK(
        endpoint["tcp"].dump() ==
        R"({"congestion":"cubic","connections":1,"handshake_retransmits":0,"min_rtt":5e-05,)"
        R"("retransmits":1,"segments_sent":4,"smoothed_rtt":6e-05,"state":"open"})");
    CHECK(
        endpoint["errors"].dump() ==
        R"json([{"count":1,"from":"192.0.2.7","kind":"refused","text":"refused by 192.0.2.7"},)json"
        R"json({"code":1,"count":1,"from":"192.0.2.1","kind":"icmp",)json"
        R"json("text":"host unreachable (ICMP from 192.0.2.1)","type":3},)json"
        R"({"count":1,"kind":"no_answer","text":"no answer"}])");
}

TEST_CASE("the report says that probes are sent in fragments") {
    PingResult result = typical();
    result.path_mtu = 1400;
    CHECK(ping_summary(result, plain).find("fragments") == std::string::npos);
    result.fragmented = true;
    CHECK(
        ping_summary(result, plain)
            .find("\ndoes not fit without fragments: the path MTU is 1400; --df refuses "
                  "fragments\n") != std::string::npos);
}

TEST_CASE("failures and their senders are below the comparison") {
    PingResult closed = udp("tcp://a:7");
    closed.transport = Transport::tcp;
    closed.counts = {.sent = 3, .refused = 3};
    closed.causes.note(refusal(), 3);
    const PingResult good = typical();
    const std::array<const PingResult*, 2> all{&closed, &good};
    CHECK(ping_comparison(all, plain).ends_with("\ntcp://a:7: 3 refused by 192.0.2.7\n"));
}

TEST_CASE("a name that is not UTF-8 does not break the JSON document") {
    const PingResult result = udp("udp://caf\xe9:7001");
    const std::array<const PingResult*, 1> all{&result};
    const auto document = nlohmann::json::parse(ping_json(all, {}, Exit::ok));
    CHECK(document["endpoints"][0]["name"] == "udp://caf\xef\xbf\xbd:7001");
}

TEST_CASE("times of day are UTC, in whole milliseconds") {
    CHECK(utc_time(0) == "1970-01-01T00:00:00.000Z");
    CHECK(utc_time(1741529159.2504) == "2025-03-09T14:05:59.250Z");
    CHECK(utc_time(1741529159.9996) == "2025-03-09T14:06:00.000Z");
}

TEST_CASE("a number that is not finite is left out of a document") {
    Json document = Json::object();
    set_number(document, "a", 1.5);
    set_number(document, "b", std::nullopt);
    set_number(document, "c", std::numeric_limits<double>::infinity());
    CHECK(document.dump() == R"({"a":1.5})");
}
