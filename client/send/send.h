// `riposte send`: one message, its answer on standard output.
#pragma once

#include "client/options/options.h"
#include "common/error.h"

#include <cstddef>

namespace riposte::client {

/// The largest payload of a UDP datagram over IPv4: 65,535 bytes less two headers.
inline constexpr size_t datagram_bytes_max = 65507;

/// The longest message taken from standard input, which is held in memory whole.
inline constexpr size_t message_bytes_max = size_t{1} << 30;

/// The command. Exit::ok: a whole answer, which has what it must contain; else it is an error.
/// Exit::failed: no such answer.
/// Exit::usage: anything wrong on this side.
Result<Exit> send(const CommonOptions& common, const SendOptions& options);

} // namespace riposte::client
