// What the words of the command line mean. Each fault is one line that names the option, what was
// read, and what would be right.
#include "client/measure/probe.h"
#include "client/options/options_conditions.h"
#include "client/options/raw_options.h"
#include "common/text.h"
#include "common/units.h"

#include <algorithm>
#include <charconv>
#include <initializer_list>
#include <utility>

#include <fmt/format.h>
#include <sys/un.h>

namespace riposte::client {

namespace {

constexpr uint64_t count_max = 1'000'000'000'000'000; ///< 10^15: more than any run lives to see
constexpr uint64_t waiting_max = uint64_t{1} << 19;   ///< half of PingAccount's largest window
constexpr double rate_min = 0.001;
constexpr double rate_max = 100'000'000;
constexpr uint32_t warmup_ms_max = 1000; ///< unless --warmup says otherwise
constexpr uint32_t open_loop_depth = 64;

std::unexpected<Error> usage(std::string message) {
    return fail(Exit::usage, std::move(message));
}

/// "1,000,000".
std::string grouped(uint64_t number) {
    return number < 1000 ? fmt::format("{}", number)
                         : fmt::format("{},{:03}", grouped(number / 1000), number % 1000);
}

/// Sets `target` if the option was given.
template<class T>
Result<void> read_number(
    std::string_view name, const RawValue& word, uint64_t min, uint64_t max, T& target) {
    if (!word)
        return {};
    uint64_t number = 0;
    const char* const text_end = word->data() + word->size();
    const auto [end, error] = std::from_chars(word->data(), text_end, number);
    const bool too_large = error == std::errc::result_out_of_range;
    if (end != text_end || (error != std::errc{} && !too_large))
        return usage(fmt::format("{}: '{}' is not a whole number", name, escape(*word, 40)));
    if (too_large || number < min || number > max)
        return usage(fmt::format("{}: must be from {} to {}", name, grouped(min), grouped(max)));
    target = static_cast<T>(number);
    return {};
}

template<class T>
Result<void> read_duration_ms(
    std::string_view name, const RawValue& word, bool may_be_zero, T& target) {
    if (!word)
        return {};
    const auto milliseconds = parse_duration_ms(*word);
    if (!milliseconds)
        return usage(fmt::format("{}: {}", name, milliseconds.error()));
    if (*milliseconds == 0 && !may_be_zero)
        return usage(fmt::format("{}: must be more than zero", name));
    target = *milliseconds;
    return {};
}

/// -s. A probe's header makes the least size, where there is one.
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
    if (!words.source)
        return common;
    auto source = parse_host(*words.source);
    if (!source)
        return usage(fmt::format(
            "--source '{}', column {}: {}", escape(*words.source), source.error().offset + 1,
            source.error().message));
    common.source = std::move(*source);
    return common;
}

Result<Endpoint> read_endpoint(const std::string& text, bool udp, uint16_t port = default_port) {
    auto endpoint = parse_endpoint(text, {.wildcard = false, .default_port = port});
    if (!endpoint)
        return usage(fmt::format(
            "endpoint '{}', column {}: {}", escape(text), endpoint.error().offset + 1,
            endpoint.error().message));
    if (endpoint->port == 0)
        return usage(fmt::format("endpoint '{}': no service listens on port 0", escape(text)));
    if (udp && endpoint->transport == Transport::tcp)
        return usage("-u and tcp:// contradict each other; leave one of them out");
    if (!endpoint->transport)
        endpoint->transport = udp ? Transport::udp : Transport::tcp;
    return std::move(*endpoint);
}

/// "unix:/PATH", or an endpoint of TCP.
Result<StatusPlace> read_place(const std::string& text) {
    constexpr std::string_view scheme = "unix:";
    if (text.starts_with(scheme)) {
        std::string path = text.substr(scheme.size());
        if (!path.starts_with('/'))
            return usage(fmt::format("endpoint '{}': write unix:/PATH", escape(text)));
        if (path.size() >= sizeof(sockaddr_un::sun_path))
            return usage(fmt::format(
                "endpoint '{}': the path of a unix socket has at most {} bytes", escape(text),
                sizeof(sockaddr_un::sun_path) - 1));
        return StatusPlace{std::move(path), {}};
    }
    auto endpoint = read_endpoint(text, false, status_port);
    if (!endpoint)
        return std::unexpected(endpoint.error());
    if (endpoint->transport == Transport::udp)
        return usage(fmt::format(
            "endpoint '{}': metrics are asked for over TCP, or unix:/PATH", escape(text)));
    return StatusPlace{{}, std::move(*endpoint)};
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

Result<void> check_reconnect(const Endpoint& endpoint) {
    if (endpoint.transport == Transport::tcp)
        return {};
    return usage(
        fmt::format("--reconnect is for TCP; {} makes no connection", to_string(endpoint)));
}

Result<void> check_df(const Endpoint& endpoint) {
    if (endpoint.transport == Transport::udp)
        return {};
    return usage(fmt::format(
        "--df is for UDP (-u); over TCP, to {}, a probe is cut to fit", to_string(endpoint)));
}

/// The first of the results that is an error, if any.
Result<void> all_of(std::initializer_list<Result<void>> results) {
    const auto error =
        std::ranges::find_if(results, [](const Result<void>& result) { return !result; });
    return error == results.end() ? Result<void>{} : *error;
}

Result<void> read_ping_numbers(const RawPing& words, PingOptions& ping) {
    if (auto read = all_of(
            {read_number("--count", words.count, 1, count_max, ping.count),
             read_duration_ms("--deadline", words.deadline, false, ping.deadline_ms),
             read_payload(words.size, probe_header_bytes, payload_bytes_max, ping.payload_bytes)});
        !read)
        return read;
    if (!words.interval)
        return {};
    const auto microseconds = parse_duration_us(*words.interval);
    if (!microseconds)
        return usage(fmt::format("--interval: {}", microseconds.error()));
    if (*microseconds < ping_interval_us_min)
        return usage(fmt::format(
            "--interval: must be at least {}; for more, use riposte load",
            format_duration_us(ping_interval_us_min)));
    ping.interval_us = *microseconds;
    return {};
}

/// A probe stays in memory until it is answered or lost.
Result<void> check_waiting(const PingOptions& ping, uint32_t timeout_ms) {
    const uint64_t interval_us = ping.interval_us;
    const uint64_t timeout_us = uint64_t{timeout_ms} * 1000;
    const uint64_t waiting = (timeout_us + interval_us - 1) / interval_us * ping.endpoints.size();
    if (waiting <= waiting_max)
        return {};
    return usage(fmt::format(
        "--interval {} and --timeout {}: {} probes could wait at once, and {} may; "
        "raise -i or lower -W",
        format_duration_us(interval_us), format_duration(timeout_ms), grouped(waiting),
        grouped(waiting_max)));
}

Result<void> read_rate(const RawValue& word, std::optional<double>& target) {
    if (!word)
        return {};
    target = parse_decimal(*word);
    if (!target)
        return usage(fmt::format(
            "--rate: '{}' is not a number; write requests a second, like 5000 or 0.5",
            escape(*word, 40)));
    if (*target < rate_min || *target > rate_max)
        return usage(fmt::format("--rate: must be from {} to {:.0f}", rate_min, rate_max));
    return {};
}

Result<void> read_load_numbers(const RawLoad& words, LoadOptions& load) {
    const bool datagrams = load.endpoint.transport == Transport::udp;
    const uint64_t size_min = datagrams ? probe_header_bytes : 1;
    const uint64_t size_max = datagrams ? payload_bytes_max : load_payload_bytes_max;
    if (words.count && !words.duration)
        load.duration_ms = 0;
    if (auto read = all_of(
            {read_number(
                 "--connections", words.connections, 1, load_connections_max, load.connections),
             read_duration_ms("--duration", words.duration, true, load.duration_ms),
             read_number("--count", words.count, 1, count_max, load.count),
             read_rate(words.rate, load.rate),
             read_payload(words.size, size_min, size_max, load.payload_bytes)});
        !read)
        return read;
    load.depth = load.rate && !load.reconnect ? open_loop_depth : 1;
    load.warmup_ms = std::min(warmup_ms_max, load.duration_ms / 10);
    if (load.duration_ms == 0)
        load.warmup_ms = load.count ? 0 : warmup_ms_max;
    return all_of(
        {read_number("--depth", words.depth, 1, load_depth_max, load.depth),
         read_duration_ms("--warmup", words.warmup, true, load.warmup_ms)});
}

Result<void> check_load(const LoadOptions& load, bool has_depth) {
    if (has_depth && load.rate && load.endpoint.transport == Transport::udp)
        return usage(
            "-r and --depth exclude each other over UDP; an open loop waits for no answer there");
    if (load.reconnect) {
        if (auto checked = check_reconnect(load.endpoint); !checked)
            return checked;
        if (load.depth > 1)
            return usage(
                "--reconnect and --depth exclude each other; a connection has one request then");
    }
    return check_conditions(load);
}

} // namespace

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

Result<Options> read_send(const RawSend& words) {
    auto common = read_common(words.common);
    if (!common)
        return std::unexpected(common.error());
    if (words.endpoint.value_or("").empty())
        return no_endpoint("send");
    auto endpoint = read_endpoint(*words.endpoint, words.common.udp);
    if (!endpoint)
        return std::unexpected(endpoint.error());
    const std::string_view greeting =
        endpoint->transport == Transport::udp ? "Hello!" : "Hello, i'm client!";
    SendOptions send{
        .endpoint = std::move(*endpoint),
        .message = words.message.value_or(std::string(greeting)),
        .message_from_input = words.message == "-",
        .verbose = words.verbose};
    const std::string& word = send.message;
    if (const std::string meant = words.message_marked ? "" : with_port(*words.endpoint, word);
        !meant.empty())
        send.hint = fmt::format(
            "'{0}' is sent as the message, to port {1}; for port {0} write {2}, and for this -- "
            "{0}",
            word, default_port, meant);
    return Options{.common = std::move(*common), .command = std::move(send)};
}

Result<Options> read_ping(const RawPing& words) {
    auto common = read_common(words.common);
    if (!common)
        return std::unexpected(common.error());
    if (words.endpoints.empty())
        return no_endpoint("ping");
    PingOptions ping;
    ping.quiet = words.quiet;
    ping.timestamps = words.timestamps;
    ping.reconnect = words.reconnect;
    ping.df = words.df;
    std::string before;
    for (const std::string& text : words.endpoints) {
        auto endpoint = read_endpoint(text, words.common.udp);
        if (const std::string meant = endpoint || before.empty() ? "" : with_port(before, text);
            !meant.empty())
            return usage(
                fmt::format("'{0}' is not an endpoint; for port {0} write {1}", text, meant));
        if (!endpoint)
            return std::unexpected(endpoint.error());
        before = text;
        ping.endpoints.push_back(std::move(*endpoint));
    }
    if (ping.endpoints.size() > ping_endpoints_max)
        return usage(fmt::format("at most {} ENDPOINTs at once", ping_endpoints_max));
    if (auto read = read_ping_numbers(words, ping); !read)
        return std::unexpected(read.error());
    if (auto checked = check_waiting(ping, common->timeout_ms); !checked)
        return std::unexpected(checked.error());
    auto report = read_report(words.report);
    if (!report)
        return std::unexpected(report.error());
    ping.report = std::move(*report);
    for (const Endpoint& endpoint : ping.endpoints) {
        const Result<void> checked = all_of(
            {ping.reconnect ? check_reconnect(endpoint) : Result<void>{},
             ping.df ? check_df(endpoint) : Result<void>{}});
        if (!checked)
            return std::unexpected(checked.error());
    }
    if (auto checked = check_conditions(ping); !checked)
        return std::unexpected(checked.error());
    return Options{.common = std::move(*common), .command = std::move(ping)};
}

Result<Options> read_load(const RawLoad& words) {
    auto common = read_common(words.common);
    if (!common)
        return std::unexpected(common.error());
    if (words.endpoint.value_or("").empty())
        return no_endpoint("load");
    auto endpoint = read_endpoint(*words.endpoint, words.common.udp);
    if (!endpoint)
        return std::unexpected(endpoint.error());
    LoadOptions load;
    load.endpoint = std::move(*endpoint);
    load.reconnect = words.reconnect;
    load.verify = !words.no_verify;
    if (auto read = read_load_numbers(words, load); !read)
        return std::unexpected(read.error());
    auto report = read_report(words.report);
    if (!report)
        return std::unexpected(report.error());
    load.report = std::move(*report);
    if (auto checked = check_load(load, words.depth.has_value()); !checked)
        return std::unexpected(checked.error());
    return Options{.common = std::move(*common), .command = std::move(load)};
}

Result<Options> read_status(const RawStatus& words) {
    auto common = read_common(words.common);
    if (!common)
        return std::unexpected(common.error());
    StatusOptions status;
    status.json = words.json;
    status.watch = words.watch;
    if (auto read = read_duration_ms("--interval", words.interval, false, status.interval_ms);
        !read)
        return std::unexpected(read.error());
    if (words.interval && !words.watch)
        return usage("--interval is for --watch");
    if (!words.endpoint) {
        status.usual_places = true;
        status.places = {{status_socket, {}}, {"", {Transport::tcp, "127.0.0.1", status_port}}};
    } else {
        auto place = read_place(*words.endpoint);
        if (!place)
            return std::unexpected(place.error());
        status.places.push_back(std::move(*place));
    }
    return Options{.common = std::move(*common), .command = std::move(status)};
}

} // namespace riposte::client
