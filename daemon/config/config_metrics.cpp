// [metrics]: where the daemon's own figures can be had.

#include "daemon/config/config_reader.h"

#include <fmt/format.h>

namespace riposte {
namespace {

/// Each is a socket of the main thread.
constexpr size_t scrape_addresses_max = 4;

Result<void> read_address(const Value& value, const toml::node& node, MetricsConfig& metrics) {
    const auto* string = node.as_string();
    if (string == nullptr)
        return value.document.refuse(
            node.source().begin,
            fmt::format(
                "an element of 'listen' is {}; it must be a string like \"tcp://127.0.0.1:9701\"",
                type_name(node)));
    auto address = parse_scrape_address(string->get());
    if (!address)
        return value.document.refuse(
            value.document.inside(*string, address.error().offset), address.error().message);
    metrics.listen.push_back(*std::move(address));
    return {};
}

Result<void> read_addresses(const Value& value, MetricsConfig& metrics) {
    metrics.origin = value.document.at(value.node.source().begin);
    metrics.listen.clear();
    if (value.node.is_string())
        return read_address(value, value.node, metrics);
    const auto* array = value.node.as_array();
    if (array == nullptr)
        return value.wrong_type("a string or an array of strings");
    if (array->size() > scrape_addresses_max)
        return value.refuse(fmt::format(
            "'listen' has {} addresses; it must have at most {}", array->size(),
            scrape_addresses_max));
    for (const toml::node& node : *array)
        if (auto read = read_address(value, node, metrics); !read)
            return read;
    return {};
}

constexpr std::array<Key<MetricsConfig>, 1> metrics_keys{{{"listen", read_addresses}}};

} // namespace

Result<void> read_metrics(const Value& value, Config& config) {
    return read_table<MetricsConfig>(value, Place::metrics, metrics_keys, config.metrics);
}

std::vector<std::string_view> metrics_key_names() {
    return key_names(metrics_keys);
}

} // namespace riposte
