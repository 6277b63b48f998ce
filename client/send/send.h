// `riposte send`: one message, its answer on standard output.
#pragma once

#include "client/options/options.h"
#include "client/show/report.h"
#include "common/error.h"

#include <cstdint>
#include <string_view>

namespace riposte::client {

/// The largest payload of a UDP datagram over IPv4: 65,535 bytes less two headers.
inline constexpr size_t datagram_bytes_max = 65507;

/// The longest message taken from standard input, which is held in memory whole.
inline constexpr size_t message_bytes_max = size_t{1} << 30;

/// How a stream's exchange ended.
enum class Ending : uint8_t {
    finished,      ///< the peer ended the stream
    timed_out,     ///< nothing moved, in either direction, for the timeout
    broken,        ///< the connection broke: `error`
    output_failed, ///< the answer could not be written: `error`
};

struct Exchange {
    Ending ending = Ending::finished;
    int error = 0;
    uint64_t sent = 0;
    uint64_t received = 0;
    double connect_ms = 0; ///< how long connecting took; 0: not known
    double answer_ms = 0;  ///< from the first byte's leaving to the answer's last
    char last = '\n';      ///< the answer's last byte
};

/// Writes `message` to a connected, non-blocking stream while copying what comes back to `output`;
/// then ends the message (shutdown(2)) and copies on until the peer ends the answer.
Exchange exchange_stream(
    int fd, std::string_view message, uint32_t timeout_ms, int output, const Report& report);

/// What the exchange means for the user: nothing if it is a whole answer, else one line about it.
Result<void> judge(
    const Exchange& exchange, std::string_view name, size_t message_bytes, uint32_t timeout_ms);

/// The command. Exit::ok: a whole answer; else it is an error. Exit::failed: no whole answer.
/// Exit::usage: anything wrong on this side.
Result<Exit> send(const CommonOptions& common, const SendOptions& options);

} // namespace riposte::client
