// Which of several addresses is measured. All of them are sockets of the test on loopback, at one
// port of 127.0.0.1, 127.0.0.2, ..., and what one has to do is done by the kernel alone, so that no
// answer hangs on a thread that runs in time.
#include "client/connect.h"
#include "common/clock.h"
#include "common/fd.h"
#include "tests/support/patience.h"

#include <array>
#include <cerrno>
#include <cstdint>
#include <string>
#include <string_view>
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

/// Empty if the port is taken at one of the addresses.
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

/// Sockets at one port, of 127.0.0.1 and so on.
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
        .timeout_ms = 30000, // never waited for where a test passes
        .source = "",
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

/// A datagram socket that is connected elsewhere keeps its port, and what others send there is
/// refused as if nobody had it.
void refuse_at(const Fd& fd) {
    const SocketAddress elsewhere = loopback(99, 9);
    REQUIRE(::connect(fd.get(), elsewhere.get(), elsewhere.size) == 0);
}

/// The kernel may still be about to hand it over.
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

TEST_CASE("a stream's only address is taken unseen") {
    const auto sockets = bind_all(SOCK_STREAM, 1);
    listen_at(sockets[0]);
    CHECK(host_of(choose(target_of(Transport::tcp, sockets))) == "127.0.0.1");
    CHECK_FALSE(accept_at(sockets[0]));
}

TEST_CASE("a datagram's only address is taken unseen") {
    const auto sockets = bind_all(SOCK_DGRAM, 1);
    CHECK(host_of(choose(target_of(Transport::udp, sockets))) == "127.0.0.1");
    CHECK(received_at(sockets[0]) == "(none)");
}

TEST_CASE("the first address that takes a connection is measured, with its port") {
    const auto sockets = bind_all(SOCK_STREAM, 3);
    listen_at(sockets[1]);
    listen_at(sockets[2]);
    const Target target = target_of(Transport::tcp, sockets);
    CHECK(to_string(choose(target)) == to_string(target.addresses[1]));
    wait_readable(sockets[1]);
    CHECK(accept_at(sockets[1]));
    CHECK_FALSE(accept_at(sockets[2]));
}

TEST_CASE("the connection that chose the address is closed again, with nothing sent") {
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

TEST_CASE("an address that swallows connections gets its share of the timeout only") {
    const auto sockets = bind_all(SOCK_STREAM, 2);
    listen_at(sockets[0], 0);
    listen_at(sockets[1]);
    Target target = target_of(Transport::tcp, sockets);
    // Nobody accepts: one connection fills the queue, and the kernel drops what comes then.
    const auto filling = connect_to(target, target.addresses[0], target.timeout_ms);
    REQUIRE(filling.has_value());
    target.timeout_ms = 400;
    CHECK(host_of(choose(target)) == "127.0.0.2");
}

TEST_CASE("where no address takes a connection the first one is measured") {
    const auto sockets = bind_all(SOCK_STREAM, 2);
    CHECK(host_of(choose(target_of(Transport::tcp, sockets))) == "127.0.0.1");
}

TEST_CASE("a datagram address that refuses is passed over for one that is silent") {
    const auto sockets = bind_all(SOCK_DGRAM, 3);
    refuse_at(sockets[0]);
    const Target target = target_of(Transport::udp, sockets);
    CHECK(to_string(choose(target)) == to_string(target.addresses[1]));
    CHECK(received_at(sockets[1]) == "probe");
    CHECK(received_at(sockets[2]) == "probe"); // it might have answered
}

TEST_CASE("a datagram address that answers is taken before one that is silent") {
    auto sockets = bind_all(SOCK_DGRAM, 4);
    refuse_at(sockets[0]);
    Target target = target_of(Transport::udp, sockets);
    // Who sends from the third address to the third address hears itself.
    target.sources = {target.addresses[2]};
    sockets[2].reset();
    CHECK(to_string(choose(target)) == to_string(target.addresses[2]));
    CHECK(received_at(sockets[1]) == "probe");
    CHECK(received_at(sockets[3]) == "(none)");
}

TEST_CASE("an empty datagram is an answer, too") {
    auto sockets = bind_all(SOCK_DGRAM, 2);
    Target target = target_of(Transport::udp, sockets);
    target.sources = {target.addresses[1]};
    sockets[1].reset();
    CHECK(host_of(choose(target, {})) == "127.0.0.2");
}

TEST_CASE("where every datagram address refuses the first one is measured") {
    const auto sockets = bind_all(SOCK_DGRAM, 2);
    refuse_at(sockets[0]);
    refuse_at(sockets[1]);
    CHECK(host_of(choose(target_of(Transport::udp, sockets))) == "127.0.0.1");
}

TEST_CASE("a source that can not be bound leaves the first address to be measured") {
    for (const Transport transport : {Transport::tcp, Transport::udp}) {
        const auto sockets = bind_all(transport == Transport::tcp ? SOCK_STREAM : SOCK_DGRAM, 2);
        Target target = target_of(transport, sockets);
        target.sources = {target.addresses[1]}; // taken, by ourselves
        target.addresses = {loopback(3, 9), loopback(4, 9)};
        CHECK(host_of(choose(target)) == "127.0.0.3");
    }
}
