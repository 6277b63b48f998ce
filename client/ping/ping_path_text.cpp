#include "client/ping/ping_path_text.h"

#include "client/options/dscp.h"
#include "client/show/figures.h"
#include "client/show/table.h"
#include "common/text.h"

#include <array>
#include <string_view>
#include <vector>

#include <fmt/format.h>
#include <fmt/ranges.h>

namespace riposte::client {

namespace {

constexpr unsigned ecn_bits = 2;
constexpr std::array<std::string_view, 4> ecn_names{"", "ect1", "ect0", "ce"};
constexpr size_t congestion = 3;
constexpr size_t run_min = 3; ///< ports in a row that are written as a range

std::string ttl_text(const ReplyHeaders& headers) {
    if (headers.ttl_min() == headers.ttl_max())
        return fmt::format("ttl {}", headers.ttl_min().value_or(0));
    return fmt::format(
        "ttl {} to {} (changed {})", headers.ttl_min().value_or(0), headers.ttl_max().value_or(0),
        plural(headers.ttl_changes(), "time"));
}

std::string dscp_words(const PingResult& result) {
    std::vector<std::string> names;
    for (const uint8_t dscp : result.headers.dscps())
        names.push_back(dscp_text(dscp));
    const bool as_sent = result.headers.dscps() == std::vector{result.path.dscp.value_or(0)};
    return fmt::format(
        "dscp {}{}", fmt::join(names, ", "),
        as_sent ? "" : fmt::format(" (sent {})", dscp_text(result.path.dscp.value_or(0))));
}

bool is_one(std::span<const uint16_t> ports) {
    return ports.size() == 1;
}

std::string flows_words(const BadFlows& bad) {
    return fmt::format("{} {}", is_one(bad.ports) ? "flow" : "flows", ports_text(bad.ports));
}

/// "flows 41003, 41019 lose 31%", "flow 41003 loses 100% (100% refused)".
std::string loss_words(const BadFlows& bad) {
    return fmt::format(
        "{} {} {}{}", flows_words(bad), is_one(bad.ports) ? "loses" : "lose",
        percentage(bad.percent),
        bad.refused_percent > 0 ? fmt::format(" ({} refused)", percentage(bad.refused_percent))
                                : "");
}

/// "flow 41003 needs TCP to repair 30%".
std::string repair_words(const BadFlows& bad) {
    return fmt::format(
        "{} {} TCP to repair {}", flows_words(bad), is_one(bad.ports) ? "needs" : "need",
        percentage(bad.percent));
}

/// "..., all others 0%": the findings in one line; nothing if there are none.
std::string findings_text(
    std::span<const BadFlows> groups, std::string (*words)(const BadFlows&), double others_percent,
    const Look& look) {
    if (groups.empty())
        return "";
    std::vector<std::string> findings;
    findings.reserve(groups.size());
    for (const BadFlows& bad : groups)
        findings.push_back(words(bad));
    return flow(
        "", fmt::format("{}, all others {}", fmt::join(findings, "; "), percentage(others_percent)),
        Ink::failure, look);
}

std::string slowness_words(const BadFlows& bad) {
    return fmt::format(
        "{} {} {} slower than the others", flows_words(bad), is_one(bad.ports) ? "is" : "are",
        short_duration(static_cast<double>(bad.slower_ns)));
}

} // namespace

std::string flow_mark(const PingResult& result, uint64_t sequence) {
    if (result.flows.empty() || sequence == 0)
        return "";
    return fmt::format(" port={}", result.flows[(sequence - 1) % result.flows.size()].port);
}

std::string header_marks(const ReplyHeader& header) {
    std::string text = header.ttl ? fmt::format(" ttl={}", *header.ttl) : "";
    const uint8_t traffic_class = header.traffic_class.value_or(0);
    const auto dscp = static_cast<uint8_t>(traffic_class >> ecn_bits);
    const std::string_view ecn = ecn_names.at(traffic_class & congestion);
    if (dscp != 0)
        text += fmt::format(" dscp={}", dscp_text(dscp));
    if (!ecn.empty())
        text += fmt::format(" ecn={}", ecn);
    return text;
}

std::string headers_text(const PingResult& result, const PingStyle& style) {
    const ReplyHeaders& headers = result.headers;
    const uint64_t marked = headers.ecn()[congestion];
    const std::vector<uint8_t> dscps = headers.dscps();
    const bool is_plain_class = dscps.empty() || dscps == std::vector<uint8_t>{0};
    const bool is_usual = headers.ttl_min() == headers.ttl_max() && is_plain_class && marked == 0;
    if (headers.empty() || (is_usual && !result.path.dscp))
        return "";
    std::vector<Item> items;
    if (headers.ttl_min())
        items.push_back({ttl_text(headers)});
    if (!dscps.empty())
        items.push_back({dscp_words(result)});
    if (marked > 0)
        items.push_back({fmt::format("{} marked as congested (ECN)", marked)});
    return flow("replies: ", items, style.look());
}

std::string flows_text(const PingResult& result, const PingStyle& style) {
    if (result.flows.empty())
        return "";
    const FlowVerdict verdict = judge_flows(result);
    std::string text =
        findings_text(verdict.lossy, loss_words, verdict.others_loss_percent, style.look()) +
        findings_text(
            verdict.repairing, repair_words, verdict.others_repairs_percent, style.look());
    for (const BadFlows& bad : verdict.slow)
        text += flow("", slowness_words(bad), Ink::failure, style.look());
    if (text.empty())
        text = flow(
            "", fmt::format("none of {} stands out", plural(result.flows.size(), "flow")),
            Ink::plain, style.look());
    return text;
}

std::string ports_text(std::span<const uint16_t> ports) {
    std::vector<std::string> parts;
    for (size_t first = 0; first < ports.size();) {
        size_t end = first + 1;
        while (end < ports.size() && ports[end] == ports[end - 1] + 1)
            end++;
        if (end - first < run_min)
            end = first + 1;
        parts.push_back(
            end - first == 1 ? fmt::format("{}", ports[first])
                             : fmt::format("{}-{}", ports[first], ports[end - 1]));
        first = end;
    }
    return fmt::format("{}", fmt::join(parts, ", "));
}

} // namespace riposte::client
