#include "client/ping/ping_targets.h"

#include "client/measure/probe.h"
#include "client/ping/ping_stamp.h"
#include "client/ping/prober.h"
#include "client/show/report.h"
#include "common/clock.h"
#include "common/text.h"
#include "common/units.h"

#include <algorithm>
#include <cstddef>
#include <iterator>
#include <string>
#include <system_error>
#include <thread>
#include <utility>

#include <fmt/format.h>
#include <sys/random.h>

namespace riposte::client {

static_assert(ping_endpoints_max <= ProberTag::endpoints_max);

namespace {

/// Names whose addresses are tried at the same time.
constexpr size_t choices_at_once_max = 64;

/// "udp://localhost:7 (127.0.0.1)".
std::string name_with_address(const std::string& name, const SocketAddress& address) {
    const std::string text = to_string(address);
    return fmt::format("{} ({})", name, text.substr(0, text.rfind(':')));
}

/// A target for each address.
std::vector<Target> split(const Target& target) {
    std::vector<Target> each;
    for (const SocketAddress& address : target.addresses) {
        each.push_back(target);
        each.back().name = name_with_address(target.name, address);
        each.back().addresses = {address};
    }
    return each;
}

/// The datagram that shows whether an address answers.
std::vector<std::byte> trial_of(const Target& target, const PingOptions& options) {
    if (target.stamp)
        return write_stamp_trial(question_shape(options.stamp, target.path));
    std::vector<std::byte> probe(options.payload_bytes);
    write_probe(probe, {.session = random_session(), .sequence = 0, .sent_ns = 0});
    return probe;
}

} // namespace

uint32_t random_session() {
    uint32_t session = 0;
    if (::getrandom(&session, sizeof(session), GRND_NONBLOCK) != sizeof(session))
        session = static_cast<uint32_t>(monotonic_ns() * 0x9e3779b1);
    return session;
}

Result<std::vector<Target>> resolve_endpoints(
    const CommonOptions& common, const PingOptions& options, std::vector<NotMeasured>& missing) {
    const std::vector<Endpoint>& endpoints = options.endpoints;
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
            if (options.all_addresses && !is_numeric_host(endpoints[i].host))
                std::ranges::move(split(*target), std::back_inserter(targets));
            else
                targets.push_back(std::move(*target));
            continue;
        }
        if (options.resolve_every_ms) {
            report.error(target.error().message);
            targets.push_back(unresolved_target(endpoints[i], common));
            continue;
        }
        if (targets.empty() && i + 1 == endpoints.size())
            return std::unexpected(target.error());
        report.error(target.error().message);
        missing.push_back({to_string(endpoints[i]), std::move(target.error().message)});
    }
    if (targets.size() > ping_endpoints_max)
        return fail(
            Exit::usage,
            fmt::format(
                "--all-addresses: {} addresses, and at most {} endpoints are possible at once",
                targets.size(), ping_endpoints_max));
    return targets;
}

std::vector<SocketAddress> choose_addresses(
    std::span<const Target> targets, const CommonOptions& common, const PingOptions& options,
    uint64_t end_ms) {
    std::vector<SocketAddress> addresses;
    std::vector<size_t> several; // those that have a choice
    for (const Target& target : targets) {
        if (target.addresses.size() > 1)
            several.push_back(addresses.size());
        addresses.push_back(target.addresses.empty() ? SocketAddress() : target.addresses.front());
    }
    const size_t at_once = std::min(several.size(), choices_at_once_max);
    const auto choose = [&](size_t first) {
        for (size_t next = first; next < several.size(); next += at_once) {
            const uint64_t now_ms = monotonic_ms();
            const uint64_t left_ms = end_ms - std::min(end_ms, now_ms);
            const uint64_t share_ms = left_ms / ((several.size() - next - 1) / at_once + 2);
            const uint64_t wait_ms = std::min<uint64_t>(common.timeout_ms, share_ms);
            const Target& target = targets[several[next]];
            addresses[several[next]] =
                choose_address(target, trial_of(target, options), now_ms + wait_ms);
        }
    };
    std::vector<std::jthread> others;
    for (size_t first = 1; first < at_once; first++) {
        try {
            others.emplace_back(choose, first);
        } catch (const std::system_error&) { // no thread for it
            choose(first);
        }
    }
    if (at_once > 0)
        choose(0);
    others.clear(); // waits for them
    return addresses;
}

} // namespace riposte::client
