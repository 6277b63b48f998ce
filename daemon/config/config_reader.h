// What reading the configuration is made of: a text that can point at itself, values that can
// refuse themselves, and sections as tables of keys. toml++ ends here: only config.cpp and the
// readers of its sections (config_listen.cpp, config_limits.cpp, config_datagrams.cpp,
// config_metrics.cpp, config_access_log.cpp) include this.
//
// A section is a table of keys, a name and a function that reads it; what is not in the table is
// refused. Keys are visited in the order of the file, not in the map's, so that the first fault in
// the file is the one reported. Lines and columns start at 1; columns count characters, not bytes.
#pragma once

#include "common/error.h"
#include "common/text.h"
#include "daemon/config/config.h"
#include "daemon/config/config_values.h"

#include <algorithm>
#include <array>
#include <cstdint>
#include <expected>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <toml++/toml.h>

namespace riposte {

using Position = toml::source_position;

/// The text that is being read.
struct Document {
    std::string_view text;
    std::string_view name;

    std::string at(Position position) const; ///< "riposted.toml:12:1"
    std::unexpected<Error> refuse(Position position, std::string_view what) const;
    /// Where byte `offset` of a string's value stands in the text; the string's beginning if it is
    /// not written there verbatim (escapes, several lines).
    Position inside(const toml::value<std::string>& string, size_t offset) const;
};

std::string_view type_name(const toml::node& node); ///< "a string", "an array"

// -- values ---------------------------------------------------------------------------------------

/// A key's value, and what is needed to complain about it.
struct Value {
    const Document& document;
    std::string_view key;
    const toml::node& node;

    std::unexpected<Error> refuse(std::string_view what) const;
    std::unexpected<Error> wrong_type(std::string_view right) const;
    std::unexpected<Error> not_a_table() const;
};

Result<void> read_boolean(const Value& value, bool& target);
Result<void> read_integer(const Value& value, uint32_t min, uint32_t max, uint32_t& target);

/// A duration is a string with its unit, or a number of seconds.
Result<void> read_duration(const Value& value, uint32_t min_ms, uint32_t& target_ms);
/// A size is a string with its unit, or a number of bytes.
Result<void> read_size(const Value& value, uint64_t min, uint64_t max, uint64_t& target);

/// One prefix, or an array of them, which may be empty.
Result<void> read_prefixes(const Value& value, std::vector<Cidr>& target);

Result<void> read_duration_us(const Value& value, uint32_t max_us, uint32_t& target_us);

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

// -- sections -------------------------------------------------------------------------------------

enum class Place : uint8_t { top, listen, limits, datagrams, metrics, access_log };

template<class Section>
struct Key {
    std::string_view name;
    Result<void> (*read)(const Value& value, Section& section);
};

/// "unknown key 'adress' in [[listen]]; did you mean 'address'?", or where it belongs instead.
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

/// A section that stands once, as [key].
template<class Section>
Result<void> read_table(
    const Value& value, Place place, std::span<const Key<Section>> keys, Section& section) {
    const auto* table = value.node.as_table();
    if (table == nullptr)
        return value.not_a_table();
    return read_section<Section>(value.document, place, *table, keys, section);
}

template<class Section, size_t n>
std::vector<std::string_view> key_names(const std::array<Key<Section>, n>& keys) {
    std::vector<std::string_view> all;
    all.reserve(keys.size());
    for (const auto& key : keys)
        all.push_back(key.name);
    return all;
}

Result<void> read_listen(const Value& value, Config& config); ///< config_listen.cpp
std::vector<std::string_view> listen_key_names();

Result<void> read_limits(const Value& value, Config& config); ///< config_limits.cpp
std::vector<std::string_view> limits_key_names();

Result<void> read_datagrams(const Value& value, Config& config); ///< config_datagrams.cpp
std::vector<std::string_view> datagrams_key_names();

Result<void> read_metrics(const Value& value, Config& config); ///< config_metrics.cpp
std::vector<std::string_view> metrics_key_names();

Result<void> read_access_log(const Value& value, Config& config); ///< config_access_log.cpp
std::vector<std::string_view> access_log_key_names();

} // namespace riposte
