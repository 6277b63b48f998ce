// Which targets a prober has: the lists that name them, and the arithmetic of the ring.
#include "client/probe/ring.h"
#include "client/probe/selection.h"
#include "client/probe/target_list.h"

#include <algorithm>
#include <cstddef>
#include <map>
#include <random>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <doctest/doctest.h>
#include <fmt/format.h>

using namespace riposte;
using namespace riposte::client;

namespace {

std::string list_fault(std::string_view text) {
    const auto read = parse_target_list(text);
    return read ? "" : read.error();
}

std::vector<ListedTarget> listed(std::string_view text) {
    auto read = parse_target_list(text);
    REQUIRE(read);
    return *std::move(read);
}

using Pairs = std::set<std::pair<std::string, std::string>>;

/// The pairs of prober and target, if each host in `names` chooses its neighbours itself.
Pairs mesh(const std::vector<std::string>& names, size_t neighbours) {
    Pairs pairs;
    for (const std::string& self : names) {
        std::vector<ListedTarget> list;
        for (const std::string& name : names)
            list.push_back(
                {.name = name, .endpoint = {.transport = {}, .host = name}, .labels = {}});
        const Selection selection = select_targets(
            list, {.self = self, .neighbours = neighbours, .per_group = {}},
            {.name = "", .addresses = {}});
        REQUIRE(selection.self_listed);
        for (const ChosenTarget& each : selection.chosen)
            pairs.emplace(self, each.target.name);
    }
    return pairs;
}

std::vector<std::string> hosts(size_t count, uint64_t seed) {
    std::mt19937_64 random(seed);
    std::vector<std::string> names;
    for (size_t i = 0; i < count; i++)
        names.push_back(fmt::format("host{}.r{}.example.net:7007", random() % 1'000'000, i));
    return names;
}

} // namespace

TEST_CASE("a list of targets is read as Prometheus reads it") {
    const auto list = listed(R"([
        {"targets": ["db7.example.net:7007", "[2001:DB8::7]:7"], "labels": {"rack": "r1", "__meta": "x"}},
        {"targets": ["192.0.2.1:9"]}, {"labels": {"a": "b"}, "targets": []}])");
    REQUIRE(list.size() == 3);
    CHECK(list[0].name == "db7.example.net:7007");
    CHECK(list[0].endpoint.host == "db7.example.net");
    CHECK(list[0].endpoint.port == 7007);
    CHECK((list[0].labels == Labels{{"rack", "r1"}}));
    CHECK(list[1].name == "[2001:DB8::7]:7");
    CHECK((list[1].labels == Labels{{"rack", "r1"}}));
    CHECK(list[2].labels.empty());
    CHECK(listed("[]").empty());
    // Labels may stand behind the targets, and before them.
    CHECK(listed(R"([{"labels": {"a": "b"}, "targets": ["h:1"]}])").front().labels.size() == 1);
}

TEST_CASE("a list that is half written is refused, wherever it ends") {
    const std::string_view text =
        R"([{"targets": ["a:7007", "b:7007"], "labels": {"rack": "r1"}}, {"targets": ["c:7007"]}])";
    for (size_t size = 0; size < text.size(); size++) {
        CAPTURE(size);
        const std::string fault = list_fault(text.substr(0, size));
        CHECK_MESSAGE(fault.find("the text ends too early") != std::string::npos, fault);
    }
    CHECK(list_fault(text).empty());
    CHECK(list_fault("[{\"targets\": [\"a:1\"]}] x").starts_with("line 1, column 24: not JSON"));
    CHECK(list_fault("[\n {\"targets\" [] }]").starts_with("line 2, column "));
}

