// The command: check whether a service answers there and how, run, print the results.
#include "client/load/load.h"

#include "client/load/load_preflight.h"
#include "client/load/load_reconnect.h"
#include "client/load/load_report.h"
#include "client/load/load_run.h"
#include "client/load/load_tcp.h"
#include "client/load/load_udp.h"
#include "client/measure/probe.h"
#include "client/net/descriptors.h"
#include "client/show/measurement_output.h"
#include "client/show/report.h"
#include "client/show/terminal.h"
#include "client/show/terminal_screen.h"
#include "client/working/while_pinging.h"
#include "common/clock.h"
#include "common/text.h"

#include <algorithm>
#include <cerrno>
#include <memory>
#include <optional>
#include <vector>

#include <fmt/format.h>
#include <sys/random.h>

namespace riposte::client {

namespace {

/// Requests under way, at most: their times are remembered.
constexpr uint64_t places_max = uint64_t{1} << 24;

uint64_t random_seed() {
    uint64_t seed = 0;
    // Fails only on kernels that have none; any seed will do then.
    [[maybe_unused]] const ssize_t size = ::getrandom(&seed, sizeof(seed), 0);
    return seed;
}

/// Of an open loop over UDP, a socket's buffers should hold what comes in so long a time.
constexpr double buffered_seconds = 0.25;
constexpr double buffered_min = 64;
constexpr double buffered_max = 65'536;

/// Requests that are on the way of one connection at a time, most likely.
uint64_t under_way(const LoadOptions& options) {
    if (options.endpoint.transport == Transport::tcp || !options.rate)
        return options.depth;
    return static_cast<uint64_t>(std::clamp(
        *options.rate * buffered_seconds / options.connections, buffered_min, buffered_max));
}

/// As many descriptors as this process may have.
Result<void> allow_connections(const LoadOptions& options) {
    const uint64_t outstanding = uint64_t{options.connections} * options.depth;
    if (outstanding > places_max)
        return fail(
            Exit::usage,
            fmt::format(
                "{} connections with {} requests outstanding each are {}; at most {} are possible",
                options.connections, options.depth, outstanding, places_max));
    const uint64_t limit = raise_descriptor_limit();
    const uint64_t possible = limit - std::min(limit, descriptors_besides);
    if (options.connections > possible)
        return fail(
            Exit::usage,
            fmt::format(
                "{} connections are not possible here, {} are: the limit of open files is {} "
                "(ulimit -Hn)",
                options.connections, possible, limit));
    return {};
}

std::vector<std::byte> first_request(const LoadOptions& options, uint64_t seed) {
    std::vector<std::byte> request(options.payload_bytes);
    if (options.endpoint.transport == Transport::udp) {
        write_probe(request, {.session = static_cast<uint32_t>(seed), .sequence = 1, .sent_ns = 0});
        return request;
    }
    const LoadPattern pattern(seed, request.size());
    size_t position = 0;
    for (size_t done = 0; done < request.size();) {
        const size_t size = std::min(request.size() - done, LoadPattern::piece_bytes_max);
        std::ranges::copy(
            pattern.at(position, size), request.begin() + static_cast<ptrdiff_t>(done));
        position = pattern.advance(position, size);
        done += size;
    }
    return request;
}

void note_preflight(
    const Report& report, const LoadOptions& options, std::string_view name,
    const Preflight& found) {
    if (found.answering == Answering::other)
        report.error(fmt::format(
            "{}: not an echo service (its answer: {}): the length of answers is checked, "
            "their bytes are not",
            name, byte_count(found.answer_bytes)));
    if (found.closes && !options.reconnect)
        report.error(fmt::format(
            "{}: closes after an answer: a connection for each request{}", name,
            options.depth > 1 ? ", one outstanding" : ""));
}

void describe_run(
    LoadResult& result, const LoadOptions& options, const Target& target,
    const SocketAddress& address) {
    result.name = target.name;
    result.address = to_string(address);
    result.transport = target.transport;
    result.path = target.path;
    result.payload_bytes = options.payload_bytes;
    result.connections = options.connections;
    const bool is_bounded = target.transport == Transport::tcp || !options.rate;
    result.depth = is_bounded ? options.depth : 0;
    result.rate = options.rate;
    result.reconnect = options.reconnect;
    result.verify = options.verify;
    result.warmup_ns = uint64_t{options.warmup_ms} * 1'000'000;
}

void describe_service(LoadResult& result, const LoadSetup& setup, const Preflight& found) {
    result.depth = result.depth > 0 ? setup.depth : 0;
    result.closes = found.closes;
    result.answering = found.answering;
}

/// With -j there is a document of a run that measured nothing, too, unless the fault is on this
/// machine. Returns `error`, or why the document could not be written.
Error document_failure(const LoadOptions& options, LoadResult& result, Error error) {
    if (!options.report.is_json() || error.exit != Exit::failed)
        return error;
    if (result.started_at == 0)
        result.started_at = wall_time_seconds();
    const auto printed =
        print(load_json(result, options.report.fail_if, Exit::failed, error.message));
    if (!printed)
        return printed.error();
    return error;
}

/// The same, of a service that did not answer the first request, which is all there is to count.
Error document_failure(
    const LoadOptions& options, const Target& target, const PreflightFailure& failure) {
    LoadResult result;
    describe_run(result, options, target, failure.address);
    LoadAccount account(result, false);
    account.measure_from(0);
    const bool left =
        failure.outcome != Outcome::refused && failure.outcome != Outcome::unreachable;
    account.sent({}, 1, left ? options.payload_bytes : 0);
    const bool is_silence = failure.outcome == Outcome::lost &&
                            (target.transport == Transport::udp || failure.cause.error == 0);
    if (is_silence || failure.outcome == Outcome::wrong_size)
        account.failed({}, failure.outcome);
    else
        account.failed({}, failure.cause);
    return document_failure(options, result, failure.error);
}

std::unique_ptr<LoadEngine> make_engine(const LoadContext& context, bool reconnect) {
    if (context.setup.target.transport == Transport::udp)
        return std::make_unique<UdpLoad>(context);
    if (reconnect)
        return std::make_unique<ReconnectLoad>(context);
    return std::make_unique<TcpLoad>(context);
}

/// Once, and only if requests were not even sent.
void note_local_error(const Report& report, const LoadAccount& account) {
    if (account.local_error() == 0)
        return;
    switch (shortage_of(account.local_error())) {
    case Shortage::ports:
        report.error(
            "no local port was free for some connections: a connection that this side closes keeps "
            "its port for a while (TIME_WAIT); lower the rate, or use another address (--source)");
        return;
    case Shortage::descriptors:
        report.error("too many open files for some connections; raise the limit (ulimit -n)");
        return;
    case Shortage::buffers:
    case Shortage::none:
        report.error(fmt::format(
            "some requests were not sent by this machine: {}", reason(account.local_error())));
    }
}

Result<void> show(
    const CommonOptions& common, const LoadOptions& options, MeasurementFiles& files,
    const LoadResult& result, Exit exit) {
    const bool color = colors_output(common.color);
    const std::vector<Plotted> curves = {
        {.name = result.name,
         .histogram = &result.latency,
         .series = result.series.get(),
         .counts = {
             .sent = result.counts.sent,
             .answered = result.counts.answered,
             .lost = result.counts.lost,
             .failed = result.counts.errors() - result.counts.lost}}};
    std::string subtitle = load_header(result);
    while (subtitle.ends_with('\n'))
        subtitle.pop_back();
    const auto write_files = [&] {
        return files.write(
            {.title = "riposte load " + result.name,
             .subtitle = subtitle,
             .started_at = result.started_at},
            curves);
    };
    if (options.report.is_json()) { // which says how this ends
        const auto written = write_files();
        exit = written ? exit : written.error().exit;
        const auto printed = print(load_json(result, options.report.fail_if, exit));
        return printed ? written : printed;
    }
    const Look look(color, output_columns());
    std::string text = options.quiet ? load_line(result, look) : '\n' + load_summary(result, look);
    if (options.report.histogram)
        text += charts(curves, color);
    if (auto printed = print(text); !printed)
        return printed;
    return write_files();
}

/// With --while-pinging: the probes' thread, after the idle path was measured.
Result<std::optional<WhilePinging>> begin_pinging(
    const CommonOptions& common, const LoadOptions& options, EventLoop& loop) {
    if (!options.while_pinging)
        return std::optional<WhilePinging>();
    auto pinging = WhilePinging::open(common, *options.while_pinging);
    if (!pinging)
        return std::unexpected(pinging.error());
    const uint64_t duration_ns = uint64_t{options.duration_ms} * 1'000'000;
    if (auto idle = pinging->measure_idle(loop, idle_duration_ns(duration_ns)); !idle)
        return std::unexpected(idle.error());
    return std::optional(std::move(*pinging));
}

/// What they found, with the round trips of the load's own requests.
Result<void> end_pinging(WhilePinging& pinging, EventLoop& loop, LoadResult& result) {
    auto latency = pinging.finish(loop);
    if (!latency)
        return std::unexpected(latency.error());
    latency->loaded = result.rate ? result.latency_from_send : result.latency;
    result.under_load = std::move(*latency);
    return {};
}

} // namespace

Result<Exit> load(const CommonOptions& common, const LoadOptions& options) {
    EventLoop::note_interim();
    if (options.report.live)
        if (auto checked = check_screen("load"); !checked)
            return std::unexpected(checked.error());
    auto files = MeasurementFiles::open(options.report);
    if (!files)
        return std::unexpected(files.error());
    if (const auto allowed = allow_connections(options); !allowed)
        return std::unexpected(allowed.error());
    const Patience patience{.deadline_ms = monotonic_ms() + common.timeout_ms};
    auto target = resolve_target(options.endpoint, common, patience);
    if (!target)
        return std::unexpected(target.error());
    const uint64_t seed = random_seed();
    const auto request = first_request(options, seed);
    const auto found = preflight(*target, request, patience);
    if (!found)
        return std::unexpected(document_failure(options, *target, found.error()));
    const Report report(common.color, false);
    note_preflight(report, options, target->name, *found);

    const bool reconnect = options.reconnect || found->closes;
    const LoadSetup setup{
        .target = std::move(*target),
        .address = found->address,
        .connections = options.connections,
        .depth = reconnect ? 1 : options.depth,
        .under_way = under_way(options),
        .request_bytes = options.payload_bytes,
        .answer_bytes = found->answer_bytes,
        .echo = found->answering == Answering::echo,
        .compare = options.verify,
        .closes = found->closes,
        .timeout_ns = uint64_t{common.timeout_ms} * 1'000'000,
        .seed = seed};
    const LoadPlan plan{
        .rate = options.rate,
        .warmup_ns = uint64_t{options.warmup_ms} * 1'000'000,
        .duration_ns = uint64_t{options.duration_ms} * 1'000'000,
        .count = options.count};
    LoadResult result;
    describe_run(result, options, setup.target, setup.address);
    describe_service(result, setup, *found);
    if (!options.report.is_json() && !options.quiet && !options.report.live)
        if (const auto printed = print(load_header(result, {false, output_columns()})); !printed)
            return std::unexpected(printed.error());

    auto loop = EventLoop::open();
    if (!loop)
        return std::unexpected(loop.error());
    auto pinging = begin_pinging(common, options, *loop);
    if (!pinging)
        return std::unexpected(document_failure(options, result, std::move(pinging.error())));
    LoadSchedule schedule(plan);
    LoadAccount account(result, options.rate.has_value());
    LoadContext context{
        .setup = setup,
        .loop = *loop,
        .schedule = schedule,
        .account = account,
        .quiet = options.quiet};
    const auto engine = make_engine(context, reconnect);
    const Look look{colors_output(common.color), output_columns()};
    LoadRun run(context, *engine, plan, files->wants_series(), result, options.report, look);
    std::optional<WhilePinging>& working = *pinging;
    WhilePinging* const probes = working ? &*working : nullptr;
    run.set_pinging(probes);
    if (auto done = run.run(); !done) {
        result.interrupted = loop->interrupted();
        return std::unexpected(document_failure(options, result, std::move(done.error())));
    }
    if (probes != nullptr)
        if (auto ended = end_pinging(*probes, *loop, result); !ended)
            return std::unexpected(ended.error());

    note_local_error(report, account);
    const Exit exit =
        result.cut_short ? Exit::interrupted : verdict(result, options.report.fail_if);
    if (const auto shown = show(common, options, *files, result, exit); !shown)
        return std::unexpected(shown.error());
    const auto measured = [&](const Metric& each) { return metric(result, each); };
    const auto maximum = [&](const Metric& each) { return maximum_of(result, each); };
    report_met(report, result.name, options.report.fail_if, measured, maximum);
    return exit;
}

} // namespace riposte::client
