#include "daemon/log/log_events.h"
#include "daemon/log/log_failure.h"

#include <fstream>
#include <map>
#include <set>
#include <string>
#include <vector>

#include <doctest/doctest.h>

using namespace riposte;

namespace {

/// An entry of the catalog: its header lines, and the text.
struct Entry {
    std::string comment; ///< the line before it
    std::map<std::string, std::string> headers;
    std::string text;
};

/// By id; duplicate ids are in `twice`.
std::map<std::string, Entry> read_catalog(std::vector<std::string>& twice) {
    std::ifstream file(RIPOSTE_CATALOG);
    std::map<std::string, Entry> catalog;
    std::string line;
    std::string before;
    Entry* entry = nullptr;
    bool in_headers = false;
    for (; std::getline(file, line); before = line) {
        if (line.starts_with("-- ")) {
            const std::string id = line.substr(3);
            if (catalog.contains(id))
                twice.push_back(id);
            entry = &catalog[id];
            entry->comment = before;
            in_headers = true;
        } else if (entry != nullptr && line.empty() && in_headers) {
            in_headers = false;
        } else if (entry != nullptr && in_headers) {
            const size_t colon = line.find(": ");
            entry->headers[line.substr(0, colon)] = line.substr(colon + 2);
        } else if (entry != nullptr && !line.starts_with('#')) {
            entry->text += line + '\n';
        }
    }
    return catalog;
}

} // namespace

TEST_CASE("the catalog has each event once, by name and id, and nothing else") {
    std::vector<std::string> twice;
    const auto catalog = read_catalog(twice);
    CHECK(twice.empty());
    std::set<std::string_view> names;
    for (const log::EventName& event : log::event_names) {
        CAPTURE(event.name);
        CHECK(names.insert(event.name).second);
        CHECK(event.id.size() == 32);
        CHECK(event.id.find_first_not_of("0123456789abcdef") == std::string_view::npos);
        const auto found = catalog.find(std::string(event.id));
        REQUIRE(found != catalog.end());
        CHECK(found->second.comment == "# " + std::string(event.name));
    }
    CHECK(catalog.size() == log::event_names.size());
}

TEST_CASE("each entry of the catalog has every header, and a text of at most 80 columns") {
    std::vector<std::string> twice;
    for (const auto& [id, entry] : read_catalog(twice)) {
        CAPTURE(entry.comment);
        for (const char* header : {"Subject", "Defined-By", "Support", "Documentation"})
            CHECK(entry.headers.contains(header));
        CHECK(entry.text.size() > 100);
        size_t column = 0;
        bool in_field = false;
        for (const char c : entry.text) {
            if (c == '\n') {
                CHECK_FALSE(in_field); // each @FIELD@ is closed on its line
                column = 0;
            } else if (c == '@') {
                in_field = !in_field;
            } else if (in_field) {
                CHECK((c == '_' || (c >= 'A' && c <= 'Z')));
            } else {
                CHECK(++column <= 80);
            }
        }
    }
}

TEST_CASE("an error's position is found if its message begins with one") {
    auto place = [](std::string_view message) {
        const auto found = leading_place(message);
        return found ? std::string(found->file) + '|' + std::string(found->line) + '|' +
                           std::string(found->column)
                     : "none";
    };
    CHECK(
        place("/etc/riposte/riposted.toml:3:14: unknown key 'x'") ==
        "/etc/riposte/riposted.toml|3|14");
    CHECK(place("a:b.toml:3:1: no: 1:2: x") == "a:b.toml|3|1");
    for (const char* message :
         {"", ":", "::", "3:1: x", ":3:1: x", "f:3: x", "f:3:1", "f:x:1: x", "f:3:: x",
          "cannot read /etc/x: No such file", "tcp://[::1]:7001: in use", "f::1: x"}) {
        CAPTURE(message);
        CHECK(place(message) == "none");
    }
}
