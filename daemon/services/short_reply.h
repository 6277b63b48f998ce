// How a service sends a short reply that is complete before it is sent (hello, daytime, time).
#pragma once

#include "daemon/services/service.h"

#include <algorithm>
#include <cstring>
#include <span>

namespace riposte {

/// Over a stream: copies the reply to the front of `buffer` (cut off if it does not fit) and
/// finishes the connection.
inline StreamReply reply_and_finish(
    std::span<std::byte> buffer, std::span<const std::byte> reply) noexcept {
    size_t size = std::min(reply.size(), buffer.size());
    std::memcpy(buffer.data(), reply.data(), size);
    return {.size = static_cast<uint32_t>(size), .finish = true};
}

/// Over UDP: copies the reply over the request, unless it is longer than the request.
inline DatagramReply reply_if_not_longer(
    std::span<std::byte> request, std::span<const std::byte> reply) noexcept {
    if (reply.size() > request.size())
        return {DatagramReply::Verdict::too_long, 0};
    std::memcpy(request.data(), reply.data(), reply.size());
    return {DatagramReply::Verdict::send, static_cast<uint32_t>(reply.size())};
}

/// Over UDP, to a peer that may be sent more than it asked with: copies the whole reply and returns
/// its size in bytes.
inline uint32_t reply_in_full(
    const LongerReplyBuffer& buffer, std::span<const std::byte> reply) noexcept {
    return reply_and_finish(buffer.bytes(), reply).size;
}

} // namespace riposte
