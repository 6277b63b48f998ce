#include "client/probe/probe_metrics.h"

#include "client/measure/outcome.h"

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>
#include <utility>
#include <vector>

namespace riposte::client {
namespace {

/// Every result that a probe can have; together they are OutcomeCounts::decided().
constexpr std::array<std::pair<Outcome, uint64_t OutcomeCounts::*>, 9> results{{
    {Outcome::answered, &OutcomeCounts::answered},
    {Outcome::lost, &OutcomeCounts::lost},
    {Outcome::corrupted, &OutcomeCounts::corrupted},
    {Outcome::wrong_size, &OutcomeCounts::wrong_size},
    {Outcome::refused, &OutcomeCounts::refused},
    {Outcome::unreachable, &OutcomeCounts::unreachable},
    {Outcome::closed, &OutcomeCounts::closed},
    {Outcome::too_big, &OutcomeCounts::too_big},
    {Outcome::local, &OutcomeCounts::local},
}};

/// How many buckets of CompactHistogram make a classic one.
enum class Classic : size_t {
    octaves = CompactHistogram::buckets_per_octave,
    half_octaves = CompactHistogram::buckets_per_octave / 2,
};

class FleetWriter {
public:
    FleetWriter(const FleetFigures& figures, ProbeMetricsOptions options)
        : figures_(figures), created_(options.created), out_(options.format) {
        targets_.reserve(figures.targets.size());
        for (const TargetFigures& target : figures.targets)
            targets_.push_back(labels_of(*target.who));
        groups_.reserve(figures.groups.size());
        for (const GroupFigures& group : figures.groups)
            groups_.push_back(labels_of(group));
    }

    HttpBody write(const ExporterFigures& exporter) && {
        write_prober(exporter);
        write_discovery();
        write_clock(exporter);
        if (figures_.prober.pair != PairDetail::none)
            write_targets();
        if (figures_.prober.pair == PairDetail::histogram)
            write_histograms();
        write_groups();
        return std::move(out_).finish();
    }

private:
    static void add_labels(MetricLabels& labels, const Labels& listed) {
        for (const auto& [name, value] : listed)
            labels.add(fmt::format("target_{}", name), value);
    }

    static MetricLabels labels_of(const TargetIdentity& who) {
        MetricLabels labels{{"target", who.name}, {"transport", to_key(who.transport)}};
        add_labels(labels, who.labels);
        return labels;
    }

    static MetricLabels labels_of(const GroupFigures& group) {
        MetricLabels labels{{"transport", to_key(group.transport)}};
        add_labels(labels, group.labels);
        return labels;
    }

    void counter(const MetricLabels& labels, const auto& value, double since) {
        out_.sample(labels, value);
        if (created_)
            out_.created(labels, since);
    }

    void single_counter(const MetricFamily& family, const auto& value) {
        out_.begin(family);
        counter({}, value, figures_.prober.started_at);
    }

    void histogram(
        const MetricLabels& labels, const HistogramFigures& values, Classic classic, double since);

    /// A family with a sample of each target.
    void each_target(const MetricFamily& family, auto&& write) {
        out_.begin(family);
        for (size_t i = 0; i < targets_.size(); ++i)
            write(targets_[i], figures_.targets[i]);
    }
    /// The same for a counter.
    void count_targets(
        std::string_view name, std::string_view help, uint64_t OutcomeCounts::* count) {
        each_target({name, MetricType::counter, help}, [&](const auto& labels, const auto& target) {
            counter(labels, target.counts.*count, target.started_at);
        });
    }
    void each_group(const MetricFamily& family, auto&& write) {
        out_.begin(family);
        for (size_t i = 0; i < groups_.size(); ++i)
            write(groups_[i], figures_.groups[i]);
    }

    void results_of(const MetricLabels& labels, const OutcomeCounts& counts, double since) {
        for (const auto& [outcome, count] : results)
            counter(labels.with("result", to_key(outcome)), counts.*count, since);
    }

    void write_prober(const ExporterFigures& exporter);
    void write_discovery();
    void write_clock(const ExporterFigures& exporter);
    void write_targets();
    void write_histograms();
    void write_groups();

