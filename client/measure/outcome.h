// What becomes of a probe or a request, and what an error means for it: one table for all commands.
//
// An errno says too little alone: EACCES is a firewall on the way if an ICMP message brought it,
// and a route of this machine if connect(2) returned it. So a Cause (cause.h) is classified, which
// knows where the error came from. No route on this machine is `unreachable`, like no route behind
// it: routes are what this machine knows of the network. What this machine itself refuses (its
// firewall, its prohibiting routes, its want of ports, descriptors or buffers) is `local`: nothing
// left, and it says nothing about the network, so it is in no ratio of losses.
#pragma once

#include "client/measure/cause.h"
#include "common/error.h"

#include <cstdint>
#include <optional>
#include <string_view>

namespace riposte::client {

enum class Outcome : uint8_t {
    pending, ///< none yet
    answered,
    lost,        ///< no answer within the timeout, or before the run had lingered (linger.h)
    corrupted,   ///< an answer of the correct size, with wrong bytes
    wrong_size,  ///< a shorter or longer answer; TCP: the stream ended in the middle of it
    refused,     ///< nothing listens there (TCP: reset; UDP: ICMP port unreachable)
    unreachable, ///< the network: no route, a prohibition on the way, other ICMP errors
    closed,      ///< the peer closed or reset the connection before the answer
    too_big,     ///< larger than the MTU of this machine's link, or of the path (EMSGSIZE)
    local,       ///< this machine did not send it: a local firewall, no free port, no address
};

/// How many had each outcome:
///     sent = answered + lost + corrupted + wrong_size + refused + unreachable + closed + too_big
///            + local + undecided().
/// The first answer decides; the last four counters are of further datagrams.
struct OutcomeCounts {
    uint64_t sent = 0;
    uint64_t answered = 0;
    uint64_t lost = 0;
    uint64_t corrupted = 0;
    uint64_t wrong_size = 0;
    uint64_t refused = 0;
    uint64_t unreachable = 0;
    uint64_t closed = 0;
    uint64_t too_big = 0;
    uint64_t local = 0;

    uint64_t duplicated = 0;
    uint64_t reordered = 0; ///< first answers that came after the answer to a later one (RFC 4737)
    uint64_t late = 0;      ///< first answers to those that had failed before
    uint64_t stray = 0;     ///< datagrams that answer nothing of this run

    /// One that was pending has this outcome.
    void add(Outcome outcome);

    /// Those with an outcome.
    uint64_t decided() const {
        return answered + lost + corrupted + wrong_size + refused + unreachable + closed + too_big +
               local;
    }
    /// Those that are pending; after a run, those that a second interrupt left so.
    uint64_t undecided() const { return sent - decided(); }
    /// Those with an outcome that the network or the peer decided: the whole of which loss is a
    /// share.
    uint64_t decided_by_network() const { return decided() - local; }
    /// Those of them without any answer.
    uint64_t unanswered() const { return lost + refused + unreachable + closed + too_big; }

    bool operator==(const OutcomeCounts&) const = default;
};

/// Requests without any answer, in percent of those that the network decided; nothing if there are
/// none of these.
std::optional<double> loss_percent(const OutcomeCounts& counts);

/// "answered", "wrong_size": as JSON names it.
std::string_view to_key(Outcome outcome);

/// Ended without any answer, so that the first one may still come.
bool is_unanswered(Outcome outcome);

/// What an errno of connecting to `peer`, or of sending to it, means where the error queue
/// (error_queue.h) does not say more. 0: the peer ended the stream.
Cause cause_of(int error, const SocketAddress& peer = {});
/// The same for a connection that was made: ETIMEDOUT is silence on it.
Cause cause_of_end(int error, const SocketAddress& peer);

Outcome outcome_of(const Cause& cause);

/// Exit::usage for what lies with this machine, a datagram too large for its own link included;
/// Exit::failed for what the network or the peer decided.
Exit exit_of(const Cause& cause);

/// May an ICMP message bring this errno, so that a call returns it for an earlier datagram?
bool may_be_icmp(int error);

/// What this machine has run out of.
enum class Shortage : uint8_t { none, ports, descriptors, buffers };
Shortage shortage_of(int error);

/// "no route on this machine": what the errno means if this machine itself said it.
std::string_view local_meaning(int error);

} // namespace riposte::client
