// Endpoints, as both programs read them. An accepted one has one canonical spelling, which reads
// back to the same endpoint; the error of a refused one has a place in the text.
#include "common/endpoint.h"
#include "tests/fuzz/fuzz.h"

#include <cstdint>
#include <expected>
#include <optional>
#include <string>
#include <string_view>

using namespace riposte;
using fuzz::require;

namespace {

std::expected<uint16_t, std::string> echo_alone(std::string_view name, Transport /*transport*/) {
    if (name == "echo")
        return 7;
    return std::unexpected("write echo");
}

} // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) { // NOLINT(*-naming)
    constexpr uint16_t port = 7001;
    fuzz::Input input(data, size);
    const uint8_t choice = input.byte();
    const EndpointRules rules{
        .wildcard = (choice & 1) != 0,
        .default_port = (choice & 2) != 0 ? std::optional(port) : std::nullopt,
        .default_host = (choice & 4) != 0 ? "localhost" : "",
        .service_port = (choice & 8) != 0 ? echo_alone : nullptr};
    const std::string text = input.rest();
    const auto endpoint = parse_endpoint(text, rules);
    if (!endpoint) {
        require(endpoint.error().offset <= text.size(), "the fault is in the text", text);
        fuzz::require_one_line(endpoint.error().message);
        return 0;
    }
    require(!endpoint->host.empty(), "there is a host");
    require(endpoint->host != "*" || rules.wildcard, "'*' only where it is permitted");
    require(
        endpoint->host == "*" || parse_host(endpoint->host) == endpoint->host,
        "a host is one without a port, too", endpoint->host);
    const std::string written = to_string(*endpoint);
    fuzz::require_one_line(written);
    const auto again = parse_endpoint(written, {.wildcard = rules.wildcard, .default_port = {}});
    require(again.has_value(), "what was written is accepted", written);
    require(*again == *endpoint, "what was written means the same", written);
    // Each program accepts the endpoints of the other, except where they are not permitted.
    const auto elsewhere = parse_endpoint(
        text, {.wildcard = true,
               .default_port = port,
               .default_host = "localhost",
               .service_port = echo_alone});
    require(elsewhere == *endpoint, "the rules only refuse", text);
    return 0;
}