    const FleetFigures& figures_;
    bool created_;
    ExpositionWriter out_;
    std::vector<MetricLabels> targets_; ///< as figures_.targets
    std::vector<MetricLabels> groups_;  ///< as figures_.groups
};

void FleetWriter::histogram(
    const MetricLabels& labels, const HistogramFigures& values, Classic classic, double since) {
    uint64_t below = 0;
    for (size_t bucket = 0; bucket <= CompactHistogram::bounded_buckets; ++bucket) {
        below += values.count_in(bucket);
        if (bucket % static_cast<size_t>(classic) == 0)
            out_.sample(
                "_bucket", labels.with("le", bound_text(CompactHistogram::upper_bound(bucket))),
                below);
    }
    out_.sample("_bucket", labels.with("le", "+Inf"), values.count);
    out_.sample("_sum", labels, static_cast<double>(values.sum_ns) / 1e9);
    out_.sample("_count", labels, values.count);
    if (created_)
        out_.created(labels, since);
}

void FleetWriter::write_prober(const ExporterFigures& exporter) {
    const ProberFigures& prober = figures_.prober;
    out_.begin(
        {"riposte_probe_build_info", MetricType::gauge, "Always 1; its label is the version."});
    out_.sample(MetricLabels{{"version", exporter.version}}, 1);
    out_.single(
        {"riposte_probe_start_time_seconds", MetricType::gauge,
         "When the prober started, since 1970."},
        prober.started_at);
    out_.single(
        {"riposte_probe_interval_seconds", MetricType::gauge, "Between two probes of a target."},
        static_cast<double>(figures_.interval_ns) / 1e9);
    out_.begin(
        {"riposte_probe_lateness_seconds", MetricType::histogram,
         "How long after its intended time each probe was sent."});
    histogram({}, prober.lateness, Classic::half_octaves, prober.started_at);
    single_counter(
        {"riposte_probe_skipped", MetricType::counter,
         "Probes that were left out because the prober was far behind its schedule."},
        prober.skipped);
    single_counter(
        {"riposte_probe_receive_overflow", MetricType::counter,
         "Datagrams that the kernel dropped because a socket of the prober was full."},
        prober.receive_overflow);
    single_counter(
        {"riposte_probe_stray", MetricType::counter,
         "Datagrams that answer no probe that is remembered."},
        prober.stray);
    single_counter(
        {"process_cpu_seconds", MetricType::counter, "Time on the CPU, user and system."},
        prober.cpu_seconds);
    out_.single(
        {"riposte_probe_series_limited", MetricType::gauge,
         "1 if series_max has reduced what is exported of each target."},
        prober.series_limited ? 1 : 0);
}

void FleetWriter::write_discovery() {
    const auto each = [&](const MetricFamily& family, auto&& write) {
        out_.begin(family);
        for (const DiscoveryFigures& source : figures_.discovery)
            write(MetricLabels{{"source", source.source}}, source);
    };
    each(
        {"riposte_discovery_targets", MetricType::gauge, "Targets in the list in use, by source."},
        [&](const auto& labels, const auto& source) { out_.sample(labels, source.targets); });
    each(
        {"riposte_discovery_last_success_timestamp_seconds", MetricType::gauge,
         "When a list was last taken, since 1970; 0: never."},
        [&](const auto& labels, const auto& source) { out_.sample(labels, source.succeeded_at); });
    each(
        {"riposte_discovery_last_refresh_successful", MetricType::gauge,
         "1 if the latest list was taken; 0 if it was not, and the one before is in use."},
        [&](const auto& labels, const auto& source) {
            out_.sample(labels, source.last_error.empty() ? 1 : 0);
        });
    each(
        {"riposte_discovery_failures", MetricType::counter, "Lists that were not taken."},
        [&](const auto& labels, const auto& source) {
            counter(labels, source.failures, figures_.prober.started_at);
        });
}

/// An unknown value is left out: it is not 0.
void FleetWriter::write_clock(const ExporterFigures& exporter) {
    if (!exporter.clock)
        return;
    out_.single(
        {"riposte_clock_error_bound_seconds", MetricType::gauge,
         "How far this host's clock may be from UTC at most, as the kernel knows."},
        static_cast<double>(exporter.clock->error_ns) / 1e9);
    out_.single(
        {"riposte_clock_synchronised", MetricType::gauge,
         "1 if a program synchronises this host's clock."},
        exporter.clock->synchronized ? 1 : 0);
}

void FleetWriter::write_targets() {
    count_targets("riposte_probe_sent", "Probes that were sent.", &OutcomeCounts::sent);
    each_target(
        {"riposte_probe_results", MetricType::counter,
         "Probes whose result is known, each once; with those that wait they are those sent."},
        [&](const auto& labels, const auto& target) {
            results_of(labels, target.counts, target.started_at);
        });
    each_target(
        {"riposte_probe_waiting", MetricType::gauge, "Probes whose result is not known yet."},
        [&](const auto& labels, const auto& target) {
            out_.sample(labels, target.counts.undecided());
        });
    count_targets(
        "riposte_probe_duplicated", "Answers beyond the first.", &OutcomeCounts::duplicated);
    count_targets(
        "riposte_probe_reordered", "Answers that came after the answer to a later probe.",
        &OutcomeCounts::reordered);
    count_targets(
        "riposte_probe_late", "Answers that came after their probe had been counted as lost.",
        &OutcomeCounts::late);
    each_target(
        {"riposte_probe_resolve_failures", MetricType::counter,
         "Lookups of the target's name that failed; the last address is still probed."},
        [&](const auto& labels, const auto& target) {
            counter(labels, target.resolve_failures, target.started_at);
        });
    each_target(
        {"riposte_probe_target_info", MetricType::gauge,
         "Always 1; the address that is probed. A target that has left the lists has none."},
        [&](const auto& labels, const auto& target) {
            if (target.address.empty() || !target.listed)
                return;
            MetricLabels where = labels.with("address", target.address);
            where.add("ip_version", target.ip_version == 6 ? "6" : "4");
            out_.sample(where, 1);
        });
}

void FleetWriter::write_histograms() {
    each_target(
        {"riposte_probe_rtt_seconds", MetricType::histogram,
         "From the sending of a probe to the arrival of its answer in the kernel."},
        [&](const auto& labels, const auto& target) {
            histogram(labels, target.rtt, Classic::octaves, target.started_at);
        });
    each_target(
        {"riposte_probe_connect_seconds", MetricType::histogram,
         "How long each TCP connection to the target took to open."},
        [&](const auto& labels, const auto& target) {
            if (target.who->transport == ProbeTransport::tcp)
                histogram(labels, target.connect, Classic::octaves, target.started_at);
        });
}

void FleetWriter::write_groups() {
    each_group(
        {"riposte_probe_group_targets", MetricType::gauge, "Targets of the group."},
        [&](const auto& labels, const auto& group) { out_.sample(labels, group.targets); });
    each_group(
        {"riposte_probe_group_results", MetricType::counter,
         "Probes whose result is known, over all targets of the group."},
        [&](const auto& labels, const auto& group) {
            results_of(labels, group.counts, group.started_at);
        });
    each_group(
        {"riposte_probe_group_rtt_seconds", MetricType::histogram,
         "Round trips over all targets of the group."},
        [&](const auto& labels, const auto& group) {
            histogram(labels, group.rtt, Classic::half_octaves, group.started_at);
        });
}

/// Buckets with +Inf, sum and count.
constexpr size_t histogram_series(Classic classic) {
    return CompactHistogram::bounded_buckets / static_cast<size_t>(classic) + 1 + 3;
}

} // namespace

size_t pair_series(ProbeTransport transport, PairDetail detail, bool created) {
    if (detail == PairDetail::none)
        return 0;
    constexpr size_t counters =
        1 + results.size() + 3 + 1; // sent, results, further answers, lookups
    constexpr size_t gauges = 2;    // waiting, info
    const size_t series = gauges + counters * (created ? 2 : 1);
    if (detail == PairDetail::counters)
        return series;
    const size_t histogram = histogram_series(Classic::octaves) + (created ? 1U : 0U);
    return series + histogram * (transport == ProbeTransport::tcp ? 2 : 1);
}

PairDetail affordable_detail(
    const std::vector<TargetFigures>& targets, PairDetail wanted, size_t series_max, bool created) {
    const auto is_affordable = [&](PairDetail detail) {
        size_t series = 0;
        for (const TargetFigures& target : targets)
            series += pair_series(target.who->transport, detail, created);
        return series <= series_max;
    };
    for (const PairDetail detail : {PairDetail::histogram, PairDetail::counters})
        if (detail <= wanted && is_affordable(detail))
            return detail;
    return PairDetail::none;
}

HttpBody probe_metrics(
    const FleetFigures& figures, const ExporterFigures& exporter, ProbeMetricsOptions options) {
    return FleetWriter(figures, options).write(exporter);
}

} // namespace riposte::client
