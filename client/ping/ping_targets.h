// What a run pings: the names of its endpoints looked up, and one address of each chosen, before
// the first probe is due. Blocks, within the limits of -W and -w.
#pragma once

#include "client/net/reach.h"
#include "client/options/options.h"
#include "client/ping/ping_report.h"
#include "common/error.h"

#include <cstdint>
#include <span>
#include <vector>

namespace riposte::client {

/// A session that no other run is likely to have (probe.h).
uint32_t random_session();

/// The addresses of all endpoints, looked up at once. This takes at most -W and, with several
/// endpoints, half of -w, so that one name leaves time to measure the others. An endpoint without
/// an address is reported and added to `missing`; it is an error if no endpoint has one. With
/// --all-addresses each address of a name is a target; with --resolve-every an endpoint without an
/// address is a target without one.
Result<std::vector<Target>> resolve_endpoints(
    const CommonOptions& common, const PingOptions& options, std::vector<NotMeasured>& missing);

/// The address of each target that is measured, in the order of `targets`; none if it has none.
/// `end_ms` is the end of -w (monotonic_ms(); UINT64_MAX: none): all of them together leave a part
/// of it for the probes.
std::vector<SocketAddress> choose_addresses(
    std::span<const Target> targets, const CommonOptions& common, const PingOptions& options,
    uint64_t end_ms);

} // namespace riposte::client
