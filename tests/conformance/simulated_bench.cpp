#include "tests/conformance/bench.h"
#include "tests/sim/sim_backend.h"

#include <algorithm>
#include <cerrno>

namespace riposte::test {
namespace {

class SimulatedBench final : public Bench {
public:
    std::string open() override {
        auto backend = std::make_unique<sim::SimBackend>(
            network_, pools(), 1,
            sim::SimBackend::Settings{
                .faults = sim::Faults::none(), .stock = 0, .blocks = true, .trace = false});
        backend_ = backend.get();
        set_backend(std::move(backend));
        return "";
    }

    ~SimulatedBench() override {
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

    int asker(int fd, const std::string& address) override {
        const bool v6 = address.find(':') != std::string::npos;
        const auto asked = static_cast<uint8_t>(address.back() - '0');
        const auto port = static_cast<uint16_t>(first_asker_port + askers_.size());
        askers_.push_back(
            {.fd = fd,
             .peer = v6 ? sim::ipv6_address(9, port) : sim::ipv4_address(9, port),
             .asked = v6 ? sim::ipv6_address(asked, 7) : sim::ipv4_address(asked, 7)});
        return static_cast<int>(askers_.size() - 1);
    }
    bool question(int asker, std::span<const std::byte> bytes, uint16_t segment_bytes) override {
        const Asker& from = at(asker);
        return network_.ask(
            from.fd, {.peer = from.peer,
                      .local = from.asked,
                      .bytes = {bytes.begin(), bytes.end()},
                      .segment_bytes = segment_bytes});
    }
    SocketAddress asker_address(int asker) override { return at(asker).peer; }
    SocketAddress asked_address(int asker) override { return at(asker).asked; }
    void block_answer(BufferId /*buffer*/) override {
        sim::Faults faults;
        faults.dropped_answer = 100;
        backend_->set_faults(faults);
    }
    std::optional<sim::Datagram> answer(int asker) override {
        auto& answers = network_.answers();
        const auto found = std::ranges::find_if(answers, [&](const sim::Datagram& datagram) {
            return datagram.peer.port() == at(asker).peer.port();
        });
        if (found == answers.end())
            return std::nullopt;
        sim::Datagram datagram = *found;
        answers.erase(found);
        return datagram;
    }

private:
    using StreamId = sim::StreamId;
    static constexpr size_t first_asker_port = 5000;

    struct Asker {
        int fd;
        SocketAddress peer;
        SocketAddress asked;
    };

    const Asker& at(int asker) const { return askers_[static_cast<size_t>(asker)]; }

    sim::SimBackend* backend_ = nullptr; ///< the bench owns it
    sim::SimNetwork network_{{.to_server_bytes = 128 * 1024, .to_peer_bytes = 64 * 1024}};
    std::vector<Asker> askers_;
};

} // namespace

std::unique_ptr<Bench> make_simulated() {
    return std::make_unique<SimulatedBench>();
}

} // namespace riposte::test
