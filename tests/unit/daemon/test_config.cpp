#include "common/fd.h"
#include "daemon/config/config.h"
#include "tests/support/skip.h"

#include <algorithm>
#include <cstdlib>
#include <string>
#include <utility>
#include <vector>

#include <doctest/doctest.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

using namespace riposte;
using namespace std::string_literals;

namespace {

using Cases = std::vector<std::pair<std::string, std::string>>;

/// The message; every fault of a file has the same exit code and is one line.
std::string error_of(std::string_view toml) {
    const auto config = parse_config(toml, "riposted.toml");
    if (config)
        return "accepted";
    CHECK(config.error().exit == Exit::config);
    CHECK(config.error().message.find('\n') == std::string::npos);
    return config.error().message;
}

void check_errors(const Cases& cases) {
    for (const auto& [toml, message] : cases)
        CHECK(error_of(toml) == message);
}

Config parsed(std::string_view toml) {
    const auto config = parse_config(toml, "riposted.toml");
    REQUIRE_MESSAGE(config.has_value(), (config ? "" : config.error().message));
    return *config;
}

/// Equal in everything but origins, which are positions in the text.
void check_equal(const Config& a, const Config& b) {
    CHECK(a.backend == b.backend);
    CHECK(a.workers == b.workers);
    CHECK(a.busy_poll_us == b.busy_poll_us);
    CHECK(a.drain_timeout_ms == b.drain_timeout_ms);
    CHECK(a.log_level == b.log_level);
    CHECK(a.limits == b.limits);
    CHECK(a.datagrams == b.datagrams);
    CHECK(a.metrics == b.metrics);
    REQUIRE(a.listen.size() == b.listen.size());
    for (size_t i = 0; i < a.listen.size(); i++) {
        CHECK(a.listen[i].service == b.listen[i].service);
        CHECK(a.listen[i].addresses == b.listen[i].addresses);
        CHECK(a.listen[i].options == b.listen[i].options);
        CHECK(a.listen[i].acl == b.listen[i].acl);
        CHECK(a.listen[i].connections_max == b.listen[i].connections_max);
    }
}

std::string listen(std::string_view lines) {
    return fmt::format("[[listen]]\nservice = \"hello\"\n{}\n", lines);
}

std::string listen_with_message(size_t bytes) {
    return listen(fmt::format("address = \"a:1\"\nmessage = \"{}\"", std::string(bytes, 'x')));
}

/// A directory for the files of one test.
struct TemporaryDirectory {
    std::string path = "/tmp/riposte-config-XXXXXX";
    std::vector<std::string> files;

    TemporaryDirectory() { REQUIRE(mkdtemp(path.data()) != nullptr); }
    ~TemporaryDirectory() {
        for (const std::string& file : files)
            unlink(file.c_str());
        rmdir(path.c_str());
    }
    TemporaryDirectory(const TemporaryDirectory&) = delete;
    TemporaryDirectory& operator=(const TemporaryDirectory&) = delete;

    std::string write(std::string_view name, std::string_view content) {
        files.push_back(fmt::format("{}/{}", path, name));
        const Fd file(open(files.back().c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0600));
        REQUIRE(
            ::write(file.get(), content.data(), content.size()) ==
            static_cast<ssize_t>(content.size()));
        return files.back();
    }
};

} // namespace

TEST_CASE("the embedded default is hello on loopback, TCP and UDP") {
    const Config config = default_config();
    REQUIRE(config.listen.size() == 1);
    CHECK(config.listen[0].service == ServiceKind::hello);
    CHECK(
        config.listen[0].addresses ==
        std::vector<Endpoint>{
            {Transport::tcp, "127.0.0.1", 7001}, {Transport::udp, "127.0.0.1", 7001}});
    CHECK(config.listen[0].options.message == "Hello, i'm server!");
    CHECK(config.listen[0].origin == "default");
    CHECK(config.backend == BackendChoice::automatic);
    CHECK(config.workers == 1);
    CHECK(config.busy_poll_us == 0);
    CHECK(validate(config).has_value());
}

TEST_CASE("a file without listeners, or empty, is the embedded default") {
    check_equal(parsed(""), default_config());
    check_equal(parsed("# nothing\n"), default_config());
    Config two_workers = default_config();
    two_workers.workers = 2;
    check_equal(parsed("workers = 2"), two_workers);
}

