// Endpoints that are written as one: HOST is a prefix or a range of addresses.
//
//     192.0.2.0/24            prefix; as with fping -g, without the first and the last address (the
//                             network's and its broadcast address), unless it is a /31 or /32
//     192.0.2.10-20           range of the last number; 192.0.2.10-192.0.3.5 of whole addresses
//     [2001:db8::/120]        prefix, with all its addresses
//     [2001:db8::1-2001:db8::ff]
//
// Anything else is one endpoint (endpoint.h). Pure: text in, endpoints out, in ascending order.
#pragma once

#include "common/endpoint.h"

#include <cstddef>
#include <expected>
#include <string_view>
#include <vector>

namespace riposte::client {

/// At least one. More than `max` are an error that says how many they are.
std::expected<std::vector<Endpoint>, EndpointError> parse_endpoints(
    std::string_view text, const EndpointRules& rules, size_t max);

} // namespace riposte::client
