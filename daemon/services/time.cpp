// RFC 868, Time Protocol. Seconds since 1900-01-01 00:00 UTC as 32 bits, big-endian, then the
// connection is finished. The count wraps in 2036, as NTP's era 0 does; clients know. Over UDP the
// RFC's question is empty and its answer 4 bytes: longer than its question, so that one is dropped
// unless it comes from who may be sent more, and a question of at least 4 bytes is answered.
#include "daemon/services/answer.h"
#include "daemon/services/services.h"

#include <array>

namespace riposte {
namespace {

constexpr int64_t seconds_1900_to_1970 = 2'208'988'800;

std::array<std::byte, 4> time_bytes(int64_t wall_seconds) {
    auto seconds = static_cast<uint32_t>(wall_seconds + seconds_1900_to_1970);
    return {
        static_cast<std::byte>(seconds >> 24), static_cast<std::byte>(seconds >> 16 & 0xff),
        static_cast<std::byte>(seconds >> 8 & 0xff), static_cast<std::byte>(seconds & 0xff)};
}

class Time final : public Service {
public:
    bool speaks_first() const noexcept override { return true; }

    StreamReply writable(const ServiceContext& context, StreamState&, std::span<std::byte> buffer)
        const noexcept override {
        auto bytes = time_bytes(context.wall_seconds);
        return answer_and_finish(buffer, bytes);
    }

    DatagramReply datagram(
        const ServiceContext& context, std::span<std::byte> datagram) const noexcept override {
        auto bytes = time_bytes(context.wall_seconds);
        return answer_if_shorter(datagram, bytes);
    }

    uint32_t longer_answer(
        const ServiceContext& context, const LongerRoom& room) const noexcept override {
        return answer_in_full(room, time_bytes(context.wall_seconds));
    }
};

} // namespace

std::shared_ptr<const Service> make_time() {
    return std::make_shared<Time>();
}

} // namespace riposte
