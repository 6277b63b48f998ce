#include "client/load/load_report.h"

#include "client/measure/verdict.h"
#include "client/report.h"
#include "client/show/figures.h"
#include "client/show/table.h"

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

std::string count_of(uint64_t count, std::string_view noun) {
    return fmt::format("{} {}{}", count, noun, count == 1 ? "" : "s");
}

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

std::string depth_text(const LoadResult& result) {
    return renews_connections(result) ? "a connection per request"
                                      : fmt::format("{} outstanding each", result.depth);
}

/// "50 connections, 1 outstanding each", "50 connections at a time, one per request".
std::string lanes_text(const LoadResult& result) {
    const std::string lanes = count_of(result.connections, lane(result));
    if (renews_connections(result))
        return lanes + " at a time, one per request";
    return fmt::format("{}, {}", lanes, depth_text(result));
}

struct Kind {
    std::string_view name;
    uint64_t count;
};

std::array<Kind, 8> error_kinds(const LoadCounts& counts) {
    return {
        {{"lost", counts.lost},
         {"corrupted", counts.corrupted},
         {"wrong size", counts.wrong_size},
         {"refused", counts.refused},
         {"unreachable", counts.unreachable},
         {"closed", counts.closed},
         {"for want of ports or buffers here", counts.local},
         {"never sent", counts.unsent}}};
}

std::string errors_text(const LoadCounts& counts, bool color) {
    if (counts.errors() == 0)
        return "no errors\n";
    const uint64_t all = counts.sent - counts.unfinished + counts.unsent;
    std::vector<Item> items;
    for (const Kind& kind : error_kinds(counts)) {
        if (kind.count == 0)
            continue;
        const double percent = 100 * static_cast<double>(kind.count) / static_cast<double>(all);
        items.push_back(
            {fmt::format("{} {} ({})", kind.count, kind.name, percentage(percent)), Ink::failure});
    }
    return flow(label("errors"), items, color);
}

/// What only datagrams can do.
std::string datagrams_text(const LoadResult& result, bool color) {
    const LoadCounts& counts = result.counts;
    std::vector<Item> items;
    if (const auto loss = loss_percent(counts))
        items.push_back({fmt::format("{} loss", percentage(*loss))});
    items.push_back({fmt::format("{} duplicated", counts.duplicated)});
    items.push_back({fmt::format("{} reordered", counts.reordered)});
    if (counts.stray > 0)
        items.push_back({fmt::format("{} stray", counts.stray)});
    return flow(label("datagrams"), items, color);
}

std::string mode_text(const LoadResult& result, bool color) {
    if (!result.rate) {
        const std::vector<Item> items{{"closed", Ink::plain, ":"}, {lanes_text(result)}};
        return flow(label("loop"), items, color);
    }
    const std::vector<Item> items{
        {fmt::format("open at {}", asked_rate(*result.rate)), Ink::plain, ","},
        {lanes_text(result), Ink::plain, ";"},
        {"latency from the intended time", Ink::plain, ""},
        {"(coordinated omission corrected)"}};
    return flow(label("loop"), items, color);
}

std::string requests_text(const LoadResult& result, bool color) {
    const LoadCounts& counts = result.counts;
    std::vector<Item> items{
        {fmt::format("{} sent", counts.sent)}, {fmt::format("{} answered", counts.answered)}};
    if (counts.unfinished > 0)
        items.push_back({fmt::format("{} unfinished", counts.unfinished)});
    items.back().after = ":";
    if (result.elapsed_ns > 0)
        items.push_back({fmt::format("{:.1f} requests/s", result.answer_rate())});
    return flow(label("requests"), items, color);
}

std::string time_text(const LoadResult& result, bool color) {
    std::vector<Item> items{{fmt::format("{} measured", elapsed_time(result.elapsed_ns))}};
    if (result.warmup_ns > 0)
        items.push_back({fmt::format("{} of warm-up left out", elapsed_time(result.warmup_ns))});
    if (result.interrupted)
        items.push_back({"interrupted"});
    return flow(label("time"), items, color);
}

