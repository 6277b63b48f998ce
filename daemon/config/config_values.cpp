#include "daemon/config/config_values.h"

#include "common/text.h"

#include <algorithm>
#include <array>
#include <map>

#include <arpa/inet.h>
#include <fmt/format.h>
#include <netinet/in.h>

namespace riposte {
namespace {

constexpr std::array<std::string_view, 3> backend_names{"auto", "io_uring", "epoll"};
constexpr std::array<std::string_view, 2> full_names{"refuse", "close_idle"};
constexpr std::array<std::string_view, 4> level_names{"error", "warning", "info", "debug"};

/// Two spellings of one host compare equal: letters' case, a final dot, an IPv6 address's zeros.
/// `*` is bound as the dual-stack [::], so those two are one as well.
std::string normal_host(std::string host) {
    std::ranges::transform(host, host.begin(), [](char c) {
        return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
    });
    if (host == "*")
        return "::";
    if (host.ends_with('.'))
        host.pop_back();
    const size_t percent = std::min(host.find('%'), host.size());
    in6_addr address{};
    if (inet_pton(AF_INET6, host.substr(0, percent).c_str(), &address) != 1)
        return host;
    char text[INET6_ADDRSTRLEN] = "";
    inet_ntop(AF_INET6, &address, text, sizeof text);
    return text + host.substr(percent);
}

} // namespace

std::string_view to_string(BackendChoice choice) {
    return backend_names[static_cast<size_t>(choice)];
}

std::optional<BackendChoice> parse_backend_choice(std::string_view text) {
    const auto* found = std::ranges::find(backend_names, text);
    if (found == backend_names.end())
        return std::nullopt;
    return static_cast<BackendChoice>(found - backend_names.begin());
}

std::span<const std::string_view> backend_choice_names() {
    return backend_names;
}

std::string_view to_string(WhenFull when_full) {
    return full_names[static_cast<size_t>(when_full)];
}

std::optional<WhenFull> parse_when_full(std::string_view text) {
    const auto* found = std::ranges::find(full_names, text);
    if (found == full_names.end())
        return std::nullopt;
    return static_cast<WhenFull>(found - full_names.begin());
}

std::span<const std::string_view> when_full_names() {
    return full_names;
}

std::span<const std::string_view> log_level_names() {
    return level_names;
}

std::string one_of(std::span<const std::string_view> names) {
    std::string text;
    for (size_t i = 0; i < names.size(); i++) {
        if (i > 0)
            text += i + 1 == names.size() ? " or " : ", ";
        text += names[i];
    }
    return text;
}

std::string unknown_word(
    std::string_view noun, std::string_view word, std::span<const std::string_view> names) {
    const std::string_view near = nearest(word, names);
    const std::string shown = escape(word, 40);
    if (!near.empty())
        return fmt::format("unknown {} '{}'; did you mean '{}'?", noun, shown, near);
    return fmt::format("unknown {} '{}'; it must be {}", noun, shown, one_of(names));
}

std::string syntax_error(std::string_view description) {
    constexpr std::string_view prefix = "Error while parsing ";
    constexpr size_t description_bytes_max = 200;
    std::string text = "bad TOML: ";
    if (description.starts_with(prefix)) {
        text = "bad ";
        description.remove_prefix(prefix.size());
    }
    // It quotes the text as it is: a key of any length, or what would steer a terminal.
    for (const char& c : description.substr(0, description_bytes_max)) {
        if (c >= ' ' && c <= '~')
            text += c;
        else
            text += escape({&c, 1});
    }
    if (description.size() > description_bytes_max)
        text += "...";
    return text + "; see riposted.toml(5)";
}

void add_address(ListenerConfig& listen, Endpoint endpoint) {
    if (endpoint.transport) {
        listen.addresses.push_back(std::move(endpoint));
        return;
    }
    // Every service there is speaks both.
    for (const Transport transport : {Transport::tcp, Transport::udp}) {
        endpoint.transport = transport;
        listen.addresses.push_back(endpoint);
    }
}

/// No file's: that has a line behind its name.
constexpr std::string_view default_origin = "default";

Config default_config() {
    Config config;
    config.listen.push_back(
        {.service = ServiceKind::hello,
         .addresses = {{Transport::tcp, "127.0.0.1", 7001}, {Transport::udp, "127.0.0.1", 7001}},
         .origin = std::string(default_origin)});
    return config;
}

bool has_default_listeners(const Config& config) {
    return config.listen.size() == 1 && config.listen.front().origin == default_origin;
}

namespace {

/// Where each address was first written, by its normal form.
class Taken {
public:
    Result<void> take(
        const std::string& normal, const std::string& written, const std::string& at) {
        const auto [first, is_new] = seen_.emplace(normal, at);
        if (is_new)
            return {};
        if (first->second == at)
            return fail(
                Exit::config, fmt::format("{}: {} is listed twice; remove one", at, written));
        return fail(
            Exit::config,
            fmt::format(
                "{}: {} is already listened on at {}; remove one", at, written, first->second));
    }

    Result<void> take(Endpoint endpoint, const std::string& at) {
        if (endpoint.port == 0) // each gets a free port of its own
            return {};
        const std::string written = to_string(endpoint);
        endpoint.host = normal_host(endpoint.host);
        return take(to_string(endpoint), written, at);
    }

private:
    std::map<std::string, std::string> seen_;
};

} // namespace

Result<void> validate(const Config& config) {
    if (config.listen.empty())
        return fail(Exit::config, "nothing to listen on; add a [[listen]] section or --listen");
    Taken taken;
    size_t addresses = 0;
    for (const ListenerConfig& listen : config.listen) {
        addresses += listen.addresses.size();
        if (addresses > listen_addresses_max)
            return fail(
                Exit::config, fmt::format(
                                  "{}: more than {} addresses to listen on; "
                                  "configure fewer",
                                  listen.origin, listen_addresses_max));
        for (const Endpoint& endpoint : listen.addresses)
            if (auto took = taken.take(endpoint, listen.origin); !took)
                return took;
    }
    for (const ScrapeAddress& address : config.metrics.listen) {
        const std::string written = to_string(address);
        auto took = address.is_unix() ? taken.take(written, escape(written), config.metrics.origin)
                                      : taken.take(address.endpoint, config.metrics.origin);
        if (!took)
            return took;
    }
    return {};
}

} // namespace riposte
