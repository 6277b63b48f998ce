#include "daemon/config/config.h"
#include "daemon/telemetry/access_log.h"
#include "tests/support/child.h"

#include <functional>
#include <source_location>
#include <string>
#include <string_view>

#include <doctest/doctest.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <sys/mman.h>
#include <unistd.h>

using namespace riposte;

namespace {

/// The lines that `body` wrote to the log, at the level info.
std::string log_of(const std::function<void()>& body) {
    return test::in_child([&] {
        test::forget_service_manager();
        const int file = ::memfd_create("stderr", 0);
        ::fcntl(file, F_SETFL, O_APPEND);
        ::dup2(file, STDERR_FILENO);
        log::open(log::Sink::prefixed);
        body();
        std::string text(1 << 20, '\0');
        const ssize_t size = ::pread(file, text.data(), text.size(), 0);
        text.resize(size > 0 ? static_cast<size_t>(size) : 0);
        return text;
    });
}

/// For log_of(), where a CHECK would fail in another process.
void expect(bool holds, std::source_location where = std::source_location::current()) {
    if (!holds)
        ::dprintf(STDERR_FILENO, "line %u does not hold\n", where.line());
}

std::span<const std::byte> bytes_of(std::string_view text) {
    return std::as_bytes(std::span(text));
}

AccessPeer peer() {
    static const SocketAddress address = [] {
        SocketAddress made{};
        auto& ipv4 = reinterpret_cast<sockaddr_in&>(made.storage);
        ipv4.sin_family = AF_INET;
        ipv4.sin_port = htons(50'000);
        ipv4.sin_addr.s_addr = htonl(0xc0000201);
        made.size = sizeof ipv4;
        return made;
    }();
    return {.address = address, .listener = "echo on tcp://*:7", .service = ServiceKind::echo};
}

constexpr std::string_view log_head = "<6>access: 192.0.2.1:50000 (echo on tcp://*:7): ";

std::string line(std::string_view rest) {
    return std::string(log_head) + std::string(rest) + "\n";
}

/// "0123": which of these datagrams are logged if they arrive in such parts.
std::string sampled(uint32_t every, std::initializer_list<uint32_t> trains) {
    AccessLog log;
    log.set({.datagrams_every = every}, 0);
    std::string told;
    uint32_t before = 0;
    for (const uint32_t count : trains) {
        for (uint32_t i = log.first_sample(count); i < count; i += log.datagrams_every())
            told += std::to_string(before + i) + ' ';
        before += count;
    }
    return told;
}

} // namespace

TEST_CASE("a connection is logged once, with the bytes that it sent and read, and how it ended") {
    CHECK(log_of([] {
              AccessLog log;
              log.set({.connections = true}, 2);
              log.opened(1, 1000);
              log.received(1, bytes_of("hello,"));
              log.received(1, bytes_of(" you"));
              log.sent(1, 7);
              log.sent(1, 3);
              log.ended(1, peer(), "finished", 3045);
              expect(!log.told_of(1));
              log.received(1, bytes_of("late"));
          }) == line("10 bytes in, 10 out, 2.045 s, finished: \"hello, you\""));
}

TEST_CASE("the first bytes of a connection are shown, escaped, however they arrive") {
    const std::string text = log_of([] {
        AccessLog log;
        log.set({.connections = true, .bytes = 5}, 3);
        for (uint32_t slot = 0; slot < 3; ++slot)
            log.opened(slot, 0);
        for (int i = 0; i < 3; ++i) {
            log.received(0, bytes_of("\x1b\n\""));
            log.received(1, bytes_of("abcde"));
        }
        log.received(2, bytes_of("12345"));
        for (uint32_t slot = 0; slot < 3; ++slot)
            log.ended(slot, peer(), "finished", 0);
    });
    CHECK(
        text == line("9 bytes in, 0 out, 0.000 s, finished: \"\\x1b\\n\\\"\\x1b\\n...\"") +
                    line("15 bytes in, 0 out, 0.000 s, finished: \"abcde...\"") +
                    line("5 bytes in, 0 out, 0.000 s, finished: \"12345\""));
}

TEST_CASE("no bytes are shown if none are requested") {
    CHECK(
        log_of([] {
            AccessLog log;
            log.set({.connections = true, .datagrams_every = 1, .bytes = 0}, 1);
            log.opened(0, 0);
            log.received(0, bytes_of("secret"));
            log.ended(0, peer(), "finished", 0);
            log.datagram(peer(), bytes_of("secret"), false, 0);
            log.datagram(peer(), {}, true, 0);
        }) == line("6 bytes in, 0 out, 0.000 s, finished: \"...\"") +
                  line("datagram of 6 bytes, served: \"...\"") +
                  line("datagram of 0 bytes, refused: \"\""));
}

TEST_CASE("the first noted reason is how the connection ended") {
    CHECK(
        log_of([] {
            AccessLog log;
            log.set({.connections = true}, 1);
            log.opened(0, 0);
            log.note(0, "idle");
            log.note(0, "drained");
            log.ended(0, peer(), "finished", 1);
            log.opened(0, 1); // nothing is left of the previous one
            log.ended(0, peer(), "finished", 1);
        }) == line("0 bytes in, 0 out, 0.001 s, idle: \"\"") +
                  line("0 bytes in, 0 out, 0.000 s, finished: \"\""));
}

TEST_CASE(
    "while off nothing is logged, nor are connections opened meanwhile after it is switched on") {
    CHECK(log_of([] {
              AccessLog log;
              log.set({}, 4);
              log.opened(0, 0);
              expect(!log.told_of(0));
              expect(log.first_sample(7) == 7);
              log.set({.connections = true}, 4);
              expect(!log.told_of(0));
              log.opened(1, 0);
              log.grow(100); // keeps the records
              expect(log.told_of(1));
              log.opened(99, 0);
              log.set({.connections = true, .rate = 5}, 100);
              expect(log.told_of(1));
              log.set({}, 100);
              expect(!log.told_of(1));
              expect(!log.told_of(99));
          }).empty());
}

TEST_CASE("every Nth datagram is logged, however they arrive together") {
    CHECK(sampled(0, {1, 5, 1000}).empty());
    CHECK(sampled(1, {1, 3}) == "0 1 2 3 ");
    CHECK(sampled(3, {1, 1, 1, 1, 1, 1, 1}) == "2 5 ");
    CHECK(sampled(3, {7, 2, 0, 1}) == "2 5 8 ");
    CHECK(sampled(10, {9, 11, 1, 64}) == "9 19 29 39 49 59 69 79 ");
    CHECK(sampled(1'000'000'000, {64, 64}).empty());
}

TEST_CASE("at most the rate is written, and the number of dropped lines a second later") {
    const std::string text = log_of([] {
        AccessLog log;
        log.set({.datagrams_every = 1, .rate = 2}, 0);
        expect(log.next_ms() == TimerWheel::never);
        for (int i = 0; i < 10; ++i)
            log.datagram(peer(), bytes_of("x"), false, 5000);
        expect(log.next_ms() == 6000);
        log.expire(5999);
        log.expire(6000);
        expect(log.next_ms() == TimerWheel::never);
        log.expire(7000);
        for (int i = 0; i < 3; ++i)
            log.datagram(peer(), bytes_of("y"), false, 6000);
        log.tell_left_out();
        log.tell_left_out();
    });
    const std::string x = line("datagram of 1 bytes, served: \"x\"");
    const std::string y = line("datagram of 1 bytes, served: \"y\"");
    CHECK(text == x + x + "<6>access: 8 lines left out\n" + y + y + "<6>access: 1 line left out\n");
}

TEST_CASE("at the level warning nothing is written, and nothing counts as dropped") {
    CHECK(log_of([] {
              AccessLog log;
              log.set({.connections = true, .datagrams_every = 1, .rate = 1}, 1);
              log::set_level(LogLevel::warning);
              for (int i = 0; i < 3; ++i) {
                  log.opened(0, 0);
                  log.ended(0, peer(), "finished", 0);
                  log.datagram(peer(), {}, false, 0);
              }
              log::set_level(LogLevel::info);
              log.tell_left_out();
          }).empty());
}

TEST_CASE("each worker has its share of the rate, and at least one line a second") {
    CHECK(worker_share(AccessLogConfig{.rate = 100}, 4).rate == 25);
    CHECK(worker_share(AccessLogConfig{.rate = 3}, 4).rate == 1);
    CHECK(worker_share(AccessLogConfig{.connections = true, .bytes = 7}, 2).bytes == 7);
}

// The section [access_log].

namespace {

std::string refused_access_log(std::string_view toml) {
    const auto config = parse_config("[access_log]\n" + std::string(toml), "riposted.toml");
    REQUIRE_FALSE(config.has_value());
    CHECK(config.error().exit == Exit::config);
    return config.error().message;
}

} // namespace

TEST_CASE("every key of [access_log] is read, and printed as read") {
    const auto config = parse_config(
        "[access_log]\nconnections = true\ndatagrams_every = 1000\nrate = 20\nbytes = 0\n", "f");
    REQUIRE(config);
    CHECK(
        config->access_log ==
        AccessLogConfig{.connections = true, .datagrams_every = 1000, .rate = 20, .bytes = 0});
    const auto again = parse_config(print_config(*config), "printed");
    REQUIRE(again);
    CHECK(again->access_log == config->access_log);
    CHECK(parse_config("[access_log]\n", "f")->access_log == AccessLogConfig{});
    CHECK_FALSE(default_config().access_log.connections);
    CHECK(default_config().access_log.datagrams_every == 0);
}

TEST_CASE("a fault in [access_log] is refused at its position") {
    CHECK(
        refused_access_log("connections = 1") ==
        "riposted.toml:2:15: 'connections' is an integer; it must "
        "be true or false");
    CHECK(
        refused_access_log("\nrate = 0") ==
        "riposted.toml:3:8: 'rate' is 0; it must be from 1 to 100000");
    CHECK(
        refused_access_log("bytes = 257") ==
        "riposted.toml:2:9: 'bytes' is 257; it must be from 0 to 256");
    CHECK(
        refused_access_log("datagrams_every = -1") ==
        "riposted.toml:2:19: 'datagrams_every' is -1; it must be from 0 to 1000000000");
    CHECK(
        refused_access_log("datagram_every = 1") ==
        "riposted.toml:2:1: unknown key 'datagram_every' in "
        "[access_log]; did you mean 'datagrams_every'?");
    CHECK(
        refused_access_log("idle_timeout = 1") ==
        "riposted.toml:2:1: 'idle_timeout' does not belong here; put it under [limits]");
    const auto config = parse_config("access_log = true", "riposted.toml");
    REQUIRE_FALSE(config.has_value());
    CHECK(
        config.error().message == "riposted.toml:1:14: 'access_log' is a boolean; it must be a "
                                  "table, written as [access_log]");
}
