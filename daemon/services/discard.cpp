// RFC 863, Discard Protocol. The service discards everything and never replies.
#include "daemon/services/services.h"

namespace riposte {
namespace {

class Discard final : public Service {
public:
    bool resumable(const StreamState&) const noexcept override { return true; }

    DatagramReply datagram(const ServiceContext&, std::span<std::byte>) const noexcept override {
        return {DatagramReply::Verdict::drop, 0};
    }
};

} // namespace

std::shared_ptr<const Service> make_discard() {
    return std::make_shared<Discard>();
}

} // namespace riposte
