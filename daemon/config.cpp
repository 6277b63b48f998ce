// TOML to Config: the only translation unit that knows toml++, and where its exceptions end.
//
// Each section is a table of keys, a name and a function that reads it; what is not in the table is
// refused. Keys are visited in the order of the file, not in the map's, so that the first fault in
// the file is the one reported. Lines and columns start at 1; columns count characters, not bytes.

#include "daemon/config.h"

#include "common/text.h"
#include "common/units.h"
#include "daemon/config_values.h"

#include <algorithm>
#include <array>

#include <fmt/format.h>
#include <toml++/toml.h>

namespace riposte {
namespace {

constexpr uint32_t connections_max = 1'000'000;

using Position = toml::source_position;

/// The text that is being read: it can point at itself.
struct Document {
    std::string_view text;
    std::string_view name;

    std::string at(Position position) const {
        return fmt::format("{}:{}:{}", name, position.line, position.column);
    }
    std::unexpected<Error> refuse(Position position, std::string_view what) const {
        return fail(Exit::config, fmt::format("{}: {}", at(position), what));
    }
    Position inside(const toml::value<std::string>& string, size_t offset) const;
};

bool starts_character(char byte) {
    return (static_cast<unsigned char>(byte) & 0xc0) != 0x80; // not a UTF-8 continuation byte
}

/// Where byte `offset` of a string's value stands in the text; the string's beginning if it is not
/// written there verbatim (escapes, several lines).
Position Document::inside(const toml::value<std::string>& string, size_t offset) const {
    Position position = string.source().begin;
    size_t byte = 0;
    for (auto line = position.line; line > 1 && byte < text.size(); line--)
        byte = std::min(text.find('\n', byte), text.size() - 1) + 1;
    for (auto column = position.column; column > 1 && byte < text.size(); column--) {
        byte++;
        while (byte < text.size() && !starts_character(text[byte]))
            byte++;
    }
    const std::string_view value = string.get();
    if (byte >= text.size() || text.substr(byte + 1, value.size()) != value)
        return position;
    const auto characters = std::ranges::count_if(value.substr(0, offset), starts_character);
    position.column += 1 + static_cast<toml::source_index>(characters);
    return position;
}

std::string_view type_name(const toml::node& node) {
    constexpr std::array<std::string_view, 10> names{
        "nothing", "a table",   "an array", "a string", "an integer",
        "a float", "a boolean", "a date",   "a time",   "a date with time"};
    static_assert(static_cast<size_t>(toml::node_type::date_time) + 1 == names.size());
    return names[static_cast<size_t>(node.type())];
}

/// A key's value, and what is needed to complain about it.
struct Value {
    const Document& document;
    std::string_view key;
    const toml::node& node;

