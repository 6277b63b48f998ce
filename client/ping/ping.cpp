#include "client/ping/ping.h"

#include "client/net/receive_time.h"
#include "client/net/time_slice.h"
#include "client/ping/ping_conclusion.h"
#include "client/ping/ping_mtu.h"
#include "client/ping/ping_room.h"
#include "client/ping/ping_run.h"
#include "client/ping/ping_targets.h"
#include "client/show/measurement_output.h"
#include "client/show/terminal_screen.h"
#include "common/clock.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

namespace riposte::client {

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
    const auto datagrams =
        static_cast<size_t>(std::ranges::count(*targets, Transport::udp, &Target::transport));
    if (auto allowed = check_room(
            options, common.timeout_ms,
            {.endpoints = targets->size(), .datagram_endpoints = datagrams}, find_room());
        !allowed)
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
