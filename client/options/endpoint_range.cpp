// A range is found by its characters alone, so that whatever is none has the errors of an endpoint.
// The addresses of one have the same upper 64 bits: more of them than that are too many.
#include "client/options/endpoint_range.h"

#include "client/options/options_values.h"
#include "common/text.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cstdint>
#include <optional>
#include <string>
#include <utility>

#include <arpa/inet.h>
#include <fmt/format.h>

namespace riposte::client {

namespace {

using Refusal = std::unexpected<EndpointError>;

Refusal refuse(size_t offset, std::string message) {
    return Refusal(EndpointError{offset, std::move(message)});
}

/// IPv4 has the lower 32 bits of `low` alone.
struct Address {
    bool ipv6 = false;
    uint64_t high = 0;
    uint64_t low = 0;

    bool operator==(const Address&) const = default;
    unsigned bits() const { return ipv6 ? 128 : 32; }
};

uint64_t read_bytes(const uint8_t* bytes, size_t count) {
    uint64_t number = 0;
    for (size_t i = 0; i < count; i++)
        number = number << 8 | bytes[i];
    return number;
}

std::optional<Address> parse_address(std::string_view text, bool ipv6) {
    const std::string copy(text);
    std::array<uint8_t, 16> bytes{};
    if (text.contains('\0') ||
        ::inet_pton(ipv6 ? AF_INET6 : AF_INET, copy.c_str(), bytes.data()) != 1)
        return std::nullopt;
    if (!ipv6)
        return Address{.low = read_bytes(bytes.data(), 4)};
    return Address{
        .ipv6 = true, .high = read_bytes(bytes.data(), 8), .low = read_bytes(bytes.data() + 8, 8)};
}

std::string to_string(const Address& address) {
    std::array<uint8_t, 16> bytes{};
    const size_t size = address.bits() / 8;
    for (size_t i = 0; i < size; i++) {
        const size_t place = size - 1 - i; // from the end
        bytes[i] = static_cast<uint8_t>(
            (place < 8 ? address.low : address.high) >> (8 * (place < 8 ? place : place - 8)));
    }
    char text[INET6_ADDRSTRLEN] = "";
    ::inet_ntop(address.ipv6 ? AF_INET6 : AF_INET, bytes.data(), text, sizeof(text));
    return text;
}

/// Where HOST stands in the text, without brackets.
struct Place {
    size_t begin;
    size_t end;
    bool ipv6;
};

bool is_of(std::string_view text, std::string_view characters) {
    return !text.empty() && text.find_first_not_of(characters) == std::string_view::npos;
}

/// Of a HOST that is a prefix or a range; nothing if it is neither.
std::expected<std::optional<Place>, EndpointError> find_range(std::string_view text) {
    const size_t scheme = text.find("://");
    const size_t begin = scheme == std::string_view::npos ? 0 : scheme + 3;
    const std::string_view rest = text.substr(begin);
    if (rest.starts_with('[')) {
        const size_t close = rest.find(']');
        const std::string_view address = rest.substr(0, std::min(close, rest.find('%')));
        if (close == std::string_view::npos ||
            address.find_first_of("/-") == std::string_view::npos)
            return std::nullopt;
        return Place{.begin = begin + 1, .end = begin + close, .ipv6 = true};
    }
    const std::string_view before = rest.substr(0, rest.find_first_of("/-"));
    if (before.size() == rest.size())
        return std::nullopt;
    if (std::ranges::count(before, ':') > 1 && is_of(before, "0123456789abcdefABCDEF:"))
        return refuse(
            begin, fmt::format(
                       "a range of IPv6 addresses needs brackets; write it like [{}]:7001",
                       escape(rest, 64)));
    const std::string_view host = rest.substr(0, rest.find(':'));
    const bool is_range = rest[before.size()] == '/'
                              ? is_of(before, "0123456789.")
                              : is_of(host, "0123456789.-") && parse_address(before, false);
    if (!is_range)
        return std::nullopt;
    return Place{.begin = begin, .end = begin + host.size(), .ipv6 = false};
}

struct Range {
    Address first;
    Address last;
};

std::string addresses_text(const std::string& number, std::string_view host, size_t max) {
    return fmt::format(
        "'{}' has {} addresses, and at most {} endpoints are possible; write a longer prefix, or a "
        "shorter range",
        escape(host, 64), number, grouped(max));
}

std::expected<Range, EndpointError> parse_prefix(
    std::string_view host, size_t offset, bool ipv6, size_t max) {
    const size_t slash = host.find('/');
    const auto first = parse_address(host.substr(0, slash), ipv6);
    if (!first)
        return refuse(
            offset,
            fmt::format(
                "'{}' is not an address; write a prefix like {}", escape(host.substr(0, slash), 64),
                ipv6 ? "[2001:db8::/120]" : "192.0.2.0/24"));
    const std::string_view digits = host.substr(slash + 1);
    unsigned length = 0;
    const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), length);
    if (error != std::errc{} || end != digits.data() + digits.size() || length > first->bits())
        return refuse(
            offset + slash + 1, fmt::format(
                                    "'{}' is not the length of a prefix; write a number from 0 to "
                                    "{}",
                                    escape(digits, 32), first->bits()));
    const unsigned free = first->bits() - length;
    if (free >= 64)
        return refuse(offset, addresses_text(fmt::format("2^{}", free), host, max));
    const uint64_t others = (uint64_t{1} << free) - 1;
    if ((first->low & others) != 0)
        return refuse(
            offset, fmt::format(
                        "'{}' has bits behind its prefix; write {}/{}", escape(host, 64),
                        to_string({first->ipv6, first->high, first->low & ~others}), length));
    Range range{*first, {first->ipv6, first->high, first->low | others}};
    if (!ipv6 && free > 1) {
        range.first.low++;
        range.last.low--;
    }
    return range;
}

