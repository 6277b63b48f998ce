// RFC 868, Time Protocol. The service sends the seconds since 1900-01-01 00:00 UTC as 32 bits,
// big-endian, and finishes the connection. The count wraps in 2036, as NTP's era 0 does; clients
// account for that. Over UDP the RFC's request is empty and the reply has 4 bytes. That is longer
// than the request, so an empty request is dropped unless its source is in `longer_answers_to`; a
// request of at least 4 bytes gets its reply.
#include "daemon/services/services.h"
#include "daemon/services/short_reply.h"

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
        return reply_and_finish(buffer, bytes);
    }

    DatagramReply datagram(
        const ServiceContext& context, std::span<std::byte> datagram) const noexcept override {
        auto bytes = time_bytes(context.wall_seconds);
        return reply_if_not_longer(datagram, bytes);
    }

    uint32_t longer_reply(
        const ServiceContext& context, const LongerReplyBuffer& buffer) const noexcept override {
        return reply_in_full(buffer, time_bytes(context.wall_seconds));
    }
};

} // namespace

std::shared_ptr<const Service> make_time() {
    return std::make_shared<Time>();
}

} // namespace riposte