    std::unexpected<Error> refuse(std::string_view what) const {
        return document.refuse(node.source().begin, what);
    }
    std::unexpected<Error> wrong_type(std::string_view right) const {
        return refuse(fmt::format("'{}' is {}; it must be {}", key, type_name(node), right));
    }
};

Result<void> read_integer(const Value& value, uint32_t min, uint32_t max, uint32_t& target) {
    const auto* integer = value.node.as_integer();
    if (integer == nullptr)
        return value.wrong_type("an integer");
    const int64_t number = integer->get();
    if (number < min || number > max)
        return value.refuse(
            fmt::format("'{}' is {}; it must be from {} to {}", value.key, number, min, max));
    target = static_cast<uint32_t>(number);
    return {};
}

/// A duration in the unit of `parse`: a string, or a number of seconds.
template<class T>
Result<T> duration(
    const Value& value, std::expected<T, std::string> (*parse)(std::string_view),
    std::string_view example) {
    std::string text;
    if (const auto* string = value.node.as_string())
        text = string->get();
    else if (const auto* integer = value.node.as_integer())
        text = fmt::format("{}", integer->get());
    else if (const auto* number = value.node.as_floating_point())
        text = fmt::format("{}", number->get());
    else
        return value.wrong_type(
            fmt::format("a string like \"{}\", or a number of seconds", example));
    auto parsed = parse(text);
    if (!parsed)
        return value.refuse(fmt::format("{}: {}", value.key, parsed.error()));
    return *parsed;
}

Result<void> read_duration(const Value& value, uint32_t min_ms, uint32_t& target_ms) {
    const auto read_ms = duration(value, parse_duration_ms, "10s");
    if (!read_ms)
        return std::unexpected(read_ms.error());
    if (*read_ms < min_ms)
        return value.refuse(fmt::format(
            "'{}' is {}; it must be at least {}", value.key, format_duration(*read_ms),
            format_duration(min_ms)));
    target_ms = *read_ms;
    return {};
}

Result<void> read_busy_poll(const Value& value, Config& config) {
    const auto read_us = duration(value, parse_duration_us, "50us");
    if (!read_us)
        return std::unexpected(read_us.error());
    if (*read_us > busy_poll_us_max)
        return value.refuse(fmt::format(
            "'{}' is {}; it must be at most {}", value.key, format_duration_us(*read_us),
            format_duration_us(busy_poll_us_max)));
    config.busy_poll_us = static_cast<uint32_t>(*read_us);
    return {};
}

/// A string out of a fixed set of words.
template<class T>
Result<void> read_word(
    const Value& value, std::string_view noun, std::optional<T> (*parse)(std::string_view),
    std::span<const std::string_view> names, T& target) {
    const auto* string = value.node.as_string();
    if (string == nullptr)
        return value.wrong_type("a string");
    const auto word = parse(string->get());
    if (!word)
        return value.refuse(unknown_word(noun, string->get(), names));
    target = *word;
    return {};
}

// -- sections ------------------------------------------------------------------------------------

enum class Place : uint8_t { top, listen, limits };

template<class Section>
struct Key {
    std::string_view name;
    Result<void> (*read)(const Value& value, Section& section);
};

std::string unknown_key(Place place, std::string_view key);

template<class Section>
Result<void> read_section(
    const Document& document, Place place, const toml::table& table,
    std::span<const Key<Section>> keys, Section& section) {
    std::vector<std::pair<const toml::key*, const toml::node*>> entries;
    for (auto&& [key, node] : table)
        entries.emplace_back(&key, &node);
    std::ranges::sort(entries, {}, [](const auto& entry) {
        const Position begin = entry.first->source().begin;
        return std::pair(begin.line, begin.column);
    });
    for (const auto& [key, node] : entries) {
        const auto found = std::ranges::find(keys, key->str(), &Key<Section>::name);
        if (found == keys.end())
            return document.refuse(key->source().begin, unknown_key(place, key->str()));
        if (auto read = found->read({document, found->name, *node}, section); !read)
            return read;
    }
    return {};
}

struct ListenSection {
    ListenConfig listen;
    bool has_service = false;
    std::optional<Position> message_at;
};

Result<void> read_address(const Value& value, const toml::node& node, ListenConfig& listen) {
    const auto* string = node.as_string();
    if (string == nullptr)
        return value.document.refuse(
            node.source().begin,
            fmt::format(
                "an address is {}; it must be a string like \"tcp://127.0.0.1:7001\"",
                type_name(node)));
    auto endpoint = parse_endpoint(string->get(), {.wildcard = true, .default_port = std::nullopt});
    if (!endpoint)
        return value.document.refuse(
            value.document.inside(*string, endpoint.error().offset), endpoint.error().message);
    add_address(listen, *std::move(endpoint));
    return {};
}

Result<void> read_addresses(const Value& value, ListenSection& section) {
    if (value.node.is_string())
        return read_address(value, value.node, section.listen);
    const auto* array = value.node.as_array();
    if (array == nullptr)
        return value.wrong_type("a string or an array of strings");
    if (array->empty())
        return value.refuse(
            "'address' is empty; write at least one, like \"tcp://127.0.0.1:7001\"");
    for (const toml::node& node : *array)
        if (auto read = read_address(value, node, section.listen); !read)
            return read;
    return {};
}

Result<void> read_message(const Value& value, ListenSection& section) {
    const auto* string = value.node.as_string();
    if (string == nullptr)
        return value.wrong_type("a string");
    const size_t size = string->get().size();
    if (size == 0 || size > message_bytes_max)
        return value.refuse(fmt::format(
            "'message' has {} bytes; it must have from 1 to {}", size, message_bytes_max));
    section.listen.options.message = string->get();
    return {};
}

constexpr std::array<Key<ListenSection>, 3> listen_keys{{
    {"service",
     [](const Value& value, ListenSection& section) {
         section.has_service = true;
         return read_word(value, "service", parse_service, service_names(), section.listen.service);
     }},
    {"address", read_addresses},
    {"message",
     [](const Value& value, ListenSection& section) {
         section.message_at = value.node.source().begin;
         return read_message(value, section);
     }},
}};

template<uint32_t LimitsConfig::* limit>
Result<void> read_count(const Value& value, LimitsConfig& limits) {
    return read_integer(value, 1, connections_max, limits.*limit);
}

template<uint32_t LimitsConfig::* limit>
Result<void> read_timeout(const Value& value, LimitsConfig& limits) {
    return read_duration(value, 1, limits.*limit);
}

constexpr std::array<Key<LimitsConfig>, 5> limits_keys{{
    {"connections", read_count<&LimitsConfig::connections_max>},
    {"connections_per_source", read_count<&LimitsConfig::connections_per_source_max>},
    {"idle_timeout", read_timeout<&LimitsConfig::idle_timeout_ms>},
    {"write_stall_timeout", read_timeout<&LimitsConfig::write_stall_timeout_ms>},
    {"linger_timeout", read_timeout<&LimitsConfig::linger_timeout_ms>},
}};

Result<void> read_listen_section(
    const Value& value, const toml::table& table, std::vector<ListenConfig>& listen) {
    const Position begin = table.source().begin;
    ListenSection section;
    section.listen.origin = value.document.at(begin);
    auto read =
        read_section<ListenSection>(value.document, Place::listen, table, listen_keys, section);
    if (!read)
        return read;
    if (!section.has_service)
        return value.document.refuse(
            begin,
            fmt::format("[[listen]] lacks 'service'; it must be {}", one_of(service_names())));
    if (section.listen.addresses.empty())
        return value.document.refuse(
            begin, "[[listen]] lacks 'address'; add one like \"tcp://127.0.0.1:7001\"");
    if (section.message_at && section.listen.service != ServiceKind::hello)
        return value.document.refuse(
            *section.message_at, fmt::format(
                                     "'message' is for the service hello; {} has none, remove it",
                                     to_string(section.listen.service)));
    listen.push_back(std::move(section.listen));
    return {};
}

Result<void> read_listen(const Value& value, Config& config) {
    if (value.node.is_table())
        return value.refuse("'listen' is a table; write [[listen]] with two brackets");
    const auto* array = value.node.as_array();
    if (array == nullptr)
        return value.wrong_type("an array of tables, written as [[listen]]");
    if (array->empty())
        return value.refuse("'listen' is empty; add an address, or leave it out for the default");
    config.listen.clear();
    for (const toml::node& node : *array) {
        const auto* table = node.as_table();
        if (table == nullptr)
            return value.document.refuse(
                node.source().begin,
                fmt::format(
                    "an element of 'listen' is {}; it must be a table, written as "
                    "[[listen]]",
                    type_name(node)));
        if (auto read = read_listen_section(value, *table, config.listen); !read)
            return read;
    }
    return {};
}

constexpr std::array<Key<Config>, 7> top_keys{{
    {"backend",
     [](const Value& value, Config& config) {
         return read_word(
             value, "backend", parse_backend_choice, backend_choice_names(), config.backend);
     }},
    {"workers", [](const Value& value,
                   Config& config) { return read_integer(value, 0, workers_max, config.workers); }},
    {"busy_poll", read_busy_poll},
    {"drain_timeout",
     [](const Value& value, Config& config) {
         return read_duration(value, 0, config.drain_timeout_ms);
     }},
    {"log_level",
     [](const Value& value, Config& config) {
         return read_word(value, "log level", parse_log_level, log_level_names(), config.log_level);
     }},
    {"listen", read_listen},
    {"limits",
     [](const Value& value, Config& config) -> Result<void> {
         const auto* table = value.node.as_table();
         if (table == nullptr)
             return value.wrong_type("a table, written as [limits]");
         return read_section<LimitsConfig>(
             value.document, Place::limits, *table, limits_keys, config.limits);
     }},
}};

template<class Section, size_t n>
std::vector<std::string_view> names(const std::array<Key<Section>, n>& keys) {
    std::vector<std::string_view> all;
    all.reserve(keys.size());
    for (const auto& key : keys)
        all.push_back(key.name);
    return all;
}

std::string unknown_key(Place place, std::string_view key) {
    struct Known {
        Place place;
        std::vector<std::string_view> names;
        std::string_view in;
        std::string_view put_it;
    };
    const std::array<Known, 3> sections{{
        {Place::top, names(top_keys), "", "before the first section"},
        {Place::listen, names(listen_keys), " in [[listen]]", "under [[listen]]"},
        {Place::limits, names(limits_keys), " in [limits]", "under [limits]"},
    }};
    const std::string shown = escape(key, 40);
    for (const Known& other : sections)
        if (other.place != place && std::ranges::find(other.names, key) != other.names.end())
            return fmt::format("'{}' does not belong here; put it {}", shown, other.put_it);
    const auto here = std::ranges::find(sections, place, &Known::place);
    const std::string_view near = nearest(key, here->names);
    if (!near.empty())
        return fmt::format("unknown key '{}'{}; did you mean '{}'?", shown, here->in, near);
    return fmt::format("unknown key '{}'{}; it must be {}", shown, here->in, one_of(here->names));
}

} // namespace

Result<Config> parse_config(std::string_view text, std::string_view name) {
    const Document document{text, name};
    Config config = default_config();
    try {
        const toml::table table = toml::parse(text);
        auto read = read_section<Config>(document, Place::top, table, top_keys, config);
        if (!read)
            return std::unexpected(read.error());
    } catch (const toml::parse_error& error) {
        return document.refuse(error.source().begin, syntax_error(error.description()));
    }
    if (auto valid = validate(config); !valid)
        return std::unexpected(valid.error());
    return config;
}

} // namespace riposte
