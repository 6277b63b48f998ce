#include "daemon/config/config_reader.h"

#include "common/units.h"

#include <fmt/format.h>

namespace riposte {
namespace {

bool starts_character(char byte) {
    return (static_cast<unsigned char>(byte) & 0xc0) != 0x80; // not a UTF-8 continuation byte
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

std::unexpected<Error> Value::not_a_table() const {
    return wrong_type(fmt::format("a table, written as [{}]", key));
}

Result<void> read_boolean(const Value& value, bool& target) {
    const auto* boolean = value.node.as_boolean();
    if (boolean == nullptr)
        return value.wrong_type("true or false");
    target = boolean->get();
    return {};
}

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

Result<void> read_size(const Value& value, uint64_t min, uint64_t max, uint64_t& target) {
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
    if (*size < min || *size > max)
        return value.refuse(fmt::format(
            "'{}' is {}; it must be from {} to {}", value.key, format_size(*size), format_size(min),
            format_size(max)));
    target = *size;
    return {};
}

Result<void> read_prefixes(const Value& value, std::vector<Cidr>& target) {
    std::vector<Cidr> prefixes;
    const auto read = [&](const toml::node& node) -> Result<void> {
        const auto* string = node.as_string();
        if (string == nullptr)
            return value.document.refuse(
                node.source().begin,
                fmt::format(
                    "an element of '{}' is {}; it must be a string like \"192.0.2.0/24\"",
                    value.key, type_name(node)));
        const auto prefix = parse_cidr(string->get());
        if (!prefix)
            return value.document.refuse(
                value.document.inside(*string, prefix.error().offset), prefix.error().message);
        prefixes.push_back(*prefix);
        return {};
    };
    const auto* array = value.node.as_array();
    if (array == nullptr && !value.node.is_string())
        return value.wrong_type("a string or an array of strings");
    if (array == nullptr) {
        if (auto one = read(value.node); !one)
            return one;
    } else {
        for (const toml::node& node : *array)
            if (auto one = read(node); !one)
                return one;
    }
    target = std::move(prefixes);
    return {};
}

Result<void> read_duration_us(const Value& value, uint32_t max_us, uint32_t& target_us) {
    const auto read_us = duration(value, parse_duration_us, "50us");
    if (!read_us)
        return std::unexpected(read_us.error());
    if (*read_us > max_us)
        return value.refuse(fmt::format(
            "'{}' is {}; it must be at most {}", value.key, format_duration_us(*read_us),
            format_duration_us(max_us)));
    target_us = static_cast<uint32_t>(*read_us);
    return {};
}

} // namespace riposte