TEST_CASE("every key of the documentation is read") {
    const Config config = parsed(R"(
backend = "epoll"
workers = 0
busy_poll = "50us"
drain_timeout = "250ms"
log_level = "debug"

[[listen]]
service = "hello"
address = ["tcp://127.0.0.1:7001", "udp://[::1]:7001"]
message = "Hi!"

[[listen]]
service = "echo"
address = "*:7"
connections = 1000

[limits]
connections = 100
connections_per_source = 10
source_prefix_ipv4 = 24
source_prefix_ipv6 = 56
when_full = "close_idle"
first_byte_timeout = 20
idle_timeout = 30
write_stall_timeout = 1.5
rate_min = 50
write_rate_min = 0
rate_window = "20s"
linger_timeout = "2m"
buffer_memory = "64MiB"
)");
    CHECK(config.backend == BackendChoice::epoll);
    CHECK(config.workers == 0);
    CHECK(config.busy_poll_us == 50);
    CHECK(config.drain_timeout_ms == 250);
    CHECK(config.log_level == LogLevel::debug);
    REQUIRE(config.listen.size() == 2);
    CHECK(config.listen[0].service == ServiceKind::hello);
    CHECK(
        config.listen[0].addresses ==
        std::vector<Endpoint>{{Transport::tcp, "127.0.0.1", 7001}, {Transport::udp, "::1", 7001}});
    CHECK(config.listen[0].options.message == "Hi!");
    CHECK(config.listen[0].origin == "riposted.toml:8:1");
    CHECK(config.listen[0].connections_max == connections_most);
    CHECK(config.listen[1].connections_max == 1000);
    CHECK(config.listen[1].service == ServiceKind::echo);
    CHECK(
        config.listen[1].addresses ==
        std::vector<Endpoint>{{Transport::tcp, "*", 7}, {Transport::udp, "*", 7}});
    CHECK(config.listen[1].origin == "riposted.toml:13:1");
    CHECK(
        config.limits == TcpLimits{
                             .connections_max = 100,
                             .connections_per_source_max = 10,
                             .source_prefix_ipv4_bits = 24,
                             .source_prefix_ipv6_bits = 56,
                             .when_full = WhenFull::close_idle,
                             .first_byte_timeout_ms = 20'000,
                             .idle_timeout_ms = 30'000,
                             .write_stall_timeout_ms = 1500,
                             .rate_min = 50,
                             .write_rate_min = 0,
                             .rate_window_ms = 20'000,
                             .linger_timeout_ms = 120'000,
                             .buffer_memory_bytes = 64 << 20});
}

