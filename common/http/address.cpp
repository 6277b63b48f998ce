#include "common/http/address.h"

#include "common/text.h"

#include <algorithm>

#include <fmt/format.h>

namespace riposte {
namespace {

constexpr std::string_view unix_scheme = "unix:";

std::unexpected<EndpointError> refuse_address(size_t offset, std::string message) {
    return std::unexpected(EndpointError{offset, std::move(message)});
}

std::expected<HttpAddress, EndpointError> parse_path(std::string_view path, size_t offset) {
    if (!path.starts_with('/'))
        return refuse_address(
            offset, fmt::format(
                        "'{}' is no absolute path; write one like unix:/run/riposte/metrics.sock",
                        escape(path, 40)));
    if (path.ends_with('/'))
        return refuse_address(
            offset + path.size() - 1, "a socket needs a file name; do not end with '/'");
    if (path.size() > unix_path_bytes_max)
        return refuse_address(
            offset, fmt::format(
                        "the path of a unix socket has {} bytes; it must have at most {}",
                        path.size(), unix_path_bytes_max));
    const auto is_control = [](char c) {
        return static_cast<unsigned char>(c) < 0x20 || c == 0x7f;
    };
    const auto* const control = std::ranges::find_if(path, is_control);
    if (control != path.end())
        return refuse_address(
            offset + static_cast<size_t>(control - path.begin()),
            "the path of a unix socket has a control byte; leave it out");
    return HttpAddress{.path = std::string(path)};
}

} // namespace

std::expected<HttpAddress, EndpointError> parse_http_address(std::string_view text) {
    if (text.starts_with(unix_scheme))
        return parse_path(text.substr(unix_scheme.size()), unix_scheme.size());
    auto endpoint = parse_endpoint(text, {.wildcard = true, .default_port = std::nullopt});
    if (!endpoint)
        return std::unexpected(endpoint.error());
    if (endpoint->transport != Transport::tcp)
        return refuse_address(
            0, fmt::format(
                   "'{}' is no address for metrics; write tcp://127.0.0.1:9701 or "
                   "unix:/run/riposte/metrics.sock",
                   escape(text, 40)));
    return HttpAddress{.endpoint = *std::move(endpoint)};
}

std::string to_string(const HttpAddress& address) {
    return address.is_unix() ? fmt::format("{}{}", unix_scheme, address.path)
                             : to_string(address.endpoint);
}

} // namespace riposte
