// The prober's configuration: what is read, and that each fault names file, line, key and remedy.
#include "client/probe/probe_config.h"

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <doctest/doctest.h>

using namespace riposte;
using namespace riposte::client;

namespace {

ProbeConfig config_of(std::string_view text) {
    auto config = parse_probe_config(text, "probe.toml");
    REQUIRE_MESSAGE(config.has_value(), config.error().message);
    return *config;
}

std::string config_fault(std::string_view text) {
    const auto config = parse_probe_config(text, "probe.toml");
    return config ? "" : config.error().message;
}

} // namespace

TEST_CASE("every key of a prober's configuration is read") {
    const ProbeConfig config = config_of(R"(
[probe]
interval = "100ms"
timeout = 1
transport = ["udp"]
payload = 100
dscp = 46
self = "a:7"
neighbours = 20
per_group = { label = "rack", count = 2 }
resolve_every = "5s"
grace = "1m"
[paths]
source_ports = "41000-41063"
rotate = false
[[discover]]
file = "/etc/riposte/targets.d/*.json"
[[discover]]
file = "more.json"
[export]
group = ["site", "rack", "site"]
pair = "counters"
series_max = 1000
created = false
)");
    CHECK(config.pair == PairDetail::counters);
    CHECK(config.series_max == 1000);
    CHECK_FALSE(config.created);
    CHECK(config.interval_ms == 100);
    CHECK(config.timeout_ms == 1000);
    CHECK(config.payload_bytes == 100);
    CHECK(config.dscp == 46);
    CHECK(config.resolve_every_ms == 5000);
    CHECK(config.grace_ms == 60'000);
    CHECK(config.selection.self == "a:7");
    CHECK(config.selection.neighbours == 20);
    CHECK((config.selection.per_group == PerGroup{.label = "rack", .count = 2}));
    REQUIRE(config.source_ports.size() == 64);
    CHECK(config.source_ports.front() == 41000);
    CHECK(config.source_ports.back() == 41063);
    CHECK_FALSE(config.rotate);
    CHECK((config.files == std::vector<std::string>{"/etc/riposte/targets.d/*.json", "more.json"}));
    CHECK((config.group == std::vector<std::string>{"site", "rack"}));
    CHECK(config_of("").interval_ms == 1000);
    CHECK((config_of("[paths]\nsource_ports = 9").source_ports == std::vector<uint16_t>{9}));
}

TEST_CASE("a fault in a prober's configuration is one line that says where, what, and what to do") {
    const std::vector<std::pair<std::string_view, std::string_view>> faults{
        {"[probe]\nintervall = 1",
         "probe.toml:2:1: unknown key 'intervall' in [probe]; did you mean 'interval'?"},
        {"[prob]\n", "probe.toml:1:2: unknown key 'prob'; did you mean 'probe'?"},
        {"[[discover]]\nsrv = \"_x._udp.example.net\"",
         "probe.toml:2:1: unknown key 'srv' in [[discover]]; it must be file"},
        {"[export]\nlisten = \"x\"", "probe.toml:2:1: unknown key 'listen' in [export]; it must be "
                                     "group, pair, series_max or created"},
        {"[export]\npair = \"all\"",
         "probe.toml:2:8: 'pair' is 'all'; it must be histogram, counters or none"},
        {"[export]\ncreated = 1", "probe.toml:2:11: 'created' is an integer; it must be true or "
                                  "false"},
        {"[export]\nseries_max = -1",
         "probe.toml:2:14: 'series_max' is -1; it must be from 0 to 100000000"},
        {"[probe]\ninterval = \"1ms\"",
         "probe.toml:2:12: 'interval' is 1ms; it must be from 10ms to 1h"},
        {"[probe]\ninterval = true",
         "probe.toml:2:12: 'interval' is a boolean; it must be a string like \"10s\", or a number "
         "of seconds"},
        {"[probe]\ntimeout = \"11s\"",
         "probe.toml:2:11: 'timeout' is 11s; it must be from 1ms to 10s"},
        {"[probe]\ntransport = [\"tcp\"]",
         "probe.toml:2:13: unknown transport 'tcp'; it must be udp"},
        {"[probe]\ntransport = \"udp\"",
         "probe.toml:2:13: 'transport' is a string; it must be [\"udp\"]"},
        {"[probe]\npayload = 47", "probe.toml:2:11: 'payload' is 47; it must be from 48 to 65507"},
        {"[probe]\nself = \"\"",
         "probe.toml:2:8: 'self' is empty; write something, or leave it out"},
        {"[probe]\nper_group = { label = \"r\" }",
         "probe.toml:1:1: [probe] per_group is for 'neighbours'; without it all targets are "
         "probed"},
        {"[probe]\nper_group = { lable = \"r\" }",
         "probe.toml:2:15: unknown key 'lable' in 'per_group'; it must be a table like { label = "
         "\"rack\", count = 1 }"},
        {"[paths]\nsource_ports = \"41000-41064\"",
         "probe.toml:2:16: 'source_ports' is '41000-41064'; it must be from 1 to 64 ports, the "
         "lowest first"},
        {"[paths]\nsource_ports = \"0-9\"",
         "probe.toml:2:16: 'source_ports' is '0-9'; it must be a range of ports like "
         "\"41000-41063\""},
        {"[[discover]]\n", "probe.toml:1:1: [[discover]] lacks 'file'; add one like "
                           "\"/etc/riposte/targets.d/*.json\""},
        {"[discover]\nfile = \"x\"", "probe.toml:1:1: write [[discover]] with two brackets, and in "
                                     "it file = \"PATTERN\""},
        {"[[discover]]\nfile = \"a.json\"\n[[discover]]\nfile = \"a.json\"",
         "probe.toml:4:8: 'file' is 'a.json' a second time; leave one [[discover]] out"},
        {"[[discover]]\nfile = \"/etc/*/x.json\"",
         "probe.toml:2:8: 'file': '/etc/*/x.json' has a wildcard in its folder; only the name of "
         "the file may have one"},
        {"[[discover]]\nfile = \"/etc/\"",
         "probe.toml:2:8: 'file': '/etc/' is a folder; write /etc/*.json"},
        {"[export]\ngroup = \"site\"", "probe.toml:2:9: 'group' is a string; it must be an array "
                                       "of labels like [\"site\", \"rack\"]"},
        {"[export]\ngroup = [\"rack\", \"my-site\"]",
         "probe.toml:2:18: an element of 'group' is 'my-site'; a label's name is made of letters, "
         "digits and _, and does not begin with a digit"},
        {"[probe]\nneighbours = 1\nper_group = { label = \"7\" }",
         "probe.toml:3:23: label is '7'; a label's name is made of letters, digits and _, and does "
         "not begin with a digit"},
        {"probe = 1", "probe.toml:1:9: 'probe' is an integer; it must be a table, written as "
                      "[probe]"},
    };
    for (const auto& [text, fault] : faults) {
        CAPTURE(text);
        CHECK(config_fault(text) == fault);
    }
    CHECK(config_fault("[probe\n").ends_with("; see riposte-probe(1)"));
    const auto missing = load_probe_config("/nonexistent/probe.toml");
    REQUIRE_FALSE(missing);
    CHECK(missing.error().message.find("--targets") != std::string::npos);
}

TEST_CASE("a reload keeps what only a restart changes, and says so") {
    const ProbeConfig running = config_of("[probe]\ninterval = \"1s\"\nneighbours = 1");
    ProbeConfig wanted = config_of(
        "[probe]\ninterval = \"2s\"\nneighbours = 2\n[paths]\nsource_ports = 41000\n[[discover]]\n"
        "file = \"x.json\"");
    const auto kept = keep_until_restart(running, wanted);
    CHECK((kept == std::vector<std::string>{"[probe] interval", "[paths] source_ports"}));
    CHECK(wanted.interval_ms == 1000);
    CHECK(wanted.source_ports.empty());
    CHECK(wanted.selection.neighbours == 2);
    CHECK(wanted.files.size() == 1);
}
