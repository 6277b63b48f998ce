#include "client/load/load_report.h"

#include "client/measure/verdict.h"
#include "client/show/causes.h"
#include "client/show/figures.h"
#include "client/show/report.h"
#include "client/show/table.h"
#include "client/working/working_report.h"
#include "common/text.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <span>
#include <vector>

#include <fmt/format.h>

namespace riposte::client {

namespace {

constexpr size_t label_columns = 13;
constexpr size_t bar_columns_min = 6;
constexpr size_t bar_columns_max = 32;

std::string label(std::string_view text) {
    return fmt::format("{:<{}}", text, label_columns);
}

/// A rate that was asked for: "10000/s", "0.5/s".
std::string asked_rate(double rate) {
    return fmt::format("{}/s", rate);
}

std::string_view lane(const LoadResult& result) {
    return result.transport == Transport::tcp ? "connection" : "socket";
}

bool renews_connections(const LoadResult& result) {
    return result.transport == Transport::tcp && (result.reconnect || result.closes);
}

/// An open loop over UDP has no bound.
std::string depth_text(const LoadResult& result) {
    if (renews_connections(result))
        return "a connection per request";
    return result.depth > 0 ? fmt::format("{} outstanding each", result.depth)
                            : "any number outstanding";
}

/// "50 connections, 1 outstanding each", "50 connections at a time, one per request".
std::string lanes_text(const LoadResult& result) {
    const std::string lanes = plural(result.connections, lane(result));
    if (renews_connections(result))
        return lanes + " at a time, one per request";
    return fmt::format("{}, {}", lanes, depth_text(result));
}

struct Kind {
    std::string_view name;
    uint64_t count;
    bool is_long = false;
};

/// All but the lost.
std::array<Kind, 8> error_kinds(const LoadCounts& counts) {
    return {
        {{"corrupted", counts.corrupted},
         {"wrong size", counts.wrong_size},
         {"refused", counts.refused},
         {"unreachable", counts.unreachable},
         {"closed", counts.closed},
         {"never sent", counts.unsent},
         {"too big", counts.too_big, true},
         {not_sent, counts.local, true}}};
}

/// An item for what is not zero, else none.
std::vector<Item> some(uint64_t count, std::string_view name) {
    return count == 0 ? std::vector<Item>{}
                      : std::vector<Item>{{fmt::format("{} {}", count, name)}};
}

/// Those with their share, each kind at its place; the lost stand beside what was sent.
std::string errors_text(const LoadCounts& counts, Look look) {
    if (counts.errors() == 0)
        return "no errors\n";
    const uint64_t all = counts.decided() + counts.unsent;
    std::vector<FixedLine> lines;
    bool continues = false; // two of them on a line, but for those with a long name
    for (const Kind& kind : error_kinds(counts)) {
        if (!continues)
            lines.emplace_back();
        continues = !continues && !kind.is_long;
        if (kind.count == 0)
            continue;
        const double percent = 100 * static_cast<double>(kind.count) / static_cast<double>(all);
        lines.back().push_back(
            {{fmt::format("{} {} ({})", kind.count, kind.name, percentage(percent)),
              Ink::failure}});
    }
    return fixed_lines(label("errors"), lines, look);
}

/// Causes and their senders, and what TCP repaired.
std::string network_text(const LoadResult& result, Look look) {
    const auto causes = cause_items(result.causes, result.counts.lost, result.transport);
    std::string text = causes.empty() ? "" : flow(label("causes"), causes, look);
    if (const std::string tcp = describe(result.tcp); !tcp.empty())
        text += flow(label("TCP"), tcp, Ink::plain, look);
    return text;
}

/// What only datagrams can do.
std::string datagrams_text(const LoadResult& result, Look look) {
    const LoadCounts& counts = result.counts;
    std::vector<Item> of_all;
    if (const auto loss = loss_percent(counts))
        of_all.push_back({fmt::format("{} loss", percentage(*loss))});
    const std::vector<FixedLine> lines{
        {of_all, some(counts.duplicated, "duplicated"), some(counts.reordered, "reordered")},
        {some(counts.late, "late"), some(counts.stray, "stray")}};
    return fixed_lines(label("datagrams"), lines, look);
}

std::string mode_text(const LoadResult& result, Look look) {
    if (!result.rate) {
        const std::vector<Item> items{{"closed", Ink::plain, ":"}, {lanes_text(result)}};
        return flow(label("loop"), items, look);
    }
    const std::vector<Item> items{
        {fmt::format("open at {}", asked_rate(*result.rate)), Ink::plain, ","},
        {lanes_text(result), Ink::plain, ";"},
        {"latency from the intended time", Ink::plain, ""},
        {"(coordinated omission corrected)"}};
    return flow(label("loop"), items, look);
}

std::string requests_text(const LoadResult& result, Look look) {
    const LoadCounts& counts = result.counts;
    Item lost{fmt::format("{} lost", counts.lost)};
    if (counts.lost > 0)
        lost = {
            fmt::format(
                "{} lost ({})", counts.lost,
                percentage(
                    100 * static_cast<double>(counts.lost) /
                    static_cast<double>(counts.decided_by_network()))),
            Ink::failure};
    const std::vector<FixedLine> lines{
        {{{fmt::format("{} sent", counts.sent)}, {fmt::format("{} answered", counts.answered)}},
         {lost}},
        {some(counts.undecided(), "undecided")}};
    std::string text = fixed_lines(label("requests"), lines, look);
    if (result.elapsed_ns > 0)
        text += fmt::format("{}{:.1f} requests/s\n", label("rate"), result.answer_rate());
    return text;
}

std::string time_text(const LoadResult& result, Look look) {
    std::vector<Item> items{{fmt::format("{} measured", elapsed_time(result.elapsed_ns))}};
    if (result.warmup_ns > 0)
        items.push_back({fmt::format("{} of warm-up left out", elapsed_time(result.warmup_ns))});
    if (result.interrupted)
        items.push_back({"interrupted"});
    return flow(label("time"), items, look);
}

/// Payload, connections and the generator: all that is divided by the time.
std::string rates_text(const LoadResult& result, Look look) {
    if (result.elapsed_ns == 0)
        return "";
    const LoadCounts& counts = result.counts;
    const auto rate = [&](uint64_t count) { return static_cast<double>(count) / result.seconds(); };
    const std::vector<Item> payload{
        {fmt::format("{} sent", byte_rate(rate(counts.bytes_sent)))},
        {fmt::format("{} received", byte_rate(rate(counts.bytes_received)))}};
    std::string text = flow(label("payload"), payload, look);
    if (renews_connections(result)) {
        std::vector<Item> items{
            {fmt::format("{} made", counts.connections), Ink::plain, ":"},
            {fmt::format("{:.1f} connections/s", rate(counts.connections)), Ink::plain, ""}};
        if (!result.reconnect)
            items.push_back({"(the peer closes after each answer)"});
        text += flow(label("connections"), items, look);
    }
    std::vector<Item> items{{fmt::format("CPU {:.0f}% of one core", 100 * cpu_share(result))}};
    const uint64_t due = counts.sent + counts.unsent;
    if (result.rate && due > 0) {
        const auto share = [&](uint64_t count) {
            return percentage(100 * static_cast<double>(count) / static_cast<double>(due));
        };
        items.back().after = ";";
        items.push_back({fmt::format("{} of the schedule late", share(result.late_generator))});
        if (result.late_blocked > 0)
            items.push_back(
                {share(result.late_blocked) +
                 (result.transport == Transport::tcp ? " waited for a connection" : " held back")});
    }
    return text + flow(label("generator"), items, look);
}

std::string latencies(const LoadResult& result, Look look) {
    if (result.latency.empty())
        return "";
    std::vector<Distribution> rows{{"latency", &result.latency}};
    if (result.rate && !result.latency_from_send.empty())
        rows.push_back({"from send", &result.latency_from_send});
    if (result.lateness.max_ns() > 0)
        rows.push_back({"lateness", &result.lateness});
    if (result.wait.max_ns() > 0)
        rows.push_back({"wait", &result.wait});
    if (!result.connect.empty())
        rows.push_back({"connect", &result.connect});
    return latency_table(rows, look);
}

std::string notes_text(const LoadResult& result, Look look) {
    std::string text;
    for (const std::string& line : bottlenecks(result))
        text += flow("note: ", line, Ink::plain, look);
    return text;
}

std::string bar(double done, size_t width, bool unicode) {
    const double share = std::clamp(done, 0.0, 1.0);
    const auto full = static_cast<size_t>(share * static_cast<double>(width));
    std::string text = unicode ? "" : "[";
    for (size_t at = 0; at < width; at++) {
        if (unicode)
            text += at < full ? "━" : "┄";
        else
            text += at < full ? '=' : ' ';
    }
    return unicode ? text : text + ']';
}

/// What the live line says, the most wanted first; `short_form`: for a terminal of 40 columns.
std::vector<std::string> progress_parts(const LoadProgress& progress, bool short_form) {
    std::vector<std::string> parts;
    if (progress.warming_up)
        parts.emplace_back(short_form ? "warm" : "warming up");
    const std::string rate = short_number(progress.rate) + "/s";
    parts.push_back(short_form ? rate : fmt::format("{:>8}", rate));
    if (const auto ns = progress.p99_ns ? progress.p99_ns : progress.max_ns) {
        const std::string_view name = progress.p99_ns ? "p99" : "max";
        const std::string value = short_duration(static_cast<double>(*ns));
        parts.push_back(
            short_form ? fmt::format("{} {}", name, value) : fmt::format("{} {:>7}", name, value));
    }
    if (progress.errors > 0)
        parts.push_back(
            short_form ? short_number(static_cast<double>(progress.errors)) + " err"
                       : plural(progress.errors, "error"));
    if (progress.left_ns) {
        const uint64_t seconds = (*progress.left_ns + 999'999'999) / 1'000'000'000;
        const std::string left =
            seconds < 600 ? fmt::format("{} s", seconds) : elapsed_time(seconds * 1'000'000'000);
        parts.push_back(short_form ? left : left + " left");
    } else if (progress.done) {
        parts.push_back(fmt::format("{:.0f}%", std::floor(100 * *progress.done)));
    }
    return parts;
}

} // namespace

std::string load_header(const LoadResult& result, Look look) {
    const bool said = result.name.ends_with("//" + result.address);
    std::vector<Item> items{
        {said ? result.name : fmt::format("{} ({})", result.name, result.address), Ink::plain, ":"},
        {plural(result.connections, lane(result))},
        {byte_count(result.payload_bytes)},
        {result.rate ? "open loop at " + asked_rate(*result.rate) : std::string("closed loop")},
        {depth_text(result)}};
    std::string text = flow("LOAD ", items, look);
    if (result.rate)
        text += flow(
            "", "latency from the intended time (coordinated omission corrected)", Ink::plain,
            look);
    return text;
}

std::string load_progress(const LoadProgress& progress, size_t width, bool unicode) {
    std::vector<std::string> parts = progress_parts(progress, false);
    const auto taken_by = [](const std::vector<std::string>& texts, size_t gap) {
        size_t taken = 0;
        for (const std::string& text : texts)
            taken += (taken == 0 ? 0 : gap) + text.size();
        return taken;
    };
    size_t gap = 2;
    if (taken_by(parts, gap) > width) {
        parts = progress_parts(progress, true);
        gap = 1;
    }
    // What stands last is the first to go where there is no room.
    std::string text;
    for (const std::string& part : parts) {
        const size_t before = text.empty() ? 0 : gap;
        if (text.size() + before + part.size() > width)
            break;
        text.append(before, ' ');
        text += part;
    }
    const size_t taken = text.size() + 4; // brackets and a gap
    if (!progress.done || width < taken + bar_columns_min)
        return text;
    return bar(*progress.done, std::min(width - taken, bar_columns_max), unicode) + "  " + text;
}

std::string load_summary(const LoadResult& result, Look look) {
    std::string text = title_line(result.name, "load statistics", look);
    text += mode_text(result, look);
    text += time_text(result, look);
    text += requests_text(result, look);
    text += rates_text(result, look);
    if (result.transport == Transport::udp)
        text += datagrams_text(result, look);
    text += errors_text(result.counts, look);
    text += network_text(result, look);
    if (result.counts.answered == 0)
        text += flow("", why_no_answer(result, result.counts.connections), Ink::failure, look);
    text += latencies(result, look);
    if (result.under_load)
        text += working_text(*result.under_load, look);
    if (result.answering == Answering::other)
        text += flow(
            "", "not an echo service: the lengths of answers were checked, not their bytes",
            Ink::plain, look);
    else if (!result.verify)
        text += "answers were not verified (--no-verify)\n";
    if (result.fragmented && result.path_mtu)
        text += flow("note: ", "a request " + fragments_text(*result.path_mtu), Ink::plain, look);
    return text + notes_text(result, look);
}

std::string load_line(const LoadResult& result, Look look) {
    std::string text = fmt::format("{}: {}", result.name, load_interim(result));
    if (result.counts.answered == 0)
        text += flow("", why_no_answer(result, result.counts.connections), Ink::failure, look);
    return text + notes_text(result, look);
}

std::string load_interim(const LoadResult& result) {
    std::string text = fmt::format(
        "{}: {:.1f} requests/s, ", elapsed_time(result.elapsed_ns), result.answer_rate());
    if (!result.latency.empty()) {
        const Figures of = figures(result.latency);
        text += fmt::format(
            "median/p99/max {}/{}/{} ms, ", percentile_milliseconds(of.median_ns),
            percentile_milliseconds(of.p99_ns), milliseconds(of.max_ns));
    }
    const uint64_t errors = result.counts.errors();
    return text + (errors == 0 ? "no errors" : plural(errors, "error")) + '\n';
}

} // namespace riposte::client
