// Prints the configuration as TOML, by the rows of schema.h. It prints every value, so that the
// text also documents the defaults. parse_config() reads it back to an equal configuration.

#include "daemon/config/config.h"
#include "daemon/config/schema.h"

#include <concepts>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include <fmt/format.h>
#include <fmt/ranges.h>

namespace riposte {
namespace {

/// A TOML basic string. `text` is UTF-8, since it came from TOML; only characters that the grammar
/// does not allow between quotes are escaped.
std::string in_quotes(std::string_view text) {
    std::string out = "\"";
    for (const char c : text) {
        if (c == '"' || c == '\\')
            (out += '\\') += c;
        else if (c == '\n')
            out += "\\n";
        else if (c == '\r')
            out += "\\r";
        else if (c == '\t')
            out += "\\t";
        else if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f)
            out += fmt::format("\\u{:04X}", static_cast<unsigned char>(c));
        else
            out += c;
    }
    return out += '"';
}

/// A value as TOML, by its type.
struct PrintMember {
    schema::Unit unit;

    std::string operator()(const bool* value) const { return *value ? "true" : "false"; }
    template<class Number>
        requires std::same_as<Number, uint32_t> || std::same_as<Number, uint64_t>
    std::string operator()(const Number* value) const {
        const std::string text = schema::written(unit, *value);
        return schema::is_quoted(unit) ? in_quotes(text) : text;
    }
    std::string operator()(const std::string* value) const { return in_quotes(*value); }
    std::string operator()(const std::optional<uint8_t>* value) const {
        return *value ? fmt::to_string(unsigned{**value}) : in_quotes("copy");
    }
    std::string operator()(const std::vector<uint8_t>* values) const {
        return fmt::format("[{}]", fmt::join(*values, ", "));
    }
    std::string operator()(const std::vector<StampKeyFile>* keys) const {
        std::vector<std::string> tables;
        for (const StampKeyFile& key : *keys)
            tables.push_back(fmt::format(
                "{{ ssid = {}, file = {} }}", key.ssid.value_or(0), in_quotes(key.file)));
        return fmt::format("[{}]", fmt::join(tables, ", "));
    }
    /// Words.
    template<class Word>
    std::string operator()(const Word* value) const {
        return in_quotes(to_string(*value));
    }
    /// ["192.0.2.0/24", "::1"]
    template<class Element>
    std::string operator()(const std::vector<Element>* values) const {
        std::string out;
        for (const Element& value : *values) {
            if (!out.empty())
                out += ", ";
            out += in_quotes(to_string(value));
        }
        return fmt::format("[{}]", out);
    }
};

std::string print_keys(schema::Section section, Config& config, ListenerConfig& listen) {
    std::string out;
    for (const schema::Key& key : schema::keys()) {
        if (key.section != section || (key.only_of && *key.only_of != listen.service))
            continue;
        const schema::Member member = key.member(config, listen);
        out += fmt::format("{} = {}\n", key.name, std::visit(PrintMember{key.unit}, member));
    }
    return out;
}

} // namespace

std::string print_config(const Config& config) {
    Config copy = config; // members are reached in a mutable Config only
    std::string out;
    for (const schema::SectionRow& row : schema::sections()) {
        const std::string head = row.name.empty() ? "" : fmt::format("\n{}\n", row.written);
        ListenerConfig none;
        if (row.repeats)
            for (ListenerConfig& listen : copy.listen)
                out += head + print_keys(row.section, copy, listen);
        else
            out += head + print_keys(row.section, copy, none);
    }
    return out;
}

} // namespace riposte
