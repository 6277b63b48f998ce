#include "client/measure/cause.h"

#include "client/measure/outcome.h"
#include "common/text.h"

#include <algorithm>
#include <cerrno>
#include <functional>

#include <fmt/format.h>
#include <netinet/icmp6.h>
#include <netinet/ip_icmp.h>

namespace riposte::client {

namespace {

std::string_view unreachable_words(uint8_t code) {
    switch (code) {
    case ICMP_NET_UNREACH:
        return "network unreachable";
    case ICMP_HOST_UNREACH:
        return "host unreachable";
    case ICMP_PROT_UNREACH:
        return "protocol unreachable";
    case ICMP_PORT_UNREACH:
        return "port unreachable";
    case ICMP_FRAG_NEEDED:
        return "fragmentation needed";
    case ICMP_SR_FAILED:
        return "source route failed";
    case ICMP_NET_UNKNOWN:
        return "network unknown";
    case ICMP_HOST_UNKNOWN:
        return "host unknown";
    case ICMP_HOST_ISOLATED:
        return "host isolated";
    case ICMP_NET_ANO:
        return "network administratively prohibited";
    case ICMP_HOST_ANO:
        return "host administratively prohibited";
    case ICMP_NET_UNR_TOS:
        return "network unreachable for this type of service";
    case ICMP_HOST_UNR_TOS:
        return "host unreachable for this type of service";
    case ICMP_PKT_FILTERED:
        return "administratively prohibited";
    case ICMP_PREC_VIOLATION:
        return "host precedence violation";
    case ICMP_PREC_CUTOFF:
        return "precedence cutoff";
    default:
        return "";
    }
}

std::string_view unreachable6_words(uint8_t code) {
    switch (code) {
    case ICMP6_DST_UNREACH_NOROUTE:
        return "no route to destination";
    case ICMP6_DST_UNREACH_ADMIN:
        return "administratively prohibited";
    case ICMP6_DST_UNREACH_BEYONDSCOPE:
        return "beyond scope of the source address";
    case ICMP6_DST_UNREACH_ADDR:
        return "address unreachable";
    case ICMP6_DST_UNREACH_NOPORT:
        return "port unreachable";
    case 5:
        return "source address failed the policy";
    case 6:
        return "route rejects the destination";
    default:
        return "";
    }
}

std::string icmp_words(const Cause& cause) {
    std::string_view words;
    const bool v6 = cause.kind == CauseKind::icmpv6;
    if (v6 && cause.type == ICMP6_DST_UNREACH)
        words = unreachable6_words(cause.code);
    else if (v6 && cause.type == ICMP6_PACKET_TOO_BIG)
        words = "packet too big";
    else if (v6 && cause.type == ICMP6_TIME_EXCEEDED)
        words = cause.code == 0 ? "hop limit exceeded" : "reassembly time exceeded";
    else if (!v6 && cause.type == ICMP_DEST_UNREACH)
        words = unreachable_words(cause.code);
    else if (!v6 && cause.type == ICMP_TIME_EXCEEDED)
        words = cause.code == 0 ? "time to live exceeded" : "reassembly time exceeded";
    else if (cause.type == (v6 ? ICMP6_PARAM_PROB : ICMP_PARAMETERPROB))
        words = "parameter problem";
    if (!words.empty())
        return std::string(words);
    return fmt::format("ICMP{} type {} code {}", v6 ? "v6" : "", cause.type, cause.code);
}

std::string sender(const Cause& cause) {
    const std::string_view protocol = cause.kind == CauseKind::icmpv6 ? "ICMPv6" : "ICMP";
    if (cause.own)
        return fmt::format(" ({} from this machine)", protocol);
    const std::string from = host_text(cause.from);
    return from.empty() ? "" : fmt::format(" ({} from {})", protocol, from);
}

std::string local_words(int error) {
    const std::string_view meaning = local_meaning(error);
    return meaning.empty() ? fmt::format("{} on this machine", reason(error))
                           : std::string(meaning);
}

bool is_same_host(const SocketAddress& one, const SocketAddress& other) {
    return one.family() == other.family() && host_text(one) == host_text(other);
}

bool is_alike(const Cause& one, const Cause& other) {
    if (one.kind != other.kind || one.type != other.type || one.code != other.code)
        return false;
    if (one.kind == CauseKind::local && one.error != other.error)
        return false;
    return one.own == other.own && is_same_host(one.from, other.from);
}

} // namespace

std::string describe(const Cause& cause) {
    const std::string from = host_text(cause.from);
    const std::string by = from.empty() ? "" : " by " + from;
    switch (cause.kind) {
    case CauseKind::no_answer:
        return "no answer";
    case CauseKind::no_connection:
        return "no connection";
    case CauseKind::refused:
        return "refused" + by;
    case CauseKind::closed:
        return "closed" + by;
    case CauseKind::reset:
        return "reset" + by;
    case CauseKind::icmp:
    case CauseKind::icmpv6:
        return cause.error == EMSGSIZE ? describe_too_big(cause)
                                       : icmp_words(cause) + sender(cause);
    case CauseKind::local:
        return cause.error == EMSGSIZE ? describe_too_big(cause) : local_words(cause.error);
    case CauseKind::no_address:
        return "the name has no address";
    }
    return "";
}

std::string describe_too_big(const Cause& cause) {
    const bool is_local = cause.kind == CauseKind::local;
    if (cause.mtu == 0)
        return is_local ? "too big for this machine's link" : "too big" + sender(cause);
    if (is_local)
        return fmt::format("too big: the MTU of this machine's link is {}", cause.mtu);
    return fmt::format("too big: the path MTU is {}{}", cause.mtu, sender(cause));
}

std::string_view to_key(CauseKind kind) {
    switch (kind) {
    case CauseKind::no_answer:
        return "no_answer";
    case CauseKind::no_connection:
        return "no_connection";
    case CauseKind::refused:
        return "refused";
    case CauseKind::closed:
        return "closed";
    case CauseKind::reset:
        return "reset";
    case CauseKind::icmp:
        return "icmp";
    case CauseKind::icmpv6:
        return "icmpv6";
    case CauseKind::local:
        return "local";
    case CauseKind::no_address:
        return "no_address";
    }
    return "";
}

std::string host_text(const SocketAddress& address) {
    if (address.size == 0)
        return "";
    std::string text = to_string(address);
    text.resize(std::min(text.rfind(':'), text.size()));
    if (text.starts_with('[') && text.ends_with(']'))
        text = text.substr(1, text.size() - 2);
    return text;
}

bool is_prohibited(const Cause& cause) {
    if (cause.kind == CauseKind::icmpv6)
        return cause.type == ICMP6_DST_UNREACH &&
               (cause.code == ICMP6_DST_UNREACH_ADMIN || cause.code == 5 || cause.code == 6);
    return cause.kind == CauseKind::icmp && cause.type == ICMP_DEST_UNREACH &&
           (cause.code == ICMP_NET_ANO || cause.code == ICMP_HOST_ANO ||
            cause.code == ICMP_PKT_FILTERED);
}

void CauseTally::note(const Cause& cause, uint64_t count) {
    if (count == 0)
        return;
    const auto known = std::ranges::find_if(
        entries_, [&](const Entry& entry) { return is_alike(entry.cause, cause); });
    if (known != entries_.end()) {
        known->count += count;
        known->cause = cause;
    } else if (entries_.size() < entries_max) {
        entries_.push_back({cause, count});
    } else {
        others_ += count;
    }
}

uint64_t CauseTally::count(CauseKind kind) const {
    uint64_t count = 0;
    for (const Entry& entry : entries_)
        if (entry.cause.kind == kind)
            count += entry.count;
    return count;
}

CauseTally CauseTally::with_lost(uint64_t lost) const {
    CauseTally all = *this;
    const uint64_t unconnected = std::min(count(CauseKind::no_connection), lost);
    if (lost > unconnected)
        all.entries_.push_back({{.kind = CauseKind::no_answer}, lost - unconnected});
    // Stable, so that equal ones stay in the order in which they were seen. There are nine at most.
    const auto begin = all.entries_.begin();
    for (auto at = begin; at != all.entries_.end(); ++at) {
        const auto place = std::ranges::upper_bound(
            std::ranges::subrange(begin, at), at->count, std::greater{}, &Entry::count);
        std::rotate(place, at, at + 1);
    }
    return all;
}

} // namespace riposte::client
