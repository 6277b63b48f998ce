#include "common/clock.h"
#include "tests/conformance/harness.h"
#include "tests/sim/sim_backend.h"

#include <algorithm>
#include <cerrno>

namespace riposte::test {
namespace {

class SimulatedHarness final : public Harness {
public:
    std::string open() override {
        auto backend = std::make_unique<sim::SimBackend>(
            network_, pools(), 1,
            sim::SimBackend::Settings{
                .faults = sim::Faults::none(),
                .stock = 0,
                .blocks = true,
                .trace = false,
                .wall_ns = realtime_ns});
        backend_ = backend.get();
        set_backend(std::move(backend));
        return "";
    }

    ~SimulatedHarness() override {
        if (has_backend())
            CHECK(backend_->violation() == "");
        destroy_backend();
    }

    int listen() override { return network_.listen(); }
    int datagram_socket(Bound /*bound*/) override { return network_.open_datagram_socket(); }
    bool has_ipv6() override { return true; }
    bool is_open(int fd) override { return network_.is_stream(fd); }
    void refuse_descriptors() override { network_.set_descriptors(0); }
    void permit_descriptors() override { network_.set_descriptors(1000); }
    bool peers_wake() const override { return false; }

    int connect(int listener) override {
        const auto port = static_cast<uint16_t>(1024 + network_.streams());
        const auto stream = network_.connect(listener, sim::ipv4_address(1, port));
        REQUIRE(stream.has_value());
        return static_cast<int>(stream.value_or(0));
    }
    int32_t peer_send(int peer, std::span<const std::byte> bytes) override {
        const size_t size = network_.peer_send(static_cast<StreamId>(peer), bytes);
        return size > 0 ? static_cast<int32_t>(size) : -EAGAIN;
    }
    int32_t peer_receive(int peer, std::span<std::byte> bytes) override {
        return network_.peer_receive(static_cast<StreamId>(peer), bytes);
    }
    void peer_finish(int peer) override { network_.peer_finish(static_cast<StreamId>(peer)); }
    void peer_reset(int peer) override { network_.peer_reset(static_cast<StreamId>(peer)); }

    int pass_on(int fd) override { return network_.pass_on(fd); }
    int32_t read_directly(int fd, std::span<std::byte> bytes) override {
        return network_.receive(fd, bytes);
    }
    void bring_back(int fd) override { backend_->introduce(fd); }

    int requester(int fd, const std::string& address) override {
        const bool v6 = address.find(':') != std::string::npos;
        const auto asked = static_cast<uint8_t>(address.back() - '0');
        const auto port = static_cast<uint16_t>(first_requester_port + requesters_.size());
        requesters_.push_back(
            {.fd = fd,
             .peer = v6 ? sim::ipv6_address(9, port) : sim::ipv4_address(9, port),
             .asked = v6 ? sim::ipv6_address(asked, 7) : sim::ipv4_address(asked, 7)});
        return static_cast<int>(requesters_.size() - 1);
    }
    bool request(int requester, std::span<const std::byte> bytes, uint16_t segment_bytes) override {
        const Requester& from = at(requester);
        return network_.ask(
            from.fd, {.peer = from.peer,
                      .local = from.asked,
                      .bytes = {bytes.begin(), bytes.end()},
                      .segment_bytes = segment_bytes});
    }
    SocketAddress requester_address(int requester) override { return at(requester).peer; }
    SocketAddress requested_address(int requester) override { return at(requester).asked; }
    void block_reply(BufferId /*buffer*/) override {
        sim::Faults faults;
        faults.dropped_answer = 100;
        backend_->set_faults(faults);
    }
    void permit_replies() override { backend_->set_faults(sim::Faults::none()); }
    bool provoke_error(int /*fd*/) override { return false; }
    bool has_errors(int /*fd*/) override { return false; }
    std::optional<sim::Datagram> reply_to(int requester) override {
        auto& replies = network_.answers();
        const auto found = std::ranges::find_if(replies, [&](const sim::Datagram& datagram) {
            return datagram.peer.port() == at(requester).peer.port();
        });
        if (found == replies.end())
            return std::nullopt;
        sim::Datagram datagram = *found;
        replies.erase(found);
        return datagram;
    }

private:
    using StreamId = sim::StreamId;
    static constexpr size_t first_requester_port = 5000;

    struct Requester {
        int fd;
        SocketAddress peer;
        SocketAddress asked;
    };

    const Requester& at(int requester) const { return requesters_[static_cast<size_t>(requester)]; }

    sim::SimBackend* backend_ = nullptr; ///< owned by the base class
    sim::SimNetwork network_{{.to_server_bytes = 128 * 1024, .to_peer_bytes = 64 * 1024}};
    std::vector<Requester> requesters_;
};

} // namespace

std::unique_ptr<Harness> make_simulated() {
    return std::make_unique<SimulatedHarness>();
}

} // namespace riposte::test
