#include "daemon/config/config.h"

#include "common/text.h"

#include <algorithm>
#include <map>

#include <arpa/inet.h>
#include <fmt/format.h>
#include <netinet/in.h>

namespace riposte {

std::optional<Endpoint> set_transports(ListenerConfig& listen) {
    std::vector<Endpoint> addresses;
    for (Endpoint& endpoint : listen.addresses) {
        if (endpoint.transport == Transport::tcp && !speaks_tcp(listen.service))
            return endpoint;
        if (endpoint.transport) {
            addresses.push_back(std::move(endpoint));
            continue;
        }
        for (const Transport transport : {Transport::tcp, Transport::udp}) {
            if (transport == Transport::tcp && !speaks_tcp(listen.service))
                continue;
            endpoint.transport = transport;
            addresses.push_back(endpoint);
        }
    }
    listen.addresses = std::move(addresses);
    return std::nullopt;
}

std::string not_over_tcp(const Endpoint& endpoint, ServiceKind service) {
    return fmt::format("{}: {} is for UDP; write udp://", to_string(endpoint), to_string(service));
}

/// Cannot be a file's origin, which ends in a line number.
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

/// Two spellings of one host compare equal: they may differ in the case of letters, a final dot,
/// the zeros of an IPv6 address. `*` is bound as the dual-stack [::], so these two are equal as
/// well.
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
        if (endpoint.port == 0) // each gets its own free port
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
    for (const HttpAddress& address : config.metrics.listen) {
        const std::string written = to_string(address);
        auto took = address.is_unix() ? taken.take(written, escape(written), config.metrics.origin)
                                      : taken.take(address.endpoint, config.metrics.origin);
        if (!took)
            return took;
    }
    return {};
}

} // namespace riposte
