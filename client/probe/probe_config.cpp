// One row a key: its section, its name, and what reads its value.
#include "client/probe/probe_config.h"

#include "client/options/options.h"
#include "client/probe/target_files.h"
#include "client/probe/target_list.h"
#include "common/small_file.h"
#include "common/text.h"
#include "common/toml_document.h"
#include "common/units.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <utility>

#include <fmt/format.h>
#include <toml++/toml.h>

namespace riposte::client {

namespace {

constexpr std::string_view manual_page = "riposte-probe(1)";
constexpr uint8_t dscp_max = 63;
constexpr uint32_t resolve_every_ms_min = 1000;
constexpr uint32_t duration_ms_max = 86'400'000;

Result<void> read_duration(const Value& value, uint32_t min, uint32_t max, uint32_t& target) {
    const auto text = read_duration_text(value, "10s");
    if (!text)
        return std::unexpected(text.error());
    const auto parsed = parse_duration_ms(*text);
    if (!parsed)
        return value.refuse(fmt::format("{}: {}", value.key, parsed.error()));
    if (*parsed < min || *parsed > max)
        return value.refuse(fmt::format(
            "'{}' is {}; it must be from {} to {}", value.key, format_duration(*parsed),
            format_duration(min), format_duration(max)));
    target = *parsed;
    return {};
}

template<class Number>
Result<void> read_count(const Value& value, uint64_t min, uint64_t max, Number& target) {
    const auto number = read_integer(value, min, max);
    if (!number)
        return std::unexpected(number.error());
    target = static_cast<Number>(*number);
    return {};
}

/// A string that is not empty.
Result<std::string> read_text(const Value& value) {
    const auto* string = value.node.as_string();
    if (string == nullptr)
        return std::unexpected(value.wrong_type("a string").error());
    if (string->get().empty())
        return std::unexpected(
            value.refuse(fmt::format("'{}' is empty; write something, or leave it out", value.key))
                .error());
    return string->get();
}

Result<std::string> read_label(const Value& value) {
    auto label = read_text(value);
    if (!label || is_label_name(*label))
        return label;
    const std::string shown = escape(*label, 40);
    return std::unexpected(
        value.refuse(fmt::format("{} is '{}'; {}", value.key, shown, label_name_rule)).error());
}

/// `transport = ["udp"]`: there is no other yet.
Result<void> read_transport(const Value& value, ProbeConfig&) {
    const auto* array = value.node.as_array();
    if (array == nullptr || array->size() != 1 || !array->front().is_string())
        return value.wrong_type("[\"udp\"]");
    const std::string& word = array->front().as_string()->get();
    if (word == "udp")
        return {};
    return value.refuse(fmt::format("unknown transport '{}'; it must be udp", escape(word, 40)));
}

Result<void> read_per_group(const Value& value, ProbeConfig& config) {
    constexpr std::string_view right = "a table like { label = \"rack\", count = 1 }";
    const auto* table = value.node.as_table();
    if (table == nullptr)
        return value.wrong_type(right);
    PerGroup rule;
    for (const TomlEntry& entry : in_order_of_the_file(*table)) {
        const Value each{value.document, entry.key->str(), *entry.node};
        if (entry.key->str() == "label") {
            auto label = read_label(each);
            if (!label)
                return std::unexpected(label.error());
            rule.label = *std::move(label);
        } else if (entry.key->str() == "count") {
            if (auto read = read_count(each, 1, neighbours_max, rule.count); !read)
                return read;
        } else {
            return value.document.refuse(
                entry.key->source().begin, fmt::format(
                                               "unknown key '{}' in '{}'; it must be {}",
                                               escape(entry.key->str(), 40), value.key, right));
        }
    }
    if (rule.label.empty())
        return value.refuse(fmt::format("'{}' lacks 'label'; it must be {}", value.key, right));
    config.selection.per_group = std::move(rule);
    return {};
}

/// "41000-41063", "41000", or a number.
Result<void> read_source_ports(const Value& value, ProbeConfig& config) {
    std::string text;
    if (const auto* integer = value.node.as_integer())
        text = fmt::format("{}", integer->get());
    else if (const auto* string = value.node.as_string())
        text = string->get();
    else
        return value.wrong_type("a string like \"41000-41063\", or a port");
    const size_t dash = text.find('-');
    std::array<uint32_t, 2> ends{};
    const std::array<std::string, 2> words{
        text.substr(0, dash), dash == std::string::npos ? text : text.substr(dash + 1)};
    for (size_t end = 0; end < ends.size(); end++) {
        const char* const last = words[end].data() + words[end].size();
        const auto [stop, error] = std::from_chars(words[end].data(), last, ends[end]);
        if (error != std::errc{} || stop != last || ends[end] == 0 || ends[end] > UINT16_MAX)
            return value.refuse(fmt::format(
                "'{}' is '{}'; it must be a range of ports like \"41000-41063\"", value.key,
                escape(text, 40)));
    }
    if (ends[1] < ends[0] || ends[1] - ends[0] >= probe_source_ports_max)
        return value.refuse(fmt::format(
            "'{}' is '{}'; it must be from 1 to {} ports, the lowest first", value.key,
            escape(text, 40), probe_source_ports_max));
    config.source_ports.clear();
    for (uint32_t port = ends[0]; port <= ends[1]; port++)
        config.source_ports.push_back(static_cast<uint16_t>(port));
    return {};
}

Result<void> read_file(const Value& value, ProbeConfig& config) {
    auto pattern = read_text(value);
    if (!pattern)
        return std::unexpected(pattern.error());
    if (const std::string fault = find_fault_of_pattern(*pattern); !fault.empty())
        return value.refuse(fmt::format("'{}': {}", value.key, fault));
    if (std::ranges::find(config.files, *pattern) != config.files.end())
        return value.refuse(fmt::format(
            "'{}' is '{}' a second time; leave one [[discover]] out", value.key,
            escape(*pattern, 255)));
    config.files.push_back(*std::move(pattern));
    return {};
}

Result<void> read_group(const Value& value, ProbeConfig& config) {
    const auto* array = value.node.as_array();
    if (array == nullptr)
        return value.wrong_type("an array of labels like [\"site\", \"rack\"]");
    config.group.clear();
    for (const toml::node& node : *array) {
        auto label = read_label({value.document, "an element of 'group'", node});
        if (!label)
            return std::unexpected(label.error());
        if (std::ranges::find(config.group, *label) == config.group.end())
            config.group.push_back(*std::move(label));
    }
    return {};
}

Result<void> read_switch(const Value& value, bool& target) {
    const auto* boolean = value.node.as_boolean();
    if (boolean == nullptr)
        return value.wrong_type("true or false");
    target = boolean->get();
    return {};
}

Result<void> read_pair(const Value& value, ProbeConfig& config) {
    constexpr std::array<std::pair<std::string_view, PairDetail>, 3> words{
        {{"histogram", PairDetail::histogram},
         {"counters", PairDetail::counters},
         {"none", PairDetail::none}}};
    const auto* string = value.node.as_string();
    if (string == nullptr)
        return value.wrong_type("a string");
    for (const auto& [word, detail] : words)
        if (string->get() == word) {
            config.pair = detail;
            return {};
        }
    return value.refuse(fmt::format(
        "'{}' is '{}'; it must be histogram, counters or none", value.key,
        escape(string->get(), 40)));
}

struct Key {
    std::string_view section;
    std::string_view name;
    Result<void> (*read)(const Value&, ProbeConfig&);
};

constexpr std::array keys{
    Key{"probe", "interval",
        [](const Value& value, ProbeConfig& config) {
            return read_duration(
                value, probe_interval_ms_min, probe_interval_ms_max, config.interval_ms);
        }},
    Key{"probe", "timeout",
        [](const Value& value, ProbeConfig& config) {
            return read_duration(value, 1, probe_timeout_ms_max, config.timeout_ms);
        }},
    Key{"probe", "transport", read_transport},
    Key{"probe", "payload",
        [](const Value& value, ProbeConfig& config) {
            return read_count(
                value, probe_payload_bytes_min, payload_bytes_max, config.payload_bytes);
        }},
    Key{"probe", "dscp",
        [](const Value& value, ProbeConfig& config) {
            return read_count(value, 0, dscp_max, config.dscp.emplace());
        }},
    Key{"probe", "self",
        [](const Value& value, ProbeConfig& config) -> Result<void> {
            auto self = read_text(value);
            if (!self)
                return std::unexpected(self.error());
            config.selection.self = *std::move(self);
            return {};
        }},
    Key{"probe", "neighbours",
        [](const Value& value, ProbeConfig& config) {
            return read_count(value, 0, neighbours_max, config.selection.neighbours);
        }},
    Key{"probe", "per_group", read_per_group},
    Key{"probe", "resolve_every",
        [](const Value& value, ProbeConfig& config) {
            return read_duration(
                value, resolve_every_ms_min, duration_ms_max, config.resolve_every_ms);
        }},
    Key{"probe", "grace",
        [](const Value& value, ProbeConfig& config) {
            return read_duration(value, 0, duration_ms_max, config.grace_ms);
        }},
    Key{"paths", "source_ports", read_source_ports},
    Key{"paths", "rotate",
        [](const Value& value, ProbeConfig& config) { return read_switch(value, config.rotate); }},
    Key{"discover", "file", read_file},
    Key{"export", "group", read_group},
    Key{"export", "pair", read_pair},
    Key{"export", "series_max",
        [](const Value& value, ProbeConfig& config) {
            return read_count(value, 0, series_max_max, config.series_max);
        }},
    Key{"export", "created",
        [](const Value& value, ProbeConfig& config) { return read_switch(value, config.created); }},
};
constexpr std::array<std::string_view, 4> sections{"probe", "paths", "discover", "export"};

std::vector<std::string_view> names_in(std::string_view section) {
    std::vector<std::string_view> names;
    for (const Key& key : keys)
        if (key.section == section)
            names.push_back(key.name);
    return names;
}

std::string unknown(
    std::string_view word, std::string_view where, std::span<const std::string_view> names) {
    const std::string_view near = nearest(word, names);
    return fmt::format(
        "unknown key '{}'{}; {}", escape(word, 40), where,
        near.empty() ? fmt::format("it must be {}", one_of(names))
                     : fmt::format("did you mean '{}'?", near));
}

Result<void> read_table(
    const Document& document, std::string_view section, const toml::table& table,
    ProbeConfig& config) {
    for (const TomlEntry& entry : in_order_of_the_file(table)) {
        const std::string_view name = entry.key->str();
        const auto* const key = std::ranges::find_if(
            keys, [&](const Key& each) { return each.section == section && each.name == name; });
        if (key == keys.end())
            return document.refuse(
                entry.key->source().begin,
                unknown(
                    name,
                    section == "discover" ? " in [[discover]]" : fmt::format(" in [{}]", section),
                    names_in(section)));
        if (auto read = key->read({document, name, *entry.node}, config); !read)
            return read;
    }
    return {};
}

Result<void> read_discover(const Value& value, ProbeConfig& config) {
    const auto* array = value.node.as_array();
    if (array == nullptr || !std::ranges::all_of(*array, &toml::node::is_table))
        return value.refuse("write [[discover]] with two brackets, and in it file = \"PATTERN\"");
    for (const toml::node& node : *array) {
        const toml::table& table = *node.as_table();
        if (auto read = read_table(value.document, "discover", table, config); !read)
            return read;
        if (!table.contains("file"))
            return value.document.refuse(
                node.source().begin,
                "[[discover]] lacks 'file'; add one like \"/etc/riposte/targets.d/*.json\"");
    }
    return {};
}

Result<void> read_top(const Document& document, const toml::table& table, ProbeConfig& config) {
    for (const TomlEntry& entry : in_order_of_the_file(table)) {
        const Value value{document, entry.key->str(), *entry.node};
        if (std::ranges::find(sections, value.key) == sections.end())
            return document.refuse(entry.key->source().begin, unknown(value.key, "", sections));
        Result<void> read;
        if (value.key == "discover")
            read = read_discover(value, config);
        else if (const auto* section = entry.node->as_table())
            read = read_table(document, value.key, *section, config);
        else
            read = value.wrong_type(fmt::format("a table, written as [{}]", value.key));
        if (!read)
            return read;
    }
    if (config.selection.per_group && config.selection.neighbours == 0)
        return document.refuse(
            {1, 1}, "[probe] per_group is for 'neighbours'; without it all targets are probed");
    return {};
}

} // namespace

Result<ProbeConfig> parse_probe_config(std::string_view text, std::string_view name) {
    const Document document{text, name};
    ProbeConfig config;
    try {
        const toml::table table = toml::parse(text);
        if (auto read = read_top(document, table, config); !read)
            return std::unexpected(read.error());
    } catch (const toml::parse_error& error) {
        return document.refuse(
            error.source().begin, toml_syntax_error(error.description(), manual_page));
    }
    return config;
}

Result<ProbeConfig> load_probe_config(const std::string& path) {
    const auto text = read_small_file(
        path, {.bytes_max = size_t{1} << 20,
               .advice = "name a TOML file with -c, or lists with --targets",
               .reader = "the prober's user"});
    if (!text)
        return std::unexpected(text.error());
    return parse_probe_config(*text, path);
}

std::vector<std::string> keep_until_restart(const ProbeConfig& running, ProbeConfig& wanted) {
    std::vector<std::string> kept;
    const auto keep = [&](const char* name, auto member) {
        if (wanted.*member == running.*member)
            return;
        kept.emplace_back(name);
        wanted.*member = running.*member;
    };
    keep("[probe] interval", &ProbeConfig::interval_ms);
    keep("[probe] timeout", &ProbeConfig::timeout_ms);
    keep("[probe] payload", &ProbeConfig::payload_bytes);
    keep("[probe] dscp", &ProbeConfig::dscp);
    keep("[probe] grace", &ProbeConfig::grace_ms);
    keep("[paths] source_ports", &ProbeConfig::source_ports);
    keep("[paths] rotate", &ProbeConfig::rotate);
    keep("[export] group", &ProbeConfig::group);
    keep("[export] created", &ProbeConfig::created);
    return kept;
}

} // namespace riposte::client
