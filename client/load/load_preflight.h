// One request before anything is measured: whether a service answers there, and how.
#pragma once

#include "client/load/load_account.h"
#include "client/load/load_result.h"
#include "client/net/connect.h"
#include "client/net/patience.h"

#include <cstddef>
#include <cstdint>
#include <expected>
#include <span>

namespace riposte::client {

struct Preflight {
    SocketAddress address{}; ///< the one of the target's that answered
    Answering answering = Answering::echo;
    uint32_t answer_bytes = 0;
    bool closes = false; ///< TCP: the peer ended the stream after it
};

/// Why load cannot run against a service.
struct PreflightFailure {
    Error error; ///< Exit::failed if it refuses, does not answer or does not stop answering,
                 ///< Exit::usage if the fault is on this machine
    Outcome outcome = Outcome::local; ///< of the one request
    SocketAddress address{};          ///< the one that was asked last
    Cause cause{};                    ///< the cause; `error` 0: see outcome
};

/// Sends `request` to the target's addresses in turn (reach.h) and learns from the answer.
std::expected<Preflight, PreflightFailure> preflight(
    const Target& target, std::span<const std::byte> request, const Patience& patience);

/// All that came of a stream as the answer to `request`.
Preflight judge_answer(
    std::span<const std::byte> answer, std::span<const std::byte> request, bool closed);

} // namespace riposte::client
