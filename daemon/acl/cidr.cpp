#include "daemon/acl/cidr.h"

#include "common/text.h"

#include <algorithm>
#include <charconv>
#include <cstring>
#include <functional>
#include <map>
#include <optional>

#include <arpa/inet.h>
#include <fmt/format.h>
#include <netinet/in.h>

namespace riposte {
namespace {

constexpr std::string_view cidr_example = "write one like 192.0.2.0/24 or 2001:db8::/32";

std::unexpected<EndpointError> refuse(size_t offset, std::string message) {
    return std::unexpected(EndpointError{offset, std::move(message)});
}

/// The key of an address literal without a zone, or nothing.
std::optional<SourceKey> parse_address(const std::string& host) {
    SocketAddress address;
    in_addr v4{};
    in6_addr v6{};
    if (inet_pton(AF_INET, host.c_str(), &v4) == 1) {
        sockaddr_in socket{};
        socket.sin_family = AF_INET;
        socket.sin_addr = v4;
        std::memcpy(&address.storage, &socket, sizeof socket);
    } else if (inet_pton(AF_INET6, host.c_str(), &v6) == 1) {
        sockaddr_in6 socket{};
        socket.sin6_family = AF_INET6;
        socket.sin6_addr = v6;
        std::memcpy(&address.storage, &socket, sizeof socket);
    } else {
        return std::nullopt;
    }
    return source_key(address);
}

/// The digits behind the slash, at most `max`.
std::optional<uint8_t> parse_length(std::string_view text, uint8_t max) {
    unsigned length = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), length);
    if (error != std::errc{} || end != text.data() + text.size() || length > max)
        return std::nullopt;
    return static_cast<uint8_t>(length);
}

} // namespace

std::expected<Cidr, EndpointError> parse_cidr(std::string_view text) {
    const size_t slash = std::min(text.find('/'), text.size());
    const std::string_view host = text.substr(0, slash);
    const std::string shown = escape(text, 64);
    if (const size_t zone = host.find('%'); zone != std::string_view::npos)
        return refuse(
            zone, fmt::format("'{}' has a zone; a prefix cannot have one: remove it", shown));
    const auto key = host.contains('\0') ? std::nullopt : parse_address(std::string(host));
    if (!key)
        return refuse(0, fmt::format("'{}' is not an address prefix; {}", shown, cidr_example));
    // In dotted notation the length counts bits of IPv4, in colon notation bits of IPv6.
    const bool dotted = host.find(':') == std::string_view::npos;
    const uint8_t before = dotted ? ipv4_offset_bits : 0;
    const auto max = static_cast<uint8_t>(128 - before);
    std::optional<uint8_t> length = max;
    if (slash < text.size())
        length = parse_length(text.substr(slash + 1), max);
    if (!length)
        return refuse(slash, fmt::format("'{}': the length must be from /0 to /{}", shown, max));
    const auto bits = static_cast<uint8_t>(before + *length);
    const Cidr cidr{first_bits(*key, bits), bits};
    if (cidr.network != *key)
        return refuse(
            slash,
            fmt::format(
                "'{}' has bits set beyond its length; did you mean '{}'?", shown, to_string(cidr)));
    return cidr;
}

std::string to_string(const Cidr& cidr) {
    char text[INET6_ADDRSTRLEN] = "";
    const bool v4 = cidr.bits >= ipv4_offset_bits && is_ipv4(cidr.network);
    if (v4)
        inet_ntop(AF_INET, &cidr.network[ipv4_offset_bits / 8], text, sizeof text);
    else
        inet_ntop(AF_INET6, cidr.network.data(), text, sizeof text);
    if (cidr.bits == 128)
        return text;
    return fmt::format("{}/{}", text, v4 ? cidr.bits - ipv4_offset_bits : cidr.bits);
}

bool contains(const Cidr& cidr, const SourceKey& key) noexcept {
    if (is_ipv4(key) && cidr.bits < ipv4_offset_bits)
        return false;
    return first_bits(key, cidr.bits) == cidr.network;
}

CidrSet::CidrSet(const std::vector<Cidr>& prefixes) {
    std::map<uint8_t, std::vector<SourceKey>, std::greater<>> by_length;
    for (const Cidr& cidr : prefixes)
        by_length[cidr.bits].push_back(cidr.network);
    for (auto& [bits, networks] : by_length) {
        std::ranges::sort(networks);
        lengths_.push_back({bits, std::move(networks)});
    }
}

int CidrSet::longest_match(const SourceKey& key) const noexcept {
    const int least = is_ipv4(key) ? ipv4_offset_bits : 0; // see contains()
    for (const Length& length : lengths_) {
        if (length.bits < least)
            break;
        if (std::ranges::binary_search(length.networks, first_bits(key, length.bits)))
            return length.bits;
    }
    return none;
}

} // namespace riposte
