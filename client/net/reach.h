// The addresses of a target, tried in turn until one answers: one rule for all commands and both
// transports.
//
// An address answers, over TCP, by taking the connection; over UDP, where connecting sends nothing,
// by a datagram. Each has its turn, an equal share of the time that is left, so that one that
// swallows packets does not hide the next. An address that fails, also by an ICMP error
// (error_queue.h), ends its turn. A silent one may still answer during the turns of the next ones:
// the first answer of all counts, until the time is over.
#pragma once

#include "client/net/connect.h"
#include "client/net/patience.h"
#include "client/show/report.h"
#include "common/fd.h"

#include <cstddef>
#include <cstdint>
#include <expected>
#include <span>
#include <vector>

namespace riposte::client {

struct Trial {
    std::span<const std::byte> datagram; ///< UDP: what each address is sent
    Patience patience;                   ///< for all of them
    uint32_t turn_ms_max = UINT32_MAX;   ///< an address's turn lasts at most this long
    uint32_t resend_ms = 0; ///< UDP: the interval between repetitions to silent addresses; 0: none
};

struct Reached {
    Fd fd; ///< connected and non-blocking, TCP with TCP_NODELAY
    SocketAddress address;
    std::vector<std::byte> answer; ///< UDP: the datagram that arrived
    double answer_ms = 0;          ///< UDP: since the first one left; TCP: how long connecting took
};

/// The address that answered, or the failure of each, in their order (an interrupt: EINTR).
/// `report` logs each connection, and for each address that failed, or whose turn was over, how
/// long it was tried.
std::expected<Reached, std::vector<Failure>> reach(
    const Target& target, const Trial& trial, const Report& report);

/// The one of the target's addresses that answers, for commands that measure one address: the only
/// one if there is only one, unseen. With TCP the connection is closed again; with UDP `probe` is
/// sent, turns are 250 ms, and if none answers it is the first that did not fail. If all fail,
/// the first of all: the measurement will show why.
SocketAddress choose_address(
    const Target& target, std::span<const std::byte> probe, uint64_t deadline_ms);

} // namespace riposte::client
