#include "client/measure/verdict.h"

#include <algorithm>

#include <fmt/format.h>

namespace riposte::client {

namespace {

/// The most frequent of the causes that `is_wanted` accepts; null if there is none.
const Cause* find_most(const CauseTally& causes, bool (*is_wanted)(const Cause&)) {
    const CauseTally::Entry* most = nullptr;
    for (const CauseTally::Entry& entry : causes.entries())
        if (is_wanted(entry.cause) && (most == nullptr || entry.count > most->count))
            most = &entry;
    return most != nullptr ? &most->cause : nullptr;
}

const Cause* find_icmp(const CauseTally& causes) {
    return find_most(causes, [](const Cause& cause) {
        return cause.kind == CauseKind::icmp || cause.kind == CauseKind::icmpv6;
    });
}

std::string why_not_sent(const FailedRun& run) {
    const Cause* const cause =
        find_most(run.causes, [](const Cause& each) { return outcome_of(each) == Outcome::local; });
    return cause == nullptr ? "this machine sent nothing"
                            : "this machine sent nothing: " + describe(*cause);
}

/// Did the peer itself send it, and not a router or a firewall?
bool is_from(const Cause& cause, std::string_view address) {
    const std::string host = host_text(cause.from);
    return address.starts_with(host + ":") || address.starts_with("[" + host + "]:");
}

std::string why_refused(const FailedRun& run) {
    const Cause* const icmp = find_icmp(run.causes);
    if (icmp != nullptr && !icmp->own && !is_from(*icmp, run.address))
        return fmt::format(
            "no answer came: {} refuses on behalf of the host; is it a firewall?",
            host_text(icmp->from));
    return "no answer came: nothing listens there; is riposted running?";
}

std::string why_unreachable(const FailedRun& run) {
    const Cause* const icmp = find_icmp(run.causes);
    if (icmp != nullptr && is_prohibited(*icmp))
        return fmt::format("no answer came: a firewall at {} prohibits it", host_text(icmp->from));
    if (icmp != nullptr && icmp->own)
        return "no answer came: the host, or the next router, does not answer on the link; is the "
               "address right, and is it up?";
    if (icmp != nullptr)
        return fmt::format(
            "no answer came: {} has no route to it; is the address right, and is the host up?",
            host_text(icmp->from));
    return "no answer came: is the address right, and is there a route to it?";
}

} // namespace

std::optional<double> count_metric(const OutcomeCounts& counts, MetricKind kind) {
    const auto number = [](uint64_t count) { return std::optional(static_cast<double>(count)); };
    switch (kind) {
    case MetricKind::loss:
        return loss_percent(counts);
    case MetricKind::sent:
        return number(counts.sent);
    case MetricKind::answered:
        return number(counts.answered);
    case MetricKind::lost:
        return number(counts.lost);
    case MetricKind::duplicated:
        return number(counts.duplicated);
    case MetricKind::reordered:
        return number(counts.reordered);
    case MetricKind::late:
        return number(counts.late);
    case MetricKind::corrupted:
        return number(counts.corrupted);
    case MetricKind::wrong_size:
        return number(counts.wrong_size);
    case MetricKind::refused:
        return number(counts.refused);
    case MetricKind::undecided:
        return number(counts.undecided());
    case MetricKind::too_big:
        return number(counts.too_big);
    case MetricKind::min:
    case MetricKind::mean:
    case MetricKind::max:
    case MetricKind::stddev:
    case MetricKind::percentile:
    case MetricKind::rfc3550_jitter:
    case MetricKind::errors:
    case MetricKind::retransmits:
    case MetricKind::rate:
    case MetricKind::mbits:
    case MetricKind::rpm:
        break;
    }
    return std::nullopt;
}

bool has_failures(const OutcomeCounts& counts, const FailIf& fail_if, uint64_t judged) {
    if (mentions(fail_if, MetricKind::errors))
        return false;
    const auto fails = [&](uint64_t count, MetricKind kind) {
        return count > 0 && !mentions(fail_if, kind);
    };
    if (counts.local > 0 || fails(counts.corrupted, MetricKind::corrupted) ||
        fails(counts.wrong_size, MetricKind::wrong_size))
        return true;
    if (mentions(fail_if, MetricKind::loss))
        return false;
    return fails(counts.lost - std::min(judged, counts.lost), MetricKind::lost) ||
           fails(counts.refused, MetricKind::refused) ||
           fails(counts.too_big, MetricKind::too_big) || counts.unreachable > 0 ||
           counts.closed > 0;
}

std::string why_no_answer(const FailedRun& run) {
    const OutcomeCounts& counts = run.counts;
    const uint64_t without = counts.unanswered();
    if (counts.sent == 0)
        return "nothing was sent";
    if (counts.local > 0 && counts.local == counts.decided())
        return why_not_sent(run);
    if (counts.corrupted + counts.wrong_size > 0)
        return "no correct answer came: is it another service, or is the path broken?";
    if (without > 0 && counts.refused == without)
        return why_refused(run);
    if (without > 0 && counts.unreachable == without)
        return why_unreachable(run);
    if (without > 0 && counts.closed == without)
        return "no answer came: the peer closes the connection first";
    if (without > 0 && counts.too_big == without)
        return "no answer came: none fits into one packet; choose a smaller -s";
    if (run.connections > 0 && counts.lost == without && counts.lost > 0 &&
        run.causes.count(CauseKind::no_connection) == 0)
        return "the port accepts connections, but nothing answers: is this the right service?";
    if (counts.lost > 0)
        return "no answer came: is the address right, or does a firewall drop it?";
    return "no answer came";
}

} // namespace riposte::client