TEST_CASE("the labels of a group are in memory once, and those of all targets are bounded") {
    const std::string label(label_bytes_max, 'x');
    std::string text = R"([{"targets": ["t:7")";
    const size_t most = list_label_bytes_max / (2 * label_bytes_max);
    for (size_t each = 1; each < most; each++)
        text += fmt::format(R"(, "t{}:7")", each);
    text += fmt::format(R"(], "labels": {{"{}": "{}"}}}})", label, label);
    const auto list = listed(text + "]");
    REQUIRE(list.size() == most);
    CHECK(&list.front().labels.at(label) == &list.back().labels.at(label));
    CHECK(
        list_fault(text + R"(, {"targets": ["a:7"], "labels": {"b": "c"}}])") ==
        "group 2 is too much: the labels of all targets of a list have at most 64MiB");
    Labels changed = list.front().labels;
    changed[label] = "y";
    CHECK(list.front().labels.at(label) == label);
    CHECK(changed.at(label) == "y");
}

TEST_CASE("a fault in a list is named with its group and what is right") {
    CHECK(
        list_fault("{}") ==
        "the list is an object; it must be an array like [{\"targets\": [\"a:7007\"]}]");
    CHECK(list_fault("7").starts_with("the list is a number"));
    CHECK(list_fault("[7]").starts_with("group 1 is a number; it must be an object"));
    CHECK(
        list_fault(R"([{}, {"target": []}])").starts_with("group 2 has the key 'target'; a group"));
    CHECK(list_fault(R"([{"targets": "a:7"}])").starts_with("group 1 has a string for 'targets'"));
    CHECK(list_fault(R"([{"targets": [["a:7"]]}])").starts_with("group 1 has an array among its"));
    CHECK(list_fault(R"([{"labels": {"a": 1}}])")
              .starts_with("group 1 has a number for the label 'a'"));
    CHECK(list_fault(R"([{"labels": {"a-b": "1"}}])").starts_with("group 1 has the label 'a-b'"));
    CHECK(
        list_fault(R"([{"labels": {"a": ")" + std::string(600, 'x') + "\"}}]")
            .find("at most 512") != std::string::npos);
    CHECK(
        list_fault(R"([{"targets": ["udp://a:7"]}])").find("without a scheme") !=
        std::string::npos);
    CHECK(list_fault(R"([{"targets": ["a"]}])")
              .starts_with("group 1 has the target 'a', column 2: "));
    CHECK(list_fault(R"([{"targets": ["a:0"]}])").find("port 0") != std::string::npos);
    CHECK(list_fault(R"([{"targets": ["*:7"]}])")
              .starts_with("group 1 has the target '*:7', column 1"));
    for (const char* const group :
         {"224.0.0.1:7", "255.255.255.255:7", "[ff02::1]:7", "[FF02::1]:7"})
        CHECK(
            list_fault(fmt::format("[{{\"targets\": [\"{}\"]}}]", group)) ==
            fmt::format(
                "group 1 has the target '{}', which is no single host; write the address of one",
                group));
    CHECK_FALSE(is_group_address("ffmpeg.example.net"));
    CHECK_FALSE(is_group_address("223.255.255.255"));
    // Bytes of a stranger steer no terminal.
    CHECK(list_fault("[{\"targets\": [\"\\u001b[31m\"]}]").find('\x1b') == std::string::npos);
}

TEST_CASE("a list is bounded in targets, labels and depth") {
    std::string text = "[{\"targets\": [";
    for (size_t i = 0; i < listed_targets_max; i++)
        text += fmt::format("{}\"h{}:7\"", i == 0 ? "" : ",", i);
    CHECK(listed(text + "]}]").size() == listed_targets_max);
    CHECK(
        list_fault(text + ",\"one:7\"]}]") ==
        "group 1 is too much: a list has at most 100000 targets");
    std::string labels;
    for (size_t i = 0; i <= target_labels_max; i++)
        labels += fmt::format("{}\"l{}\": \"\"", i == 0 ? "" : ",", i);
    CHECK(list_fault("[{\"labels\": {" + labels + "}}]") == "group 1 has more than 32 labels");
    // Refused at the second bracket, not when all are in memory.
    CHECK(list_fault(std::string(1 << 20, '[')).starts_with("group 1 is an array"));
}

