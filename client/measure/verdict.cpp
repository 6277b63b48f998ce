#include "client/measure/verdict.h"

#include <algorithm>

#include <fmt/format.h>

namespace riposte::client {

namespace {

/// The one ICMP error that most were met with; null if there is none.
const Cause* find_icmp(const CauseTally& causes) {
    const CauseTally::Entry* most = nullptr;
    for (const CauseTally::Entry& entry : causes.entries()) {
        const bool is_icmp =
            entry.cause.kind == CauseKind::icmp || entry.cause.kind == CauseKind::icmpv6;
        if (is_icmp && (most == nullptr || entry.count > most->count))
            most = &entry;
    }
    return most != nullptr ? &most->cause : nullptr;
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
            "no answer came: {} refuses in the host's place; is it a firewall?",
            host_text(icmp->from));
    return "no answer came: nobody listens there; is riposted running?";
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
            "no answer came: {} knows no way to it; is the address right, and is the host up?",
            host_text(icmp->from));
    return "no answer came: is the address right, and is there a route to it?";
}

} // namespace

std::string why_no_answer(const FailedRun& run) {
    const uint64_t without = count_unanswered(run);
    if (run.sent == 0)
        return "nothing was sent";
    if (run.wrong > 0)
        return "no right answer came: is it another service, or is the path broken?";
    if (without > 0 && run.refused == without)
        return why_refused(run);
    if (without > 0 && run.unreachable == without)
        return why_unreachable(run);
    if (without > 0 && run.closed == without)
        return "no answer came: the peer closes the connection first";
    if (without > 0 && run.too_big == without)
        return "no answer came: none fits into one packet; choose a smaller -s";
    if (run.connections > 0 && run.lost == without && run.lost > 0 &&
        run.causes.count(CauseKind::no_connection) == 0)
        return "the port accepts connections, but nothing answers: is this the right service?";
    if (run.lost > 0)
        return "no answer came: is the address right, or does a firewall drop it?";
    return "no answer came";
}

} // namespace riposte::client
