// RFC 862, Echo Protocol. The reply is the request, in the same bytes: nothing is copied.
#include "daemon/services/services.h"

namespace riposte {
namespace {

class Echo final : public Service {
public:
    bool resumable(const StreamState&) const noexcept override { return true; }

    StreamReply arrived(const ServiceContext&, StreamState&, std::span<std::byte>, size_t size)
        const noexcept override {
        return {.size = static_cast<uint32_t>(size), .finish = false};
    }

    DatagramReply datagram(
        const ServiceContext&, std::span<std::byte> datagram) const noexcept override {
        return {DatagramReply::Verdict::send, static_cast<uint32_t>(datagram.size())};
    }
};

} // namespace

std::shared_ptr<const Service> make_echo() {
    return std::make_shared<Echo>();
}

} // namespace riposte
