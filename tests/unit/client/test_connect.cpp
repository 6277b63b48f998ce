// Which of several addresses connects, and which of them is measured. All are sockets of the test
// on loopback, at one port of 127.0.0.1, 127.0.0.2 and so on. The kernel alone acts for them, so
// that no answer depends on a thread that has to run in time.
#include "client/net/connect.h"
#include "client/net/reach.h"
#include "common/clock.h"
#include "common/fd.h"
#include "tests/support/patience.h"

#include <array>
#include <cerrno>
#include <cstdint>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include <arpa/inet.h>
#include <doctest/doctest.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>

using namespace riposte;
using namespace riposte::client;

namespace {

constexpr std::string_view probe_text = "probe";
const auto probe = std::as_bytes(std::span(probe_text));

SocketAddress choose(const Target& target, std::span<const std::byte> asked = probe) {
    return choose_address(target, asked, monotonic_ms() + target.timeout_ms);
}

SocketAddress loopback(uint8_t host, uint16_t port) {
    SocketAddress address;
    auto* const in = reinterpret_cast<sockaddr_in*>(address.get());
    in->sin_family = AF_INET;
    in->sin_port = htons(port);
    in->sin_addr.s_addr = htonl((uint32_t{127} << 24) | host);
    address.size = sizeof(sockaddr_in);
    return address;
}

/// Empty if the port is in use at one of the addresses.
std::vector<Fd> try_bind(int type, uint8_t hosts) {
    std::vector<Fd> bound;
    uint16_t port = 0;
    for (uint8_t host = 1; host <= hosts; ++host) {
        Fd fd(::socket(AF_INET, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
        REQUIRE(fd);
        const SocketAddress address = loopback(host, port);
        if (::bind(fd.get(), address.get(), address.size) < 0)
            return {};
        port = local_address(fd.get()).port();
        bound.push_back(std::move(fd));
    }
    return bound;
}

/// Sockets at one port of 127.0.0.1 and so on.
std::vector<Fd> bind_all(int type, uint8_t hosts) {
    for (int attempt = 0; attempt < 100; ++attempt)
        if (auto bound = try_bind(type, hosts); !bound.empty())
            return bound;
    FAIL("no port is free at all addresses");
    return {};
}

Target target_of(Transport transport, const std::vector<Fd>& sockets) {
    Target target{
        .name = "host:7001",
        .transport = transport,
        .timeout_ms = 30000, // a test that passes never waits for it
        .path = {},
        .sources = {},
        .addresses = {}};
    for (const Fd& fd : sockets)
        target.addresses.push_back(local_address(fd.get()));
    return target;
}

std::string host_of(const SocketAddress& address) {
    const std::string text = to_string(address);
    return text.substr(0, text.find(':'));
}

void listen_at(const Fd& fd, int backlog = 8) {
    REQUIRE(::listen(fd.get(), backlog) == 0);
}

/// A datagram socket that is connected elsewhere keeps its port; the kernel refuses datagrams from
/// others as if the port were closed.
void refuse_at(const Fd& fd) {
    const SocketAddress elsewhere = loopback(99, 9);
    REQUIRE(::connect(fd.get(), elsewhere.get(), elsewhere.size) == 0);
}

/// The kernel may not have delivered it yet.
void wait_readable(const Fd& fd) {
    pollfd wait{.fd = fd.get(), .events = POLLIN, .revents = 0};
    REQUIRE(::poll(&wait, 1, test::patience_ms()) == 1);
}

Fd accept_at(const Fd& listener) {
    return Fd(::accept4(listener.get(), nullptr, nullptr, SOCK_CLOEXEC));
}

/// The datagram that waits there, or "(none)".
std::string received_at(const Fd& fd) {
    std::array<char, 64> buffer{};
    const ssize_t size = ::recv(fd.get(), buffer.data(), buffer.size(), MSG_DONTWAIT);
    return size < 0 ? "(none)" : std::string(buffer.data(), static_cast<size_t>(size));
}

} // namespace

TEST_CASE("a stream's only address is used untested") {
    const auto sockets = bind_all(SOCK_STREAM, 1);
    listen_at(sockets[0]);
    CHECK(host_of(choose(target_of(Transport::tcp, sockets))) == "127.0.0.1");
    CHECK_FALSE(accept_at(sockets[0]));
}

TEST_CASE("a datagram's only address is used untested") {
    const auto sockets = bind_all(SOCK_DGRAM, 1);
    CHECK(host_of(choose(target_of(Transport::udp, sockets))) == "127.0.0.1");
    CHECK(received_at(sockets[0]) == "(none)");
}

TEST_CASE("the first address that accepts a connection is measured, with its port") {
    const auto sockets = bind_all(SOCK_STREAM, 3);
    listen_at(sockets[1]);
    listen_at(sockets[2]);
    const Target target = target_of(Transport::tcp, sockets);
    CHECK(to_string(choose(target)) == to_string(target.addresses[1]));
    wait_readable(sockets[1]);
    CHECK(accept_at(sockets[1]));
    CHECK_FALSE(accept_at(sockets[2]));
}

TEST_CASE("the connection that chose the address is closed without sending anything") {
    const auto sockets = bind_all(SOCK_STREAM, 2);
    listen_at(sockets[0]);
    CHECK(host_of(choose(target_of(Transport::tcp, sockets))) == "127.0.0.1");
    wait_readable(sockets[0]);
    const Fd connection = accept_at(sockets[0]);
    REQUIRE(connection);
    wait_readable(connection);
    char byte = 0;
    CHECK(::recv(connection.get(), &byte, 1, MSG_DONTWAIT) == 0);
}

TEST_CASE("an address that drops connections gets only its share of the timeout") {
    const auto sockets = bind_all(SOCK_STREAM, 2);
    listen_at(sockets[0], 0);
    listen_at(sockets[1]);
    Target target = target_of(Transport::tcp, sockets);
    // No process accepts: one connection fills the queue, and the kernel drops later ones.
    const auto filling = begin_connect(target, target.addresses[0]);
    REQUIRE(filling.has_value());
    pollfd connected{.fd = filling->get(), .events = POLLOUT, .revents = 0};
    REQUIRE(::poll(&connected, 1, test::patience_ms()) == 1);
    target.timeout_ms = 400;
    CHECK(host_of(choose(target)) == "127.0.0.2");
}

TEST_CASE("if no address accepts a connection, the first one is measured") {
    const auto sockets = bind_all(SOCK_STREAM, 2);
    CHECK(host_of(choose(target_of(Transport::tcp, sockets))) == "127.0.0.1");
}

TEST_CASE("a silent datagram address is preferred to one that refuses") {
    const auto sockets = bind_all(SOCK_DGRAM, 3);
    refuse_at(sockets[0]);
    const Target target = target_of(Transport::udp, sockets);
    CHECK(to_string(choose(target)) == to_string(target.addresses[1]));
    CHECK(received_at(sockets[1]) == "probe");
    CHECK(received_at(sockets[2]) == "probe"); // it might have answered
}

TEST_CASE("if every datagram address refuses, the first one is measured") {
    const auto sockets = bind_all(SOCK_DGRAM, 2);
    refuse_at(sockets[0]);
    refuse_at(sockets[1]);
    CHECK(host_of(choose(target_of(Transport::udp, sockets))) == "127.0.0.1");
}

TEST_CASE("if the source cannot be bound, the first address is measured") {
    for (const Transport transport : {Transport::tcp, Transport::udp}) {
        const auto sockets = bind_all(transport == Transport::tcp ? SOCK_STREAM : SOCK_DGRAM, 2);
        Target target = target_of(transport, sockets);
        target.sources = {target.addresses[1]}; // in use, by this test
        target.addresses = {loopback(3, 9), loopback(4, 9)};
        CHECK(host_of(choose(target)) == "127.0.0.3");
    }
}

// ---- `send` and `load` need an answer.

namespace {

const Report quiet(Color::never, false);

std::expected<Reached, std::vector<Failure>> reach_within(const Target& target, uint32_t ms) {
    return reach(
        target, {.datagram = probe, .patience = {.deadline_ms = monotonic_ms() + ms}}, quiet);
}

/// With a deadline that a test that passes never reaches.
std::expected<Reached, std::vector<Failure>> reach_patiently(
    const Target& target, uint32_t turn_ms, uint32_t resend_ms) {
    const uint64_t deadline_ms = monotonic_ms() + static_cast<uint64_t>(test::patience_ms());
    return reach(
        target,
        {.datagram = probe,
         .patience = {.deadline_ms = deadline_ms},
         .turn_ms_max = turn_ms,
         .resend_ms = resend_ms},
        quiet);
}

std::string text_of(const std::vector<std::byte>& bytes) {
    return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

/// Answers one datagram to `asked`, from that socket.
void answer_from(const Fd& asked, std::string_view text) {
    wait_readable(asked);
    SocketAddress client;
    client.size = sizeof(client.storage);
    char byte = 0;
    REQUIRE(::recvfrom(asked.get(), &byte, 1, 0, client.get(), &client.size) >= 0);
    ::sendto(asked.get(), text.data(), text.size(), 0, client.get(), client.size);
}

} // namespace

TEST_CASE("a datagram address that is silent, or refuses, does not hide the next") {
    auto sockets = bind_all(SOCK_DGRAM, 4);
    refuse_at(sockets[0]);
    Target target = target_of(Transport::udp, sockets);
    std::thread peer([&] { answer_from(sockets[2], "answer"); });
    const auto reached = reach_patiently(target, 1, 0);
    peer.join();
    REQUIRE(reached.has_value());
    CHECK(to_string(reached->address) == to_string(target.addresses[2]));
    CHECK(text_of(reached->answer) == "answer");
    CHECK(received_at(sockets[1]) == "probe");
}

TEST_CASE("each address has an equal share of the time for its turn") {
    const auto sockets = bind_all(SOCK_DGRAM, 2);
    Target target = target_of(Transport::udp, sockets);
    target.timeout_ms = 400;
    std::thread peer([&] {
        wait_readable(sockets[1]); // by then the first one's turn is over
        CHECK(received_at(sockets[0]) == "probe");
    });
    CHECK_FALSE(reach_within(target, target.timeout_ms).has_value());
    peer.join();
}

TEST_CASE("an empty datagram is an answer as well") {
    const auto sockets = bind_all(SOCK_DGRAM, 1);
    const Target target = target_of(Transport::udp, sockets);
    std::thread peer([&] { answer_from(sockets[0], ""); });
    const auto reached = reach_patiently(target, 1, 0);
    peer.join();
    REQUIRE(reached.has_value());
    CHECK(reached->answer.empty());
}

TEST_CASE("an answer from a datagram address counts in another address's turn as well") {
    const auto sockets = bind_all(SOCK_DGRAM, 2);
    const Target target = target_of(Transport::udp, sockets);
    std::thread peer([&] {
        wait_readable(sockets[1]); // its turn has begun
        answer_from(sockets[0], "late");
    });
    const auto reached = reach_patiently(target, 1, 0);
    peer.join();
    REQUIRE(reached.has_value());
    CHECK(to_string(reached->address) == to_string(target.addresses[0]));
    CHECK(text_of(reached->answer) == "late");
}

TEST_CASE("a lost datagram is sent again if that is requested") {
    const auto sockets = bind_all(SOCK_DGRAM, 1);
    const Target target = target_of(Transport::udp, sockets);
    std::thread peer([&] {
        wait_readable(sockets[0]);
        CHECK(received_at(sockets[0]) == "probe");
        answer_from(sockets[0], "second");
    });
    const auto reached = reach_patiently(target, UINT32_MAX, 1);
    peer.join();
    REQUIRE(reached.has_value());
    CHECK(text_of(reached->answer) == "second");
}

TEST_CASE("each address that failed is reported with its failure and the time waited") {
    const auto sockets = bind_all(SOCK_DGRAM, 3);
    refuse_at(sockets[1]);
    Target target = target_of(Transport::udp, sockets);
    target.timeout_ms = 60;
    const auto reached = reach_within(target, target.timeout_ms);
    REQUIRE_FALSE(reached.has_value());
    REQUIRE(reached.error().size() == 3);
    CHECK(reached.error()[0].error == ETIMEDOUT);
    CHECK(reached.error()[0].waited_ms == 60); // until the end, not only in its turn
    CHECK(reached.error()[1].error == ECONNREFUSED);
    CHECK(reached.error()[2].error == ETIMEDOUT);
    CHECK(reached.error()[2].waited_ms < 60);
    const std::string line = connect_error(target, reached.error()).message;
    CHECK(
        line.find(
            "1:" + std::to_string(target.addresses[0].port()) +
            ": no answer after 60ms, "
            "127.0.0.2:") != std::string::npos);
    CHECK(line.ends_with("; is riposted running there? -W waits longer"));
}

TEST_CASE("an address is tried even if no time is left") {
    const auto sockets = bind_all(SOCK_STREAM, 2);
    listen_at(sockets[1]);
    const auto reached = reach_within(target_of(Transport::tcp, sockets), 0);
    REQUIRE(reached.has_value());
    CHECK(host_of(reached->address) == "127.0.0.2");
}
