// The tutorial's server. TCP: the service replies with the greeting to the first message (in the
// tutorial, what one recv(2) of 1024 bytes returns, however short), or to a FIN without one, and
// finishes the connection. UDP: it sends the datagram back.
#include "daemon/services/services.h"
#include "daemon/services/short_reply.h"

namespace riposte {
namespace {

class Hello final : public Service {
public:
    explicit Hello(std::string message) : message_(std::move(message)) {}

    bool replies_once() const noexcept override { return true; }

    /// Until the greeting is sent; the cursor is then 1.
    bool resumable(const StreamState& state) const noexcept override { return state.cursor == 0; }

    StreamReply arrived(
        const ServiceContext&, StreamState& state, std::span<std::byte> buffer,
        size_t) const noexcept override {
        return greet(state, buffer);
    }

    StreamReply peer_finished(
        const ServiceContext&, StreamState& state,
        std::span<std::byte> buffer) const noexcept override {
        return greet(state, buffer);
    }

    DatagramReply datagram(
        const ServiceContext&, std::span<std::byte> datagram) const noexcept override {
        return {DatagramReply::Verdict::send, static_cast<uint32_t>(datagram.size())};
    }

private:
    StreamReply greet(StreamState& state, std::span<std::byte> buffer) const noexcept {
        state.cursor = 1;
        return reply_and_finish(buffer, std::as_bytes(std::span(message_)));
    }

    std::string message_;
};

} // namespace

std::shared_ptr<const Service> make_hello(std::string message) {
    return std::make_shared<Hello>(std::move(message));
}

} // namespace riposte
