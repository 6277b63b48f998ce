#include "common/toml_document.h"

#include "common/text.h"

#include <algorithm>
#include <array>
#include <utility>

#include <fmt/format.h>

namespace riposte {
namespace {

bool starts_character(char byte) {
    return (static_cast<unsigned char>(byte) & 0xc0) != 0x80; // not a UTF-8 continuation byte
}

} // namespace

std::string Document::at(Position position) const {
    return fmt::format("{}:{}:{}", name, position.line, position.column);
}

std::unexpected<Error> Document::refuse(Position position, std::string_view what) const {
    return fail(Exit::config, fmt::format("{}: {}", at(position), what));
}

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

std::unexpected<Error> Value::refuse(std::string_view what) const {
    return document.refuse(node.source().begin, what);
}

std::unexpected<Error> Value::wrong_type(std::string_view right) const {
    return refuse(fmt::format("'{}' is {}; it must be {}", key, type_name(node), right));
}

Result<std::string> read_duration_text(const Value& value, std::string_view example) {
    if (const auto* string = value.node.as_string())
        return string->get();
    if (const auto* integer = value.node.as_integer())
        return fmt::format("{}", integer->get());
    if (const auto* number = value.node.as_floating_point())
        return fmt::format("{}", number->get());
    return value.wrong_type(fmt::format("a string like \"{}\", or a number of seconds", example));
}

Result<uint64_t> read_integer(const Value& value, uint64_t min, uint64_t max) {
    const auto* integer = value.node.as_integer();
    if (integer == nullptr)
        return value.wrong_type("an integer");
    const int64_t number = integer->get();
    if (number < 0 || static_cast<uint64_t>(number) < min || static_cast<uint64_t>(number) > max)
        return value.refuse(
            fmt::format("'{}' is {}; it must be from {} to {}", value.key, number, min, max));
    return static_cast<uint64_t>(number);
}

std::vector<TomlEntry> in_order_of_the_file(const toml::table& table) {
    std::vector<TomlEntry> entries;
    for (auto&& [key, node] : table)
        entries.push_back({&key, &node});
    std::ranges::sort(entries, {}, [](const TomlEntry& entry) {
        const Position begin = entry.key->source().begin;
        return std::pair(begin.line, begin.column);
    });
    return entries;
}

std::string toml_syntax_error(std::string_view description, std::string_view page) {
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
    return text + "; see " + std::string(page);
}

} // namespace riposte
