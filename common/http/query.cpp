#include "common/http/query.h"

#include "common/text.h"

#include <algorithm>
#include <cstdint>
#include <utility>

#include <fmt/format.h>

namespace riposte {
namespace {

/// 16 if it is no hexadecimal digit.
uint32_t hex_digit(char c) {
    if (is_digit(c))
        return static_cast<uint32_t>(c - '0');
    if (c >= 'a' && c <= 'f')
        return static_cast<uint32_t>(c - 'a' + 10);
    if (c >= 'A' && c <= 'F')
        return static_cast<uint32_t>(c - 'A' + 10);
    return 16;
}

bool is_control_byte(char c) {
    const auto byte = static_cast<unsigned char>(c);
    return byte < 0x20 || byte == 0x7f;
}

/// '+' is a blank, and %41 an A.
std::expected<std::string, std::string> decoded(std::string_view text) {
    std::string bytes;
    for (size_t i = 0; i < text.size(); ++i) {
        char byte = text[i] == '+' ? ' ' : text[i];
        if (byte == '%') {
            const uint32_t high = i + 2 < text.size() ? hex_digit(text[i + 1]) : 16;
            const uint32_t low = high < 16 ? hex_digit(text[i + 2]) : 16;
            if (low == 16)
                return std::unexpected(fmt::format(
                    "bad escape '{}'; write % and two hexadecimal digits",
                    escape(text.substr(i, 3))));
            byte = static_cast<char>(high << 4 | low);
            i += 2;
        }
        if (is_control_byte(byte))
            return std::unexpected(std::string("a control byte in the query; leave it out"));
        bytes += byte;
    }
    return bytes;
}

} // namespace

std::expected<HttpQuery, std::string> HttpQuery::parse(std::string_view query) {
    HttpQuery parsed;
    while (!query.empty()) {
        const std::string_view part = query.substr(0, query.find('&'));
        query.remove_prefix(std::min(part.size() + 1, query.size()));
        if (part.empty())
            continue;
        const size_t name_bytes = std::min(part.find('='), part.size());
        auto name = decoded(part.substr(0, name_bytes));
        if (!name)
            return std::unexpected(std::move(name.error()));
        auto value = decoded(part.substr(std::min(name_bytes + 1, part.size())));
        if (!value)
            return std::unexpected(std::move(value.error()));
        if (name->empty())
            return std::unexpected(std::string("a parameter without a name; write name=value"));
        if (parsed.value(*name))
            return std::unexpected(
                fmt::format("the parameter '{}' occurs twice; write it once", escape(*name)));
        if (parsed.parameters_.size() == parameters_max)
            return std::unexpected(
                fmt::format("more than {} parameters; write fewer", parameters_max));
        parsed.parameters_.push_back({std::move(*name), std::move(*value)});
    }
    return parsed;
}

std::optional<std::string_view> HttpQuery::value(std::string_view name) const {
    const auto found = std::ranges::find(parameters_, name, &Parameter::name);
    return found == parameters_.end() ? std::nullopt
                                      : std::optional<std::string_view>(found->value);
}

} // namespace riposte
