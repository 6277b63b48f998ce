// The addresses of a target, tried in turn until one answers: one rule for all commands and both
// transports.
//
// An address answers, over TCP, by taking the connection; over UDP, where connecting asks nobody,
// by a datagram. Each has its turn, an equal share of the time that is left, so that one that
// swallows packets does not hide the next. One that fails, also by what ICMP says of it
// (error_queue.h), ends its turn. One that is silent stays in the running while the next ones have
// their turns: the first answer of all is taken, and only when the time is over nobody has
// answered.
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
    uint32_t turn_ms_max = UINT32_MAX;   ///< an address's turn is no longer than that
    uint32_t resend_ms = 0;              ///< UDP: who is silent is asked again so often; 0: never
};

struct Reached {
    Fd fd; ///< connected and non-blocking, TCP with TCP_NODELAY
    SocketAddress address;
    std::vector<std::byte> answer; ///< UDP: the datagram that came
    double answer_ms = 0;          ///< UDP: since the first one left; TCP: how long connecting took
};

/// The address that answered, or what went wrong with each of them, in their order (an interrupt:
/// EINTR). What happens is noted in `report`: with whom it is connected, and of each address that
/// failed, or whose turn was over, for how long it was tried.
std::expected<Reached, std::vector<Failure>> reach(
    const Target& target, const Trial& trial, const Report& report);

/// The one of the target's addresses that answers, for commands that measure one address: the only
/// one if there is only one, unseen. With TCP the connection is closed again; with UDP `probe` is
/// sent, turns are 250 ms, and if nobody answers it is the first that did not fail. If all fail,
/// the first of all: measuring will tell.
SocketAddress choose_address(
    const Target& target, std::span<const std::byte> probe, uint64_t deadline_ms);

} // namespace riposte::client
