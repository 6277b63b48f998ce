// The ways in which a short, complete answer is given.
#pragma once

#include "daemon/services/service.h"

#include <algorithm>
#include <cstring>
#include <span>

namespace riposte {

/// Over a stream: the answer, and no more.
inline StreamReply answer_and_finish(
    std::span<std::byte> buffer, std::span<const std::byte> answer) noexcept {
    size_t size = std::min(answer.size(), buffer.size());
    std::memcpy(buffer.data(), answer.data(), size);
    return {.size = static_cast<uint32_t>(size), .finish = true};
}

/// Over UDP: the answer, unless it is longer than the question.
inline DatagramReply answer_if_shorter(
    std::span<std::byte> question, std::span<const std::byte> answer) noexcept {
    if (answer.size() > question.size())
        return {DatagramReply::Verdict::too_long, 0};
    std::memcpy(question.data(), answer.data(), answer.size());
    return {DatagramReply::Verdict::send, static_cast<uint32_t>(answer.size())};
}

/// Over UDP, to who may be sent more than was asked.
inline uint32_t answer_in_full(const LongerRoom& room, std::span<const std::byte> answer) noexcept {
    return answer_and_finish(room.bytes(), answer).size;
}

} // namespace riposte
