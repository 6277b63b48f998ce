// Each row of the schema against the reader, the printer, the manual page and the packaged file.
#include "daemon/config/schema.h"
#include "daemon/config/words.h"

#include <algorithm>
#include <fstream>
#include <iterator>
#include <map>
#include <regex>
#include <set>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

#include <doctest/doctest.h>
#include <fmt/format.h>

using namespace riposte;
using schema::Key;
using schema::Section;
using schema::Unit;

namespace {

std::string text_of(const char* path) {
    std::ifstream file(path);
    return {std::istreambuf_iterator<char>(file), {}};
}

/// A file with this key only.
std::string file_with(const Key& key, const std::string& value) {
    const std::string line = fmt::format("{} = {}\n", key.name, value);
    if (key.section == Section::top)
        return line;
    std::string text = fmt::format("{}\n{}", schema::row_of(key.section).written, line);
    if (key.section == Section::listen && key.name != "service")
        text +=
            fmt::format("service = \"{}\"\n", to_string(key.only_of.value_or(ServiceKind::hello)));
    if (key.section == Section::listen && key.name != "address")
        text += "address = \"127.0.0.1:7001\"\n";
    return text;
}

/// "accepted", or what is wrong.
std::string verdict(const Key& key, const std::string& value) {
    const auto config = parse_config(file_with(key, value), "t.toml");
    return config ? "accepted" : config.error().message;
}

std::string number(const Key& key, uint64_t value) {
    const std::string text = schema::written(key.unit, value);
    return schema::is_quoted(key.unit) ? '"' + text + '"' : text;
}

Config with(const Key& key, const std::string& value) {
    auto config = parse_config(file_with(key, value), "t.toml");
    REQUIRE_MESSAGE(config.has_value(), (config ? "" : config.error().message));
    return *std::move(config);
}

bool equal(const Key& key, Config a, Config b) {
    if (key.section != Section::listen)
        return schema::same(key, a, b);
    const schema::Member of_b = key.member(b, b.listen.front());
    return std::visit(
        [&]<class Value>(const Value* value) { return *value == *std::get<Value*>(of_b); },
        key.member(a, a.listen.front()));
}

/// A value that is not the default.
std::string another_value(const Key& key) {
    if (key.unit != Unit::none) {
        const Config of_max = with(key, number(key, key.max));
        return number(key, equal(key, of_max, default_config()) ? key.min : key.max);
    }
    static const std::map<std::string_view, std::string> others{
        {"backend", R"("epoll")"},
        {"log_level", R"("debug")"},
        {"service", R"("echo")"},
        {"address", R"("tcp://[::1]:7")"},
        {"message", R"("another")"},
        {"when_full", R"("close_idle")"},
        {"listen", R"(["unix:/run/x"])"},
        {"sequence", R"("copy")"},
        {"dscp", "46"},
        {"cos", "[46]"},
        {"location", R"("all")"},
        {"clock", R"("system")"},
        {"key_file", R"("/a.key")"},
        {"authenticated", R"("accepted")"},
        {"keys", R"([{ ssid = 1, file = "a" }])"}};
    if (const auto found = others.find(key.name); found != others.end())
        return found->second;
    Config config;
    ListenerConfig listen;
    return std::holds_alternative<bool*>(key.member(config, listen)) ? "true"
                                                                     : R"(["192.0.2.0/24"])";
}

// -- the page -------------------------------------------------------------------------------------

/// The page's paragraph on one key, or on several that it explains together.
struct Paragraph {
    std::vector<std::string> names;
    std::vector<std::string> forms; ///< the text after `*name* = `
    std::string text;               ///< without scdoc markup
};

std::map<std::string, std::vector<Paragraph>> paragraphs() {
    static const std::regex head(R"(\*([a-z0-9_]+)\* = (.*))");
    std::map<std::string, std::vector<Paragraph>> page;
    std::istringstream lines(text_of(RIPOSTE_MAN_DIR "/riposted.toml.5.scd"));
    std::string section;
    bool together = false; // the previous line ended in ++
    for (std::string line; std::getline(lines, line);) {
        std::smatch match;
        if (line.starts_with("# ")) {
            section = line.substr(2);
        } else if (std::regex_match(line, match, head)) {
            std::string form = match[2];
            const bool goes_on = form.ends_with("++");
            if (goes_on)
                form.resize(form.size() - 2);
            if (!together)
                page[section].emplace_back();
            page[section].back().names.push_back(match[1]);
            page[section].back().forms.push_back(form);
            together = goes_on;
        } else if (line.starts_with('\t') && !page[section].empty()) {
            page[section].back().text += line.substr(1) + ' ';
        }
    }
    return page;
}

std::string heading_of(Section section) {
    return section == Section::top ? "TOP LEVEL" : std::string(schema::row_of(section).written);
}

/// The paragraph of a row, and the row's place there.
std::pair<Paragraph, size_t> explained(const Key& key) {
    const std::vector<Paragraph> section = paragraphs()[heading_of(key.section)];
    for (const Paragraph& paragraph : section) {
        const auto found = std::ranges::find(paragraph.names, key.name);
        if (found != paragraph.names.end())
            return {paragraph, static_cast<size_t>(found - paragraph.names.begin())};
    }
    return {};
}

std::string without_marks(std::string text) {
    std::erase_if(text, [](char c) { return c == '*' || c == '"'; });
    return text;
}

/// `*8192*` after "Default:"; for several keys in order, or one for all.
std::string default_of(const Paragraph& paragraph, size_t place) {
    static const std::regex term(R"(\*([^*]+)\*)");
    const size_t from = paragraph.text.find("Default: ");
    REQUIRE(from != std::string::npos);
    std::string found;
    const std::string text = paragraph.text.substr(from, paragraph.text.find(". ", from) - from);
    for (std::sregex_iterator at(text.begin(), text.end(), term), end; at != end; ++at) {
        found = (*at)[1];
        if (place-- == 0 || paragraph.names.size() == 1)
            break;
    }
    return found;
}

/// The page's form of a key's permitted values.
std::string form_of(const Key& key) {
    Config config;
    ListenerConfig listen;
    switch (key.unit) {
    case Unit::count:
    case Unit::bits:
    case Unit::per_second:
        return "_number_";
    case Unit::bytes:
        return "_size_";
    case Unit::milliseconds:
    case Unit::microseconds:
        return "_duration_";
    case Unit::none:
        break;
    }
    const schema::Member member = key.member(config, listen);
    if (std::holds_alternative<bool*>(member))
        return "*true* | *false*";
    if (std::holds_alternative<std::string*>(member))
        return "_string_";
    if (std::holds_alternative<std::optional<uint8_t>*>(member))
        return "*\"copy\"* | _number_";
    if (std::holds_alternative<std::vector<uint8_t>*>(member))
        return "[_number_, ...]";
    if (std::holds_alternative<std::vector<StampKeyFile>*>(member))
        return "[{ ssid = _number_, file = _string_ }, ...]";
    if (std::holds_alternative<std::vector<Cidr>*>(member))
        return "_prefix_ | [_prefix_, ...]";
    if (std::holds_alternative<std::vector<Endpoint>*>(member) ||
        std::holds_alternative<std::vector<HttpAddress>*>(member))
        return "_address_ | [_address_, ...]";
    const auto names = std::holds_alternative<BackendChoice*>(member)   ? backend_choice_names()
                       : std::holds_alternative<WhenFull*>(member)      ? when_full_names()
                       : std::holds_alternative<LogLevel*>(member)      ? log_level_names()
                       : std::holds_alternative<StampSequence*>(member) ? stamp_sequence_names()
                       : std::holds_alternative<StampLocation*>(member) ? stamp_location_names()
                       : std::holds_alternative<StampClock*>(member)    ? stamp_clock_names()
                       : std::holds_alternative<StampAuthentication*>(member)
                           ? stamp_authentication_names()
                           : service_names();
    std::string words;
    for (const std::string_view name : names)
        words += fmt::format("{}*\"{}\"*", words.empty() ? "" : " | ", name);
    return words;
}

} // namespace

TEST_CASE("a number at its bounds is accepted, and beyond them refused with the bounds") {
    for (const Key& key : schema::keys()) {
        if (key.unit == Unit::none)
            continue;
        CAPTURE(key.name);
        CHECK(verdict(key, number(key, key.min)) == "accepted");
        CHECK(verdict(key, number(key, key.max)) == "accepted");
        const std::string must_be = "; it must be " + schema::bounds(key);
        if (key.min > 0)
            CHECK(verdict(key, number(key, key.min - 1)).ends_with(must_be));
        const bool has_own_bound = key.unit != Unit::milliseconds && key.max < uint64_t{1} << 40;
        if (has_own_bound) // beyond them, the parsers of units refuse it
            CHECK(verdict(key, number(key, key.max + 1)).ends_with(must_be));
    }
}

TEST_CASE("each key is read, printed, and read back") {
    for (const Key& key : schema::keys()) {
        CAPTURE(key.name);
        const Config changed = with(key, another_value(key));
        CHECK_FALSE(equal(key, changed, default_config()));
        const auto back = parse_config(print_config(changed), "printed");
        REQUIRE(back.has_value());
        CHECK(equal(key, changed, *back));
        for (const Key& other : schema::keys())
            if (&other != &key && other.section != Section::listen)
                CHECK(schema::same(other, changed, default_config()));
    }
}

TEST_CASE("keys that only a restart can change stay, and are named") {
    for (const Key& key : schema::keys()) {
        if (key.section == Section::listen)
            continue;
        CAPTURE(key.name);
        const Config running = default_config();
        Config wanted = with(key, another_value(key));
        const auto kept = schema::keep_until_restart(running, wanted);
        const bool stays = key.effect == schema::Effect::restart;
        CHECK(kept == (stays ? std::vector{&key} : std::vector<const Key*>{}));
        CHECK(schema::same(key, running, wanted) == stays);
    }
}

TEST_CASE("a key is named with its section if several sections have its name") {
    const auto name = [](Section section, std::string_view key) {
        return schema::quoted(*schema::find_key(section, key));
    };
    CHECK(name(Section::top, "backend") == "'backend'");
    CHECK(name(Section::limits, "buffer_memory") == "'buffer_memory'");
    CHECK(name(Section::limits, "connections") == "'[limits] connections'");
    CHECK(name(Section::metrics, "listen") == "'[metrics] listen'");
}

TEST_CASE("riposted.toml(5) explains each key, and names none that does not exist") {
    for (const Key& key : schema::keys()) {
        CAPTURE(key.name);
        const auto [paragraph, place] = explained(key);
        REQUIRE_FALSE(paragraph.names.empty());
        CHECK(paragraph.forms[place] == form_of(key));
    }
    auto page = paragraphs();
    for (const schema::SectionRow& row : schema::sections())
        for (const Paragraph& paragraph : page[heading_of(row.section)])
            for (const std::string& name : paragraph.names) {
                CAPTURE(name);
                CHECK(schema::find_key(row.section, name) != nullptr);
            }
}

TEST_CASE("riposted.toml(5) has each key's default, or that it is required") {
    for (const Key& key : schema::keys()) {
        CAPTURE(key.name);
        const auto [paragraph, place] = explained(key);
        CHECK((paragraph.text.find("Required.") != std::string::npos) == key.required);
        if (!key.required)
            CHECK(equal(key, with(key, default_of(paragraph, place)), default_config()));
    }
}

TEST_CASE("riposted.toml(5) has each key's bounds, and whether it needs a restart") {
    for (const Key& key : schema::keys()) {
        CAPTURE(key.name);
        const auto [paragraph, place] = explained(key);
        const std::string text = without_marks(paragraph.text);
        CHECK(
            (text.find("A change needs a restart.") != std::string::npos) ==
            (key.effect == schema::Effect::restart));
        std::string bounds = key.unit == Unit::none ? "" : schema::bounds(key);
        if (bounds.starts_with("from "))
            bounds = bounds.substr(5);
        if (key.unit == Unit::milliseconds && key.min == 0)
            continue;
        if (std::string(key.name) == "message")
            bounds = fmt::format("{} to {} bytes", key.min, key.max);
        if (bounds.empty())
            continue;
        CAPTURE(bounds);
        CHECK(std::regex_search(text, std::regex("(^|[^0-9])" + bounds + "($|[^0-9])")));
    }
}

TEST_CASE("the packaged file shows each key with its default") {
    static const std::regex line_form(R"(#? ?([a-z0-9_]+) = (\[[^\]]*\]|"[^"]*"|[^ ]+).*)");
    std::istringstream lines(text_of(RIPOSTE_PACKAGED_CONFIG));
    Section section = Section::top;
    std::set<const Key*> shown;
    for (std::string line; std::getline(lines, line);) {
        for (const schema::SectionRow& row : schema::sections())
            if (!row.written.empty() && line == row.written)
                section = row.section;
        std::smatch match;
        if (!std::regex_match(line, match, line_form))
            continue;
        const std::string name = match[1];
        CAPTURE(name);
        const Key* key = schema::find_key(section, name);
        REQUIRE(key != nullptr);
        CHECK(shown.insert(key).second);
        CHECK(equal(*key, with(*key, match[2]), default_config()));
    }
    for (const Key& key : schema::keys()) {
        CAPTURE(key.name);
        CHECK(shown.contains(&key));
    }
}
