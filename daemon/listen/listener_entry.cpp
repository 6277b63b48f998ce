#include "daemon/listen/listener_entry.h"

#include <algorithm>
#include <utility>

#include <fmt/format.h>

namespace riposte {

EntrySettings make_settings(const ListenerEntry& entry, const ListenerConfig& section) {
    const bool same =
        entry.service && entry.kind == section.service && entry.options == section.options;
    return {
        .kind = section.service,
        .options = section.options,
        .service = same ? entry.service : make_service(section.service, section.options),
        .acl = make_acl(section.acl),
        .connections_max = section.connections_max};
}

void apply_settings(ListenerEntry& entry, EntrySettings settings) noexcept {
    entry.kind = settings.kind;
    entry.options = std::move(settings.options);
    entry.service = std::move(settings.service);
    entry.acl = std::move(settings.acl);
    entry.connections_max = settings.connections_max;
}

void set_deferred_accept(const ListenerEntry& entry) {
    if (entry.transport != Transport::tcp)
        return;
    for (const BoundAddress& bound : entry.bound)
        for (const WorkerSocket& socket : bound.sockets)
            accept_with_first_bytes(socket.fd.get(), entry.service->replies_once());
}

ListenerConfig section_of(const std::vector<ListenerConfig>& sections, ServiceKind kind) {
    const auto same = std::ranges::find(sections, kind, &ListenerConfig::service);
    return same == sections.end() ? ListenerConfig{.service = kind} : *same;
}

bool mentions(const std::vector<ListenerConfig>& sections, std::string_view key) {
    for (const ListenerConfig& section : sections) {
        for (const Endpoint& endpoint : section.addresses) {
            if (to_string(endpoint) == key)
                return true;
        }
    }
    return false;
}

std::optional<std::string> find_holder(
    std::span<const ListenerEntry> entries, const ListenAddress& address) {
    for (const ListenerEntry& entry : entries) {
        for (const BoundAddress& bound : entry.bound) {
            if (overlap(bound.address, address))
                return fmt::format(
                    "address already in use by this daemon's own {} ({}){}", entry.key,
                    entry.origin,
                    entry.leaving
                        ? "; a reload opens sockets before it closes others: restart to replace it"
                        : "");
        }
    }
    return std::nullopt;
}

} // namespace riposte
