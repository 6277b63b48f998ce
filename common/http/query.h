// The parameters of a request: the query of its target as browsers and Prometheus write it,
// "target=db1%3A7007&module=udp" (WHATWG URL, application/x-www-form-urlencoded).
//
// A query is at most as long as a request's head, and has at most `parameters_max` parameters. A
// name that occurs twice is refused, because a proxy and we might take different ones; so is an
// escape that is not two hexadecimal digits, and a control byte, escaped or not.
#pragma once

#include <cstddef>
#include <expected>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace riposte {

class HttpQuery {
public:
    static constexpr size_t parameters_max = 32;

    struct Parameter {
        std::string name; ///< not empty
        std::string value{};

        bool operator==(const Parameter&) const = default;
    };

    /// The error says what is wrong with the query, in words for the client.
    static std::expected<HttpQuery, std::string> parse(std::string_view query);

    /// Nothing if there is no such parameter; "" for "name" and "name=".
    std::optional<std::string_view> value(std::string_view name) const;

    const std::vector<Parameter>& parameters() const { return parameters_; }

private:
    std::vector<Parameter> parameters_; ///< in the order of the query
};

} // namespace riposte
