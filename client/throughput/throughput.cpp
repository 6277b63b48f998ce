// The command: find the endpoints, probe the idle path, run, print the results.
#include "client/throughput/throughput.h"

#include "client/measure/probe.h"
#include "client/net/descriptors.h"
#include "client/net/reach.h"
#include "client/show/measurement_output.h"
#include "client/show/report.h"
#include "client/show/terminal.h"
#include "client/throughput/throughput_plot.h"
#include "client/throughput/throughput_report.h"
#include "client/throughput/throughput_run.h"
#include "client/working/while_pinging.h"
#include "common/clock.h"

#include <algorithm>
#include <cstddef>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace riposte::client {

namespace {

Result<StreamSetup> find(
    const CommonOptions& common, const ThroughputOptions& options, const Direction& direction) {
    const Patience patience{.deadline_ms = monotonic_ms() + common.timeout_ms};
    auto target = resolve_target(direction.endpoint, common, patience);
    if (!target)
        return std::unexpected(target.error());
    std::vector<std::byte> probe(probe_header_bytes);
    write_probe(probe, {});
    const SocketAddress address = choose_address(*target, probe, patience.deadline_ms);
    return StreamSetup{
        .target = std::move(*target),
        .address = address,
        .flow = direction.flow,
        .connections = options.connections,
        .chunk_bytes = direction.chunk_bytes,
        .bitrate = options.bitrate,
        .bytes = options.bytes,
        .timeout_ns = uint64_t{common.timeout_ms} * 1'000'000};
}

/// The curves that the latency under load makes; none without --while-pinging.
std::vector<Plotted> curves_of(const ThroughputResult& result) {
    std::vector<Plotted> curves;
    if (!result.latency)
        return curves;
    const auto add = [&](const char* name, const ProbedLatency& probed) {
        const OutcomeCounts& counts = probed.counts;
        curves.push_back(
            {.name = result.latency->name + " " + name,
             .histogram = &probed.rtt,
             .series = nullptr,
             .counts = {
                 .sent = counts.sent,
                 .answered = counts.answered,
                 .lost = counts.lost,
                 .failed = counts.decided() - counts.answered - counts.lost}});
    };
    add("idle", result.latency->idle);
    add("working", result.latency->working);
    return curves;
}

class Command {
public:
    Command(const CommonOptions& common, const ThroughputOptions& options)
        : common_(common), options_(options), report_(common.color, false) {}

    Result<Exit> run();

private:
    Result<void> measure();
    Result<void> show(Exit exit);
    Error document_failure(Error error);

    const CommonOptions& common_;
    const ThroughputOptions& options_;
    Report report_;
    ThroughputResult result_;
};

Result<void> Command::measure() {
    std::vector<StreamSetup> setups;
    for (const Direction& direction : options_.directions) {
        auto setup = find(common_, options_, direction);
        if (!setup)
            return std::unexpected(setup.error());
        setups.push_back(std::move(*setup));
    }
    auto loop = EventLoop::open();
    if (!loop)
        return std::unexpected(loop.error());
    const uint64_t duration_ns = uint64_t{options_.duration_ms} * 1'000'000;
    std::optional<WhilePinging> pinging;
    if (options_.while_pinging) {
        auto opened = WhilePinging::open(common_, *options_.while_pinging);
        if (!opened)
            return std::unexpected(opened.error());
        pinging.emplace(std::move(*opened));
    }
    const ThroughputPlan plan{
        .warmup_ns = uint64_t{options_.warmup_ms} * 1'000'000,
        .duration_ns = duration_ns,
        .timeout_ns = uint64_t{common_.timeout_ms} * 1'000'000,
        .interval_ns = uint64_t{options_.report.every_ms.value_or(1000)} * 1'000'000,
        .prints = !options_.report.json && !options_.quiet,
        .shows_progress = !options_.quiet};
    result_.warmup_ns = plan.warmup_ns;
    result_.path = common_.path;
    result_.streams.resize(setups.size());
    ThroughputRun run(plan, *loop, pinging ? &*pinging : nullptr, result_);
    for (size_t i = 0; i < setups.size(); i++)
        run.add(std::move(setups[i]), result_.streams[i]);
    if (pinging)
        if (auto idle = pinging->measure_idle(*loop, idle_duration_ns(duration_ns)); !idle)
            return idle;
    if (plan.prints)
        if (auto printed = print(throughput_header(result_, {false, output_columns()})); !printed)
            return printed;
    if (auto done = run.run(); !done) {
        result_.interrupted = loop->interrupted();
        return done;
    }
    if (!pinging)
        return {};
    auto latency = pinging->finish(*loop);
    if (!latency)
        return std::unexpected(latency.error());
    for (const StreamResult& stream : result_.streams)
        latency->loaded.merge(stream.rtt);
    result_.latency = std::move(*latency);
    return {};
}

/// With -j there is a document of a run that measured nothing, too, unless the fault is on this
/// machine.
Error Command::document_failure(Error error) {
    if (!options_.report.json || error.exit != Exit::failed)
        return error;
    if (result_.started_at == 0)
        result_.started_at = wall_time_seconds();
    const auto printed =
        print(throughput_json(result_, options_.report.fail_if, Exit::failed, error.message));
    return printed ? error : printed.error();
}

Result<void> Command::show(Exit exit) {
    if (options_.report.json)
        return print(throughput_json(result_, options_.report.fail_if, exit));
    const bool color = colors_output(common_.color);
    const Look look{color, output_columns()};
    if (options_.quiet)
        return print(throughput_lines(result_, look));
    std::string text = '\n' + throughput_summary(result_, look);
    const std::vector<Plotted> curves = curves_of(result_);
    if (options_.report.histogram && !curves.empty())
        text += charts(curves, color);
    return print(text);
}

Result<Exit> Command::run() {
    EventLoop::note_interim();
    auto files = MeasurementFiles::open(options_.report);
    if (!files)
        return std::unexpected(files.error());
    raise_descriptor_limit(); // too few show when a socket is opened
    if (auto measured = measure(); !measured)
        return std::unexpected(document_failure(std::move(measured.error())));
    const Exit exit =
        result_.cut_short ? Exit::interrupted : verdict(result_, options_.report.fail_if);
    if (const auto shown = show(exit); !shown)
        return std::unexpected(shown.error());
    const std::string plot = files->wants_series() ? throughput_plot(result_) : std::string();
    if (const auto written = files->write(curves_of(result_), plot); !written)
        return std::unexpected(written.error());
    const auto measured = [&](const Metric& each) { return metric(result_, each); };
    const auto maximum = [&](const Metric& each) { return maximum_of(result_, each); };
    report_met(report_, result_.streams.front().name, options_.report.fail_if, measured, maximum);
    return exit;
}

} // namespace

Result<Exit> throughput(const CommonOptions& common, const ThroughputOptions& options) {
    return Command(common, options).run();
}

} // namespace riposte::client
