#include "client/working/working_report.h"

#include "client/show/causes.h"
#include "client/show/figures.h"

#include <cmath>
#include <string_view>
#include <vector>

#include <fmt/format.h>

namespace riposte::client {

namespace {

constexpr size_t part_label_columns = 13;

std::string part_label(std::string_view text) {
    return fmt::format("{:<{}}", text, part_label_columns);
}

/// Of one part: probes that were not answered.
std::string probes_line(
    std::string_view name, const ProbedLatency& probed, Transport transport, Look look) {
    const OutcomeCounts& counts = probed.counts;
    std::vector<Item> items{
        {fmt::format("{} probes sent", counts.sent)},
        {fmt::format("{} answered", counts.answered)}};
    if (const auto loss = loss_percent(counts); loss && *loss > 0)
        items.push_back({fmt::format("{} loss", percentage(*loss)), Ink::failure});
    for (Item& cause : cause_items(probed.causes, counts.lost, transport))
        items.push_back(std::move(cause));
    return flow(part_label(name), items, look);
}

std::string added_text(const LatencyUnderLoad& latency) {
    std::string text;
    for (const auto& [name, percentile] : {std::pair{"median", 50.0}, std::pair{"p99", 99.0}}) {
        const auto added = added_latency_ns(latency, percentile);
        if (!added)
            continue;
        text += fmt::format(
            "{}{} {}{} ms", text.empty() ? "" : ", ", name, *added < 0 ? "-" : "+",
            milliseconds(std::abs(*added)));
    }
    return text;
}

std::string responsiveness_text(const LatencyUnderLoad& latency) {
    const Responsiveness found = responsiveness(latency);
    const auto rpm = found.rpm();
    if (!rpm)
        return "";
    std::string text = fmt::format("{:.0f} RPM", *rpm);
    if (found.loaded && found.foreign)
        text += fmt::format(
            " ({:.0f} beside the load, {:.0f} on its own connections)", *found.foreign,
            *found.loaded);
    return text;
}

Json probed_json(const ProbedLatency& probed) {
    const OutcomeCounts& counts = probed.counts;
    Json each;
    each["elapsed"] = to_seconds(probed.elapsed_ns);
    each["sent"] = counts.sent;
    each["answered"] = counts.answered;
    each["lost"] = counts.lost;
    each["undecided"] = counts.undecided();
    each["errors"] = counts.decided() - counts.answered;
    set_number(each, "loss_percent", loss_percent(counts));
    set_distribution(each, "rtt", probed.rtt);
    set_distribution(each, "connect", probed.connect);
    set_distribution(each, "lateness", probed.lateness);
    each["causes"] = causes_json(probed.causes, counts.lost);
    return each;
}

Json added_json(const LatencyUnderLoad& latency) {
    Json each = Json::object();
    for (const auto& [name, percentile] : {std::pair{"median", 50.0}, std::pair{"p99", 99.0}})
        if (const auto added = added_latency_ns(latency, percentile))
            each[name] = *added / 1e9;
    return each;
}

} // namespace

std::string working_text(const LatencyUnderLoad& latency, Look look) {
    std::string text = title_line(latency.name, "latency under load", look);
    text += probes_line("idle", latency.idle, latency.transport, look);
    text += probes_line("working", latency.working, latency.transport, look);
    if (latency.working.rtt.empty())
        text += flow("", "no probe was answered under load", Ink::failure, look);
    if (const std::string added = added_text(latency); !added.empty())
        text += flow(part_label("added"), added, Ink::plain, look);
    if (const std::string rpm = responsiveness_text(latency); !rpm.empty())
        text += flow(part_label("responsive"), rpm, Ink::plain, look);
    std::vector<Distribution> rows;
    const auto row = [&](std::string_view name, const Histogram& histogram) {
        if (!histogram.empty())
            rows.push_back({name, &histogram});
    };
    row("idle", latency.idle.rtt);
    row("working", latency.working.rtt);
    row("connect", latency.working.connect);
    row("on load", latency.loaded);
    return rows.empty() ? text : text + latency_table(rows, look);
}

std::string working_line(const LatencyUnderLoad& latency, Look look) {
    std::vector<Item> items{{latency.name, Ink::plain, ":"}};
    for (const auto& [name, probed] :
         {std::pair{"idle", &latency.idle}, std::pair{"working", &latency.working}})
        items.push_back(
            {probed->rtt.empty()
                 ? fmt::format("{}: no reply", name)
                 : fmt::format(
                       "{} median {} ms", name,
                       milliseconds(static_cast<double>(probed->rtt.percentile_ns(50))))});
    if (const auto rpm = responsiveness(latency).rpm())
        items.push_back({fmt::format("{:.0f} RPM", *rpm)});
    return flow("", items, look);
}

Json working_json(const LatencyUnderLoad& latency) {
    Json each;
    each["name"] = latency.name;
    each["address"] = latency.address;
    each["transport"] = to_string(latency.transport);
    each["interval"] = to_seconds(latency.interval_ns);
    each["idle"] = probed_json(latency.idle);
    each["working"] = probed_json(latency.working);
    set_distribution(each, "loaded", latency.loaded);
    each["added"] = added_json(latency);
    const Responsiveness found = responsiveness(latency);
    if (const auto rpm = found.rpm()) {
        Json of;
        of["rpm"] = *rpm;
        set_number(of, "foreign_rpm", found.foreign);
        set_number(of, "loaded_rpm", found.loaded);
        each["responsiveness"] = std::move(of);
    }
    return each;
}

} // namespace riposte::client
