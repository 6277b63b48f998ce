// One request before anything is measured: whether somebody answers there, and how.
#pragma once

#include "client/connect.h"
#include "client/load/load_result.h"

#include <cstddef>
#include <cstdint>
#include <span>

namespace riposte::client {

struct Preflight {
    Answering answering = Answering::echo;
    uint32_t answer_bytes = 0;
    bool closes = false; ///< TCP: the peer ended the stream after it
};

/// Sends `request` to `address` and learns from its answer. An error if the service can not be
/// loaded: Exit::failed if it refuses, does not answer or does not stop answering, Exit::usage if
/// the fault is on this machine.
Result<Preflight> preflight(
    const Target& target, const SocketAddress& address, std::span<const std::byte> request);

/// All that came of a stream as the answer to `request`.
Preflight judge_answer(
    std::span<const std::byte> answer, std::span<const std::byte> request, bool closed);

} // namespace riposte::client
