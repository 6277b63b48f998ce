// The text of a configuration and its values, with the positions that error messages need. Lines
// and columns start at 1; columns count characters, not bytes.
#pragma once

#include "common/error.h"

#include <cstddef>
#include <cstdint>
#include <expected>
#include <string>
#include <string_view>
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
    /// The position in the text of byte `offset` of a string's value; that of the string's
    /// beginning if the text does not have the value verbatim (escapes, several lines).
    Position inside(const toml::value<std::string>& string, size_t offset) const;
};

/// A key's value, with its name and position for error messages.
struct Value {
    const Document& document;
    std::string_view key;
    const toml::node& node;

    std::unexpected<Error> refuse(std::string_view what) const;
    std::unexpected<Error> wrong_type(std::string_view right) const;
};

/// The text of a duration: a string like `example`, or a number of seconds.
Result<std::string> read_duration_text(const Value& value, std::string_view example);
/// An integer from `min` to `max`; none is negative.
Result<uint64_t> read_integer(const Value& value, uint64_t min, uint64_t max);

/// "a string", "an array"
std::string_view type_name(const toml::node& node);

struct TomlEntry {
    const toml::key* key;
    const toml::node* node;
};
/// The keys of a table in the order of the file and not of the map, so that the first fault in the
/// file is the one that is reported.
std::vector<TomlEntry> in_order_of_the_file(const toml::table& table);

/// The message of toml++, in one line: "Error while parsing string: ..." -> "bad string: ...; see
/// PAGE".
std::string toml_syntax_error(std::string_view description, std::string_view page);

} // namespace riposte
