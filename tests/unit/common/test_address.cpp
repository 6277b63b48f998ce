#include "common/address.h"
#include "common/fd.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include <doctest/doctest.h>
#include <net/if.h>
#include <netinet/in.h>
#include <sys/un.h>

using namespace riposte;

namespace {

Endpoint endpoint(std::string host, uint16_t port = 7001) {
    return {std::nullopt, std::move(host), port};
}

/// The addresses as text, separated by spaces; or the error.
std::string resolved(const Endpoint& where, Family family = Family::any) {
    const auto addresses = resolve(where, Transport::tcp, family, false);
    if (!addresses)
        return addresses.error();
    std::string text;
    for (const SocketAddress& address : *addresses)
        text += (text.empty() ? "" : " ") + to_string(address);
    return text;
}

template<class T>
SocketAddress from(const T& specific, size_t size) {
    SocketAddress address;
    std::memcpy(&address.storage, &specific, sizeof specific);
    address.size = static_cast<socklen_t>(size);
    return address;
}

} // namespace

TEST_CASE("numeric addresses resolve to themselves, once, for both transports") {
    CHECK(resolved(endpoint("127.0.0.1")) == "127.0.0.1:7001");
    CHECK(resolved(endpoint("::1")) == "[::1]:7001");
    CHECK(resolved(endpoint("0.0.0.0", 0)) == "0.0.0.0:0");
    CHECK(resolved(endpoint("0:0:0:0:0:0:0:1")) == "[::1]:7001");
    for (const Transport transport : {Transport::tcp, Transport::udp}) {
        for (const bool passive : {false, true}) {
            const auto addresses = resolve(endpoint("::1"), transport, Family::any, passive);
            REQUIRE(addresses.has_value());
            REQUIRE(addresses->size() == 1);
            CHECK(addresses->front().port() == 7001);
            CHECK(addresses->front().family() == AF_INET6);
            CHECK(addresses->front().size == sizeof(sockaddr_in6));
        }
    }
}

TEST_CASE("a link-local address keeps its zone") {
    CHECK(resolved(endpoint("fe80::1%lo")) == "[fe80::1%lo]:7001");
    CHECK(
        resolved(endpoint("fe80::1%nosuchif0")) ==
        "cannot use 'fe80::1%nosuchif0': 'nosuchif0' is not a network interface here, or the "
        "address is not link-local");
}

TEST_CASE("a star is every address: IPv6 for dual stack, or IPv4 if only that is requested") {
    CHECK(resolved(endpoint("*")) == "[::]:7001");
    CHECK(resolved(endpoint("*"), Family::ipv6) == "[::]:7001");
    CHECK(resolved(endpoint("*"), Family::ipv4) == "0.0.0.0:7001");
}

TEST_CASE("localhost resolves to loopback without duplicates, with a hosts file or without") {
    // RFC 6761, section 6.3: with a final dot, in capitals, and names below it, too.
    for (const char* name :
         {"localhost", "localhost.", "LocalHost", "any.localhost", "x.Localhost."})
        for (const bool passive : {false, true}) {
            CAPTURE(name);
            const auto addresses = resolve(endpoint(name), Transport::tcp, Family::ipv4, passive);
            REQUIRE(addresses);
            REQUIRE(addresses->size() == 1);
            CHECK(to_string(addresses->front()) == "127.0.0.1:7001");
        }
    CHECK_FALSE(resolve(endpoint("notlocalhost"), Transport::tcp, Family::any, false));
}

TEST_CASE("an address of the wrong family is refused by name") {
    CHECK(resolved(endpoint("127.0.0.1"), Family::ipv6) == "'127.0.0.1' is not an IPv6 address");
    CHECK(resolved(endpoint("::1"), Family::ipv4) == "'::1' is not an IPv4 address");
}

TEST_CASE("a host that cannot be resolved is named in one line") {
    // .invalid never exists (RFC 2606); the reason differs with and without a name server.
    const std::string error = resolved(endpoint("no-such-host.invalid"));
    CHECK(error.starts_with("cannot resolve 'no-such-host.invalid': "));
    CHECK(error.size() > std::string_view("cannot resolve 'no-such-host.invalid': ").size());
    CHECK(error.find('\n') == std::string::npos);
}

TEST_CASE("an IPv4 address that came through a dual-stack socket prints as IPv4") {
    CHECK(resolved(endpoint("::ffff:192.0.2.1", 9)) == "192.0.2.1:9");
}

TEST_CASE("a zone without its interface prints as its number") {
    sockaddr_in6 specific{};
    specific.sin6_family = AF_INET6;
    specific.sin6_addr.s6_addr[0] = 0xfe;
    specific.sin6_addr.s6_addr[1] = 0x80;
    specific.sin6_scope_id = 2147483000;
    CHECK(to_string(from(specific, sizeof specific)) == "[fe80::%2147483000]:0");
}

TEST_CASE("addresses without host and port print as their kind") {
    CHECK(to_string(SocketAddress{}) == "(no address)");
    CHECK(SocketAddress{}.port() == 0);

    sockaddr_un specific{};
    specific.sun_family = AF_UNIX;
    constexpr size_t path_at = offsetof(sockaddr_un, sun_path);
    CHECK(to_string(from(specific, path_at)) == "unix:");
    std::memcpy(specific.sun_path, "/run/x\n", 7);
    CHECK(to_string(from(specific, path_at + 8)) == "unix:/run/x\\n");
    std::memcpy(specific.sun_path, "\0name", 5);
    CHECK(to_string(from(specific, path_at + 5)) == "unix:@name");
    CHECK(from(specific, path_at + 5).port() == 0);

    specific.sun_family = 99;
    CHECK(to_string(from(specific, sizeof specific)) == "(address family 99)");
}

TEST_CASE("the kernel gives both ends of a connection") {
    const Fd listener(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    REQUIRE(listener);
    auto wanted = resolve(endpoint("127.0.0.1", 0), Transport::tcp, Family::any, true);
    REQUIRE(wanted.has_value());
    REQUIRE(bind(listener.get(), wanted->front().get(), wanted->front().size) == 0);
    REQUIRE(listen(listener.get(), 1) == 0);
    const SocketAddress bound = local_address(listener.get());
    CHECK(bound.port() != 0);

    const Fd client(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    REQUIRE(client);
    REQUIRE(connect(client.get(), bound.get(), bound.size) == 0);
    CHECK(to_string(peer_address(client.get())) == to_string(bound));
    const Fd server(accept4(listener.get(), nullptr, nullptr, SOCK_CLOEXEC));
    REQUIRE(server);
    CHECK(to_string(peer_address(server.get())) == to_string(local_address(client.get())));
}

TEST_CASE("a descriptor without an address gives one of size zero") {
    CHECK(local_address(-1).size == 0);
    CHECK(peer_address(-1).size == 0);
    const Fd unconnected(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    REQUIRE(unconnected);
    CHECK(peer_address(unconnected.get()).size == 0);
}
