#include "daemon/udp/reply_train.h"

#include <cassert>
#include <cstring>

namespace riposte {

bool ReplyTrain::fits(size_t size) const noexcept {
    if (count_ == 0)
        return size <= memory_.size();
    return !closed_ && size > 0 && size <= segment_bytes_ && size <= memory_.size() - bytes_;
}

void ReplyTrain::append(std::span<const std::byte> reply) noexcept {
    assert(fits(reply.size()));
    std::byte* end = memory_.data() + bytes_;
    if (end != reply.data())
        std::memmove(end, reply.data(), reply.size());
    auto size = static_cast<uint32_t>(reply.size());
    if (count_ == 0)
        segment_bytes_ = size;
    closed_ = size < segment_bytes_ || size == 0;
    bytes_ += size;
    ++count_;
}

} // namespace riposte
