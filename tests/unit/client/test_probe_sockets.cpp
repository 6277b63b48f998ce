// Probes through sockets that all targets share: nothing that came is left, an error of one target
// is not booked on another, and what came too late is late, however late the prober looks.
#include "client/measure/probe.h"
#include "client/probe/probe_sockets.h"
#include "client/probe/send_alone.h"
#include "common/fd.h"
#include "tests/unit/client/fleet_truth.h"

#include <array>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include <doctest/doctest.h>
#include <sys/socket.h>

using namespace riposte;
using namespace riposte::client;
using fleet_truth::ms;

namespace {

constexpr uint64_t patience_ns = 10'000 * ms;

Fleet fleet_of(const std::string& name, uint64_t timeout_ns = patience_ns) {
    Fleet fleet({.timeout_ns = timeout_ns, .window = 256}, 7);
    const std::vector<ChosenTarget> chosen{
        {.target = {.name = name, .endpoint = {.transport = {}, .host = name}, .labels = {}}}};
    fleet.set_targets(chosen, {.ns = 1, .seconds = 0});
    return fleet;
}

/// A socket on a port of 127.0.0.1 of its own.
Fd open_peer(SocketAddress& address) {
    Fd fd(::socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
    REQUIRE(fd);
    address = fleet_truth::address_of(0x7f000001, 0);
    REQUIRE(::bind(fd.get(), address.get(), address.size) == 0);
    REQUIRE(::getsockname(fd.get(), address.get(), &address.size) == 0);
    return fd;
}

/// Sends back what has come: over the loopback interface that is there at once.
size_t echo_all(const Fd& peer) {
    size_t count = 0;
    std::array<std::byte, 128> bytes{};
    for (;; count++) {
        SocketAddress from;
        from.size = sizeof(from.storage);
        const ssize_t size =
            ::recvfrom(peer.get(), bytes.data(), bytes.size(), 0, from.get(), &from.size);
        if (size < 0)
            return count;
        REQUIRE(
            ::sendto(
                peer.get(), bytes.data(), static_cast<size_t>(size), 0, from.get(), from.size) ==
            size);
    }
}

} // namespace

TEST_CASE("one turn reads all that has come, however many batches it is") {
    SocketAddress address;
    const Fd peer = open_peer(address);
    Fleet fleet = fleet_of("peer:7");
    fleet.set_address(0, address);
    auto sockets = ProbeSockets::open({}, fleet);
    REQUIRE(sockets);
    const Clocks empty = read_clocks();
    constexpr uint64_t probes = 100; // of one socket: more than are read at once
    for (uint64_t i = 0; i < probes; i++)
        sockets->send(0, 0, empty.monotonic_ns);
    sockets->flush();
    CHECK(fleet.lateness().count() == probes);
    REQUIRE(echo_all(peer) == probes);
    const uint64_t came_ns = read_clocks().monotonic_ns;
    const Clocks read = sockets->read(empty);
    CHECK(fleet.figures({}).targets.front().counts.answered == probes);
    CHECK(fleet.waiting() == 0);
    CHECK(read.monotonic_ns >= came_ns); // nothing that came before waits
}

TEST_CASE("an answer after the timeout is late, and its probe lost, before it has expired") {
    Fleet fleet = fleet_of("peer:7", 100 * ms);
    const SocketAddress address = fleet_truth::address_of(0x7f000001, 7);
    fleet.set_address(0, address);
    fleet_truth::Bytes bytes(64);
    const auto counts = [&] { return fleet.figures({}).targets.front().counts; };
    fleet.send(0, 1000 * ms, bytes);
    fleet.arrived(address, bytes, 1110 * ms);
    CHECK(counts().answered == 0);
    CHECK(counts().lost == 1);
    CHECK(counts().late == 1);
    CHECK(fleet.waiting() == 0);
    CHECK(fleet.figures({}).targets.front().rtt.count == 0);
    fleet.arrived(address, bytes, 1120 * ms);
    CHECK(counts().duplicated == 1);
    fleet.send(0, 2000 * ms, bytes);
    fleet.arrived(address, bytes, 2099 * ms);
    CHECK(counts().answered == 1);
}

TEST_CASE("an error of another target does not fail this one's probe") {
    // Errors of the network that come between reading the queue and sending: each fails a send.
    const auto outcome = [](size_t others, int own) {
        size_t tries = 0;
        const auto send = [&] { return tries++ < others ? ECONNREFUSED : own; };
        const auto read_errors = [&] { return size_t{tries <= others ? 1U : 0U}; };
        return send_alone(send, read_errors);
    };
    CHECK(outcome(0, 0) == 0);
    CHECK(outcome(5, 0) == 0);
    CHECK(outcome(0, ENETUNREACH) == ENETUNREACH);
    CHECK(outcome(5, ENETUNREACH) == ENETUNREACH);
    CHECK(outcome(1'000'000, 0) == EAGAIN); // not sent, and refused by no peer
    CHECK(outcome_of(cause_of(EAGAIN)) == Outcome::local);
}

TEST_CASE("time in which a batch was held up is lateness") {
    Fleet fleet = fleet_of("peer:7");
    fleet.note_leaving(1000 * ms, 1000 * ms);
    fleet.note_leaving(1000 * ms, 1250 * ms);
    fleet.note_leaving(1000 * ms, 999 * ms);
    CHECK(fleet.lateness().count() == 3);
    CHECK(fleet.lateness().sum_ns() == 250 * ms);
}
