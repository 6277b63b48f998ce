#include "client/show/table.h"
#include "client/status/status_report.h"

#include <algorithm>
#include <cstdint>
#include <string>

#include <doctest/doctest.h>

using namespace riposte::client;

namespace {

const char* const document = R"({"schema":"riposte/status/1","version":"0.2.0","pid":4711,
"time":1005.0,"start_time":100.0,"state":"running","new":[1],
"backend":{"name":"io_uring","reason":""},"workers":1,"sandbox":"seccomp on",
"reload":{"count":2,"ok":true,"time":990.0,"error":""},
"limits":[{"name":"connections","used":12,"max":8192,"unit":""},
          {"name":"buffer_memory","used":1048576,"max":134217728,"unit":"bytes"}],
"listeners":[{"service":"hello","address":"tcp://127.0.0.1:7001","inherited":true,"connections":3,
  "accepted":17,"received":0,"answered":0,"received_bytes":1000,"sent_bytes":2000,"refused":2},
 {"service":"hello","address":"udp://127.0.0.1:7001","inherited":true,"connections":0,
  "accepted":0,"received":700,"answered":600,"received_bytes":1000,"sent_bytes":900,"refused":100}],
"listeners_omitted":0,
"services":[{"service":"hello","transport":"tcp","answers":17,
  "latency":{"p50":1e-5,"p99":2.5e-3,"p999":1.5,"mean":1.1e-5}}],
"refused":[{"transport":"udp","reason":"prefix_rate","text":"datagrams over their prefix's rate",
  "count":100}],
"accept_errors":[],"scrapes":{"answered":5,"rejected":0}})";

StatusFigures figures() {
    auto read = riposte::client::read_status(std::string_view(document));
    REQUIRE(read.has_value());
    return *read;
}

std::string text_of(const StatusFigures& now, const StatusFigures* before = nullptr) {
    std::string text;
    for (const std::string& line : status_lines(now, before, false))
        text += line + "\n";
    return text;
}

bool contains(const std::string& text, std::string_view part) {
    return text.find(part) != std::string::npos;
}

} // namespace

TEST_CASE("the text of a status") {
    StatusFigures before = figures();
    before.time -= 2;
    before.listeners[0].accepted -= 4;
    before.listeners[1].received -= 100;
    before.listeners[1].received_bytes -= 1000;
    before.refused[0].count -= 1;
    CHECK(text_of(figures(), &before) == R"(riposted 0.2.0, running for 15m 05s, pid 4711
  backend  io_uring, 1 worker
  sandbox  seccomp on
  config   loaded 15s ago, 2 reloads

limits             used       of
connections          12     8192  0.15%
buffer_memory  1.00 MiB  128 MiB  0.78%

listeners                   open  came  came/s  in B/s  out B/s  refused
hello tcp://127.0.0.1:7001     3    17       2       0        0        2
hello udp://127.0.0.1:7001         700      50     500        0      100

answered after    p50     p99  p99.9   mean  answers
hello tcp       10 us  2.5 ms  1.5 s  11 us       17

refused, dropped, ended                 count  per s
udp datagrams over their prefix's rate    100    0.5
)");
}

