// Reads TOML into a Config, by the rows of schema.h. toml++ and its exceptions are used here only.
//
// A key without a row is refused.

#include "common/text.h"
#include "common/toml_document.h"
#include "daemon/config/config.h"
#include "daemon/config/schema.h"
#include "daemon/config/value_reader.h"
#include "daemon/config/words.h"

#include <algorithm>
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

/// One key of `section` into its member; a name without a row is refused.
Result<void> read_entry(
    const Document& document, Section section, const TomlEntry& entry, Config& config,
    ListenerConfig& listen) {
    const Key* key = schema::find_key(section, entry.key->str());
    if (key == nullptr)
        return document.refuse(entry.key->source().begin, unknown_key(section, entry.key->str()));
    const Value value{document, key->name, *entry.node};
    return read_value(value, *key, config, listen);
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
    for (const TomlEntry& entry : in_order_of_the_file(table))
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
    for (const TomlEntry& entry : in_order_of_the_file(*table))
        if (auto read = read_entry(value.document, row.section, entry, config, none); !read)
            return read;
    return {};
}

Result<void> read_top(const Document& document, const toml::table& table, Config& config) {
    ListenerConfig none;
    for (const TomlEntry& entry : in_order_of_the_file(table)) {
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

} // namespace

Result<Config> parse_config(std::string_view text, std::string_view name) {
    const Document document{text, name};
    Config config = default_config();
    try {
        const toml::table table = toml::parse(text);
        if (auto read = read_top(document, table, config); !read)
            return std::unexpected(read.error());
    } catch (const toml::parse_error& error) {
        return document.refuse(
            error.source().begin, toml_syntax_error(error.description(), "riposted.toml(5)"));
    }
    if (auto valid = validate(config); !valid)
        return std::unexpected(valid.error());
    return config;
}

} // namespace riposte
