#include "client/measure/outcome.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <utility>

namespace riposte::client {

namespace {

/// What one errno means.
struct Meaning {
    int error = 0;
    CauseKind kind = CauseKind::local;  ///< if no ICMP message says more
    Outcome outcome = Outcome::local;   ///< the same
    Outcome by_icmp = Outcome::pending; ///< if an ICMP message brought it; `pending`: none does
    Shortage shortage = Shortage::none; ///< of this machine
    std::string_view meaning = {};      ///< if this machine said it; empty: strerror(3) says it
};

constexpr Meaning peer_means(int error, CauseKind kind, Outcome outcome) {
    return {.error = error, .kind = kind, .outcome = outcome};
}

constexpr Meaning network_means(int error, std::string_view meaning = "") {
    return {
        .error = error,
        .outcome = Outcome::unreachable,
        .by_icmp = Outcome::unreachable,
        .meaning = meaning};
}

constexpr Meaning machine_means(int error, Shortage shortage, std::string_view meaning = "") {
    return {.error = error, .shortage = shortage, .meaning = meaning};
}

// The errnos of ICMP messages are those of the kernel's icmp_err_convert and icmpv6_err_convert.
constexpr std::array meanings{
    peer_means(0, CauseKind::closed, Outcome::closed),
    peer_means(ECONNRESET, CauseKind::reset, Outcome::closed),
    peer_means(ECONNABORTED, CauseKind::reset, Outcome::closed),
    peer_means(EPIPE, CauseKind::reset, Outcome::closed),
    peer_means(ETIMEDOUT, CauseKind::no_connection, Outcome::lost),
    Meaning{
        .error = ECONNREFUSED,
        .kind = CauseKind::refused,
        .outcome = Outcome::refused,
        .by_icmp = Outcome::refused},
    Meaning{.error = EMSGSIZE, .outcome = Outcome::too_big, .by_icmp = Outcome::too_big},

    network_means(ENETUNREACH, "no route on this machine"),
    network_means(EHOSTUNREACH, "no route on this machine"),
    network_means(ENETDOWN, "network is down on this machine"),
    network_means(EAFNOSUPPORT), // a kernel without IPv6
    network_means(EHOSTDOWN),
    network_means(ENONET),
    network_means(ENOPROTOOPT),
    network_means(EOPNOTSUPP),
    network_means(EPROTO),

    Meaning{
        .error = EACCES,
        .by_icmp = Outcome::unreachable,
        .meaning = "prohibited by a route of this machine"},
    machine_means(EPERM, Shortage::none, "prohibited by a firewall on this machine"),
    machine_means(EADDRNOTAVAIL, Shortage::ports, "no free port or source address on this machine"),
    machine_means(EADDRINUSE, Shortage::ports, "the local port is in use on this machine"),
    machine_means(EMFILE, Shortage::descriptors),
    machine_means(ENFILE, Shortage::descriptors),
    machine_means(EAGAIN, Shortage::buffers),
    machine_means(ENOBUFS, Shortage::buffers),
    machine_means(ENOMEM, Shortage::buffers),
};
/// Of all others: a call that this machine refuses.
constexpr Meaning unlisted{.error = -1};

const Meaning& meaning_of(int error) {
    const auto* const found = std::ranges::find(meanings, error, &Meaning::error);
    return found != meanings.end() ? *found : unlisted;
}

} // namespace

void OutcomeCounts::add(Outcome outcome) {
    switch (outcome) {
    case Outcome::answered:
        ++answered;
        return;
    case Outcome::lost:
        ++lost;
        return;
    case Outcome::corrupted:
        ++corrupted;
        return;
    case Outcome::wrong_size:
        ++wrong_size;
        return;
    case Outcome::refused:
        ++refused;
        return;
    case Outcome::unreachable:
        ++unreachable;
        return;
    case Outcome::closed:
        ++closed;
        return;
    case Outcome::too_big:
        ++too_big;
        return;
    case Outcome::local:
        ++local;
        return;
    case Outcome::pending:
        break;
    }
    std::unreachable();
}

std::optional<double> loss_percent(const OutcomeCounts& counts) {
    const uint64_t all = counts.decided_by_network();
    if (all == 0)
        return std::nullopt;
    return 100 * static_cast<double>(counts.unanswered()) / static_cast<double>(all);
}

std::string_view to_key(Outcome outcome) {
    switch (outcome) {
    case Outcome::answered:
        return "answered";
    case Outcome::lost:
        return "lost";
    case Outcome::corrupted:
        return "corrupted";
    case Outcome::wrong_size:
        return "wrong_size";
    case Outcome::refused:
        return "refused";
    case Outcome::unreachable:
        return "unreachable";
    case Outcome::closed:
        return "closed";
    case Outcome::too_big:
        return "too_big";
    case Outcome::local:
        return "local";
    case Outcome::pending:
        return "pending";
    }
    std::unreachable();
}

bool is_unanswered(Outcome outcome) {
    switch (outcome) {
    case Outcome::lost:
    case Outcome::refused:
    case Outcome::unreachable:
    case Outcome::closed:
    case Outcome::too_big:
    case Outcome::local:
        return true;
    case Outcome::pending:
    case Outcome::answered:
    case Outcome::corrupted:
    case Outcome::wrong_size:
        break;
    }
    return false;
}

Cause cause_of(int error, const SocketAddress& peer) {
    Cause cause{.kind = meaning_of(error).kind, .error = error};
    if (cause.kind == CauseKind::closed || cause.kind == CauseKind::reset ||
        cause.kind == CauseKind::refused)
        cause.from = peer;
    return cause;
}

Cause cause_of_end(int error, const SocketAddress& peer) {
    if (error == ETIMEDOUT)
        return {.kind = CauseKind::no_answer, .error = error};
    return cause_of(error, peer);
}

Outcome outcome_of(const Cause& cause) {
    switch (cause.kind) {
    case CauseKind::no_answer:
    case CauseKind::no_connection:
        return Outcome::lost;
    case CauseKind::refused:
        return Outcome::refused;
    case CauseKind::closed:
    case CauseKind::reset:
        return Outcome::closed;
    case CauseKind::icmp:
    case CauseKind::icmpv6: {
        const Outcome outcome = meaning_of(cause.error).by_icmp;
        return outcome != Outcome::pending ? outcome : Outcome::unreachable;
    }
    case CauseKind::local:
        return meaning_of(cause.error).outcome;
    case CauseKind::no_address:
        return Outcome::local;
    }
    std::unreachable();
}

Exit exit_of(const Cause& cause) {
    const Outcome outcome = outcome_of(cause);
    const bool is_own = outcome == Outcome::local ||
                        (outcome == Outcome::too_big && cause.kind == CauseKind::local);
    return is_own ? Exit::usage : Exit::failed;
}

bool may_be_icmp(int error) {
    return meaning_of(error).by_icmp != Outcome::pending;
}

Shortage shortage_of(int error) {
    return meaning_of(error).shortage;
}

std::string_view local_meaning(int error) {
    return meaning_of(error).meaning;
}

} // namespace riposte::client