TEST_CASE("a figure that the daemon does not know is not shown as 0") {
    StatusFigures now = figures();
    now.limits = {{"descriptors", {}, 1024, ""}, {"memory", {}, {}, "bytes"}};
    CHECK(contains(text_of(now), R"(
limits       used    of
descriptors     -  1024
memory          -     -
)"));
}

TEST_CASE("problems come first, after the head") {
    StatusFigures now = figures();
    now.state = "draining";
    now.reload_ok = false;
    now.reload_error = "riposted.toml:3:1: unknown key 'servce'; did you mean 'service'?";
    now.limits[0].used = 8000;
    now.accept_errors.push_back({"EMFILE", 3});
    now.backend = "epoll";
    now.backend_reason = "io_uring_setup: Operation not permitted";
    const std::string text = text_of(now);
    CHECK(contains(text, "draining for 15m 05s"));
    CHECK(contains(text, "! stopping"));
    CHECK(contains(text, "! reload failed 15s ago"));
    CHECK(contains(text, "'servce'"));
    CHECK(contains(text, "! connections at 97.7% of its limit"));
    CHECK(contains(text, "! accepting paused 3 times for EMFILE"));
    CHECK(contains(text, "epoll (io_uring_setup: Operation not permitted)"));
    CHECK(text.rfind("! ") < text.find("limits "));
}

TEST_CASE("no line is wider than the terminal, whatever the document has") {
    StatusFigures now = figures();
    StatusFigures before = now;
    before.time -= 1e-3;
    const std::string evil = std::string(5000, 'x') + "\x1b[2J\n\xff";
    now.version = now.state = now.backend = now.backend_reason = now.sandbox = evil;
    now.reload_ok = false;
    now.reload_error = evil;
    now.start_time = -1e18;
    now.reload_time = 1e300;
    now.limits.push_back({evil, UINT64_MAX, 1, "bytes"});
    now.limits.push_back({evil, UINT64_MAX, 0, ""});
    for (auto& at : now.listeners) {
        at.service = evil;
        at.address = "tcp://[fe80::1111:2222:3333:4444%a-very-long-interface]:65535";
        at.connections = at.accepted = at.received = at.received_bytes = at.sent_bytes =
            at.refused = UINT64_MAX;
    }
    now.listeners.push_back({evil, evil});
    before.listeners = now.listeners;
    for (auto& at : before.listeners)
        at.accepted = at.received = at.received_bytes = at.sent_bytes = 0;
    now.services.push_back({evil, evil, UINT64_MAX, 1e300, 1e300, -1, 1e300});
    now.refused.push_back({evil, evil, evil, UINT64_MAX});
    now.accept_errors.push_back({evil, UINT64_MAX});
    now.listeners_omitted = UINT64_MAX;
    now.pid = before.pid = now.workers = now.reloads = UINT64_MAX;
    before.start_time = now.start_time;
    CHECK(contains(text_of(now, &before), "+22")); // there are rates
    for (const bool reload_ok : {false, true}) {
        now.reload_ok = reload_ok;
        for (const size_t columns : {80U, 60U, 40U})
            for (const std::string& line : status_lines(now, &before, Look(false, columns))) {
                CAPTURE(line);
                CHECK(columns_of(line) <= columns);
                CHECK(std::ranges::all_of(line, [](char c) { return c >= ' ' && c <= '~'; }));
            }
    }
}

TEST_CASE("on a terminal of 40 columns the tables fold") {
    const std::vector<std::string> lines = status_lines(figures(), nullptr, Look(false, 40));
    for (const std::string& line : lines)
        CHECK_MESSAGE(columns_of(line) <= 40, line);
    const auto has = [&](std::string_view start) {
        return std::ranges::any_of(
            lines, [&](const std::string& line) { return line.starts_with(start); });
    };
    CHECK(has("listeners"));
    CHECK(has("hello tc"));
    CHECK(has("limits"));
}

TEST_CASE("rates have seven characters, however short the time between two samples") {
    StatusFigures now = figures();
    StatusFigures before = now;
    now.start_time = before.start_time = 0;
    before.time = 0;
    now.time = 1e-300;
    before.listeners[0].accepted = 0;
    CHECK(contains(text_of(now, &before), " 1.0e+99 "));
}

TEST_CASE("listeners stay distinct: a long address has its own line") {
    StatusFigures now = figures();
    now.listeners[0].address = "tcp://[fe80::1111:2222:3333:4444%a-long-link]:7001";
    now.listeners[1].address = "udp://[fe80::1111:2222:9999:4444%a-long-link]:7001";
    CHECK(contains(text_of(now), R"(
listeners  open  came  came/s  in B/s  out B/s  refused
hello tcp://[fe80::1111:2222:3333:4444%a-long-link]:7001
              3    17                                 2
hello udp://[fe80::1111:2222:9999:4444%a-long-link]:7001
                  700                               100
)"));
    // If there is room, it is in its column.
    now.listeners[0].address = "tcp://[2001:db8::1:2]:7001";
    CHECK(contains(text_of(now), "\nhello tcp://[2001:db8::1:2]:7001     3    17 "));
}

TEST_CASE("there are no rates across two processes, nor of counts that shrank") {
    StatusFigures before = figures();
    before.time -= 1;
    before.listeners[0].accepted += 1;
    CHECK(contains(
        text_of(figures(), &before),
        "hello tcp://127.0.0.1:7001     3    17               0        0        2\n"));
    before.pid += 1;
    CHECK(text_of(figures(), &before) == text_of(figures()));
}

TEST_CASE("a screen shows as many lines as fit and the number of the others") {
    const std::vector<std::string> lines{"a", "b", "c"};
    CHECK(fit_rows(lines, 3) == lines);
    CHECK(fit_rows(lines, 0) == lines);
    CHECK(fit_rows(lines, 2) == std::vector<std::string>{"a", "... 2 more lines"});
    CHECK(fit_rows(lines, 1) == std::vector<std::string>{"... 3 more lines"});
}

TEST_CASE("a line is cut at the terminal's width, but not its colours") {
    CHECK(fit_columns("0123456789", 10) == "0123456789");
    CHECK(fit_columns("0123456789", 9) == "012345678");
    CHECK(fit_columns("\033[2mhead\033[0m", 4) == "\033[2mhead\033[0m");
    CHECK(fit_columns("\033[2mhead\033[0m", 2) == "\033[2mhe\033[0m");
    CHECK(fit_columns("ab\033[", 5) == "ab\033[");
    CHECK(fit_columns("", 5).empty());
}

TEST_CASE("an error is wrapped into lines, and escaped only once") {
    const std::vector<std::string> lines =
        error_lines("tcp://a: it does not speak HTTP: \"\\x1b\" " + std::string(300, 'x'), false);
    CHECK(lines.front() == "riposte: tcp://a: it does not speak HTTP: \"\\x1b\"");
    CHECK(lines.size() > 4);
    for (const std::string& line : lines)
        CHECK(columns_of(line) <= 80);
}

TEST_CASE("a bad document is refused with its first fault") {
    const auto fault = [](std::string_view text) {
        return riposte::client::read_status(text).error();
    };
    const auto replaced = [&](std::string_view what, std::string_view by) {
        std::string text = document;
        return text.replace(text.find(what), what.size(), by);
    };
    CHECK(fault("") == "it is not JSON: \"\"");
    CHECK(fault("\x1b{") == "it is not JSON: \"\\x1b{\"");
    CHECK(fault("[]") == "it is not an object");
    CHECK(fault(replaced("\"limits\":[", "\"limits\":[7,")) == "limits[0] is not an object");
    CHECK(
        fault(replaced("\"latency\":{", "\"latency\":1,\"x\":{")) ==
        "services[0].latency is not an object");
    CHECK(fault(replaced("\"pid\":4711", "\"pid\":1e999")).starts_with("it is not JSON"));
    CHECK(fault("{}") == "schema is missing");
    CHECK(
        fault(replaced("status/1", "status/2")) ==
        "its schema is \"riposte/status/2\", not riposte/status/1");
    CHECK(
        fault(replaced("\"accepted\":17", "\"accepted\":-1")) ==
        "listeners[0].accepted is not a whole number");
    CHECK(fault(replaced("\"accepted\":17,", "")) == "listeners[0].accepted is missing");
    CHECK(
        fault(replaced("\"p99\":2.5e-3", "\"p99\":\"fast\"")) ==
        "services[0].latency.p99 is not a number");
    CHECK(
        fault(replaced("\"accept_errors\":[]", "\"accept_errors\":{}")) ==
        "accept_errors is not a list");
    CHECK(fault(replaced("\"ok\":true", "\"ok\":1")) == "reload.ok is neither true nor false");
    CHECK(fault(std::string(100'000, '[')).starts_with("it is not JSON"));
}

TEST_CASE("the document for programs is one line of ASCII with the same contents") {
    CHECK(
        one_line("{\"z\":\"\xc2\x9b"
                 "2J\x7f\",\r\n \"a\" : 18446744073709551615}\n\n") ==
        "{\"z\":\"\\u009b2J\\u007f\",\"a\":18446744073709551615}\n");
}
