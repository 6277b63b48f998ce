#include "client/ping/ping_targets.h"

#include "client/measure/probe.h"
#include "client/ping/prober.h"
#include "client/show/report.h"
#include "common/clock.h"
#include "common/text.h"
#include "common/units.h"

#include <algorithm>
#include <cstddef>
#include <string>
#include <utility>

#include <fmt/format.h>
#include <sys/random.h>

namespace riposte::client {

uint32_t random_session() {
    uint32_t session = 0;
    if (::getrandom(&session, sizeof(session), GRND_NONBLOCK) != sizeof(session))
        session = static_cast<uint32_t>(monotonic_ns() * 0x9e3779b1);
    return session;
}

Result<std::vector<Target>> resolve_endpoints(
    const CommonOptions& common, const PingOptions& options, std::vector<NotMeasured>& missing) {
    const std::vector<Endpoint>& endpoints = options.endpoints;
    if (endpoints.size() > ProberTag::endpoints_max)
        return fail(
            Exit::usage, fmt::format("at most {} endpoints at once", ProberTag::endpoints_max));
    const uint32_t share_ms =
        options.deadline_ms.value_or(UINT32_MAX) / (endpoints.size() > 1 ? 2 : 1);
    const uint32_t limit_ms = std::min(common.timeout_ms, share_ms);
    const Patience patience{.deadline_ms = monotonic_ms() + limit_ms};
    const std::string limit = fmt::format(
        "{}{}", format_duration(limit_ms), limit_ms < share_ms ? "; -W waits longer" : "");
    std::vector<TargetLookup> lookups;
    lookups.reserve(endpoints.size());
    for (const Endpoint& endpoint : endpoints)
        lookups.emplace_back(endpoint, common);
    std::vector<Target> targets;
    const Report report(common.color, false);
    for (size_t i = 0; i < endpoints.size(); i++) {
        auto target = lookups[i].wait(patience, limit);
        if (target) {
            targets.push_back(std::move(*target));
            continue;
        }
        if (targets.empty() && i + 1 == endpoints.size())
            return std::unexpected(target.error());
        report.error(target.error().message);
        missing.push_back({to_string(endpoints[i]), std::move(target.error().message)});
    }
    return targets;
}

std::vector<SocketAddress> choose_addresses(
    std::span<const Target> targets, const CommonOptions& common, const PingOptions& options,
    uint64_t end_ms) {
    std::vector<SocketAddress> addresses;
    addresses.reserve(targets.size());
    std::vector<std::byte> probe(options.payload_bytes);
    for (const Target& target : targets) {
        const uint64_t now_ms = monotonic_ms();
        const uint64_t left_ms = end_ms - std::min(end_ms, now_ms);
        const uint64_t share_ms = left_ms / (targets.size() - addresses.size() + 1);
        const uint64_t wait_ms = std::min<uint64_t>(common.timeout_ms, share_ms);
        write_probe(probe, {.session = random_session(), .sequence = 0, .sent_ns = 0});
        addresses.push_back(choose_address(target, probe, now_ms + wait_ms));
    }
    return addresses;
}

} // namespace riposte::client
