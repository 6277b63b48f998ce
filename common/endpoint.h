// The endpoint grammar that both programs share:
//
//     [tcp://|udp://|stamp://] HOST [:PORT]
//     HOST = name | IPv4 | "[" IPv6 [%zone] "]" | "*"
//
// stamp:// is a reflector of STAMP (RFC 8762), over UDP, for the client only.
//
// `*` (all addresses, dual stack) is for the daemon; a left-out port, a left-out host (":7") and
// the name of a service for PORT are for the client only. IPv4 is four decimal numbers; no other
// spelling of an address (127.1, 0x7f000001, [::ffff:127.0.0.1]) is taken for one, nor for a name.
// Parsing resolves nothing: see address.h.
#pragma once

#include <cstddef>
#include <cstdint>
#include <expected>
#include <optional>
#include <string>
#include <string_view>

namespace riposte {

enum class Transport : uint8_t { tcp, udp };

inline constexpr size_t transports = 2;

std::string_view to_string(Transport transport);

struct Endpoint {
    std::optional<Transport> transport; ///< as written; without a scheme the program decides
    std::string host;                   ///< no brackets, zone included; "*" is every address
    uint16_t port = 0;                  ///< host byte order
    bool stamp = false;                 ///< stamp://; the transport is UDP then

    bool operator==(const Endpoint&) const = default;
};

/// The port of a service's name over a transport, or a line that says what to write instead.
using ServicePort = std::expected<uint16_t, std::string> (*)(std::string_view, Transport);

/// Which of the two programs asks.
struct EndpointRules {
    bool wildcard = false;                ///< may HOST be `*`?
    std::optional<uint16_t> default_port; ///< absent: the port must be written
    std::string_view default_host = {};   ///< of ":7"; empty: HOST must be written
    ServicePort service_port = nullptr;   ///< null: PORT is a number
    Transport transport = Transport::tcp; ///< of a service's name without a scheme
    std::optional<uint16_t> stamp_port =
        {}; ///< the default port of stamp://; absent: no such scheme
};

/// Where in the text the fault is (0-based byte offset) and what to do about it.
struct EndpointError {
    size_t offset;
    std::string message;
};

std::expected<Endpoint, EndpointError> parse_endpoint(std::string_view text, EndpointRules rules);

/// HOST alone, an IPv6 address with brackets or without: what Endpoint::host would be.
std::expected<std::string, EndpointError> parse_host(std::string_view text);

/// The canonical spelling, which parse_endpoint() reads back: "tcp://[::1]:7001".
std::string to_string(const Endpoint& endpoint);

} // namespace riposte
