// Reads TOML into a Config, by the rows of schema.h. toml++ and its exceptions are used here only.
//
// A key without a row is refused. Keys are read in the order of the file and not of the map, so
// that the first fault in the file is reported.

#include "common/endpoint.h"
#include "common/text.h"
#include "common/units.h"
#include "daemon/config/config.h"
#include "daemon/config/document.h"
#include "daemon/config/schema.h"
#include "daemon/config/words.h"

#include <algorithm>
#include <concepts>
#include <expected>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <fmt/format.h>
#include <toml++/toml.h>

namespace riposte {
namespace {

using schema::Key;
using schema::Section;
using schema::SectionRow;
using schema::Unit;

// -- numbers --------------------------------------------------------------------------------------

/// A duration in the unit of `parse`: a string, or a number of seconds.
template<class T>
Result<uint64_t> read_duration(
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
    const auto parsed = parse(text);
    if (!parsed)
        return value.refuse(fmt::format("{}: {}", value.key, parsed.error()));
    return *parsed;
}

/// A size is a string with its unit, or a number of bytes.
Result<uint64_t> read_size(const Value& value) {
    std::string text;
    if (const auto* string = value.node.as_string())
        text = string->get();
    else if (const auto* integer = value.node.as_integer())
        text = fmt::format("{}", integer->get());
    else
        return value.wrong_type("a string like \"64KiB\", or a number of bytes");
    const auto size = parse_size(text);
    if (!size)
        return value.refuse(fmt::format("{}: {}", value.key, size.error()));
    return *size;
}

/// A plain number; only these may have a minus sign.
Result<uint64_t> read_count(const Value& value, const Key& key) {
    const auto* integer = value.node.as_integer();
    if (integer == nullptr)
        return value.wrong_type("an integer");
    const int64_t number = integer->get();
    if (number < 0 || static_cast<uint64_t>(number) < key.min ||
        static_cast<uint64_t>(number) > key.max)
        return value.refuse(fmt::format(
            "'{}' is {}; it must be from {} to {}", value.key, number, key.min, key.max));
    return static_cast<uint64_t>(number);
}

Result<uint64_t> read_number(const Value& value, const Key& key) {
    Result<uint64_t> number = 0;
    switch (key.unit) {
    case Unit::none:
        std::unreachable();
    case Unit::count:
    case Unit::bits:
    case Unit::per_second:
        return read_count(value, key);
    case Unit::bytes:
        number = read_size(value);
        break;
    case Unit::milliseconds:
        number = read_duration(value, parse_duration_ms, "10s");
        break;
    case Unit::microseconds:
        number = read_duration(value, parse_duration_us, "50us");
        break;
    }
    if (!number || (*number >= key.min && *number <= key.max))
        return number;
    return value.refuse(fmt::format(
        "'{}' is {}; it must be {}", value.key, schema::written(key.unit, *number),
        schema::bounds(key)));
}

// -- words, texts and lists -----------------------------------------------------------------------

/// One word of a fixed set.
template<class Word>
Result<void> read_word(
    const Value& value, std::string_view noun, std::optional<Word> (*parse)(std::string_view),
    std::span<const std::string_view> names, Word& target) {
    const auto* string = value.node.as_string();
    if (string == nullptr)
        return value.wrong_type("a string");
    const auto word = parse(string->get());
    if (!word)
        return value.refuse(unknown_word(noun, string->get(), names));
    target = *word;
    return {};
}

/// One element, or an array of them. Messages name `element` as wrong and `example` as correct;
/// `parse` returns the value, or the offset and text of a fault.
template<class Element>
Result<void> read_list(
    const Value& value, std::string_view element, std::string_view example, auto&& parse,
    std::vector<Element>& target) {
    const auto read = [&](const toml::node& node) -> Result<void> {
        const auto* string = node.as_string();
        if (string == nullptr)
            return value.document.refuse(
                node.source().begin, fmt::format(
                                         "{} is {}; it must be a string like \"{}\"", element,
                                         type_name(node), example));
        auto parsed = parse(string->get());
        if (!parsed)
            return value.document.refuse(
                value.document.inside(*string, parsed.error().offset), parsed.error().message);
        target.push_back(*std::move(parsed));
        return {};
    };
    target.clear();
    if (value.node.is_string())
        return read(value.node);
    const auto* array = value.node.as_array();
    if (array == nullptr)
        return value.wrong_type("a string or an array of strings");
    for (const toml::node& node : *array)
        if (auto one = read(node); !one)
            return one;
    return {};
}

// -- keys -----------------------------------------------------------------------------------------

/// Reads one key's value into its member, by the member's type.
struct ReadMember {
    const Value& value;
    const Key& key;
    Config& config;
    ListenerConfig& listen;

