// Compares riposted-metrics(7) with the metrics that the daemon exposes: the page must explain each
// metric, label and reason, and name no others.
#include "daemon/telemetry/openmetrics.h"

#include <fstream>
#include <iterator>
#include <map>
#include <regex>
#include <set>
#include <sstream>
#include <string>
#include <vector>

#include <doctest/doctest.h>

using namespace riposte;

namespace {

constexpr const char* page_path = RIPOSTE_MAN_DIR "/riposted-metrics.7.scd";

std::string read(const char* path) {
    std::ifstream file(path);
    return {std::istreambuf_iterator<char>(file), {}};
}

std::vector<std::string> page_lines(const std::string& text) {
    std::istringstream stream(text);
    std::vector<std::string> lines;
    for (std::string line; std::getline(stream, line);)
        lines.push_back(line);
    return lines;
}

/// A family's heading in the page: type, and labels in written order.
struct Form {
    std::string type{};
    std::vector<std::string> labels{};

    bool operator==(const Form&) const = default;
};
using Forms = std::map<std::string, Form>;

doctest::String toString(const Form& form) {
    std::string text = form.type;
    for (const std::string& label : form.labels)
        text += ' ' + label;
    return text.c_str();
}

/// A snapshot with a sample of each family.
Snapshot full() {
    Snapshot snapshot{.version = "1.2.3", .backend = "epoll", .workers = 1};
    snapshot.listeners.push_back({ServiceKind::echo, Transport::tcp, "tcp://192.0.2.1:7"});
    snapshot.listeners.push_back({ServiceKind::stamp, Transport::udp, "udp://192.0.2.1:862"});
    snapshot.scrapes = {{"200", 1}};
    snapshot.scrapes_rejected = {{"crowded", 1}};
    snapshot.process = {
        .cpu_seconds = 1,
        .start_time_seconds = 1,
        .resident_bytes = 1,
        .virtual_bytes = 1,
        .open_descriptors = 1,
        .descriptors_max = 1,
        .threads = 1};
    return snapshot;
}

std::vector<std::string> labels_of(const std::string& sample) {
    static const std::regex label("[{,]([a-z_]+)=\"");
    std::vector<std::string> labels;
    for (std::sregex_iterator at(sample.begin(), sample.end(), label), end; at != end; ++at)
        if ((*at)[1] != "le") // every histogram has it
            labels.push_back((*at)[1]);
    return labels;
}

struct Exposed {
    Forms forms{};
    std::set<std::string> names{}; ///< of families and of samples: a histogram has several
};

Exposed exposed() {
    Exposed found;
    std::string family;
    for (const std::string& line : page_lines(exposition(full(), ExpositionFormat::prometheus))) {
        std::istringstream words(line);
        std::string hash;
        std::string word;
        words >> hash >> word;
        if (hash == "#" && word == "TYPE") {
            words >> family;
            words >> found.forms[family].type;
            found.names.insert(family);
        } else if (hash != "#") {
            found.forms[family].labels = labels_of(line);
            found.names.insert(line.substr(0, line.find_first_of("{ ")));
        }
    }
    return found;
}

/// Each has a heading like `*riposte_connections*{_service_}, gauge`, and its text below.
Forms explained() {
    static const std::regex head(R"(\*([a-z_]+)\*(?:\{([a-z_,]+)\})?, ([a-z]+))");
    Forms forms;
    const std::vector<std::string> page = page_lines(read(page_path));
    for (size_t i = 0; i + 1 < page.size(); ++i) {
        std::smatch match;
        if (!std::regex_match(page[i], match, head))
            continue;
        CAPTURE(page[i]);
        CHECK(page[i + 1].starts_with('\t'));
        CHECK_FALSE(forms.contains(match[1]));
        Form& form = forms[match[1]];
        form.type = match[3];
        std::istringstream labels(match[2]);
        for (std::string label; std::getline(labels, label, ',');)
            form.labels.push_back(label.substr(1, label.size() - 2)); // in underscores
    }
    return forms;
}

/// The paragraphs of the section, like `_denied_`, in order: "denied refused ".
std::string terms_of(const std::string& section) {
    static const std::regex term("_([A-Za-z_]+)_");
    std::string terms;
    bool inside = false;
    for (const std::string& line : page_lines(read(page_path))) {
        std::smatch match;
        if (line.starts_with('#'))
            inside = line == "# " + section;
        else if (inside && std::regex_match(line, match, term))
            terms += match.str(1) + ' ';
    }
    return terms;
}

std::string reasons(Transport transport) {
    std::string reasons;
    for (const CounterRow& row : counter_rows())
        if (row.drop != DropStage::none && row.transport == transport)
            reasons += std::string(row.token) + ' ';
    return reasons;
}

} // namespace

TEST_CASE("the page explains each metric with its type and labels, and no other") {
    const Forms there = exposed().forms;
    const Forms page = explained();
    CHECK(page.size() > 30);
    for (const auto& [name, form] : there) {
        CAPTURE(name);
        REQUIRE(page.contains(name));
        CHECK(page.at(name) == form);
    }
    for (const auto& [name, form] : page) {
        CAPTURE(name);
        CHECK(there.contains(name));
    }
}

TEST_CASE("other names in the pages are exposed, too") {
    static const std::regex metric("(?:riposte|process)_[a-z_]+[a-z]");
    const std::set<std::string> names = exposed().names;
    for (const std::string path : {page_path, RIPOSTE_MAN_DIR "/riposted.8.scd"}) {
        const std::string text = read(path.c_str());
        size_t found = 0;
        for (std::sregex_iterator at(text.begin(), text.end(), metric), end; at != end; ++at) {
            CAPTURE(path);
            const std::string name = at->str();
            CAPTURE(name);
            CHECK(names.contains(name));
            ++found;
        }
        CHECK(found > 0);
    }
}

TEST_CASE("the page explains each reason and each error of accept, in the order of the code") {
    CHECK(terms_of("WHY CONNECTIONS ARE DROPPED") == reasons(Transport::tcp));
    CHECK(terms_of("WHY DATAGRAMS ARE DROPPED") == reasons(Transport::udp));
    std::string errors;
    for (const CounterRow& row : counter_rows())
        if (row.family == CounterFamily::accept_errors)
            errors += std::string(row.token) + ' ';
    CHECK(terms_of("WHY ACCEPTING PAUSES") == errors);
}

TEST_CASE("the page explains each service") {
    const std::string text = read(page_path);
    for (size_t kind = 0; kind < service_kinds; ++kind) {
        const auto name = std::string(to_string(static_cast<ServiceKind>(kind)));
        CAPTURE(name);
        CHECK(text.find('*' + name + '*') != std::string::npos);
    }
}