TEST_CASE("values at the bounds of a range are accepted") {
    CHECK(parsed("workers = 256").workers == 256);
    CHECK(parsed("drain_timeout = 0").drain_timeout_ms == 0);
    CHECK(parsed("busy_poll = \"0\"").busy_poll_us == 0);
    CHECK(parsed("busy_poll = 0").busy_poll_us == 0);
    CHECK(parsed("busy_poll = \"1us\"").busy_poll_us == 1);
    CHECK(parsed("busy_poll = \"10ms\"").busy_poll_us == 10'000);
    CHECK(parsed("busy_poll = 0.01").busy_poll_us == 10'000);
    CHECK(parsed("limits.connections = 1").limits.connections_max == 1);
    CHECK(parsed("limits.connections = 1000000").limits.connections_max == 1'000'000);
    CHECK(parsed("limits.source_prefix_ipv4 = 0").limits.source_prefix_ipv4_bits == 0);
    CHECK(parsed("limits.source_prefix_ipv6 = 128").limits.source_prefix_ipv6_bits == 128);
    CHECK(parsed("limits.idle_timeout = \"1ms\"").limits.idle_timeout_ms == 1);
    CHECK(parsed(listen_with_message(1)).listen[0].options.message.size() == 1);
    CHECK(parsed(listen_with_message(1024)).listen[0].options.message.size() == 1024);
}

TEST_CASE("an unknown key is refused with the nearest known one") {
    check_errors({
        {"\n\nwokers = 2", "riposted.toml:3:1: unknown key 'wokers'; did you mean 'workers'?"},
        {"  Backend = 2", "riposted.toml:1:3: unknown key 'Backend'; did you mean 'backend'?"},
        {"colour = 2", "riposted.toml:1:1: unknown key 'colour'; it must be backend, workers, "
                       "busy_poll, drain_timeout, log_level, listen, limits, datagrams, "
                       "access_log or metrics"},
        {"[limit]\nconnections = 1", "riposted.toml:1:2: unknown key 'limit'; did you mean "
                                     "'limits'?"},
        {"[limits]\nidle_timout = 1", "riposted.toml:2:1: unknown key 'idle_timout' in [limits]; "
                                      "did you mean 'idle_timeout'?"},
        {"limits = { conections = 1 }", "riposted.toml:1:12: unknown key 'conections' in [limits]; "
                                        "did you mean 'connections'?"},
        {listen("adress = \"a:1\""), "riposted.toml:3:1: unknown key 'adress' in [[listen]]; did "
                                     "you mean 'address'?"},
        {listen("port = 1"), "riposted.toml:3:1: unknown key 'port' in [[listen]]; it must be "
                             "service, address, allow, deny, connections, message, "
                             "sequence, sessions_max, dscp, cos, location, clock, key_file, "
                             "keys, authenticated or twamp_light"},
        {"\"a\\nb\" = 1", "riposted.toml:1:1: unknown key 'a\\nb'; it must be backend, workers, "
                          "busy_poll, drain_timeout, log_level, listen, limits, datagrams, "
                          "access_log or metrics"},
    });
}

TEST_CASE("a key in the wrong section is refused with its own section") {
    check_errors({
        {"idle_timeout = 1",
         "riposted.toml:1:1: 'idle_timeout' does not belong here; put it under [limits]"},
        {"message = \"a\"",
         "riposted.toml:1:1: 'message' does not belong here; put it under [[listen]]"},
        {"[limits]\nworkers = 1",
         "riposted.toml:2:1: 'workers' does not belong here; put it before the first section"},
    });
}

TEST_CASE("a wrong type is refused naming both types") {
    check_errors({
        {"workers = \"4\"", "riposted.toml:1:11: 'workers' is a string; it must be an integer"},
        {"workers = 1.0", "riposted.toml:1:11: 'workers' is a float; it must be an integer"},
        {"backend = true", "riposted.toml:1:11: 'backend' is a boolean; it must be a string"},
        {"log_level = 6", "riposted.toml:1:13: 'log_level' is an integer; it must be a string"},
        {"drain_timeout = [1]", "riposted.toml:1:17: 'drain_timeout' is an array; it must be a "
                                "string like \"10s\", or a number of seconds"},
        {"drain_timeout = 10:00:00", "riposted.toml:1:17: 'drain_timeout' is a time; it must be a "
                                     "string like \"10s\", or a number of seconds"},
        {"limits = 1",
         "riposted.toml:1:10: 'limits' is an integer; it must be a table, written as [limits]"},
        {"[[limits]]\n", "riposted.toml:1:1: 'limits' is an array; it must be a table, written as "
                         "[limits]"},
        {"[limits]\nconnections = 2024-01-01",
         "riposted.toml:2:15: 'connections' is a date; it must be an integer"},
        {"listen = 7001", "riposted.toml:1:10: 'listen' is an integer; it must be an array of "
                          "tables, written as [[listen]]"},
        {"listen = [7001]", "riposted.toml:1:11: an element of 'listen' is an integer; it must be "
                            "a table, written as [[listen]]"},
        {"[listen]\nservice = \"echo\"",
         "riposted.toml:1:1: 'listen' is a table; write [[listen]] with two brackets"},
        {"[[listen]]\nservice = 1",
         "riposted.toml:2:11: 'service' is an integer; it must be a string"},
        {listen("address = 7001"), "riposted.toml:3:11: 'address' is an integer; it must be a "
                                   "string or an array of strings"},
        {listen("address = [\"a:1\",\n 7001]"),
         "riposted.toml:4:2: an address is an integer; it must be a string like "
         "\"tcp://127.0.0.1:7001\""},
        {listen("address = \"a:1\"\nmessage = 1"),
         "riposted.toml:4:11: 'message' is an integer; it must be a string"},
    });
}

TEST_CASE("numbers out of range are refused with the range") {
    check_errors({
        {"workers = -1", "riposted.toml:1:11: 'workers' is -1; it must be from 0 to 256"},
        {"workers = 257", "riposted.toml:1:11: 'workers' is 257; it must be from 0 to 256"},
        {"workers = 4294967297",
         "riposted.toml:1:11: 'workers' is 4294967297; it must be from 0 to 256"},
        {"[limits]\nconnections = 0",
         "riposted.toml:2:15: 'connections' is 0; it must be from 1 to 1000000"},
        {"[limits]\nconnections = 1000001",
         "riposted.toml:2:15: 'connections' is 1000001; it must be from 1 to 1000000"},
        {"[limits]\nconnections_per_source = -9223372036854775808",
         "riposted.toml:2:26: 'connections_per_source' is -9223372036854775808; it must be from "
         "1 to 1000000"},
        {listen("address = \"a:1\"\nconnections = 0"),
         "riposted.toml:4:15: 'connections' is 0; it must be from 1 to 1000000"},
        {"[limits]\nsource_prefix_ipv4 = 33",
         "riposted.toml:2:22: 'source_prefix_ipv4' is 33; it must be from 0 to 32"},
        {"[limits]\nsource_prefix_ipv6 = 129",
         "riposted.toml:2:22: 'source_prefix_ipv6' is 129; it must be from 0 to 128"},
    });
}

TEST_CASE("a bad duration is refused with the key and a correct example") {
    check_errors({
        {"drain_timeout = \"10x\"", "riposted.toml:1:17: drain_timeout: '10x' has the unknown unit "
                                    "'x'; the units are ms, s, m or h"},
        {"drain_timeout = -5", "riposted.toml:1:17: drain_timeout: '-5' is negative; write a "
                               "duration like 250ms, 10s or 2m"},
        {"drain_timeout = -0.5", "riposted.toml:1:17: drain_timeout: '-0.5' is negative; write a "
                                 "duration like 250ms, 10s or 2m"},
        {"drain_timeout = inf", "riposted.toml:1:17: drain_timeout: 'inf' is not a duration; write "
                                "a number with a unit, like 250ms, 10s or 2m"},
        {"drain_timeout = \"\"", "riposted.toml:1:17: drain_timeout: the duration is empty; write "
                                 "one like 250ms, 10s or 2m"},
        {"[limits]\nidle_timeout = 0.0001", "riposted.toml:2:16: idle_timeout: '0.0001' is finer "
                                            "than a millisecond; write whole milliseconds"},
        {"[limits]\nidle_timeout = 9999999999",
         "riposted.toml:2:16: idle_timeout: '9999999999' is too long; the longest is "
         "2147483647ms (24 days)"},
        {"[limits]\nidle_timeout = 0",
         "riposted.toml:2:16: 'idle_timeout' is 0s; it must be at least 1ms"},
        {"[limits]\nwrite_stall_timeout = \"0ms\"",
         "riposted.toml:2:23: 'write_stall_timeout' is 0s; it must be at least 1ms"},
        {"[limits]\nlinger_timeout = 0.0",
         "riposted.toml:2:18: 'linger_timeout' is 0s; it must be at least 1ms"},
    });
}

TEST_CASE("a busy_poll that is not a duration, too fine or too long is refused") {
    check_errors({
        {"busy_poll = \"50 us\"", "riposted.toml:1:13: busy_poll: '50 us' has the unknown unit "
                                  "' us'; the units are us, ms, s, m or h"},
        {"busy_poll = \"0.5us\"", "riposted.toml:1:13: busy_poll: '0.5us' is finer than a "
                                  "microsecond; write whole microseconds"},
        {"busy_poll = -1", "riposted.toml:1:13: busy_poll: '-1' is negative; write a duration like "
                           "200us, 10ms or 1s"},
        {"busy_poll = true", "riposted.toml:1:13: 'busy_poll' is a boolean; it must be a string "
                             "like \"50us\", or a number of seconds"},
        {"\n  busy_poll = \"10001us\"",
         "riposted.toml:2:15: 'busy_poll' is 10001us; it must be at most 10ms"},
        {"busy_poll = 50", "riposted.toml:1:13: 'busy_poll' is 50s; it must be at most 10ms"},
        {"[limits]\nbusy_poll = \"50us\"", "riposted.toml:2:1: 'busy_poll' does not belong here; "
                                           "put it before the first section"},
    });
}

TEST_CASE("an unknown word is refused with the nearest known one, or with all") {
    check_errors({
        {"backend = \"epol\"", "riposted.toml:1:11: unknown backend 'epol'; did you mean 'epoll'?"},
        {"backend = \"kqueue\"",
         "riposted.toml:1:11: unknown backend 'kqueue'; it must be auto, io_uring or epoll"},
        {"log_level = \"warn\"",
         "riposted.toml:1:13: unknown log level 'warn'; it must be error, warning, info or "
         "debug"},
        {"log_level = \"INFO\"",
         "riposted.toml:1:13: unknown log level 'INFO'; did you mean 'info'?"},
        {"[[listen]]\nservice = \"helo\"",
         "riposted.toml:2:11: unknown service 'helo'; did you mean 'hello'?"},
        {"[[listen]]\nservice = \"\"",
         "riposted.toml:2:11: unknown service ''; it must be hello, echo, discard, daytime, "
         "chargen, time or stamp"},
    });
}

TEST_CASE("the error of a bad address has its position inside the string") {
    check_errors({
        {listen("address = \"tcp://127.0.0.1:70001\""),
         "riposted.toml:3:28: port 70001 is out of range; write a number from 0 to 65535"},
        {listen("address = 'http://a:1'"),
         "riposted.toml:3:12: unknown scheme 'http'; use tcp:// or udp://"},
        {listen("address = [\"tcp://a:1\", \"udp://b\"]"),
         "riposted.toml:3:33: the port is missing; write ':' and a number from 0 to 65535"},
        {listen("address = [\r\n  \"a:x\"]"),
         "riposted.toml:4:6: 'x' is not a port; write a number from 0 to 65535"},
        {listen("# \xc3\xa9\xc3\xa9\naddress = [ \"a:1\", \"b\xc3\xa9:1\" ]"),
         "riposted.toml:4:22: a host name cannot contain '\\xc3'; write a name, an IPv4 address "
         "or [IPv6]"},
        {listen("address = \"\""),
         "riposted.toml:3:12: the address is empty; write one like tcp://127.0.0.1:7001"},
    });
}

TEST_CASE("the error of a bad address that is not verbatim has the position of its string") {
    check_errors({
        {listen("address = \"a\\u003ax\""),
         "riposted.toml:3:11: 'x' is not a port; write a number from 0 to 65535"},
        {listen("address = '''\na:x'''"),
         "riposted.toml:3:11: 'x' is not a port; write a number from 0 to 65535"},
    });
}

TEST_CASE("an incomplete section is refused, and so is an empty one") {
    check_errors({
        {"[[listen]]\naddress = \"a:1\"",
         "riposted.toml:1:1: [[listen]] lacks 'service'; it must be hello, echo, discard, "
         "daytime, chargen, time or stamp"},
        {"\n [[listen]]\nservice = \"echo\"",
         "riposted.toml:2:2: [[listen]] lacks 'address'; add one like \"tcp://127.0.0.1:7001\""},
        {listen("address = []"), "riposted.toml:3:11: 'address' is empty; write at least one, like "
                                 "\"tcp://127.0.0.1:7001\""},
        {"listen = []",
         "riposted.toml:1:10: 'listen' is empty; add an address, or leave it out for "
         "the default"},
    });
}

TEST_CASE("a message is 1 to 1024 bytes, and only hello has one") {
    check_errors({
        {listen_with_message(0),
         "riposted.toml:4:11: 'message' has 0 bytes; it must have from 1 to 1024"},
        {listen_with_message(1025),
         "riposted.toml:4:11: 'message' has 1025 bytes; it must have from 1 to 1024"},
        {"[[listen]]\nmessage = \"a\"\nservice = \"echo\"\naddress = \"a:1\"",
         "riposted.toml:2:11: 'message' is for the service hello; echo has none, remove it"},
    });
}

TEST_CASE("a duplicate address is refused with both positions") {
    const auto pair = [](std::string_view a, std::string_view b) {
        return fmt::format(
            "[[listen]]\nservice = \"echo\"\naddress = \"{}\"\n"
            "[[listen]]\nservice = \"time\"\naddress = \"{}\"\n",
            a, b);
    };
    check_errors({
        {pair("127.0.0.1:7", "udp://127.0.0.1:7"),
         "riposted.toml:4:1: udp://127.0.0.1:7 is already listened on at riposted.toml:1:1; "
         "remove one"},
        {pair("tcp://[::1]:7", "tcp://[0:0::1]:7"),
         "riposted.toml:4:1: tcp://[0:0::1]:7 is already listened on at riposted.toml:1:1; "
         "remove one"},
        {pair("tcp://Host.example:7", "tcp://host.EXAMPLE.:7"),
         "riposted.toml:4:1: tcp://host.EXAMPLE.:7 is already listened on at riposted.toml:1:1; "
         "remove one"},
        {pair("tcp://*:7", "tcp://[::]:7"),
         "riposted.toml:4:1: tcp://[::]:7 is already listened on at riposted.toml:1:1; remove "
         "one"},
        {listen("address = [\"tcp://a:1\", \"tcp://a:1\"]"),
         "riposted.toml:1:1: tcp://a:1 is listed twice; remove one"},
    });
    CHECK(error_of(pair("tcp://127.0.0.1:7", "udp://127.0.0.1:7")) == "accepted");
    CHECK(error_of(pair("tcp://127.0.0.1:7", "tcp://127.0.0.2:7")) == "accepted");
    CHECK(error_of(pair("tcp://[fe80::1%a]:7", "tcp://[fe80::1%b]:7")) == "accepted");
}

TEST_CASE("port 0 is a free port each time, never a duplicate") {
    CHECK(
        error_of(listen("address = [\"tcp://127.0.0.1:0\", \"tcp://127.0.0.1:0\"]")) == "accepted");
}

TEST_CASE("the number of addresses is bounded") {
    const auto many = [](size_t count) {
        std::string addresses;
        for (size_t i = 0; i < count; i++)
            addresses += fmt::format("\"tcp://a:{}\",", i + 1);
        return listen(fmt::format("address = [{}]", addresses));
    };
    CHECK(error_of(many(1024)) == "accepted");
    CHECK(
        error_of(many(1025)) ==
        "riposted.toml:1:1: more than 1024 addresses to listen on; configure fewer");
}

TEST_CASE("a configuration without listeners is not valid") {
    const auto valid = validate(Config{});
    REQUIRE(!valid.has_value());
    CHECK(valid.error().exit == Exit::config);
    CHECK(valid.error().message == "nothing to listen on; add a [[listen]] section or --listen");
}

TEST_CASE("a syntax error is one line with its position") {
    // The text between is toml++'s own and differs by its version.
    const std::vector<std::pair<std::string, std::string>> cases{
        {"workers 3", "riposted.toml:1:9: bad "},
        {"workers = 1\nbackend = \"epoll\n", "riposted.toml:2:17: bad string: "},
        {"workers = 1\nworkers = 2\n", "riposted.toml:2:"},
        {"[[listen]\n", "riposted.toml:1:10: bad table header: "},
        {"workers = 1 2", "riposted.toml:1:13: bad "},
        {"backend = \"\\q\"", "riposted.toml:1:13: bad string: "},
        {"\xff\xfe", "riposted.toml:1:1: bad TOML: "},
    };
    for (const auto& [toml, beginning] : cases) {
        const std::string message = error_of(toml);
        CAPTURE(message);
        CHECK(message.starts_with(beginning));
        CHECK(message.ends_with("; see riposted.toml(5)"));
        CHECK(message.find("Error") == std::string::npos);
    }
}

TEST_CASE("a syntax error quotes no control characters, and a bounded part of the text") {
    for (const char* character : {"\xc2\x9b", "\xe2\x80\xae", "\x7f", "\x1b"}) {
        const auto config = parse_config(fmt::format("\"a\"{} = 1", character), "riposted.toml");
        REQUIRE_FALSE(config.has_value());
        const std::string& message = config.error().message;
        CAPTURE(message);
        CHECK(message.starts_with("riposted.toml:1:4: bad "));
        CHECK(std::ranges::all_of(message, [](char c) { return c >= ' ' && c <= '~'; }));
    }
    const std::string line = std::string(100'000, 'a') + " = 1\n";
    const auto twice = parse_config(line + line, "riposted.toml");
    REQUIRE_FALSE(twice.has_value());
    CHECK(twice.error().message.size() < 400);
    CHECK(twice.error().message.ends_with("aaa...; see riposted.toml(5)"));
}

TEST_CASE("the first fault in the file is the one reported") {
    CHECK(error_of("workers = -1\nbackend = \"x\"").starts_with("riposted.toml:1:11: "));
    CHECK(error_of("backend = \"x\"\nworkers = -1").starts_with("riposted.toml:1:11: "));
    CHECK(error_of("[limits]\nlinger_timeout = 0\nconnections = 0")
              .starts_with("riposted.toml:2:18: "));
}

TEST_CASE("the default prints as the file of the documentation") {
    CHECK(print_config(default_config()) == R"(backend = "auto"
workers = 1
busy_poll = "0s"
drain_timeout = "5s"
log_level = "info"

[[listen]]
service = "hello"
address = ["tcp://127.0.0.1:7001", "udp://127.0.0.1:7001"]
allow = []
deny = []
connections = 1000000
message = "Hello, i'm server!"

[limits]
connections = 8192
connections_per_source = 1024
source_prefix_ipv4 = 32
source_prefix_ipv6 = 64
when_full = "refuse"
first_byte_timeout = "30s"
idle_timeout = "1m"
write_stall_timeout = "10s"
rate_min = 0
write_rate_min = 100
rate_window = "10s"
linger_timeout = "5s"
buffer_memory = "128MiB"

[datagrams]
prefix_ipv4 = 24
prefix_ipv6 = 56
rate_per_prefix = 5000
bytes_per_prefix = "8MiB"
rate = 100000
bytes = "128MiB"
rate_exempt = ["127.0.0.0/8", "::1"]
port_exempt = []
longer_answers_to = ["127.0.0.0/8", "::1"]

[access_log]
connections = false
datagrams_every = 0
rate = 100
bytes = 32

[metrics]
listen = []
)");
}

TEST_CASE("'allow' and 'deny' are one prefix or several") {
    const auto listen = [](std::string_view lists) {
        return parsed(fmt::format("[[listen]]\nservice = \"echo\"\naddress = \"*:7\"\n{}\n", lists))
            .listen[0];
    };
    CHECK(listen("").acl == AclConfig{});
    CHECK(listen("allow = []\ndeny = []").acl == AclConfig{});
    const AclConfig acl = listen("allow = [\"10.0.0.0/8\", \"::1\"]\ndeny = \"10.1.2.3\"").acl;
    CHECK(acl.allow == std::vector{*parse_cidr("10.0.0.0/8"), *parse_cidr("::1")});
    CHECK(acl.deny == std::vector{*parse_cidr("10.1.2.3")});
}

TEST_CASE("a bad prefix is refused at its position") {
    const auto error = [](std::string_view line) {
        return error_of(
            fmt::format("[[listen]]\nservice = \"echo\"\naddress = \"*:7\"\n{}\n", line));
    };
    CHECK(
        error("allow = 7") ==
        "riposted.toml:4:9: 'allow' is an integer; it must be a string or an array of strings");
    CHECK(
        error("deny = [\"::1\", true]") ==
        "riposted.toml:4:16: an element of 'deny' is a boolean; it must be a string like "
        "\"192.0.2.0/24\"");
    CHECK(error("allow = [\"10.0.0.0/33\"]").starts_with("riposted.toml:4:19: "));
    CHECK(error("deny = \"fe80::1%eth0\"").starts_with("riposted.toml:4:16: "));
    CHECK(
        error_of("allow = []") ==
        "riposted.toml:1:1: 'allow' does not belong here; put it under [[listen]]");
}

TEST_CASE("the printed configuration reads back to an equal one") {
    Config config;
    config.metrics.listen = {{.path = "/run/a b"}};
    config.datagrams = {
        .prefix_ipv4_bits = 16,
        .prefix_ipv6_bits = 128,
        .rate_per_prefix = 1,
        .bytes_per_prefix = 65'537,
        .rate = 1'000'000'000,
        .bytes = uint64_t{16} << 30,
        .rate_exempt = {},
        .port_exempt = {*parse_cidr("192.0.2.0/24"), *parse_cidr("2001:db8::/32")},
        .longer_answers_to = {*parse_cidr("198.51.100.0/24")}};
    config.backend = BackendChoice::io_uring;
    config.workers = 0;
    config.busy_poll_us = 50;
    config.drain_timeout_ms = 0;
    config.log_level = LogLevel::warning;
    config.limits = {
        .connections_max = 1,
        .connections_per_source_max = 2,
        .source_prefix_ipv4_bits = 0,
        .source_prefix_ipv6_bits = 128,
        .when_full = WhenFull::close_idle,
        .first_byte_timeout_ms = 4,
        .idle_timeout_ms = 3,
        .write_stall_timeout_ms = 2147483647,
        .rate_min = 1'000'000'000,
        .write_rate_min = 1,
        .rate_window_ms = 1,
        .linger_timeout_ms = 7'200'000,
        .buffer_memory_bytes = 3 << 20};
    uint16_t port = 1;
    for (const ServiceKind kind :
         {ServiceKind::hello, ServiceKind::echo, ServiceKind::discard, ServiceKind::daytime,
          ServiceKind::chargen, ServiceKind::time})
        config.listen.push_back(
            {.service = kind,
             .addresses =
                 {{Transport::tcp, "*", port++},
                  {Transport::udp, "fe80::1%eth0", port++},
                  {Transport::tcp, "localhost", 0}},
             .acl =
                 {.allow = {*parse_cidr("192.0.2.0/24"), *parse_cidr("2001:db8::/32")},
                  .deny = {*parse_cidr("192.0.2.66")}},
             .connections_max = 5,
             .origin = ""});
    config.listen.push_back(
        {.service = ServiceKind::stamp,
         .addresses = {{Transport::udp, "*", 862}},
         .options =
             {.stamp =
                  {.sequence = StampSequence::copy,
                   .sessions_max = 7,
                   .dscp = 46,
                   .cos = {0, 46, 63},
                   .location = StampLocation::source,
                   .key_file = "all.key",
                   .keys = {{.ssid = 1, .file = "/etc/a key"}, {.ssid = 65535, .file = "b"}},
                   .authenticated = StampAuthentication::accepted}},
         .twamp_light = {*parse_cidr("192.0.2.0/24")},
         .origin = ""});
    check_equal(parsed(print_config(config)), config);
}

TEST_CASE("a message with quotes, controls or letters beyond ASCII reads back to itself") {
    for (const std::string& message :
         {"\"quoted\" and 'quoted'"s, "back\\slash \\n \\u0041"s, "two\nlines\r\n\tand a tab"s,
          "gr\xc3\xbc\xc3\x9f \xf0\x9f\x91\x8b"s, "nul \0 bell \a escape \x1b delete \x7f"s,
          "# no comment"s, "\"\"\""s}) {
        Config config = default_config();
        config.listen[0].options.message = message;
        const std::string printed = print_config(config);
        CAPTURE(printed);
        CHECK(parsed(printed).listen[0].options.message == message);
    }
}

TEST_CASE("a file is read by its path, and its errors name the path") {
    TemporaryDirectory directory;
    const auto good = load_config(directory.write("good.toml", "workers = 3\n"));
    REQUIRE(good.has_value());
    CHECK(good->workers == 3);

    const std::string path = directory.write("bad.toml", "wokers = 3\n");
    const auto bad = load_config(path);
    REQUIRE(!bad.has_value());
    CHECK(bad.error().exit == Exit::config);
    CHECK(bad.error().message == path + ":1:1: unknown key 'wokers'; did you mean 'workers'?");
}

TEST_CASE("a file that cannot be read is refused with the reason") {
    TemporaryDirectory directory;
    const std::string missing = directory.path + "/missing.toml";
    auto config = load_config(missing);
    REQUIRE(!config.has_value());
    CHECK(config.error().exit == Exit::config);
    CHECK(
        config.error().message ==
        "cannot read " + missing + ": No such file or directory; name a TOML file with -c");

    config = load_config(directory.path);
    REQUIRE(!config.has_value());
    CHECK(config.error().exit == Exit::config);
    CHECK(
        config.error().message ==
        "cannot read " + directory.path + ": Is a directory; name a TOML file with -c");

    CHECK(load_config(directory.write("full.toml", std::string(1024 * 1024, '\n'))).has_value());
    const std::string large = directory.write("large.toml", std::string(1024 * 1024 + 1, '\n'));
    config = load_config(large);
    REQUIRE(!config.has_value());
    CHECK(config.error().exit == Exit::config);
    CHECK(
        config.error().message ==
        "cannot read " + large + ": larger than 1MiB; name a TOML file with -c");

    const std::string pipe = directory.path + "/pipe.toml";
    REQUIRE(::mkfifo(pipe.c_str(), 0600) == 0);
    for (const std::string& path : {pipe, std::string("/dev/zero"), std::string("/dev/tty")}) {
        config = load_config(path); // and the daemon does not block
        REQUIRE(!config.has_value());
        CHECK(config.error().exit == Exit::config);
        if (path != "/dev/tty") // it does not exist without a terminal
            CHECK(
                config.error().message ==
                "cannot read " + path + ": not a regular file; name a TOML file with -c");
    }
}

TEST_CASE("a file that changed a moment ago may change again") {
    constexpr int64_t now = 1'700'000'000'000'000'000;
    constexpr int64_t ms = 1'000'000;
    CHECK(is_just_written(now, now));
    CHECK(is_just_written(now - 249 * ms, now));
    CHECK_FALSE(is_just_written(now - 250 * ms, now));
    CHECK(is_just_written(now + 1'999 * ms, now));
    CHECK_FALSE(is_just_written(now + 2'000 * ms, now));
    CHECK_FALSE(is_just_written("/nonexistent/a.toml"));
}

TEST_CASE("only the default listeners are recognised as the default") {
    CHECK(has_default_listeners(default_config()));
    CHECK(has_default_listeners(parsed("workers = 3\n")));
    CHECK_FALSE(has_default_listeners(
        parsed("[[listen]]\nservice = 'hello'\naddress = '127.0.0.1:7001'\n")));
}

TEST_CASE("a file that the daemon may not read is an error of permission") {
    constexpr uid_t nobody = 65534;
    TemporaryDirectory directory;
    const std::string path = directory.write("secret.toml", "workers = 3\n");
    REQUIRE(chmod(path.c_str(), 0) == 0);
    const uid_t user = geteuid();
    if (user == 0 && seteuid(nobody) != 0) // root reads everything
        SKIP("seteuid: cannot become another user");
    const auto config = load_config(path);
    REQUIRE(seteuid(user) == 0);
    REQUIRE(!config.has_value());
    CHECK(config.error().exit == Exit::permission);
    CHECK(
        config.error().message ==
        "cannot read " + path + ": Permission denied; let the daemon's user read it");
}
