#include "client/ping/mtu_result.h"

#include "client/show/figures.h"
#include "client/show/json.h"
#include "client/show/table.h"

#include <algorithm>
#include <limits>
#include <string_view>
#include <utility>

#include <fmt/format.h>

namespace riposte::client {

namespace {

/// How the forward MTU is known.
std::string_view forward_key(const MtuResult& result) {
    switch (result.limit) {
    case MtuLimit::none:
        return "largest";
    case MtuLimit::link:
        return "link";
    case MtuLimit::router:
        return "icmp";
    case MtuLimit::silence:
        return "silence";
    }
    return "";
}

std::string forward_words(const MtuResult& result) {
    const uint32_t mtu = result.forward_bytes;
    switch (result.limit) {
    case MtuLimit::none:
        return fmt::format("at least {}: the largest datagram passes", mtu);
    case MtuLimit::link:
        return fmt::format("the path MTU is {}: that of this machine's link", mtu);
    case MtuLimit::router: {
        const std::string from = host_text(result.limit_cause.from);
        const std::string_view protocol =
            result.limit_cause.kind == CauseKind::icmpv6 ? "ICMPv6" : "ICMP";
        return fmt::format(
            "the path MTU is {}: {} said so ({})", mtu,
            from.empty() ? "a router" : "the router " + from, protocol);
    }
    case MtuLimit::silence:
        break;
    }
    if (is_forward_known(result))
        return fmt::format(
            "the path MTU is {}: larger ones are lost in silence (a black hole)", mtu);
    return fmt::format(
        "at least {}: larger ones, or their replies, are lost in silence (a black hole)", mtu);
}

std::string_view backward_key(const MtuResult& result) {
    if (result.backward_fragment > 0)
        return "fragments";
    return result.is_echo ? "whole_replies" : "short_replies";
}

std::string backward_words(const MtuResult& result) {
    if (result.backward_fragment > 0)
        return fmt::format(
            "at least {0}: longer replies do not fit, they come in fragments of at most {0}",
            result.backward_fragment);
    if (result.is_echo)
        return fmt::format("at least {}: replies of that size come whole", result.backward_bytes);
    return fmt::format(
        "at least {}: the service sends no longer replies (it is not an echo)",
        result.backward_bytes);
}

uint32_t backward_mtu(const MtuResult& result) {
    return result.backward_fragment > 0 ? result.backward_fragment : result.backward_bytes;
}

std::string_view fate_key(MtuTrial::Fate fate) {
    switch (fate) {
    case MtuTrial::Fate::passed:
        return "passed";
    case MtuTrial::Fate::too_big:
        return "too_big";
    case MtuTrial::Fate::silent:
        return "silent";
    }
    return "";
}

Json trial_json(const MtuTrial& trial) {
    Json each;
    each["bytes"] = trial.bytes;
    each["fate"] = fate_key(trial.fate);
    each["probes"] = trial.probes;
    if (trial.fate == MtuTrial::Fate::passed)
        each["rtt"] = to_seconds(trial.rtt_ns);
    if (trial.fate == MtuTrial::Fate::too_big)
        each["text"] = describe_too_big(trial.cause);
    return each;
}

Json direction_json(uint32_t mtu, std::string_view known_by, std::string text, bool is_exact) {
    Json each;
    each["mtu"] = mtu;
    each["exact"] = is_exact;
    each["known_by"] = known_by;
    each["text"] = std::move(text);
    return each;
}

Json result_json(const MtuResult& result) {
    Json each;
    each["name"] = result.name;
    each["address"] = result.address;
    set_path(each, result.path);
    if (result.forward_bytes > 0) {
        each["service"] = result.is_echo ? "echo" : "other";
        const bool is_exact = result.limit != MtuLimit::none && is_forward_known(result);
        each["forward"] = direction_json(
            result.forward_bytes, forward_key(result), forward_words(result), is_exact);
        if (const std::string from = host_text(result.limit_cause.from); !from.empty())
            each["forward"]["from"] = from;
        each["backward"] = direction_json(
            backward_mtu(result), backward_key(result), backward_words(result), false);
        each["payload_bytes"] = result.forward_bytes - result.header_bytes;
    }
    each["trials"] = Json::array();
    for (const MtuTrial& trial : result.trials)
        each["trials"].push_back(trial_json(trial));
    if (!result.error.empty())
        each["error"] = result.error;
    return each;
}

} // namespace

bool is_forward_known(const MtuResult& result) {
    return result.limit != MtuLimit::silence || !result.is_echo || result.backward_fragment > 0;
}

std::string mtu_header(const MtuResult& result, const PingStyle& style) {
    const bool said = result.name.ends_with("//" + result.address);
    const std::string where =
        said ? result.name : fmt::format("{} ({})", result.name, result.address);
    return flow(
        "PATH MTU ", where + ": sizes of packets with their headers", Ink::plain, style.look());
}

std::string mtu_trial_line(const MtuTrial& trial, const PingStyle& style) {
    std::string what;
    switch (trial.fate) {
    case MtuTrial::Fate::passed:
        what = fmt::format("answered in {} ms", milliseconds(static_cast<double>(trial.rtt_ns)));
        break;
    case MtuTrial::Fate::too_big:
        what = describe_too_big(trial.cause);
        break;
    case MtuTrial::Fate::silent:
        what = fmt::format("no answer to {} probes", trial.probes);
        break;
    }
    const Ink ink = trial.fate == MtuTrial::Fate::passed ? Ink::plain : Ink::failure;
    return fold(
        fmt::format("{} bytes: {}\n", trial.bytes, paint(what, ink, style.color)), style.columns);
}

std::string mtu_summary(const MtuResult& result, const PingStyle& style) {
    if (result.forward_bytes == 0)
        return "";
    std::string text = flow("forward: ", forward_words(result), Ink::plain, style.look());
    text += flow("backward: ", backward_words(result), Ink::plain, style.look());
    return text + flow(
                      "",
                      fmt::format(
                          "datagrams of up to {0} bytes of payload pass whole (-s {0})",
                          result.forward_bytes - result.header_bytes),
                      Ink::plain, style.look());
}

std::string mtu_json(
    std::span<const MtuResult> results, Exit exit, std::span<const NotMeasured> missing) {
    double started_at = std::numeric_limits<double>::max();
    for (const MtuResult& result : results)
        started_at = std::min(started_at, result.started_at);
    Json document = document_head("riposte/mtu/1", results.empty() ? 0 : started_at, exit);
    document["endpoints"] = Json::array();
    for (const MtuResult& result : results)
        document["endpoints"].push_back(result_json(result));
    for (const NotMeasured& each : missing)
        document["not_measured"].push_back(Json{{"name", each.name}, {"error", each.error}});
    return dump(document);
}

} // namespace riposte::client