/// Payload, connections and the generator: all that is divided by the time.
std::string rates_text(const LoadResult& result, bool color) {
    if (result.elapsed_ns == 0)
        return "";
    const LoadCounts& counts = result.counts;
    const auto rate = [&](uint64_t count) { return static_cast<double>(count) / result.seconds(); };
    std::string text = fmt::format(
        "{}{} sent, {} received\n", label("payload"), byte_rate(rate(counts.bytes_sent)),
        byte_rate(rate(counts.bytes_received)));
    if (renews_connections(result)) {
        std::vector<Item> items{
            {fmt::format("{} made", counts.connections), Ink::plain, ":"},
            {fmt::format("{:.1f} connections/s", rate(counts.connections)), Ink::plain, ""}};
        if (!result.reconnect)
            items.push_back({"(the peer closes after each answer)"});
        text += flow(label("connections"), items, color);
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
                {fmt::format("{} waited for a connection", share(result.late_blocked))});
    }
    return text + flow(label("generator"), items, color);
}

std::string latencies(const LoadResult& result, bool color) {
    if (result.latency.empty())
        return "";
    std::vector<Distribution> rows{{"latency", &result.latency}};
    if (result.rate && !result.latency_from_send.empty())
        rows.push_back({"from send", &result.latency_from_send});
    if (!result.connect.empty())
        rows.push_back({"connect", &result.connect});
    return latency_table(rows, color);
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

} // namespace

std::string load_header(const LoadResult& result) {
    const bool said = result.name.ends_with("//" + result.address);
    std::vector<Item> items{
        {said ? result.name : fmt::format("{} ({})", result.name, result.address), Ink::plain, ":"},
        {count_of(result.connections, lane(result))},
        {byte_count(result.payload_bytes)},
        {result.rate ? "open loop at " + asked_rate(*result.rate) : std::string("closed loop")},
        {depth_text(result)}};
    std::string text = flow("LOAD ", items, false);
    if (result.rate)
        text += "latency from the intended time (coordinated omission corrected)\n";
    return text;
}

std::string load_progress(const LoadProgress& progress, size_t width, bool unicode) {
    std::vector<std::string> parts;
    if (progress.warming_up)
        parts.emplace_back("warming up");
    parts.push_back(fmt::format("{:>6}/s", short_number(progress.rate)));
    if (progress.p99_ns)
        parts.push_back(
            fmt::format("p99 {:>7}", short_duration(static_cast<double>(*progress.p99_ns))));
    if (progress.errors > 0)
        parts.push_back(count_of(progress.errors, "error"));
    if (progress.left_ns) {
        const uint64_t seconds = (*progress.left_ns + 999'999'999) / 1'000'000'000;
        parts.push_back(
            seconds < 600 ? fmt::format("{} s left", seconds)
                          : elapsed_time(seconds * 1'000'000'000) + " left");
    } else if (progress.done) {
        parts.push_back(fmt::format("{:.0f}%", std::floor(100 * *progress.done)));
    }
    // What stands last is the first to go where there is no room.
    std::string text;
    for (const std::string& part : parts) {
        const size_t gap = text.empty() ? 0 : 2;
        if (text.size() + gap + part.size() > width)
            break;
        text.append(gap, ' ');
        text += part;
    }
    const size_t taken = text.size() + 4; // brackets and a gap
    if (!progress.done || width < taken + bar_columns_min)
        return text;
    return bar(*progress.done, std::min(width - taken, bar_columns_max), unicode) + "  " + text;
}

std::string load_summary(const LoadResult& result, bool color) {
    std::string text =
        paint(fmt::format("--- {} load statistics ---", result.name), Ink::quiet, color) + '\n';
    text += mode_text(result, color);
    text += time_text(result, color);
    text += requests_text(result, color);
    text += rates_text(result, color);
    if (result.transport == Transport::udp)
        text += datagrams_text(result, color);
    text += errors_text(result.counts, color);
    if (result.counts.answered == 0)
        text += paint(why_no_answer(result.counts), Ink::failure, color) + '\n';
    text += latencies(result, color);
    if (result.answering == Answering::other)
        text += "the service is no echo: the lengths of answers were checked, not their bytes\n";
    else if (!result.verify)
        text += "answers were not verified (--no-verify)\n";
    for (const std::string& line : bottlenecks(result))
        text += flow("note: ", line, Ink::plain, color);
    return text;
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
    return text + (errors == 0 ? "no errors" : count_of(errors, "error")) + '\n';
}

} // namespace riposte::client
