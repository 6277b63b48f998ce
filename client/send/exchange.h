// A message and its answer over a connected socket, and what their end means for the user.
#pragma once

#include "client/send/answer.h"
#include "client/show/report.h"
#include "common/error.h"

#include <cstdint>
#include <string_view>

namespace riposte::client {

/// How an exchange ended.
enum class Ending : uint8_t {
    finished,      ///< the peer ended the stream, or the answer is over by AnswerRules
    timed_out,     ///< nothing moved, in either direction, for the timeout
    broken,        ///< the connection broke: `error`
    output_failed, ///< the answer could not be written: `error`
};

struct Exchange {
    Ending ending = Ending::finished;
    int error = 0;
    uint64_t sent = 0;
    uint64_t received = 0; ///< of the answer
    double connect_ms = 0; ///< how long connecting took; 0: not known
    double first_ms = 0;   ///< from the first byte's leaving to the answer's first
    double answer_ms = 0;  ///< the same, to the answer's last
    char last = '\n';      ///< the answer's last byte
};

inline constexpr int no_output = -1; ///< the answer is not written anywhere

/// Writes `message` to a connected, non-blocking stream while copying what comes back to `output`;
/// then ends the message (shutdown(2)) and copies on until the peer ends the answer, or `watch`
/// says that it is over: then at once, even if the message has not been written whole.
Exchange exchange_stream(
    int fd, std::string_view message, uint32_t timeout_ms, int output, const Report& report,
    AnswerWatch& watch);

/// Copies the datagram `first`, which has been received after `first_ms`, and those that follow it,
/// until `watch` says that the answer is over.
Exchange receive_datagrams(
    int fd, std::string_view first, double first_ms, uint32_t timeout_ms, int output,
    AnswerWatch& watch);

/// What the exchange means for the user: nothing if it is a whole answer that has what it must
/// contain, else one line about it.
Result<void> judge(
    const Exchange& exchange, const AnswerWatch& watch, std::string_view name, size_t message_bytes,
    uint32_t timeout_ms);

} // namespace riposte::client
