#include "client/show/causes.h"

#include "client/show/figures.h"

#include <string>

#include <fmt/format.h>

namespace riposte::client {

namespace {

std::string failure_words(Outcome outcome, const Cause* cause) {
    if (cause != nullptr)
        return describe(*cause);
    if (outcome == Outcome::corrupted)
        return "corrupted reply";
    return outcome == Outcome::wrong_size ? "reply of the wrong size" : "no answer";
}

} // namespace

std::string failure_text(double due_at, Outcome outcome, const Cause* cause) {
    const std::string time = utc_time(due_at); // 2025-03-09T14:05:59.250Z
    return fmt::format("{}Z {}", time.substr(11, 8), failure_words(outcome, cause));
}

std::vector<Item> cause_items(const CauseTally& causes, uint64_t lost, Transport transport) {
    std::vector<Item> items;
    if (causes.empty() && transport == Transport::udp)
        return items;
    const CauseTally all = causes.with_lost(lost);
    for (const CauseTally::Entry& entry : all.entries()) {
        const bool is_silence = entry.cause.kind == CauseKind::no_answer;
        const std::string text = is_silence && transport == Transport::tcp ? "connected, no answer"
                                                                           : describe(entry.cause);
        items.push_back({fmt::format("{} {}", entry.count, text), Ink::failure});
    }
    if (all.others() > 0)
        items.push_back({fmt::format("{} others", all.others()), Ink::failure});
    return items;
}

std::string describe(const TcpTotals& totals) {
    if (totals.connections == 0)
        return "";
    std::string text = fmt::format(
        "{} retransmit{} of {} segment{}", totals.retransmits, totals.retransmits == 1 ? "" : "s",
        totals.segments_sent, totals.segments_sent == 1 ? "" : "s");
    if (totals.retransmits > 0 && totals.segments_sent > 0)
        text += fmt::format(
            " ({})", percentage(
                         100 * static_cast<double>(totals.retransmits) /
                         static_cast<double>(totals.segments_sent)));
    if (totals.handshake_retransmits > 0)
        text += fmt::format(", {} of SYN", totals.handshake_retransmits);
    if (totals.min_rtt_ns)
        text +=
            fmt::format(", min rtt {} ms", milliseconds(static_cast<double>(*totals.min_rtt_ns)));
    if (const auto smoothed = totals.smoothed_rtt_ns())
        text += fmt::format(", smoothed {} ms", milliseconds(*smoothed));
    if (!totals.congestion.empty())
        text += ", " + totals.congestion;
    if (totals.state != CongestionState::open)
        text += fmt::format(", worst state {}", to_key(totals.state));
    return text;
}

std::string fragments_text(uint32_t path_mtu) {
    return fmt::format("does not fit without fragments: the path MTU is {}", path_mtu);
}

} // namespace riposte::client
