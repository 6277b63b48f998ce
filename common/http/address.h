// The addresses on which a program serves its metrics:
//
//     tcp://HOST:PORT       as in [[listen]]; HOST may be `*`
//     unix:/PATH            a socket in the file system, by its absolute path
#pragma once

#include "common/endpoint.h"

#include <cstddef>
#include <expected>
#include <string>
#include <string_view>

namespace riposte {

struct HttpAddress {
    Endpoint endpoint{}; ///< TCP; not used if there is a path
    std::string path{};

    bool is_unix() const { return !path.empty(); }
    bool operator==(const HttpAddress&) const = default;
};

/// The room for a path in an address (unix(7)), without the final null byte.
inline constexpr size_t unix_path_bytes_max = 107;

std::expected<HttpAddress, EndpointError> parse_http_address(std::string_view text);

/// The canonical spelling, which parse_http_address() reads back.
std::string to_string(const HttpAddress& address);

} // namespace riposte
