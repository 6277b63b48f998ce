#include "daemon/listen/listener_entry.h"

#include <algorithm>
#include <utility>

#include <fmt/format.h>

namespace riposte {

namespace {

StampTables stamp_tables(
    const ListenerEntry& entry, const ListenerConfig& section, const StampTableRules& rules) {
    if (section.service != ServiceKind::stamp || entry.transport != Transport::udp)
        return {};
    const uint32_t sessions_max = section.options.stamp.sessions_max;
    return entry.stamp.sessions_max == sessions_max ? entry.stamp
                                                    : make_stamp_tables(sessions_max, rules);
}

} // namespace

EntrySettings make_settings(
    const ListenerEntry& entry, const ListenerConfig& section, const StampTableRules& stamp) {
    const bool same =
        entry.service && entry.kind == section.service && entry.options == section.options;
    return {
        .kind = section.service,
        .options = section.options,
        .service = same ? entry.service : make_service(section.service, section.options),
        .acl = make_acl(section.acl),
        .connections_max = section.connections_max,
        .stamp = stamp_tables(entry, section, stamp),
        .twamp_light = section.twamp_light.empty()
                           ? nullptr
                           : std::make_shared<const CidrSet>(section.twamp_light)};
}

void apply_settings(ListenerEntry& entry, EntrySettings settings) noexcept {
    entry.kind = settings.kind;
    entry.options = std::move(settings.options);
    entry.service = std::move(settings.service);
    entry.acl = std::move(settings.acl);
    entry.connections_max = settings.connections_max;
    entry.stamp = std::move(settings.stamp);
    entry.twamp_light = std::move(settings.twamp_light);
}

void set_service_options(const ListenerEntry& entry) {
    for (const BoundAddress& bound : entry.bound)
        for (const WorkerSocket& socket : bound.sockets)
            if (entry.transport == Transport::tcp)
                accept_with_first_bytes(socket.fd.get(), entry.service->replies_once());
            else
                measure_datagrams(
                    socket.fd.get(), bound.address.address, !entry.stamp.of_worker.empty());
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