TEST_CASE("on a ring each host is probed by exactly as many as it probes") {
    for (const size_t count : {2U, 3U, 7U, 20U, 100U, 300U})
        for (const size_t neighbours : {1U, 2U, 5U, 20U}) {
            CAPTURE(count);
            CAPTURE(neighbours);
            const auto names = hosts(count, count * 100 + neighbours);
            std::map<std::string, size_t> probes;
            std::map<std::string, size_t> probed;
            for (const auto& [source, target] : mesh(names, neighbours)) {
                REQUIRE(source != target);
                probes[source]++;
                probed[target]++;
            }
            for (const std::string& name : names) {
                REQUIRE(probes[name] == std::min(neighbours, count - 1));
                REQUIRE(probed[name] == std::min(neighbours, count - 1));
            }
        }
}

TEST_CASE(
    "when one leaves a ring, at most twice the number of neighbours of the others' pairs move") {
    for (uint64_t seed = 1; seed <= 10; seed++) {
        const size_t neighbours = 1 + seed * 3 % 20;
        std::vector<std::string> names = hosts(60, seed);
        const Pairs before = mesh(names, neighbours);
        const std::string gone = names[seed * 7 % names.size()];
        std::erase(names, gone);
        const Pairs after = mesh(names, neighbours);
        size_t moved = 0;
        for (const auto& pair : before)
            moved += pair.first != gone && !after.contains(pair) ? 1U : 0U;
        for (const auto& pair : after)
            moved += before.contains(pair) ? 0U : 1U;
        CAPTURE(seed);
        CHECK(moved == 2 * neighbours); // those that probed it, and whom they probe instead
    }
}

TEST_CASE("places on the ring are the same in each version") {
    CHECK(ring_place("") == 0xf52a15e9a9b5e89bU);
    CHECK(ring_place("a:7007") == ring_place("a:7007"));
    CHECK(ring_place("a:7007") != ring_place("b:7007"));
}

TEST_CASE("every other group has its share beside the neighbours") {
    std::vector<ListedTarget> list;
    for (size_t rack = 0; rack < 8; rack++)
        for (size_t host = 0; host < 5; host++)
            list.push_back(
                {.name = fmt::format("h{}r{}:7", host, rack),
                 .endpoint =
                     {.transport = {}, .host = fmt::format("h{}r{}", host, rack), .port = 7},
                 .labels = {{"rack", fmt::format("r{}", rack)}}});
    list.push_back(
        {.name = "alone:7", .endpoint = {.transport = {}, .host = "alone"}, .labels = {}});
    for (const ListedTarget& self : std::vector(list)) {
        const Selection selection = select_targets(
            list,
            {.self = self.name,
             .neighbours = 3,
             .per_group = PerGroup{.label = "rack", .count = 2}},
            {.name = "x", .addresses = {}});
        std::map<std::string, size_t> racks;
        size_t neighbours = 0;
        for (const ChosenTarget& each : selection.chosen) {
            REQUIRE(each.target.name != self.name);
            neighbours += each.is_neighbour ? 1U : 0U;
            if (each.is_of_group)
                racks[each.target.labels.at("rack")]++;
        }
        CHECK(neighbours == 3);
        const bool has_rack = self.labels.contains("rack");
        CHECK(racks.size() == (has_rack ? 7 : 8));
        if (has_rack)
            CHECK_FALSE(racks.contains(self.labels.at("rack")));
        for (const auto& [rack, count] : racks)
            CHECK(count == 2);
    }
}

