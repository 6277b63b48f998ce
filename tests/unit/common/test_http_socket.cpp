// The sockets on which a program serves HTTP; those of unix(7) are tested with the daemon's.
#include "common/address.h"
#include "common/http/address.h"
#include "common/http/socket.h"

#include <string>
#include <vector>

#include <doctest/doctest.h>
#include <netinet/in.h>
#include <sys/socket.h>

using namespace riposte;

namespace {

Result<std::vector<HttpSocket>> listen_at(const std::string& text) {
    const auto address = parse_http_address(text);
    REQUIRE(address.has_value());
    return listen_on_tcp(address->endpoint);
}

} // namespace

TEST_CASE("a socket of TCP listens at once, and its address has the port") {
    const auto sockets = listen_at("tcp://127.0.0.1:0");
    REQUIRE(sockets.has_value());
    REQUIRE(sockets->size() == 1);
    const HttpSocket& socket = sockets->front();
    CHECK(socket.address.starts_with("tcp://127.0.0.1:"));
    CHECK(!socket.address.ends_with(":0"));
    sockaddr_storage address{};
    socklen_t size = sizeof address;
    REQUIRE(::getsockname(socket.fd.get(), reinterpret_cast<sockaddr*>(&address), &size) == 0);
    const Fd client(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    CHECK(::connect(client.get(), reinterpret_cast<const sockaddr*>(&address), size) == 0);

    const auto again = listen_at(socket.address);
    REQUIRE(!again.has_value());
    CHECK(
        again.error().message == socket.address + ": another process listens there (ss -ltnp shows "
                                                  "it); stop it, or name another port");
}

TEST_CASE("every address of this machine is one socket, with IPv6 or without") {
    const auto sockets = listen_at("tcp://*:0");
    REQUIRE(sockets.has_value());
    REQUIRE(sockets->size() == 1);
    sockaddr_in loopback{};
    loopback.sin_family = AF_INET;
    loopback.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    loopback.sin_port = htons(local_address(sockets->front().fd.get()).port());
    const Fd client(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    CHECK(
        ::connect(client.get(), reinterpret_cast<const sockaddr*>(&loopback), sizeof loopback) ==
        0);
}

TEST_CASE("an address of another machine is refused with what to do") {
    const auto sockets = listen_at("tcp://192.0.2.77:9702");
    REQUIRE(!sockets.has_value());
    CHECK(sockets.error().exit == Exit::config);
    CHECK(
        sockets.error().message ==
        "tcp://192.0.2.77:9702: no address of this machine (ip addr shows them)");
}

TEST_CASE("a path without its directory is refused with what to do, whichever program asks") {
    const auto socket = listen_on_unix("/nonexistent/s");
    REQUIRE(!socket.has_value());
    CHECK(
        socket.error().message == "No such file or directory; create its directory (a unit does so "
                                  "by RuntimeDirectory=)");
}
