// The endpoint grammar, read from left to right: scheme, host, port. Each fault is reported where
// it stands, so that a configuration error can point into the string. Hosts that look like an
// address must be one: "127.1" and "1.2.3.4.5" are mistakes, not names to ask a resolver for. A
// resolver would read more of them as addresses than we do (inet_aton(3): 127.1, 0x7f000001,
// 127.0x1), and 0x0 would be every address: whatever it reads so is refused here.

#include "common/endpoint.h"

#include "common/text.h"

#include <algorithm>
#include <array>
#include <utility>

#include <arpa/inet.h>
#include <fmt/format.h>
#include <net/if.h>
#include <netinet/in.h>

namespace riposte {
namespace {

constexpr size_t name_size_max = 253; // RFC 1035, without the final dot
constexpr size_t label_size_max = 63;

std::unexpected<EndpointError> refuse(size_t offset, std::string message) {
    return std::unexpected(EndpointError{offset, std::move(message)});
}

bool is_name_character(char c) {
    return is_digit(c) || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '-' || c == '_';
}

bool is_ipv6(const std::string& text) {
    in6_addr address{};
    return inet_pton(AF_INET6, text.c_str(), &address) == 1;
}

bool is_ipv4(const std::string& text) {
    in_addr address{};
    return inet_pton(AF_INET, text.c_str(), &address) == 1;
}

/// The IPv4 address that an IPv6 address stands for (RFC 4291, 2.5.5.2), if it does.
std::optional<std::string> mapped_ipv4(const std::string& text) {
    in6_addr address{};
    if (inet_pton(AF_INET6, text.c_str(), &address) != 1 || !IN6_IS_ADDR_V4MAPPED(&address))
        return std::nullopt;
    char shown[INET_ADDRSTRLEN] = "";
    inet_ntop(AF_INET, &address.s6_addr[12], shown, sizeof shown);
    return shown;
}

/// What stands between the brackets, at `offset`.
std::expected<void, EndpointError> check_ipv6(std::string_view host, size_t offset) {
    const size_t percent = host.find('%');
    const std::string_view address = host.substr(0, percent);
    if (address.find('\0') != std::string_view::npos || !is_ipv6(std::string(address)))
        return refuse(
            offset,
            fmt::format("'{}' is not an IPv6 address; write one like [::1]", escape(address, 64)));
    if (const auto mapped = mapped_ipv4(std::string(address)))
        return refuse(
            offset, fmt::format(
                        "'{}' is an IPv4-mapped address, which no packet carries; write {}",
                        escape(address, 64), *mapped));
    if (percent == std::string_view::npos)
        return {};
    const std::string_view zone = host.substr(percent + 1);
    const size_t zone_at = offset + percent + 1;
    if (zone.empty())
        return refuse(
            zone_at, "the zone is empty; write an interface after '%', like [fe80::1%eth0]");
    if (zone.size() >= IF_NAMESIZE)
        return refuse(
            zone_at, fmt::format(
                         "the zone '{}' is too long; an interface's name has at "
                         "most {} characters",
                         escape(zone, 32), IF_NAMESIZE - 1));
    for (size_t i = 0; i < zone.size(); i++)
        if (!is_name_character(zone[i]) && zone[i] != '.')
            return refuse(
                zone_at + i, fmt::format(
                                 "a zone cannot contain '{}'; write an interface's name, like eth0",
                                 escape(zone.substr(i, 1))));
    return {};
}

/// The last label decides, as in a URL (https://url.spec.whatwg.org, "ends in a number"): digits,
/// or 0x and hexadecimal digits, mean that an IPv4 address was meant.
bool looks_like_ipv4(std::string_view host) {
    if (host.ends_with('.'))
        host.remove_suffix(1);
    const size_t dot = host.rfind('.');
    const std::string_view last = dot == std::string_view::npos ? host : host.substr(dot + 1);
    if (last.starts_with("0x") || last.starts_with("0X"))
        return last.find_first_not_of("0123456789abcdefABCDEF", 2) == std::string_view::npos;
    return !last.empty() && std::ranges::all_of(last, is_digit);
}

std::expected<void, EndpointError> check_name(std::string_view host, size_t offset) {
    if (host.empty())
        return refuse(offset, "the host is missing; write a name, an IPv4 address or [IPv6]");
    if (host.starts_with('-'))
        return refuse(
            offset, "a host name cannot begin with '-'; write a name, an IPv4 address or [IPv6]");
    size_t label_at = 0;
    for (size_t i = 0; i <= host.size(); i++) {
        const bool end = i == host.size();
        if (!end && host[i] != '.') {
            if (!is_name_character(host[i]))
                return refuse(
                    offset + i,
                    fmt::format(
                        "a host name cannot contain '{}'; write a name, an IPv4 address "
                        "or [IPv6]",
                        escape(host.substr(i, 1))));
            continue;
        }
        const size_t label_size = i - label_at;
        const bool root = end && i > 0; // the final dot of "example.org."
        if (label_size == 0 && (!root || host.size() == 1))
            return refuse(offset + i, "a part of the host name is empty; remove the extra dot");
        if (label_size > label_size_max)
            return refuse(
                offset + label_at,
                fmt::format(
                    "a part of the host name is longer than {} characters; shorten it",
                    label_size_max));
        label_at = i + 1;
    }
    if (host.size() - (host.ends_with('.') ? 1 : 0) > name_size_max)
        return refuse(
            offset,
            fmt::format("the host name is longer than {} characters; shorten it", name_size_max));
    if (looks_like_ipv4(host) && !is_ipv4(std::string(host)))
        return refuse(
            offset, fmt::format(
                        "'{}' is not an IPv4 address; write four numbers from 0 to 255, like "
                        "127.0.0.1",
                        host));
    return {};
}

/// A number.
std::expected<uint16_t, EndpointError> parse_port(std::string_view digits, size_t offset) {
    if (digits.empty())
        return refuse(offset, "the port is empty; write a number from 0 to 65535 after ':'");
    uint32_t value = 0;
    for (const char c : digits) {
        if (!is_digit(c))
            return refuse(
                offset,
                fmt::format(
                    "'{}' is not a port; write a number from 0 to 65535", escape(digits, 32)));
        value = std::min(value * 10 + static_cast<uint32_t>(c - '0'), uint32_t{65536});
    }
    if (value > 65535)
        return refuse(
            offset,
            fmt::format(
                "port {} is out of range; write a number from 0 to 65535", escape(digits, 32)));
    return static_cast<uint16_t>(value);
}

/// A number, or the name of a service where the rules permit it.
std::expected<uint16_t, EndpointError> parse_port(
    std::string_view text, size_t offset, std::optional<Transport> transport,
    const EndpointRules& rules) {
    if (rules.service_port == nullptr || std::ranges::all_of(text, is_digit))
        return parse_port(text, offset);
    auto port = rules.service_port(text, transport.value_or(rules.transport));
    if (!port)
        return refuse(offset, std::move(port.error()));
    return *port;
}

constexpr std::string_view stamp_scheme = "stamp";

struct Scheme {
    std::optional<Transport> transport;
    bool stamp = false;
};

/// Takes "tcp://", "udp://" or "stamp://" off the front of `rest`.
std::expected<Scheme, EndpointError> take_scheme(
    std::string_view& rest, const EndpointRules& rules) {
    const std::string_view known =
        rules.stamp_port ? "tcp://, udp:// or stamp://" : "tcp:// or udp://";
    const size_t separator = rest.find("://");
    if (separator == std::string_view::npos) {
        if (rest.starts_with("tcp:/") || rest.starts_with("udp:/") ||
            (rules.stamp_port && rest.starts_with("stamp:/")))
            return refuse(0, fmt::format("the scheme lacks a '/'; use {}", known));
        return Scheme{};
    }
    const std::string_view scheme = rest.substr(0, separator);
    rest.remove_prefix(separator + 3);
    for (const Transport transport : {Transport::tcp, Transport::udp})
        if (scheme == to_string(transport))
            return Scheme{transport};
    if (rules.stamp_port && scheme == stamp_scheme)
        return Scheme{Transport::udp, true};
    return refuse(0, fmt::format("unknown scheme '{}'; use {}", escape(scheme, 32), known));
}

std::string_view scheme_of(const Endpoint& endpoint) {
    if (!endpoint.transport)
        return "";
    return endpoint.stamp ? stamp_scheme : to_string(*endpoint.transport);
}

bool is_ipv6_with_zone(std::string_view host) {
    return check_ipv6(host, 0).has_value();
}

/// Which spelling with brackets an IPv6 address without them may have meant. "::1:7007" may be two.
std::string with_brackets(std::string_view text, const EndpointRules& rules) {
    const size_t colon = text.rfind(':');
    const std::string_view host = text.substr(0, colon);
    const std::string_view port = text.substr(colon + 1);
    const bool has_port = parse_port(port, 0).has_value() && is_ipv6_with_zone(host);
    const bool has_none = is_ipv6_with_zone(text);
    const std::string whole = fmt::format("[{}]:{}", text, rules.default_port.value_or(7001));
    if (has_port && has_none)
        return fmt::format("[{}]:{}, or {} if all of it is the address", host, port, whole);
    if (has_port)
        return fmt::format("[{}]:{}", host, port);
    return has_none ? whole : "[::1]:7001";
}

/// Takes HOST off the front of `rest`, which is then empty or ":PORT".
std::expected<std::string_view, EndpointError> take_host(
    std::string_view& rest, size_t offset, const EndpointRules& rules) {
    if (rest.starts_with('[')) {
        const size_t close = rest.find(']');
        if (close == std::string_view::npos)
            return refuse(offset, "'[' is not closed; write an IPv6 address as [::1]");
        const std::string_view host = rest.substr(1, close - 1);
        if (auto checked = check_ipv6(host, offset + 1); !checked)
            return std::unexpected(checked.error());
        rest.remove_prefix(close + 1);
        if (!rest.empty() && rest.front() != ':')
            return refuse(
                offset + close + 1,
                fmt::format("'{}' follows the address; write ':' and a port", escape(rest, 32)));
        return host;
    }
    const std::string_view address = rest.substr(0, rest.find('%'));
    if (std::ranges::count(address, ':') > 1 &&
        address.find_first_not_of("0123456789abcdefABCDEF:.") == std::string_view::npos)
        return refuse(
            offset,
            fmt::format(
                "an IPv6 address needs brackets; write it as {}", with_brackets(rest, rules)));
    const size_t colon = std::min(rest.find(':'), rest.size());
    const std::string_view host = rest.substr(0, colon);
    if (host == "*") {
        if (!rules.wildcard)
            return refuse(offset, "'*' is for listening only; write the host to send to");
    } else if (host.empty() && colon < rest.size() && !rules.default_host.empty()) {
        rest.remove_prefix(colon);
        return rules.default_host;
    } else if (auto checked = check_name(host, offset); !checked) {
        return std::unexpected(checked.error());
    }
    rest.remove_prefix(colon);
    return host;
}

} // namespace

std::string_view to_string(Transport transport) {
    return transport == Transport::tcp ? "tcp" : "udp";
}

std::expected<Endpoint, EndpointError> parse_endpoint(std::string_view text, EndpointRules rules) {
    if (text.empty())
        return refuse(0, "the address is empty; write one like tcp://127.0.0.1:7001");
    std::string_view rest = text;
    const auto scheme = take_scheme(rest, rules);
    if (!scheme)
        return std::unexpected(scheme.error());
    if (scheme->stamp)
        rules.default_port = rules.stamp_port;
    const auto host = take_host(rest, text.size() - rest.size(), rules);
    if (!host)
        return std::unexpected(host.error());
    Endpoint endpoint{
        scheme->transport, std::string(*host), rules.default_port.value_or(0), scheme->stamp};
    if (rest.empty()) {
        if (!rules.default_port)
            return refuse(
                text.size(), "the port is missing; write ':' and a number from 0 to 65535");
        return endpoint;
    }
    const auto port =
        parse_port(rest.substr(1), text.size() - rest.size() + 1, scheme->transport, rules);
    if (!port)
        return std::unexpected(port.error());
    endpoint.port = *port;
    return endpoint;
}

std::expected<std::string, EndpointError> parse_host(std::string_view text) {
    const bool brackets = text.starts_with('[') && text.ends_with(']');
    const std::string_view host = brackets ? text.substr(1, text.size() - 2) : text;
    const size_t colon = host.find(':');
    std::expected<void, EndpointError> checked;
    if (brackets || std::ranges::count(host.substr(0, host.find('%')), ':') > 1)
        checked = check_ipv6(host, brackets ? 1 : 0);
    else if (colon != std::string_view::npos)
        return refuse(colon, "a port cannot be chosen; write the address alone");
    else
        checked = check_name(host, 0);
    if (!checked)
        return std::unexpected(checked.error());
    return std::string(host);
}

std::string to_string(const Endpoint& endpoint) {
    const bool brackets = endpoint.host.find(':') != std::string::npos;
    return fmt::format(
        "{}{}{}{}{}:{}", scheme_of(endpoint), endpoint.transport ? "://" : "", brackets ? "[" : "",
        endpoint.host, brackets ? "]" : "", endpoint.port);
}

} // namespace riposte