TEST_CASE("the entries that are this host are left out") {
    const std::string_view text =
        R"([{"targets": ["192.0.2.1:7", "DB7:7", "[2001:DB8:0::1]:7", "db7x:7", "db8.example.net:7"]}])";
    const OwnHost host{.name = "db7", .addresses = {"192.0.2.1", "2001:db8::1"}};
    const Selection own = select_targets(listed(text), {}, host);
    CHECK(own.own == 3);
    CHECK(own.self == "192.0.2.1:7"); // the first by name
    CHECK(own.self_listed);
    REQUIRE(own.chosen.size() == 2);
    CHECK(own.chosen[0].target.name == "db7x:7");

    const Selection none = select_targets(listed(text), {.self = "none"}, host);
    CHECK(none.chosen.size() == 5);
    CHECK_FALSE(none.self_listed);
    CHECK(none.self == "db7");

    const Selection named = select_targets(listed(text), {.self = "db7x:7"}, host);
    CHECK(named.own == 1);
    CHECK(named.self == "db7x:7");

    // All entries of the named one's host are it.
    const std::string_view ports = R"([{"targets": ["a:7", "A:9", "b:7"]}])";
    CHECK(select_targets(listed(ports), {.self = "a:7"}, host).own == 2);

    // One that calls itself by its whole name is the entry of the short one.
    const Selection whole = select_targets(
        listed(R"([{"targets": ["db8:7", "db80:7"]}])"), {},
        {.name = "DB8.example.net", .addresses = {}});
    CHECK(whole.own == 1);
    CHECK(whole.self == "db8:7");

    // A host that calls itself "db8" is db8.example.net, if no other domain has a db8.
    CHECK(
        select_targets(listed(text), {}, {.name = "db8", .addresses = {}}).self ==
        "db8.example.net:7");
    const std::string_view two = R"([{"targets": ["db8.a:7", "db8.b:7"]}])";
    CHECK(select_targets(listed(two), {}, {.name = "db8", .addresses = {}}).own == 0);
    CHECK_FALSE(read_own_host().name.empty());
}

TEST_CASE("each host is probed by as many, at all its ports, whatever the others are listed by") {
    constexpr size_t neighbours = 4;
    std::vector<ListedTarget> list;
    const auto add = [&](const std::string& host, uint16_t port) {
        list.push_back(
            {.name = fmt::format("{}:{}", host, port),
             .endpoint = {.transport = {}, .host = host, .port = port},
             .labels = {}});
    };
    constexpr size_t count = 30;
    for (size_t i = 0; i < count; i++) {
        add(fmt::format("h{}", i), 7);
        if (i % 3 == 0) // written otherwise, but the same host
            add(fmt::format("H{}", i), 9);
    }
    std::map<std::string, size_t> probed_by;
    for (size_t i = 0; i < count; i++) {
        const Selection selection = select_targets(
            list, {.neighbours = neighbours, .per_group = {}},
            {.name = fmt::format("h{}", i), .addresses = {}});
        CHECK(selection.own == (i % 3 == 0 ? 2 : 1));
        for (const ChosenTarget& each : selection.chosen)
            probed_by[each.target.name]++;
    }
    CHECK(probed_by.size() == list.size());
    for (const auto& [name, probers] : probed_by) {
        CAPTURE(name);
        CHECK(probers == neighbours);
    }
}

TEST_CASE("a host that is listed by two addresses stands on the ring for each") {
    std::vector<ListedTarget> list;
    const auto add = [&](const std::string& address) {
        list.push_back(
            {.name = address,
             .endpoint = {.transport = {}, .host = address, .port = 7},
             .labels = {}});
    };
    constexpr size_t count = 20;
    for (size_t i = 1; i <= count; i++) {
        add(fmt::format("192.0.2.{}", i));
        add(fmt::format("2001:db8::{:x}", i));
    }
    std::map<std::string, size_t> probed_by;
    for (size_t i = 1; i <= count; i++) {
        const Selection selection = select_targets(
            list, {.neighbours = 5, .per_group = {}},
            {.name = "h",
             .addresses = {fmt::format("192.0.2.{}", i), fmt::format("2001:db8::{:x}", i)}});
        for (const ChosenTarget& each : selection.chosen)
            probed_by[each.target.name]++;
    }
    // No host is without probers, though one whose both places are near counts once.
    CHECK(probed_by.size() == list.size());
    for (const auto& [name, probers] : probed_by) {
        CAPTURE(name);
        CHECK(probers >= 3);
        CHECK(probers <= 6);
    }
}

TEST_CASE("of entries with the same name the first stays") {
    const Selection selection = select_targets(
        listed(R"([{"targets": ["b:7", "a:7"], "labels": {"n": "1"}},
                   {"targets": ["a:7"], "labels": {"n": "2"}}])"),
        {.self = "none"}, {});
    REQUIRE(selection.chosen.size() == 2);
    CHECK(selection.duplicates == 1);
    CHECK(selection.chosen[0].target.name == "a:7");
    CHECK(selection.chosen[0].target.labels.at("n") == "1");
}
