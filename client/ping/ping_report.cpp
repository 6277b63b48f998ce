#include "client/ping/ping_report.h"

#include "client/measure/verdict.h"
#include "client/ping/ping_path_text.h"
#include "client/ping/ping_stamp_report.h"
#include "client/show/causes.h"
#include "client/show/figures.h"
#include "client/show/report.h"
#include "client/show/table.h"
#include "common/text.h"

#include <algorithm>
#include <array>
#include <vector>

#include <fmt/format.h>

namespace riposte::client {

namespace {

constexpr uint64_t reported_late_ns_min = 1'000'000;

uint64_t whole_ms(uint64_t nanoseconds) {
    return nanoseconds - nanoseconds % 1'000'000;
}

/// What stands in front of a line when there are several endpoints.
std::string prefix(const PingResult& result, const PingStyle& style) {
    return style.several ? result.name + ": " : "";
}

Item failure_item(uint64_t count, std::string text) {
    return {std::move(text), count > 0 ? Ink::failure : Ink::plain};
}

/// The kinds of probes without an answer, each with its share of those that the network decided.
struct Unanswered {
    std::string_view name;
    uint64_t count;
};

std::array<Unanswered, 5> unanswered(const OutcomeCounts& counts) {
    return {
        {{"lost", counts.lost},
         {"refused", counts.refused},
         {"unreachable", counts.unreachable},
         {"closed", counts.closed},
         {"too big", counts.too_big}}};
}

Item unanswered_item(const Unanswered& kind, uint64_t all) {
    if (all == 0)
        return {fmt::format("{} {}", kind.count, kind.name)};
    const double percent = 100 * static_cast<double>(kind.count) / static_cast<double>(all);
    return failure_item(
        kind.count, fmt::format("{} {} ({})", kind.count, kind.name, percentage(percent)));
}

/// "1000 sent, 998 answered, 2 lost (0.2%); 9.999 s", and below it what else is not zero, each kind
/// at its place. What belongs to a kind is in one place: a line of fixed_lines().
std::string counts_text(const PingResult& result, const PingStyle& style) {
    const OutcomeCounts& counts = result.counts;
    const uint64_t all = counts.decided_by_network();
    const auto kinds = unanswered(counts);
    const auto some = [](uint64_t count, std::string_view name, Ink ink = Ink::plain) {
        return count == 0 ? std::vector<Item>{}
                          : std::vector<Item>{{fmt::format("{} {}", count, name), ink}};
    };
    const auto without_answer = [&](const Unanswered& kind) {
        return kind.count == 0 ? std::vector<Item>{} : std::vector{unanswered_item(kind, all)};
    };
    std::vector<Item> of_all;
    const auto loss = loss_percent(counts);
    if (loss && std::ranges::count_if(kinds, [](const auto& kind) { return kind.count > 0; }) > 1)
        of_all.push_back({fmt::format("{} without an answer", percentage(*loss))});
    Item lost = unanswered_item(kinds[0], all);
    lost.after = ";";
    std::vector<Item> end;
    if (result.connections > 0 && !result.connects_only)
        end.push_back({plural(result.connections, "connection")});
    end.push_back({elapsed_time(result.elapsed_ns)});
    const std::vector<FixedLine> lines{
        {{{fmt::format("{} sent", counts.sent)}, {fmt::format("{} answered", counts.answered)}},
         {lost},
         end},
        {without_answer(kinds[1]), without_answer(kinds[2])},
        {without_answer(kinds[3]), without_answer(kinds[4]), of_all},
        {some(counts.local, not_sent, Ink::failure)},
        {some(counts.corrupted, "corrupted", Ink::failure),
         some(counts.wrong_size, "wrong size", Ink::failure)},
        {some(counts.duplicated, "duplicated"), some(counts.reordered, "reordered")},
        {some(counts.late, "late"), some(counts.stray, "stray"),
         some(counts.undecided(), "undecided")}};
    return fixed_lines("", lines, style.look());
}

/// Why there are no figures, and where to look.
std::string no_answer(const PingResult& result) {
    if (result.counts.sent > 0 && result.counts.sent == result.counts.undecided())
        return "no answer yet";
    const uint64_t refused = result.causes.count(CauseKind::refused);
    if (result.connects_only && refused > 0 && refused == result.counts.unanswered())
        return "the host answers, but the port is closed: it refuses connections";
    if (result.stamp != nullptr)
        if (const std::string_view why = why_no_stamp(*result.stamp); !why.empty())
            return std::string(why);
    return why_no_answer(result, result.connections);
}

/// What the network and the kernel say: causes and their senders, retransmissions of TCP,
/// fragments.
std::string path_text(const PingResult& result, const PingStyle& style) {
    const auto causes = cause_items(result.causes, result.counts.lost, result.transport);
    std::string text = causes.empty() ? "" : flow("causes: ", causes, style.look());
    std::vector<Item> earlier;
    earlier.reserve(result.earlier_addresses.size());
    for (const std::string& address : result.earlier_addresses)
        earlier.push_back({address});
    if (!earlier.empty())
        text += flow("earlier addresses: ", earlier, style.look());
    if (const std::string tcp = describe(result.tcp); !tcp.empty())
        text += flow("TCP: ", tcp, Ink::plain, style.look());
    if (result.fragmented && result.path_mtu)
        text += flow(
            "", fragments_text(*result.path_mtu) + "; --df refuses fragments", Ink::plain,
            style.look());
    return text + headers_text(result, style) + flows_text(result, style);
}

std::string lost_text(const PingResult& result, const ProbeFailure& failure) {
    const std::string within = interval_text(whole_ms(result.wait_ns));
    if (failure.cause.kind == CauseKind::no_connection)
        return fmt::format("no connection for seq={} within {}", failure.sequence, within);
    const std::string connected =
        failure.connect_ns == 0
            ? ""
            : fmt::format(
                  "connected in {} ms, ", milliseconds(static_cast<double>(failure.connect_ns)));
    return fmt::format("{}no answer to seq={} within {}", connected, failure.sequence, within);
}

std::string refused_text(const ProbeFailure& failure) {
    const std::string time =
        failure.took_ns == 0
            ? ""
            : fmt::format(" in {} ms", milliseconds(static_cast<double>(failure.took_ns)));
    if (failure.cause.kind != CauseKind::refused)
        return fmt::format("seq={} refused{}: {}", failure.sequence, time, describe(failure.cause));
    const std::string from = host_text(failure.cause.from);
    return fmt::format(
        "seq={} refused{}{}", failure.sequence, time, from.empty() ? "" : " by " + from);
}

std::string_view clock_name(ReceiveClock clock) {
    switch (clock) {
    case ReceiveClock::kernel:
        return "kernel clock";
    case ReceiveClock::user_space:
        return "user space clock";
    case ReceiveClock::mixed:
        return "kernel clock in part";
    case ReceiveClock::none:
        break;
    }
    return "none";
}

/// "sent late by 4 us (median), 5 us (p95), 9 us (p99), 12 us (max)": how well this machine kept
/// the schedule, which is no part of any other figure.
std::string lateness_text(const PingResult& result, const PingStyle& style) {
    if (result.rtt.empty() || result.lateness.empty())
        return "";
    struct Named {
        std::string_view name;
        double percent;
    };
    constexpr std::array<Named, 4> shown{{{"median", 50}, {"p95", 95}, {"p99", 99}, {"max", 100}}};
    std::vector<Item> items;
    for (const auto& [name, percent] : shown)
        if (const auto value = percentile_of(result.lateness, percent))
            items.push_back({fmt::format("{} ({})", short_duration(*value), name)});
    return flow("sent late by ", items, style.look());
}

/// What is to be known about the figures; nothing if there are none.
std::string remarks(const PingResult& result, const PingStyle& style) {
    if (result.rtt.empty())
        return "";
    std::vector<Item> items;
    if (result.rtt.count() >= 2)
        items.push_back(
            {fmt::format("RFC 3550 jitter {} ms", milliseconds(result.rfc3550_jitter_ns)),
             Ink::plain, ";"});
    if (result.connects_only)
        items.push_back({"connect: until the peer accepted"});
    else
        items.push_back(
            {result.stamp != nullptr ? "rtt: without the residence" : "rtt: from the sending",
             Ink::plain, ";"});
    if (result.clock != ReceiveClock::none && !result.connects_only)
        items.push_back({fmt::format("times of arrival: {}", clock_name(result.clock))});
    std::string text = flow("", items, style.look());
    if (result.other_service)
        text += flow(
            "", "not an echo service: answers were timed but not verified", Ink::plain,
            style.look());
    return text;
}

/// " (duplicate)" and the like, whatever is to be said behind the time.
std::string annotations(const ProbeOutcome& arrival) {
    std::string text;
    if (arrival.connect_ns > 0)
        text +=
            fmt::format(" connect={} ms", milliseconds(static_cast<double>(arrival.connect_ns)));
    if (arrival.duplicate)
        text += " (duplicate)";
    if (arrival.reordered)
        text += " (out of order)";
    if (arrival.late)
        text += " (late)";
    if (arrival.late_by_ns > reported_late_ns_min)
        text +=
            fmt::format(" (sent {} late)", short_duration(static_cast<double>(arrival.late_by_ns)));
    return text;
}

} // namespace

std::string ping_header(const PingResult& result, Look look) {
    const std::string host = result.address.substr(0, result.address.rfind(':'));
    const bool said = result.name.ends_with("//" + result.address) ||
                      result.name.ends_with(fmt::format(" ({})", host)); // --all-addresses
    std::vector<Item> items{{result.name, Ink::plain, said ? ":" : ""}};
    if (!said)
        items.push_back(
            {fmt::format("({})", result.address.empty() ? "no address" : result.address),
             Ink::plain, ":"});
    items.push_back(
        {result.connects_only ? "connections alone"
                              : fmt::format("{} of payload", byte_count(result.payload_bytes))});
    items.push_back({fmt::format("every {}", interval_text(result.interval_ns))});
    return flow("PING ", items, look);
}

std::string ping_line(
    const PingResult& result, const ProbeOutcome& arrival, const PingStyle& style) {
    std::string what;
    if (arrival.sequence == 0)
        what = " answers no probe of ours";
    else
        what = fmt::format(
            " seq={}{}{}", arrival.sequence, flow_mark(result, arrival.sequence),
            header_marks(arrival.header));
    std::string fault(arrival.fault);
    if (!fault.empty())
        fault = " " + fault;
    else if (arrival.outcome == Outcome::corrupted)
        fault = fmt::format(" corrupted at byte {}", arrival.wrong_byte);
    else if (arrival.outcome == Outcome::wrong_size)
        fault = fmt::format(" wrong size, not {}", byte_count(result.payload_bytes));
    if (arrival.rtt_ns > 0)
        what += fmt::format(" time={} ms", milliseconds(static_cast<double>(arrival.rtt_ns)));
    return fmt::format(
        "{}{} {}:{}{}{}\n", prefix(result, style),
        result.connects_only ? "connected to" : byte_count(arrival.bytes) + " from", result.address,
        what, paint(fault, Ink::failure, style.color), annotations(arrival));
}

std::string ping_failure_line(
    const PingResult& result, const ProbeFailure& failure, const PingStyle& style) {
    const uint64_t sequence = failure.sequence;
    std::string text;
    switch (failure.outcome) {
    case Outcome::lost:
        text = lost_text(result, failure);
        break;
    case Outcome::refused:
        text = refused_text(failure);
        break;
    case Outcome::unreachable:
        text = fmt::format("seq={} unreachable: {}", sequence, describe(failure.cause));
        break;
    case Outcome::closed:
        text = fmt::format(
            "seq={} closed: the connection {} before the answer", sequence,
            failure.cause.kind == CauseKind::reset ? "was reset" : "ended");
        break;
    case Outcome::too_big:
        text = fmt::format("seq={} {}", sequence, describe_too_big(failure.cause));
        break;
    case Outcome::corrupted:
        text = fmt::format("seq={} corrupted", sequence);
        break;
    case Outcome::wrong_size:
        text = fmt::format("seq={} wrong size", sequence);
        break;
    case Outcome::local:
        text = fmt::format("seq={} not sent: {}", sequence, describe(failure.cause));
        break;
    case Outcome::pending:
    case Outcome::answered:
        text = fmt::format("seq={}", sequence);
        break;
    }
    text += flow_mark(result, sequence);
    return fmt::format("{}{}\n", prefix(result, style), paint(text, Ink::failure, style.color));
}

std::string ping_other_service_line(const PingResult& result, const PingStyle& style) {
    return fmt::format(
        "{}not an echo service: answers are timed but not verified\n", prefix(result, style));
}

std::string ping_summary(const PingResult& result, const PingStyle& style) {
    std::string text = title_line(result.name, "ping statistics", style.look());
    text += counts_text(result, style);
    text += outages_text(result, style);
    text += path_text(result, style);
    if (result.counts.answered == 0)
        text += flow("", no_answer(result), Ink::failure, style.look());
    else if (result.rtt.empty())
        text += flow(
            "", "the service spoke before the probes left: there is no round trip to time",
            Ink::plain, style.look());
    if (result.stamp != nullptr)
        text += stamp_text(result, style);
    const Histogram pdv = result.pdv();
    const ClockFigures clocks =
        result.stamp != nullptr ? result.stamp->clocks.figures() : ClockFigures{};
    const Histogram residence = result.stamp != nullptr ? result.stamp->residence : Histogram();
    std::vector<Distribution> rows;
    for (const Distribution& row :
         {Distribution{result.connects_only ? "connect" : "rtt", &result.rtt},
          {"ipdv", &result.ipdv},
          {"pdv", &pdv},
          {"pdv there", &clocks.pdv_there},
          {"pdv back", &clocks.pdv_back},
          {"residence", &residence},
          {"connect", &result.connect},
          {"refusal", &result.refusal}})
        if (!row.histogram->empty() && !(result.connects_only && row.histogram == &result.connect))
            rows.push_back(row);
    if (!rows.empty())
        text += latency_table(rows, style.look());
    return text + lateness_text(result, style) + remarks(result, style);
}

std::string ping_interim(const PingResult& result, const PingStyle& style) {
    const OutcomeCounts& counts = result.counts;
    std::vector<Item> items{{fmt::format("{}/{} answered", counts.answered, counts.sent)}};
    if (const auto loss = loss_percent(counts))
        items.push_back(
            {fmt::format("{} loss", percentage(*loss)), *loss > 0 ? Ink::failure : Ink::plain});
    if (result.tcp.retransmits > 0)
        items.push_back({plural(result.tcp.retransmits, "retransmit")});
    if (counts.local > 0)
        items.push_back({fmt::format("{} {}", counts.local, not_sent), Ink::failure});
    const uint64_t wrong = counts.corrupted + counts.wrong_size;
    if (wrong > 0)
        items.push_back({fmt::format("{} wrong", wrong), Ink::failure});
    if (!result.rtt.empty()) {
        const Figures of = figures(result.rtt);
        items.push_back({fmt::format(
            "median/p99/max {}/{}/{} ms", percentile_milliseconds(of.median_ns),
            percentile_milliseconds(of.p99_ns), milliseconds(of.max_ns))});
    }
    std::string text;
    for (const Item& item : items)
        text += (text.empty() ? "" : ", ") + paint(item.text, item.ink, style.color);
    return prefix(result, style) + text + '\n';
}

} // namespace riposte::client
