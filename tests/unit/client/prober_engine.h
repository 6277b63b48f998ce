// A prober against the test's own peers on loopback. The test acts as the engine: it decides when a
// probe is due and passes on the loop's events until the awaited outcome is there.
#pragma once

#include "client/ping/prober.h"
#include "common/clock.h"
#include "tests/support/nanoseconds.h"
#include "tests/support/patience.h"

#include <algorithm>
#include <array>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <doctest/doctest.h>
#include <netinet/in.h>
#include <sys/epoll.h>
#include <sys/socket.h>

namespace riposte::test {

using namespace riposte::client;

/// Never reached by a test that passes.
inline const uint64_t long_ns = static_cast<uint64_t>(patience_ms()) * ms;
inline constexpr uint64_t short_ns = 20 * ms;
inline constexpr uint32_t probe_bytes = 56;

/// A socket bound to a free port of 127.0.0.1; a stream socket listens if requested.
struct Peer {
    explicit Peer(int type, bool listens = true) : fd(::socket(AF_INET, type | SOCK_CLOEXEC, 0)) {
        auto* in = reinterpret_cast<sockaddr_in*>(&address.storage);
        in->sin_family = AF_INET;
        in->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        address.size = sizeof(sockaddr_in);
        REQUIRE(::bind(fd.get(), address.get(), address.size) == 0);
        REQUIRE(::getsockname(fd.get(), address.get(), &address.size) == 0);
        if (type == SOCK_STREAM && listens)
            REQUIRE(::listen(fd.get(), 16) == 0);
    }
    Fd accept() const { return Fd(::accept(fd.get(), nullptr, nullptr)); }

    Fd fd;
    SocketAddress address;
};

class Log final : public ProbeListener {
public:
    void on_arrival(const PingResult&, const ProbeOutcome& arrival) override {
        arrivals.push_back(arrival);
    }
    void on_failure(const PingResult&, const ProbeFailure& failure) override {
        failures.push_back(failure.outcome);
        told.push_back(failure);
    }
    void on_trouble(const PingResult&, const std::string& line) override {
        troubles.push_back(line);
    }

    std::vector<ProbeOutcome> arrivals;
    std::vector<Outcome> failures;
    std::vector<ProbeFailure> told;
    std::vector<std::string> troubles;
};

class Engine {
public:
    using Make =
        std::unique_ptr<Prober> (*)(ProberSettings, EventLoop& loop, ProbeListener& listener);

    Engine(const Peer& peer, Transport transport, uint64_t timeout_ns, bool reconnect = false)
        : Engine(
              peer, transport, timeout_ns, reconnect,
              transport == Transport::udp ? make_udp_prober : make_tcp_prober) {}
    Engine(const Peer& peer, Transport transport, uint64_t timeout_ns, bool reconnect, Make make) {
        auto opened = EventLoop::open();
        REQUIRE(opened);
        loop = std::make_unique<EventLoop>(std::move(*opened));
        ProberSettings settings{
            .target =
                {.name = "the peer",
                 .transport = transport,
                 .timeout_ms = static_cast<uint32_t>(timeout_ns / ms),
                 .path = {},
                 .sources = {},
                 .addresses = {peer.address}},
            .address = peer.address,
            .ping =
                {.session = 77,
                 .payload_bytes = probe_bytes,
                 .timeout_ns = timeout_ns,
                 .window = 1024,
                 .address = peer.address.size > 0 ? to_string(peer.address) : ""},
            .endpoint = 0,
            .reconnect = reconnect};
        prober = make(std::move(settings), *loop, log);
        REQUIRE(prober->prepare());
    }

    void send() { REQUIRE(prober->send(monotonic_ns())); }
    const OutcomeCounts& counts() const { return prober->result().counts; }

    /// Runs the loop until `done` returns true.
    void until(const std::function<bool()>& done) {
        const uint64_t give_up_ns = monotonic_ns() + long_ns;
        while (!done()) {
            REQUIRE(monotonic_ns() < give_up_ns);
            const uint64_t soon_ns = monotonic_ns() + 5 * ms;
            for (const epoll_event& event :
                 loop->wait(std::min(soon_ns, prober->next_deadline_ns()))) {
                const ProberTag tag = ProberTag::unpack(event.data.u64);
                REQUIRE(prober->ready(tag, event.events));
            }
            REQUIRE(prober->expire(monotonic_ns()));
        }
    }
    void until_known() {
        until([this] { return prober->next_deadline_ns() == UINT64_MAX; });
    }
    /// Runs the loop once, when an event is ready.
    void until_event() {
        bool came = false;
        while (!came)
            for (const epoll_event& event : loop->wait(monotonic_ns() + long_ns)) {
                REQUIRE(prober->ready(ProberTag::unpack(event.data.u64), event.events));
                came = true;
            }
    }
    /// Expires all waiting probes.
    void give_up() { REQUIRE(prober->expire(monotonic_ns() + 2 * long_ns)); }
    void until_connected(uint64_t connections) {
        until([=, this] { return prober->result().connections == connections; });
    }

    std::unique_ptr<EventLoop> loop;
    Log log;
    std::unique_ptr<Prober> prober;
};

using Buffer = std::array<char, probe_bytes>;

inline Buffer receive(const Fd& fd) {
    Buffer buffer{};
    REQUIRE(::recv(fd.get(), buffer.data(), buffer.size(), MSG_WAITALL) == probe_bytes);
    return buffer;
}

inline void answer(const Fd& fd, std::string_view bytes) {
    REQUIRE(
        ::send(fd.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL) ==
        static_cast<ssize_t>(bytes.size()));
}

inline std::string_view view(const Buffer& buffer) {
    return {buffer.data(), buffer.size()};
}

} // namespace riposte::test
