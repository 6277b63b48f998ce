#include "daemon/config_values.h"

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
    std::string text = "bad TOML: ";
    if (description.starts_with(prefix)) {
        text = "bad ";
        description.remove_prefix(prefix.size());
    }
    text += description;
    std::ranges::replace_if(text, [](char c) { return static_cast<unsigned char>(c) < ' '; }, ' ');
    return text + "; see riposted.toml(5)";
}

void add_address(ListenConfig& listen, Endpoint endpoint) {
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

Config default_config() {
    Config config;
    config.listen.push_back(
        {.service = ServiceKind::hello,
         .addresses = {{Transport::tcp, "127.0.0.1", 7001}, {Transport::udp, "127.0.0.1", 7001}},
         .options = {},
         .origin = "default"});
    return config;
}

Result<void> validate(const Config& config) {
    if (config.listen.empty())
        return fail(Exit::config, "nothing to listen on; add a [[listen]] section or --listen");
    std::map<std::string, std::string_view> seen; // normal form -> where it was first written
    size_t addresses = 0;
    for (const ListenConfig& listen : config.listen) {
        addresses += listen.addresses.size();
        if (addresses > listen_addresses_max)
            return fail(
                Exit::config, fmt::format(
                                  "{}: more than {} addresses to listen on; "
                                  "configure fewer",
                                  listen.origin, listen_addresses_max));
        for (Endpoint endpoint : listen.addresses) {
            if (endpoint.port == 0) // each gets a free port of its own
                continue;
            const std::string written = to_string(endpoint);
            endpoint.host = normal_host(endpoint.host);
            const auto [first, is_new] = seen.emplace(to_string(endpoint), listen.origin);
            if (is_new)
                continue;
            if (first->second == listen.origin)
                return fail(
                    Exit::config,
                    fmt::format("{}: {} is listed twice; remove one", listen.origin, written));
            return fail(
                Exit::config, fmt::format(
                                  "{}: {} is already listened on at {}; remove one", listen.origin,
                                  written, first->second));
        }
    }
    return {};
}

} // namespace riposte
