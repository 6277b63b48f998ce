#include "daemon/tcp/admission.h"

#include <algorithm>

namespace riposte {

uint32_t Admission::connections_max(const TcpLimits& limits) noexcept {
    return std::min(limits.connections_max, ConnectionTable::slots_max);
}

void Admission::reserve(
    const TcpLimits& limits, const ConnectionTable& connections, uint32_t slots) {
    next_sources_.reset();
    const SourcePrefixes prefixes = source_prefixes(limits);
    if (slots > connections.size() || sources_.prefixes() != prefixes)
        next_sources_.emplace(slots, prefixes);
}

void Admission::set(const TcpLimits& limits) noexcept {
    connections_max_ = connections_max(limits);
    per_source_max_ = limits.connections_per_source_max;
    prefixes_ = source_prefixes(limits);
}

void Admission::recount(const ConnectionTable& connections) {
    const uint32_t slots = connections.size();
    std::optional<SourceTable> reserved = std::exchange(next_sources_, std::nullopt);
    SourceTable sources = reserved && reserved->suits(slots, prefixes_)
                              ? std::move(*reserved)
                              : SourceTable(slots, prefixes_);
    for (const Connection& c : connections)
        if (!c.is_free())
            sources.enter(c.source, slots);
    sources_ = std::move(sources);
}

std::optional<RefusalReason> Admission::denial(
    const SourceKey& source, const ListenerSpec& listener) noexcept {
    const Acl* acl = listener.acl.get();
    if (acl != nullptr && !acl->permits(source))
        return RefusalReason::denied;
    return std::nullopt;
}

std::expected<AdmissionTicket, RefusalReason> Admission::ask(
    const SourceKey& source, const ListenerSpec& listener) noexcept {
    if (!sources_.enter(source, per_source_max_))
        return std::unexpected(RefusalReason::over_source);
    if (!listener.load->enter(listener.connections_max)) {
        sources_.leave(source);
        return std::unexpected(RefusalReason::over_listener);
    }
    return AdmissionTicket(sources_, source, *listener.load);
}

void Admission::count_over_limits(const SourceKey& source, ListenerLoad* load) noexcept {
    sources_.enter(source, UINT32_MAX);
    if (load != nullptr)
        load->enter(UINT32_MAX);
}

} // namespace riposte
