#include "client/ping/ping_stamp_report.h"

#include "client/options/dscp.h"
#include "client/ping/ping_path_text.h"
#include "client/show/figures.h"
#include "client/show/table.h"
#include "client/stamp/hops.h"
#include "common/text.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <vector>

#include <fmt/format.h>
#include <fmt/ranges.h>

namespace riposte::client {

namespace {

constexpr size_t pieces_shown_max = 3;
constexpr double hour_ns = 3600e9; ///< an error that is stated as more says nothing

std::string hops_text(const Hops& hops) {
    if (hops.least == hops.most)
        return plural(hops.least, "hop");
    return fmt::format(
        "{} to {} hops (changed {})", hops.least, hops.most, plural(hops.changes, "time"));
}

Item lost_item(uint64_t lost, uint64_t sent) {
    const double percent =
        sent == 0 ? 0 : 100 * static_cast<double>(lost) / static_cast<double>(sent);
    return {
        fmt::format("{} lost ({})", lost, percentage(percent)),
        lost > 0 ? Ink::failure : Ink::plain};
}

/// "ef (sent be)": the classes with which questions arrived.
std::string classes_text(const ReplyHeaders& headers, uint8_t sent) {
    std::vector<std::string> names;
    for (const uint8_t dscp : headers.dscps())
        names.push_back(dscp_text(dscp));
    const bool as_sent = headers.dscps() == std::vector{sent};
    return fmt::format(
        "dscp {}{}", fmt::join(names, ", "),
        as_sent ? "" : fmt::format(" (sent {})", dscp_text(sent)));
}

struct WayCounts {
    uint64_t lost;
    uint64_t duplicated;
    uint64_t reordered;
};

/// What is not zero, behind the losses.
std::vector<Item> way_items(const WayCounts& counts, uint64_t sent) {
    std::vector<Item> items{lost_item(counts.lost, sent)};
    if (counts.duplicated > 0)
        items.push_back({fmt::format("{} duplicated", counts.duplicated)});
    if (counts.reordered > 0)
        items.push_back({fmt::format("{} reordered", counts.reordered)});
    return items;
}

void add_congestion(std::vector<Item>& items, const ReplyHeaders& headers) {
    if (headers.ecn()[3] > 0)
        items.push_back({fmt::format("{} marked as congested (ECN)", headers.ecn()[3])});
}

/// "there: 3 lost (0.3%), 1 duplicated, 5 hops, dscp ef".
std::string there_text(const StampResult& stamp, std::vector<Item> items, Look look) {
    if (const auto hops = hops_of(stamp.there, stamp.ttl))
        items.push_back({hops_text(*hops)});
    if (!stamp.there.dscps().empty())
        items.push_back({classes_text(stamp.there, stamp.shape.dscp.value_or(0))});
    add_congestion(items, stamp.there);
    return items.empty() ? "" : flow("there: ", items, look);
}

std::string back_text(const PingResult& result, std::vector<Item> items, Look look) {
    if (const auto hops = hops_of(result.headers, {}))
        items.push_back({hops_text(*hops)});
    return items.empty() ? "" : flow("back: ", items, look);
}

std::string lives_text(const StampResult& stamp, Look look) {
    std::string text;
    const std::vector<LifeCounts> lives = stamp.books.lives();
    for (size_t at = 1; at < lives.size() && at <= pieces_shown_max; at++)
        text += flow(
            "",
            fmt::format(
                "the reflector was restarted before seq={} (it counts from 0 again)",
                lives[at].first),
            Ink::failure, look);
    if (stamp.books.restarts() > pieces_shown_max)
        text += flow(
            "", fmt::format("the reflector was restarted {} times", stamp.books.restarts()),
            Ink::failure, look);
    return text;
}

std::string ways_text(const PingResult& result, Look look) {
    const StampResult& stamp = *result.stamp;
    if (stamp.books.counting() != Counting::session)
        return there_text(stamp, {}, look) + back_text(result, {}, look);
    const DirectionCounts counts = stamp.books.counts();
    std::string text = there_text(
        stamp,
        way_items(
            {counts.lost_there, counts.duplicated_there, counts.reordered_there}, counts.sent),
        look);
    text += back_text(
        result,
        way_items({counts.lost_back, counts.duplicated_back, counts.reordered_back}, counts.sent),
        look);
    if (counts.undecided > 0)
        text += flow(
            "", fmt::format("{} lost on either way: no later answer shows which", counts.undecided),
            Ink::failure, look);
    return text + lives_text(stamp, look);
}

std::string counting_text(const StampResult& stamp) {
    switch (stamp.books.counting()) {
    case Counting::session:
        return "counts its answers (stateful)";
    case Counting::copy:
        return "copies sequence numbers (stateless): losses have no direction";
    case Counting::unknown:
        break;
    }
    return "";
}

std::string reflector_text(const StampResult& stamp, Look look) {
    std::vector<Item> items{{counting_text(stamp), Ink::plain, ";"}};
    if (stamp.short_ones > 0)
        items.push_back({"TWAMP Light (short answers)", Ink::plain, ";"});
    if (stamp.shape.ssid == 0)
        items.push_back({"no SSID was sent", Ink::plain, ";"});
    else if (stamp.without_ssid == stamp.answers)
        items.push_back(
            {"does not return the SSID (TWAMP Light, or no RFC 8972)", Ink::plain, ";"});
    else if (stamp.without_ssid > 0)
        items.push_back(
            {fmt::format("{} without the SSID", plural(stamp.without_ssid, "answer")), Ink::failure,
             ";"});
    else
        items.push_back({fmt::format("returns the SSID {}", stamp.shape.ssid), Ink::plain, ";"});
    if (stamp.shape.key != nullptr)
        items.push_back({"answers are authenticated", Ink::plain, ";"});
    if (stamp.tlvs_ignored > 0)
        items.push_back({"does not know the Class of Service TLV", Ink::plain, ";"});
    if (stamp.tlvs_failed > 0)
        items.push_back(
            {fmt::format("{} TLVs with a wrong HMAC", stamp.tlvs_failed), Ink::failure, ";"});
    if (stamp.class_refused > 0)
        items.push_back({"chooses the DSCP of answers itself", Ink::plain, ";"});
    return flow("reflector: ", items, look);
}

std::string claims_text(const StampResult& stamp, Look look) {
    const ClockClaims& claims = stamp.claims;
    const auto error = static_cast<double>(claims.error_max_ns);
    const std::string stated =
        error > hour_ns ? "error unknown" : fmt::format("error {}", short_duration(error));
    std::string text;
    if (claims.synchronized == claims.answers)
        text = fmt::format("synchronized, {}", stated);
    else if (claims.synchronized == 0)
        text = fmt::format("not synchronized, {}", stated);
    else
        text = fmt::format(
            "synchronized in {} of {} answers, {}", claims.synchronized, claims.answers, stated);
    std::vector<Item> items{{std::move(text), Ink::plain, ";"}};
    if (claims.denied > 0)
        items.push_back(
            {claims.ptp > 0 ? "its times are NTP, not PTP as it says"
                            : "its times are PTP, not NTP as it says",
             Ink::failure, ";"});
    if (stamp.impossible_residence > 0)
        items.push_back(
            {fmt::format("{} with impossible times", plural(stamp.impossible_residence, "answer")),
             Ink::failure, ";"});
    return flow("its clock, as it says: ", items, look);
}

std::string lead_text(const ClockPiece& piece) {
    const double lead = piece.line.lead_end_ns;
    std::string text = fmt::format(
        "{} {} +- {}", short_duration(std::abs(lead)), lead < 0 ? "behind ours" : "ahead of ours",
        short_duration(piece.line.bound_ns));
    const double drift = piece.line.drift / 1000; // parts in a million
    if (std::abs(drift) > piece.line.drift_bound / 1000)
        text +=
            fmt::format(", drifts by {:.2f} +- {:.2f} ppm", drift, piece.line.drift_bound / 1000);
    return text;
}

std::string piece_text(const ClockPiece& piece, bool is_only, Look look) {
    const std::string label =
        is_only ? "one way: " : fmt::format("one way, seq={} to {}: ", piece.first, piece.last);
    std::vector<Item> items{
        {fmt::format("there {}", bounded_milliseconds(piece.there.median_ns, piece.bound_ns))},
        {fmt::format("back {}", bounded_milliseconds(piece.back.median_ns, piece.bound_ns)),
         Ink::plain, ""},
        {piece.basis == ClockBasis::synchronized ? "(medians; clocks synchronized)" : "(medians)"}};
    std::string text = flow(label, items, look);
    text += flow("its clock, as measured: ", lead_text(piece), Ink::plain, look);
    if (piece.contradicts)
        text +=
            flow("", "both clocks are said to be synchronized, and one is not", Ink::failure, look);
    return text;
}

std::string step_text(const ClockStep& step, Look look) {
    return flow(
        "",
        fmt::format(
            "{} clock stepped by {}{} between seq={} and seq={}",
            step.is_ours ? "this machine's" : "its", step.step_ns < 0 ? "-" : "+",
            short_duration(std::abs(step.step_ns)), step.after, step.before),
        Ink::failure, look);
}

std::string clocks_text(const ClockFigures& clocks, Look look) {
    std::string text;
    const size_t pieces = clocks.pieces.size();
    for (size_t at = pieces - std::min(pieces, pieces_shown_max); at < pieces; at++)
        text += piece_text(clocks.pieces[at], pieces == 1, look);
    if (pieces > pieces_shown_max)
        text += flow(
            "", fmt::format("{} parts before these; -j has them", pieces - pieces_shown_max),
            Ink::plain, look);
    const size_t steps = clocks.steps.size();
    for (size_t at = steps - std::min(steps, pieces_shown_max); at < steps; at++)
        text += step_text(clocks.steps[at], look);
    if (steps > pieces_shown_max)
        text += flow("", fmt::format("{} steps in all", clocks.steps_found), Ink::failure, look);
    return text;
}

} // namespace

std::string bounded_milliseconds(double nanoseconds, double bound_ns) {
    constexpr double ms = 1e6;
    const double magnitude = std::floor(std::log10(std::max(bound_ns, 1.0) / ms));
    const int decimals = std::clamp(1 - static_cast<int>(magnitude), 0, 6);
    const double unit = std::pow(10, -decimals);
    const double shown = std::round(nanoseconds / ms / unit) * unit;
    const double bound = bound_ns / ms + std::abs(nanoseconds / ms - shown);
    return fmt::format(
        "{:.{}f} ms +- {:.{}f}", shown == 0 ? 0 : shown, decimals,
        std::max(0.0, std::ceil(bound / unit - 1e-6)) * unit, decimals);
}

std::string_view why_no_stamp(const StampResult& stamp) {
    if (stamp.echoes > 0)
        return "answers, but is no STAMP reflector: it sends back what it gets, as an echo service";
    if (stamp.unauthenticated > 0)
        return "answers come without a valid HMAC: is the key the same at both ends?";
    if (stamp.too_short > 0)
        return "answers are too short for STAMP and TWAMP Light";
    if (stamp.other_session > 0)
        return "answers have the SSID of another session; --ssid chooses it";
    if (stamp.no_multiplier > 0)
        return "answers have an invalid error estimate (multiplier 0)";
    return "";
}

std::string stamp_text(const PingResult& result, const PingStyle& style) {
    const StampResult& stamp = *result.stamp;
    if (stamp.answers == 0)
        return "";
    const Look look = style.look();
    return ways_text(result, look) + reflector_text(stamp, look) + claims_text(stamp, look) +
           clocks_text(stamp.clocks.figures(), look);
}

} // namespace riposte::client
