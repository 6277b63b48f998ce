#include "client/throughput/throughput_report.h"

#include "client/show/causes.h"
#include "client/show/figures.h"
#include "client/working/working_report.h"
#include "common/text.h"
#include "common/units.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <vector>

#include <fmt/format.h>

namespace riposte::client {

namespace {

constexpr size_t stream_label_columns = 13;

std::string stream_label(std::string_view text) {
    return fmt::format("{:<{}}", text, stream_label_columns);
}

std::string_view lane(const StreamResult& stream) {
    return stream.transport == Transport::tcp ? "connection" : "socket";
}

/// Decimal units, as links are sold: "12.3 kB", "1.18 GB".
std::string amount(uint64_t bytes) {
    return short_number(static_cast<double>(bytes)) + "B";
}

std::string rate_text(double bits_per_second) {
    return megabits(bits_per_second) + " Mbit/s";
}

bool has_retransmits(const IntervalColumn& column) {
    return column.flow == Flow::upload && column.transport == Transport::tcp;
}

std::string interval_head(const ThroughputResult& result) {
    std::string text = fmt::format("{:>7}", "seconds");
    for (const StreamResult& stream : result.streams) {
        const bool is_upload = stream.flow == Flow::upload;
        text +=
            is_upload ? fmt::format("{:>11}", "up Mbit/s") : fmt::format("{:>13}", "down Mbit/s");
        if (is_upload && stream.transport == Transport::tcp)
            text += fmt::format("{:>9}", "retrans");
    }
    return text + '\n';
}

/// What is known of the rate: by whom it was counted.
std::string_view counted_by(const StreamResult& stream) {
    if (stream.flow == Flow::download)
        return stream.transport == Transport::tcp ? "received" : "came back";
    return stream.transport == Transport::tcp ? "acknowledged by the peer" : "sent";
}

std::string rate_line(const StreamResult& stream, Look look) {
    std::vector<Item> items{
        {rate_text(stream.rate())},
        {fmt::format("{} {}", amount(stream.bytes), counted_by(stream)), Ink::plain, ";"}};
    std::vector<double> rates;
    rates.reserve(stream.intervals.size());
    for (const RateInterval& interval : stream.intervals)
        rates.push_back(bits_per_second(interval));
    if (rates.size() > 1)
        items.push_back({fmt::format(
            "{} to {} in an interval", megabits(std::ranges::min(rates)),
            rate_text(std::ranges::max(rates)))});
    return flow(stream_label(to_string(stream.flow)), items, look);
}

std::string tcp_lines(const StreamResult& stream, Look look) {
    std::string text;
    if (stream.flow == Flow::upload) {
        std::vector<Item> items{
            {fmt::format("{} in the measured time", plural(stream.retransmits, "retransmission"))}};
        if (stream.unacknowledged > 0)
            items.push_back({fmt::format(
                "{} written and not acknowledged at the end, not counted",
                amount(stream.unacknowledged))});
        text += flow(stream_label("repairs"), items, look);
    } else if (stream.out_of_order > 0) {
        text += flow(
            stream_label("repairs"),
            fmt::format(
                "{} arrived out of order; the sender's retransmissions cannot be seen here",
                plural(stream.out_of_order, "segment")),
            Ink::plain, look);
    }
    if (const std::string tcp = describe(stream.tcp); !tcp.empty())
        text += flow(stream_label("TCP"), tcp, Ink::plain, look);
    return text;
}

/// A discard service answers nothing.
bool is_loss_known(const StreamResult& stream) {
    return stream.flow == Flow::download || stream.datagrams.answered > 0;
}

std::string datagram_lines(const StreamResult& stream, Look look) {
    const DatagramCounts& counts = stream.datagrams;
    std::vector<Item> items{{fmt::format("{} sent", counts.sent)}};
    if (is_loss_known(stream)) {
        items.push_back({fmt::format("{} answered", counts.answered)});
        if (const auto loss = counts.loss_percent())
            items.push_back(
                {fmt::format("{} loss", percentage(*loss)), *loss > 0 ? Ink::failure : Ink::plain});
    } else {
        items.push_back({"loss unknown"});
    }
    if (counts.duplicated > 0)
        items.push_back({fmt::format("{} duplicated", counts.duplicated)});
    if (counts.reordered > 0)
        items.push_back({fmt::format("{} reordered", counts.reordered)});
    if (counts.unsent > 0)
        items.push_back({fmt::format("{} not sent in time", counts.unsent), Ink::failure});
    return flow(stream_label("datagrams"), items, look);
}

std::string stream_text(const StreamResult& stream, Look look) {
    std::string text =
        title_line(stream.name, fmt::format("{} statistics", to_string(stream.flow)), look);
    text += rate_line(stream, look);
    text +=
        stream.transport == Transport::tcp ? tcp_lines(stream, look) : datagram_lines(stream, look);
    if (stream.ended > 0)
        text += flow(
            stream_label("errors"),
            fmt::format(
                "{} of {} ended before the run", stream.ended,
                plural(stream.connections, lane(stream))),
            Ink::failure, look);
    if (const auto causes = cause_items(stream.causes, 0, stream.transport); !causes.empty())
        text += flow(stream_label("causes"), causes, look);
    if (stream.bytes == 0)
        text += flow(
            "",
            stream.flow == Flow::upload ? "nothing was delivered: does the peer read?"
                                        : "nothing arrived in the measured time",
            Ink::failure, look);
    return text;
}

std::string time_text(const ThroughputResult& result, Look look) {
    std::vector<Item> items{{fmt::format("{} measured", elapsed_time(result.elapsed_ns))}};
    if (result.warmup_ns > 0)
        items.push_back({fmt::format("{} of warm-up left out", elapsed_time(result.warmup_ns))});
    if (result.interrupted)
        items.push_back({"interrupted"});
    std::string text = flow(stream_label("time"), items, look);
    std::vector<Item> cost{{fmt::format("CPU {:.0f}% of one core", 100 * cpu_share(result))}};
    if (const auto seconds = cpu_seconds_per_gbit(result))
        cost.push_back({fmt::format("{} for each Gbit", short_duration(*seconds * 1e9))});
    return text + flow(stream_label("generator"), cost, look);
}

} // namespace

std::string megabits(double bits_per_second) {
    const double value = bits_per_second / 1e6;
    if (value <= 0)
        return "0";
    const int decimals = value >= 99.95   ? 0
                         : value >= 9.995 ? 1
                         : value >= 0.9995
                             ? 2
                             : std::min(2 - static_cast<int>(std::floor(std::log10(value))), 9);
    return fmt::format("{:.{}f}", value, decimals);
}

std::string throughput_header(const ThroughputResult& result, Look look) {
    std::string text;
    for (const StreamResult& stream : result.streams) {
        const bool said = stream.name.ends_with("//" + stream.address);
        const std::string_view unit =
            stream.transport == Transport::tcp ? "writes of" : "datagrams of";
        std::vector<Item> items{
            {fmt::format(
                 "{} {}", to_string(stream.flow),
                 said ? stream.name : fmt::format("{} ({})", stream.name, stream.address)),
             Ink::plain, ":"},
            {plural(stream.connections, lane(stream))}};
        if (stream.transport == Transport::udp || stream.flow == Flow::upload)
            items.push_back({fmt::format("{} {}", unit, byte_count(stream.chunk_bytes))});
        if (stream.bitrate)
            items.push_back({fmt::format("at {}", rate_text(*stream.bitrate))});
        text += flow("LOAD ", items, look);
    }
    return text + interval_head(result);
}

std::string interval_line(std::span<const IntervalColumn> columns, uint64_t after_ns) {
    std::string text = fmt::format("{:>7.1f}", static_cast<double>(after_ns) / 1e9);
    for (const IntervalColumn& column : columns) {
        const std::string rate =
            column.interval ? megabits(bits_per_second(*column.interval)) : "-";
        text += fmt::format("{:>{}}", rate, column.flow == Flow::upload ? 11 : 13);
        if (has_retransmits(column))
            text += fmt::format(
                "{:>9}", column.interval ? fmt::to_string(column.interval->retransmits) : "-");
    }
    return text + '\n';
}

std::string progress_line(const ThroughputProgress& progress, size_t width) {
    std::string text =
        progress.is_warming_up
            ? "warming up"
            : fmt::format("{:.1f} s", static_cast<double>(progress.elapsed_ns) / 1e9);
    if (!progress.is_warming_up && progress.duration_ns > 0)
        text += fmt::format(" of {}", elapsed_time(progress.duration_ns));
    return text.substr(0, width);
}

std::string interim_line(
    const StreamResult& result, uint64_t bytes, uint64_t elapsed_ns, bool has_progress) {
    return fmt::format(
        "{}: {} {}{}\n", elapsed_time(elapsed_ns), to_string(result.flow),
        rate_text(bits_per_second(bytes, elapsed_ns)),
        has_progress || bytes > 0 ? "" : ", nothing came yet");
}

std::string throughput_lines(const ThroughputResult& result, Look look) {
    std::string text;
    for (const StreamResult& stream : result.streams) {
        std::vector<Item> items{
            {fmt::format("{} {}", stream.name, to_string(stream.flow)), Ink::plain, ":"},
            {rate_text(stream.rate())}};
        if (stream.transport == Transport::udp && is_loss_known(stream))
            items.push_back(
                {fmt::format("{} loss", percentage(stream.datagrams.loss_percent().value_or(0)))});
        if (stream.transport == Transport::tcp && stream.flow == Flow::upload)
            items.push_back({plural(stream.retransmits, "retransmission")});
        if (stream.ended > 0)
            items.push_back(
                {fmt::format("{} ended early", plural(stream.ended, "connection")), Ink::failure});
        text += flow("", items, look);
    }
    if (result.latency)
        text += working_line(*result.latency, look);
    for (const std::string& line : notes(result))
        text += flow("note: ", line, Ink::plain, look);
    return text;
}

std::string throughput_summary(const ThroughputResult& result, Look look) {
    std::string text;
    for (const StreamResult& stream : result.streams)
        text += stream_text(stream, look);
    text += time_text(result, look);
    if (result.latency)
        text += working_text(*result.latency, look);
    for (const std::string& line : notes(result))
        text += flow("note: ", line, Ink::plain, look);
    return text;
}

} // namespace riposte::client
