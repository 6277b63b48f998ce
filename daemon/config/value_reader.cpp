#include "daemon/config/value_reader.h"

#include "common/endpoint.h"
#include "common/units.h"
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
using schema::Unit;

/// A duration in the unit of `parse`: a string, or a number of seconds.
template<class T>
Result<uint64_t> read_duration(
    const Value& value, std::expected<T, std::string> (*parse)(std::string_view),
    std::string_view example) {
    const auto text = read_duration_text(value, example);
    if (!text)
        return std::unexpected(text.error());
    const auto parsed = parse(*text);
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
    return read_integer(value, key.min, key.max);
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
    Result<void> operator()(StampClock* target) const {
        return read_word(value, "clock", parse_stamp_clock, stamp_clock_names(), *target);
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
            if (const size_t size = file->get().size(); size > stamp_key_file_bytes_max)
                return element.refuse(fmt::format(
                    "'file' has {} bytes; it must have from 1 to {}", size,
                    stamp_key_file_bytes_max));
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

} // namespace

Result<void> read_value(
    const Value& value, const Key& key, Config& config, ListenerConfig& listen) {
    return std::visit(ReadMember{value, key, config, listen}, key.member(config, listen));
}

} // namespace riposte