std::expected<Range, EndpointError> parse_range(std::string_view host, size_t offset, bool ipv6) {
    const size_t dash = host.find('-');
    const std::string_view behind = host.substr(dash + 1);
    const auto first = parse_address(host.substr(0, dash), ipv6);
    auto last = parse_address(behind, ipv6);
    if (first && !last && !ipv6) { // 192.0.2.10-20
        const size_t dot = host.substr(0, dash).rfind('.');
        last = parse_address(fmt::format("{}{}", host.substr(0, dot + 1), behind), false);
    }
    if (!first || !last)
        return refuse(
            first ? offset + dash + 1 : offset,
            fmt::format(
                "'{}' is not an address; write a range like {}",
                escape(first ? behind : host.substr(0, dash), 64),
                ipv6 ? "[2001:db8::1-2001:db8::ff]" : "192.0.2.10-20"));
    if (std::pair(last->high, last->low) < std::pair(first->high, first->low))
        return refuse(
            offset, fmt::format("'{}' ends before it begins; exchange the ends", escape(host, 64)));
    return Range{*first, *last};
}

std::expected<Range, EndpointError> parse_addresses(
    std::string_view text, const Place& place, size_t max) {
    const std::string_view host = text.substr(place.begin, place.end - place.begin);
    const size_t percent = host.find('%');
    if (percent != std::string_view::npos)
        return refuse(
            place.begin + percent, "a range cannot have a zone; name the interface with -I");
    auto range = host.contains('/') ? parse_prefix(host, place.begin, place.ipv6, max)
                                    : parse_range(host, place.begin, place.ipv6);
    if (!range)
        return range;
    const uint64_t others = range->last.low - range->first.low;
    if (range->first.high != range->last.high)
        return refuse(place.begin, addresses_text("more than 2^64", host, max));
    if (others >= max)
        return refuse(
            place.begin,
            addresses_text(others == UINT64_MAX ? "2^64" : grouped(others + 1), host, max));
    return range;
}

std::expected<std::vector<Endpoint>, EndpointError> expand(
    std::string_view text, const Place& place, const EndpointRules& rules, size_t max) {
    const auto range = parse_addresses(text, place, max);
    if (!range)
        return Refusal(range.error());
    // What stands around the range is read with its first address in its place.
    const std::string first = to_string(range->first);
    const std::string one =
        fmt::format("{}{}{}", text.substr(0, place.begin), first, text.substr(place.end));
    const auto endpoint = parse_endpoint(one, rules);
    if (!endpoint) {
        const size_t at = endpoint.error().offset;
        const size_t behind = place.begin + first.size();
        return refuse(
            at < behind ? std::min(at, place.begin) : at - behind + place.end,
            endpoint.error().message);
    }
    std::vector<Endpoint> all;
    all.reserve(range->last.low - range->first.low + 1);
    for (Address address = range->first;; address.low++) {
        all.push_back({endpoint->transport, to_string(address), endpoint->port, endpoint->stamp});
        if (address == range->last)
            return all;
    }
}

} // namespace

std::expected<std::vector<Endpoint>, EndpointError> parse_endpoints(
    std::string_view text, const EndpointRules& rules, size_t max) {
    const auto found = find_range(text);
    if (!found)
        return Refusal(found.error());
    const std::optional<Place> place = *found;
    if (place)
        return expand(text, *place, rules, max);
    auto endpoint = parse_endpoint(text, rules);
    if (!endpoint)
        return Refusal(endpoint.error());
    return std::vector{std::move(*endpoint)};
}

} // namespace riposte::client
