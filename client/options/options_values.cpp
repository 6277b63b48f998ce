#include "client/options/options_values.h"

#include "client/measure/probe.h"
#include "client/options/endpoint_range.h"
#include "client/options/service_names.h"
#include "common/stamp/packet.h"
#include "common/text.h"
#include "common/units.h"

#include <algorithm>
#include <utility>

#include <fmt/format.h>

namespace riposte::client {

namespace {

Result<void> read_color(const RawValue& word, Color& target) {
    if (!word)
        return {};
    if (*word == "always")
        target = Color::always;
    else if (*word == "never")
        target = Color::never;
    else if (*word == "auto")
        target = Color::automatic;
    else
        return usage(fmt::format("--color: '{}' is none of auto, always and never", escape(*word)));
    return {};
}

EndpointRules rules_of(bool udp, uint16_t port) {
    return {
        .wildcard = false,
        .default_port = port,
        .default_host = "localhost",
        .service_port = service_port,
        .transport = udp ? Transport::udp : Transport::tcp};
}

std::unexpected<Error> refuse_endpoint(const std::string& text, const EndpointError& error) {
    return usage(
        fmt::format("endpoint '{}', column {}: {}", escape(text), error.offset + 1, error.message));
}

/// Its transport is set, its port sensible.
Result<void> complete_endpoint(const std::string& text, bool udp, Endpoint& endpoint) {
    if (endpoint.port == 0)
        return usage(fmt::format("endpoint '{}': no service listens on port 0", escape(text)));
    if (udp && endpoint.transport == Transport::tcp)
        return usage("-u and tcp:// contradict each other; leave one of them out");
    if (!endpoint.transport)
        endpoint.transport = udp ? Transport::udp : Transport::tcp;
    return {};
}

} // namespace

std::unexpected<Error> usage(std::string message) {
    return fail(Exit::usage, std::move(message));
}

std::string grouped(uint64_t number) {
    return number < 1000 ? fmt::format("{}", number)
                         : fmt::format("{},{:03}", grouped(number / 1000), number % 1000);
}

Result<void> read_payload(const RawValue& word, uint64_t min, uint64_t max, uint32_t& target) {
    if (!word)
        return {};
    const auto bytes = parse_size(*word);
    if (!bytes)
        return usage(fmt::format("--size: {}", bytes.error()));
    if (*bytes < min)
        return usage(fmt::format(
            "--size: must be at least {}{}", min,
            min == probe_header_bytes ? ", which the probe's header takes" : ""));
    if (*bytes > max)
        return usage(fmt::format("--size: must be at most {} bytes", grouped(max)));
    target = static_cast<uint32_t>(*bytes);
    return {};
}

Result<CommonOptions> read_common(const RawCommon& words) {
    CommonOptions common;
    if (words.ipv4 && words.ipv6)
        return usage("-4 and -6 exclude each other");
    if (words.ipv4 || words.ipv6)
        common.family = words.ipv4 ? Family::ipv4 : Family::ipv6;
    if (auto read = read_duration_ms("--timeout", words.timeout, false, common.timeout_ms); !read)
        return std::unexpected(read.error());
    if (auto read = read_color(words.color, common.color); !read)
        return std::unexpected(read.error());
    return common;
}

Result<Endpoint> read_endpoint(const std::string& text, bool udp, uint16_t port) {
    auto endpoint = parse_endpoint(text, rules_of(udp, port));
    if (!endpoint)
        return refuse_endpoint(text, endpoint.error());
    if (auto completed = complete_endpoint(text, udp, *endpoint); !completed)
        return std::unexpected(completed.error());
    return std::move(*endpoint);
}

Result<std::vector<Endpoint>> read_endpoints(const std::string& text, bool udp, size_t max) {
    EndpointRules rules = rules_of(udp, default_port);
    rules.stamp_port = stamp::default_port;
    auto endpoints = parse_endpoints(text, rules, max);
    if (!endpoints)
        return refuse_endpoint(text, endpoints.error());
    for (Endpoint& endpoint : *endpoints)
        if (auto completed = complete_endpoint(text, udp, endpoint); !completed)
            return std::unexpected(completed.error());
    return std::move(*endpoints);
}

std::unexpected<Error> no_endpoint(std::string_view command) {
    return usage(fmt::format(
        "no ENDPOINT; try 'riposte {0} localhost', or see 'riposte {0} --help'", command));
}

Result<void> read_file(std::string_view name, const RawValue& word, std::string& target) {
    if (!word)
        return {};
    if (word->empty())
        return usage(fmt::format("{}: the file's name is empty", name));
    if (*word == "-")
        return usage(fmt::format(
            "{0}: standard output has the results already; name a file ('{0} ./-' for one that is "
            "called -)",
            name));
    target = *word;
    return {};
}

Result<ReportOptions> read_report(const RawReport& words) {
    ReportOptions report;
    report.json = words.json;
    report.histogram = words.histogram;
    if (report.json && report.histogram)
        return usage("-j and --histogram exclude each other; -j prints nothing but JSON");
    if (auto read = read_meanwhile(words, report); !read)
        return std::unexpected(read.error());
    if (auto read = read_file("--hist", words.histogram_file, report.histogram_file); !read)
        return std::unexpected(read.error());
    if (auto read = read_file("--plot", words.plot_file, report.plot_file); !read)
        return std::unexpected(read.error());
    if (!report.plot_file.empty() && report.plot_file == report.histogram_file)
        return usage("--hist and --plot name the same file");
    if (!words.fail_if)
        return report;
    auto conditions = parse_fail_if(*words.fail_if);
    if (!conditions)
        return usage(fmt::format(
            "--fail-if '{}', column {}: {}", escape(*words.fail_if), conditions.error().offset + 1,
            conditions.error().message));
    report.fail_if = std::move(*conditions);
    return report;
}

Result<void> all_of(std::initializer_list<Result<void>> results) {
    const auto error =
        std::ranges::find_if(results, [](const Result<void>& result) { return !result; });
    return error == results.end() ? Result<void>{} : *error;
}

Result<void> check_reconnect(const Endpoint& endpoint) {
    if (endpoint.transport == Transport::tcp)
        return {};
    return usage(
        fmt::format("--reconnect is for TCP; {} makes no connection", to_string(endpoint)));
}

std::string with_port(const std::string& endpoint, const std::string& word) {
    const bool is_number = !word.empty() && word.size() <= 5 && std::ranges::all_of(word, is_digit);
    // One that has a port already, and is good, is none of nc(1)'s.
    const bool has_port =
        parse_endpoint(endpoint, {.wildcard = false, .default_port = {}}).has_value();
    if (!is_number || has_port)
        return "";
    const std::string meant = endpoint + ":" + word;
    const auto parsed = parse_endpoint(meant, {.wildcard = false, .default_port = {}});
    return parsed && parsed->port > 0 ? meant : "";
}

} // namespace riposte::client