    Result<void> operator()(bool* target) const {
        const auto* boolean = value.node.as_boolean();
        if (boolean == nullptr)
            return value.wrong_type("true or false");
        *target = boolean->get();
        return {};
    }
    template<class Number>
        requires std::same_as<Number, uint32_t> || std::same_as<Number, uint64_t>
    Result<void> operator()(Number* target) const {
        const auto number = read_number(value, key);
        if (!number)
            return std::unexpected(number.error());
        *target = static_cast<Number>(*number);
        return {};
    }
    Result<void> operator()(std::string* target) const {
        const auto* string = value.node.as_string();
        if (string == nullptr)
            return value.wrong_type("a string");
        if (const size_t size = string->get().size(); size < key.min || size > key.max)
            return value.refuse(fmt::format(
                "'{}' has {} bytes; it must have from {} to {}", key.name, size, key.min, key.max));
        *target = string->get();
        return {};
    }
    Result<void> operator()(BackendChoice* target) const {
        return read_word(value, "backend", parse_backend_choice, backend_choice_names(), *target);
    }
    Result<void> operator()(LogLevel* target) const {
        return read_word(value, "log level", parse_log_level, log_level_names(), *target);
    }
    Result<void> operator()(WhenFull* target) const {
        return read_word(value, "when_full", parse_when_full, when_full_names(), *target);
    }
    Result<void> operator()(ServiceKind* target) const {
        return read_word(value, "service", parse_service, service_names(), *target);
    }
    Result<void> operator()(StampSequence* target) const {
        return read_word(value, "sequence", parse_stamp_sequence, stamp_sequence_names(), *target);
    }
    Result<void> operator()(StampAuthentication* target) const {
        return read_word(
            value, "authenticated", parse_stamp_authentication, stamp_authentication_names(),
            *target);
    }
    /// [{ ssid = 1, file = "a.key" }, ...]
    Result<void> operator()(std::vector<StampKeyFile>* target) const {
        constexpr std::string_view right = "an array of tables like { ssid = 1, file = \"a.key\" }";
        target->clear();
        const auto* array = value.node.as_array();
        if (array == nullptr)
            return value.wrong_type(right);
        if (array->size() > key.max)
            return value.refuse(fmt::format(
                "'{}' has {} keys; it must have at most {}", key.name, array->size(), key.max));
        for (const toml::node& node : *array) {
            const Value element{value.document, value.key, node};
            const auto* table = node.as_table();
            const auto* ssid = table == nullptr ? nullptr : table->get_as<int64_t>("ssid");
            const auto* file = table == nullptr ? nullptr : table->get_as<std::string>("file");
            if (ssid == nullptr || file == nullptr || table->size() != 2)
                return element.refuse(fmt::format(
                    "an element of '{}' must be a table like {{ ssid = 1, file = \"a.key\" }}",
                    key.name));
            if (ssid->get() < 1 || ssid->get() > UINT16_MAX)
                return element.refuse(
                    fmt::format("'ssid' is {}; it must be from 1 to 65535", ssid->get()));
            if (file->get().empty())
                return element.refuse("'file' is empty; name a file, or a credential");
            const auto number = static_cast<uint16_t>(ssid->get());
            if (std::ranges::find(*target, number, &StampKeyFile::ssid) != target->end())
                return element.refuse(fmt::format("SSID {} has a key already; remove one", number));
            target->push_back({.ssid = number, .file = file->get()});
        }
        return {};
    }
    Result<void> operator()(StampLocation* target) const {
        return read_word(value, "location", parse_stamp_location, stamp_location_names(), *target);
    }
    /// "copy", or a DSCP.
    Result<void> operator()(std::optional<uint8_t>* target) const {
        target->reset();
        const auto* string = value.node.as_string();
        if (string != nullptr && string->get() == "copy")
            return {};
        if (value.node.as_integer() == nullptr)
            return value.wrong_type(
                fmt::format("\"copy\", or a number from {} to {}", key.min, key.max));
        const auto number = read_count(value, key);
        if (!number)
            return std::unexpected(number.error());
        *target = static_cast<uint8_t>(*number);
        return {};
    }
    /// An array of numbers.
    Result<void> operator()(std::vector<uint8_t>* target) const {
        target->clear();
        const auto* array = value.node.as_array();
        if (array == nullptr)
            return value.wrong_type("an array of numbers");
        for (const toml::node& node : *array) {
            const auto number = read_count({value.document, value.key, node}, key);
            if (!number)
                return std::unexpected(number.error());
            target->push_back(static_cast<uint8_t>(*number));
        }
        return {};
    }
    Result<void> operator()(std::vector<Cidr>* target) const {
        return read_list(
            value, fmt::format("an element of '{}'", key.name), "192.0.2.0/24", parse_cidr,
            *target);
    }
    Result<void> operator()(std::vector<Endpoint>*) const {
        const auto parse = [](std::string_view text) {
            return parse_endpoint(text, {.wildcard = true, .default_port = std::nullopt});
        };
        std::vector<Endpoint> endpoints;
        if (auto read = read_list(value, "an address", "tcp://127.0.0.1:7001", parse, endpoints);
            !read)
            return read;
        if (endpoints.size() < key.min)
            return value.refuse(
                "'address' is empty; write at least one, like \"tcp://127.0.0.1:7001\"");
        listen.addresses = std::move(endpoints);
        return {};
    }
    Result<void> operator()(std::vector<HttpAddress>* target) const {
        config.metrics.origin = value.document.at(value.node.source().begin);
        const auto* array = value.node.as_array();
        if (array != nullptr && array->size() > key.max)
            return value.refuse(fmt::format(
                "'{}' has {} addresses; it must have at most {}", key.name, array->size(),
                key.max));
        return read_list(
            value, fmt::format("an element of '{}'", key.name), "tcp://127.0.0.1:9701",
            parse_http_address, *target);
    }
};

// -- sections -------------------------------------------------------------------------------------

std::vector<std::string_view> names_in(Section section) {
    std::vector<std::string_view> names;
    for (const Key& key : schema::keys())
        if (key.section == section)
            names.push_back(key.name);
    if (section == Section::top)
        for (const SectionRow& row : schema::sections())
            if (row.section != Section::top)
                names.push_back(row.name);
    return names;
}

/// "unknown key 'adress' in [[listen]]; did you mean 'address'?", or where it belongs instead.
std::string unknown_key(Section section, std::string_view key) {
    const std::string shown = escape(key, 40);
    const auto is_in = [&](const std::vector<std::string_view>& names) {
        return std::ranges::find(names, key) != names.end();
    };
    for (const SectionRow& row : schema::sections())
        if (is_in(names_in(row.section)))
            return fmt::format(
                "'{}' does not belong here; put it {}", shown,
                row.section == Section::top ? "before the first section"
                                            : fmt::format("under {}", row.written));
    const std::string in =
        section == Section::top ? "" : fmt::format(" in {}", schema::row_of(section).written);
    const std::vector<std::string_view> names = names_in(section);
    if (const std::string_view near = nearest(key, names); !near.empty())
        return fmt::format("unknown key '{}'{}; did you mean '{}'?", shown, in, near);
    return fmt::format("unknown key '{}'{}; it must be {}", shown, in, one_of(names));
}

struct Entry {
    const toml::key* key;
    const toml::node* node;
};

std::vector<Entry> in_order_of_the_file(const toml::table& table) {
    std::vector<Entry> entries;
    for (auto&& [key, node] : table)
        entries.push_back({&key, &node});
    std::ranges::sort(entries, {}, [](const Entry& entry) {
        const Position begin = entry.key->source().begin;
        return std::pair(begin.line, begin.column);
    });
    return entries;
}

/// One key of `section` into its member; a name without a row is refused.
Result<void> read_entry(
    const Document& document, Section section, const Entry& entry, Config& config,
    ListenerConfig& listen) {
    const Key* key = schema::find_key(section, entry.key->str());
    if (key == nullptr)
        return document.refuse(entry.key->source().begin, unknown_key(section, entry.key->str()));
    const Value value{document, key->name, *entry.node};
    return std::visit(ReadMember{value, *key, config, listen}, key->member(config, listen));
}

/// Faults that no single key of a [[listen]] shows: a required key is missing, or a key belongs to
/// another service.
Result<void> check_listen(
    const Document& document, const toml::table& table, const ListenerConfig& listen) {
    for (const Key& key : schema::keys()) {
        if (key.section != Section::listen)
            continue;
        const toml::node* node = table.get(key.name);
        if (key.required && node == nullptr)
            return document.refuse(
                table.source().begin,
                key.name == "service"
                    ? fmt::format(
                          "[[listen]] lacks 'service'; it must be {}", one_of(service_names()))
                    : fmt::format(
                          "[[listen]] lacks '{}'; add one like \"tcp://127.0.0.1:7001\"",
                          key.name));
        if (node != nullptr && key.only_of && *key.only_of != listen.service)
            return document.refuse(
                node->source().begin,
                fmt::format(
                    "'{}' is for the service {}; {} has none, remove it", key.name,
                    to_string(*key.only_of), to_string(listen.service)));
    }
    return {};
}

Result<void> read_listen(const Document& document, const toml::table& table, Config& config) {
    ListenerConfig listen;
    listen.origin = document.at(table.source().begin);
    for (const Entry& entry : in_order_of_the_file(table))
        if (auto read = read_entry(document, Section::listen, entry, config, listen); !read)
            return read;
    if (auto checked = check_listen(document, table, listen); !checked)
        return checked;
    if (const auto wrong = set_transports(listen))
        return document.refuse(
            table.get("address")->source().begin, not_over_tcp(*wrong, listen.service));
    config.listen.push_back(std::move(listen));
    return {};
}

Result<void> read_listens(const Value& value, Config& config) {
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
        if (auto read = read_listen(value.document, *table, config); !read)
            return read;
    }
    return {};
}

/// A section that may be there once, as [name].
Result<void> read_section(const Value& value, const SectionRow& row, Config& config) {
    const auto* table = value.node.as_table();
    if (table == nullptr)
        return value.wrong_type(fmt::format("a table, written as {}", row.written));
    ListenerConfig none;
    for (const Entry& entry : in_order_of_the_file(*table))
        if (auto read = read_entry(value.document, row.section, entry, config, none); !read)
            return read;
    return {};
}

Result<void> read_top(const Document& document, const toml::table& table, Config& config) {
    ListenerConfig none;
    for (const Entry& entry : in_order_of_the_file(table)) {
        const std::string_view name = entry.key->str();
        const auto row = std::ranges::find(schema::sections(), name, &SectionRow::name);
        Result<void> read{};
        if (row == schema::sections().end() || row->section == Section::top)
            read = read_entry(document, Section::top, entry, config, none);
        else if (row->repeats)
            read = read_listens({document, row->name, *entry.node}, config);
        else
            read = read_section({document, row->name, *entry.node}, *row, config);
        if (!read)
            return read;
    }
    return {};
}

/// The message of toml++, in one line: "Error while parsing string: ..." -> "bad string: ...".
std::string syntax_error(std::string_view description) {
    constexpr std::string_view prefix = "Error while parsing ";
    constexpr size_t description_bytes_max = 200;
    std::string text = "bad TOML: ";
    if (description.starts_with(prefix)) {
        text = "bad ";
        description.remove_prefix(prefix.size());
    }
    // toml++ quotes the text as it is: a key of any length, or bytes that would steer a terminal.
    for (const char& c : description.substr(0, description_bytes_max)) {
        if (c >= ' ' && c <= '~')
            text += c;
        else
            text += escape({&c, 1});
    }
    if (description.size() > description_bytes_max)
        text += "...";
    return text + "; see riposted.toml(5)";
}

} // namespace

Result<Config> parse_config(std::string_view text, std::string_view name) {
    const Document document{text, name};
    Config config = default_config();
    try {
        const toml::table table = toml::parse(text);
        if (auto read = read_top(document, table, config); !read)
            return std::unexpected(read.error());
    } catch (const toml::parse_error& error) {
        return document.refuse(error.source().begin, syntax_error(error.description()));
    }
    if (auto valid = validate(config); !valid)
        return std::unexpected(valid.error());
    return config;
}

} // namespace riposte
