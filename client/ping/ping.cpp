#include "client/ping/ping.h"

#include "client/net/descriptors.h"
#include "client/net/receive_time.h"
#include "client/ping/ping_conclusion.h"
#include "client/ping/ping_mtu.h"
#include "client/ping/ping_run.h"
#include "client/ping/ping_targets.h"
#include "client/net/time_slice.h"
#include "client/show/measurement_output.h"
#include "client/show/terminal_screen.h"
#include "common/clock.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

#include <fmt/format.h>

namespace riposte::client {

namespace {

/// Each endpoint has a descriptor for each of its flows; with --reconnect each waiting probe has
/// one. A single one shows by its probes whether there is room.
Result<void> allow_endpoints(const PingOptions& options, size_t endpoints) {
    const uint64_t limit = raise_descriptor_limit();
    const uint64_t possible = std::max<uint64_t>(limit - std::min(limit, descriptors_besides), 1);
    const uint64_t wanted = endpoints * std::max<uint64_t>(options.flows, 1);
    if (wanted <= possible)
        return {};
    return fail(
        Exit::usage,
        fmt::format(
            "{} endpoints need {} sockets, and {} are possible here: the limit of open files is {} "
            "(ulimit -Hn)",
            endpoints, wanted, possible, limit));
}

} // namespace

Result<Exit> ping(const CommonOptions& common, const PingOptions& options) {
    if (options.mtu)
        return ping_mtu(common, options);
    EventLoop::note_interim();
    if (options.report.live)
        if (auto checked = check_screen("ping"); !checked)
            return std::unexpected(checked.error());
    const uint64_t begun_ms = monotonic_ms();
    const uint64_t end_ms = options.deadline_ms ? begun_ms + *options.deadline_ms : UINT64_MAX;
    std::vector<NotMeasured> missing;
    auto targets = resolve_endpoints(common, options, missing);
    if (!targets)
        return std::unexpected(targets.error());
    auto files = MeasurementFiles::open(options.report);
    if (!files)
        return std::unexpected(files.error());
    if (auto allowed = allow_endpoints(options, targets->size()); !allowed)
        return std::unexpected(allowed.error());
    const Fd stamps = hold_receive_stamps();
    const std::vector<SocketAddress> addresses =
        choose_addresses(*targets, common, options, end_ms);
    auto loop = EventLoop::open();
    if (!loop)
        return std::unexpected(loop.error());
    request_short_time_slices();
    const uint64_t end_ns = options.deadline_ms ? end_ms * 1'000'000 : UINT64_MAX;
    PingRun run(common, options, end_ns, *loop);
    for (size_t i = 0; i < targets->size(); i++)
        run.add(std::move((*targets)[i]), addresses[i]);
    if (auto done = run.run(files->wants_series()); !done)
        return std::unexpected(done.error());
    const std::vector<const PingResult*> results = run.results();
    return conclude_ping(
        common, options,
        {.results = results, .missing = missing, .was_cut_short = run.was_cut_short()}, *files,
        *loop);
}

} // namespace riposte::client
