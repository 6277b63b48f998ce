// [[listen]]: which service answers on which addresses, and whom.

#include "common/endpoint.h"
#include "daemon/config/config_reader.h"

#include <fmt/format.h>

namespace riposte {
namespace {

struct ListenSection {
    ListenerConfig listen;
    bool has_service = false;
    std::optional<Position> message_at;
};

Result<void> read_address(const Value& value, const toml::node& node, ListenerConfig& listen) {
    const auto* string = node.as_string();
    if (string == nullptr)
        return value.document.refuse(
            node.source().begin,
            fmt::format(
                "an address is {}; it must be a string like \"tcp://127.0.0.1:7001\"",
                type_name(node)));
    auto endpoint = parse_endpoint(string->get(), {.wildcard = true, .default_port = std::nullopt});
    if (!endpoint)
        return value.document.refuse(
            value.document.inside(*string, endpoint.error().offset), endpoint.error().message);
    add_address(listen, *std::move(endpoint));
    return {};
}

Result<void> read_addresses(const Value& value, ListenSection& section) {
    if (value.node.is_string())
        return read_address(value, value.node, section.listen);
    const auto* array = value.node.as_array();
    if (array == nullptr)
        return value.wrong_type("a string or an array of strings");
    if (array->empty())
        return value.refuse(
            "'address' is empty; write at least one, like \"tcp://127.0.0.1:7001\"");
    for (const toml::node& node : *array)
        if (auto read = read_address(value, node, section.listen); !read)
            return read;
    return {};
}

template<std::vector<Cidr> AclConfig::* list>
Result<void> read_list(const Value& value, ListenSection& section) {
    return read_prefixes(value, section.listen.access.*list);
}

Result<void> read_message(const Value& value, ListenSection& section) {
    const auto* string = value.node.as_string();
    if (string == nullptr)
        return value.wrong_type("a string");
    const size_t size = string->get().size();
    if (size == 0 || size > message_bytes_max)
        return value.refuse(fmt::format(
            "'message' has {} bytes; it must have from 1 to {}", size, message_bytes_max));
    section.listen.options.message = string->get();
    return {};
}

constexpr std::array<Key<ListenSection>, 6> listen_keys{{
    {"service",
     [](const Value& value, ListenSection& section) {
         section.has_service = true;
         return read_word(value, "service", parse_service, service_names(), section.listen.service);
     }},
    {"address", read_addresses},
    {"allow", read_list<&AclConfig::allow>},
    {"deny", read_list<&AclConfig::deny>},
    {"connections",
     [](const Value& value, ListenSection& section) {
         return read_integer(value, 1, connections_most, section.listen.connections_max);
     }},
    {"message",
     [](const Value& value, ListenSection& section) {
         section.message_at = value.node.source().begin;
         return read_message(value, section);
     }},
}};

Result<void> read_listen_section(
    const Value& value, const toml::table& table, std::vector<ListenerConfig>& listen) {
    const Position begin = table.source().begin;
    ListenSection section;
    section.listen.origin = value.document.at(begin);
    auto read =
        read_section<ListenSection>(value.document, Place::listen, table, listen_keys, section);
    if (!read)
        return read;
    if (!section.has_service)
        return value.document.refuse(
            begin,
            fmt::format("[[listen]] lacks 'service'; it must be {}", one_of(service_names())));
    if (section.listen.addresses.empty())
        return value.document.refuse(
            begin, "[[listen]] lacks 'address'; add one like \"tcp://127.0.0.1:7001\"");
    if (section.message_at && section.listen.service != ServiceKind::hello)
        return value.document.refuse(
            *section.message_at, fmt::format(
                                     "'message' is for the service hello; {} has none, remove it",
                                     to_string(section.listen.service)));
    listen.push_back(std::move(section.listen));
    return {};
}

} // namespace

Result<void> read_listen(const Value& value, Config& config) {
    if (value.node.is_table())
        return value.refuse("'listen' is a table; write [[listen]] with two brackets");
    const auto* array = value.node.as_array();
    if (array == nullptr)
        return value.wrong_type("an array of tables, written as [[listen]]");
    if (array->empty())
        return value.refuse("'listen' is empty; add an address, or leave it out for the default");
    config.listen.clear();
    for (const toml::node& node : *array) {
        const auto* table = node.as_table();
        if (table == nullptr)
            return value.document.refuse(
                node.source().begin,
                fmt::format(
                    "an element of 'listen' is {}; it must be a table, written as "
                    "[[listen]]",
                    type_name(node)));
        if (auto read = read_listen_section(value, *table, config.listen); !read)
            return read;
    }
    return {};
}

std::vector<std::string_view> listen_key_names() {
    return key_names(listen_keys);
}

} // namespace riposte
