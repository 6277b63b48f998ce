// Sockets from a service manager: recognised by name and type, shared by all workers; all others
// are refused.
#include "daemon/listen/listen_socket.h"
#include "daemon/listen/listeners.h"
#include "tests/support/skip.h"
#include "tests/unit/daemon/listen_support.h"

#include <doctest/doctest.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <netinet/udp.h>
#include <sys/un.h>

using namespace riposte;
using namespace riposte::test;

namespace {

struct Named {
    Fd fd;
    std::string name;
};

template<class... Sockets>
std::vector<systemd::InheritedSocket> inherit_named(Sockets&&... sockets) {
    std::vector<systemd::InheritedSocket> result;
    (result.push_back({std::move(sockets.fd), std::move(sockets.name)}), ...);
    return result;
}

Named tcp(std::string name) {
    return {foreign_socket("127.0.0.1", Transport::tcp), std::move(name)};
}

Named udp(std::string name) {
    return {foreign_socket("127.0.0.1", Transport::udp), std::move(name)};
}

/// The message of a refused socket, with its number as N.
std::string refusal(Fd fd, std::string name) {
    const int number = fd.get();
    REQUIRE(number >= 0);
    const auto listeners = Listeners::open(
        hello_on({"tcp://127.0.0.1:0"}), inherit_named(Named{std::move(fd), std::move(name)}), 1);
    CHECK(::fcntl(number, F_GETFD) == -1); // closed with the rest
    std::string text = outcome(listeners);
    const std::string prefix = fmt::format("exit 78: inherited socket {} ", number);
    if (text.starts_with(prefix))
        text.replace(0, prefix.size(), "exit 78: inherited socket N ");
    return text;
}

} // namespace

TEST_CASE("a socket's name is its service or that service's unit; unnamed sockets are hello") {
    struct Case {
        const char* name;
        ServiceKind kind;
    };
    for (const Case& c :
         {Case{"hello", ServiceKind::hello}, Case{"echo", ServiceKind::echo},
          Case{"discard", ServiceKind::discard}, Case{"daytime", ServiceKind::daytime},
          Case{"chargen", ServiceKind::chargen}, Case{"time", ServiceKind::time},
          Case{"", ServiceKind::hello}, Case{"unknown", ServiceKind::hello},
          Case{"riposted", ServiceKind::hello}, Case{"riposted.socket", ServiceKind::hello},
          Case{"riposted-echo.socket", ServiceKind::echo},
          Case{"riposted-time.socket", ServiceKind::time}}) {
        CAPTURE(c.name);
        const auto listeners = Listeners::open(
            hello_on({"tcp://127.0.0.1:0"}), inherit_named(tcp(c.name), udp(c.name)), 1);
        REQUIRE_MESSAGE(listeners.has_value(), outcome(listeners));
        const auto plan = listeners->plan(0);
        REQUIRE(plan.size() == 2);
        for (const ListenerSpec& listener : plan) {
            CHECK((listener.kind == c.kind));
            CHECK(
                listener.label == fmt::format(
                                      "{} on {}://127.0.0.1:{}", to_string(c.kind),
                                      to_string(listener.transport), port_of(listener.fd)));
        }
        CHECK((plan[0].transport == Transport::tcp));
        CHECK((plan[1].transport == Transport::udp));
    }
}

TEST_CASE("stamp takes an inherited socket over UDP, served by one worker, and none over TCP") {
    const auto listeners = Listeners::open(
        hello_on({"udp://127.0.0.1:0"}), inherit_named(udp("stamp"), udp("riposted-stamp.socket")),
        4);
    REQUIRE_MESSAGE(listeners.has_value(), outcome(listeners));
    size_t served = 0;
    for (uint32_t worker = 0; worker < 4; ++worker)
        for (const ListenerSpec& listener : listeners->plan(worker)) {
            CHECK((listener.kind == ServiceKind::stamp));
            CHECK(listener.sessions != nullptr);
            CHECK(listener.port == port_of(listener.fd));
            ++served;
        }
    CHECK(served == 2);
    CHECK(listeners->labels().size() == 2);
    const auto refused = Listeners::open({}, inherit_named(tcp("stamp"), udp("echo")), 1);
    REQUIRE_FALSE(refused.has_value());
    CHECK(refused.error().message.ends_with(
        "'stamp': stamp is for UDP; write ListenDatagram= in its unit"));
}

TEST_CASE("a name that is not a service is refused with the list of services") {
    const std::string known = "FileDescriptorName= must be one of hello, echo, discard, daytime, "
                              "chargen, time, stamp, metrics";
    CHECK(
        refusal(tcp("").fd, "ecko") ==
        "exit 78: inherited socket N 'ecko': no such service, did you mean 'echo'?; " + known);
    CHECK(
        refusal(tcp("").fd, "metric") ==
        "exit 78: inherited socket N 'metric': no such service, did you mean 'metrics'?; " + known);
    for (const char* name :
         {"ssh.socket", "Hello", "riposted-hello", "riposted-.socket", "riposted-ssh.socket",
          "connection"}) {
        CAPTURE(name);
        const std::string text = refusal(tcp("").fd, name);
        const std::string prefix =
            fmt::format("exit 78: inherited socket N '{}': no such service", name);
        CHECK(text.substr(0, prefix.size()) == prefix);
        CHECK(text.ends_with(known));
    }
    CHECK(
        refusal(tcp("").fd, "x\ny") ==
        "exit 78: inherited socket N 'x\\ny': no such service; " + known);
}

TEST_CASE("a socket that is neither a listening stream nor a datagram socket is refused") {
    CHECK(
        refusal(Fd(::open("/dev/null", O_RDWR | O_CLOEXEC)), "echo") ==
        "exit 78: inherited socket N 'echo': not a socket");
    for (const int type : {SOCK_STREAM, SOCK_DGRAM, SOCK_SEQPACKET}) {
        CHECK(
            refusal(Fd(::socket(AF_UNIX, type | SOCK_CLOEXEC, 0)), "echo") ==
            "exit 78: inherited socket N 'echo': an AF_UNIX socket; services answer over IPv4 and "
            "IPv6 only");
    }
    CHECK(
        refusal(Fd(::socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, 0)), "echo") ==
        "exit 78: inherited socket N 'echo': address family 16; services answer over IPv4 and IPv6 "
        "only");
    const std::string idle = "exit 78: inherited socket N 'echo': a stream that does not listen (a "
                             "socket unit needs Accept=no)";
    CHECK(refusal(Fd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)), "echo") == idle);

    const Named listening = tcp("");
    Fd client(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    SocketAddress address = local_address(listening.fd.get());
    REQUIRE(::connect(client.get(), address.get(), address.size) == 0);
    CHECK(refusal(std::move(client), "echo") == idle);
}

TEST_CASE("a raw socket is refused") {
    Fd raw(::socket(AF_INET, SOCK_RAW | SOCK_CLOEXEC, IPPROTO_ICMP));
    if (!raw)
        SKIP("raw sockets need CAP_NET_RAW");
    CHECK(
        refusal(std::move(raw), "echo") ==
        "exit 78: inherited socket N 'echo': socket type 3; services answer on streams and "
        "datagrams only");
}

TEST_CASE("inherited sockets win over configured addresses, which are not bound") {
    const Named foreign = tcp("");
    const Sections config =
        hello_on({fmt::format("tcp://127.0.0.1:{}", port_of(foreign.fd.get()))});
    Named socket = udp("echo");
    const int fd = socket.fd.get();
    const auto listeners = Listeners::open(config, inherit_named(std::move(socket)), 1);
    REQUIRE_MESSAGE(listeners.has_value(), outcome(listeners));
    CHECK(listeners->inherited());
    REQUIRE(listeners->plan(0).size() == 1);
    CHECK(listeners->plan(0)[0].fd == fd);
}

TEST_CASE("an inherited socket gets the options that a bound one has") {
    if (!has_ipv6())
        SKIP("no IPv6 here");
    const int on = 1;
    Named told = udp("hello"); // as PassPacketInfo= would
    REQUIRE(::setsockopt(told.fd.get(), IPPROTO_IP, IP_PKTINFO, &on, sizeof on) == 0);
    const auto listeners = Listeners::open(
        hello_on({"tcp://127.0.0.1:0"}),
        inherit_named(
            tcp("hello"), std::move(told), Named{foreign_socket("*", Transport::udp), "hello"},
            Named{foreign_socket("*", Transport::tcp), "hello"}),
        1);
    REQUIRE_MESSAGE(listeners.has_value(), outcome(listeners));
    const auto plan = listeners->plan(0);
    for (const ListenerSpec& listener : plan) {
        CHECK((::fcntl(listener.fd, F_GETFL) & O_NONBLOCK) != 0);
        CHECK((::fcntl(listener.fd, F_GETFD) & FD_CLOEXEC) != 0);
    }
    CHECK(option(plan[0].fd, IPPROTO_TCP, TCP_NODELAY) == 1);
    CHECK(option(plan[1].fd, SOL_UDP, UDP_GRO) == 1);
    CHECK(option(plan[1].fd, IPPROTO_IP, IP_PKTINFO) == 0); // it answers from its own address
    CHECK(option(plan[2].fd, IPPROTO_IPV6, IPV6_RECVPKTINFO) == 1);
    const bool dual = option(plan[2].fd, IPPROTO_IPV6, IPV6_V6ONLY) == 0;
    CHECK(
        plan[2].label ==
        fmt::format("hello on udp://{}:{}", dual ? "*" : "[::]", port_of(plan[2].fd)));
}

TEST_CASE("all workers share an inherited socket under one id") {
    const auto listeners = Listeners::open(
        hello_on({"tcp://127.0.0.1:0"}), inherit_named(tcp("hello"), udp("echo")), 3);
    REQUIRE(listeners.has_value());
    const auto first = listeners->plan(0);
    for (const uint32_t worker : {1U, 2U}) {
        const auto plan = listeners->plan(worker);
        REQUIRE(plan.size() == first.size());
        for (size_t i = 0; i < plan.size(); ++i) {
            CHECK(plan[i].id == first[i].id);
            CHECK(plan[i].fd == first[i].fd);
            CHECK(plan[i].service == first[i].service);
        }
    }
    CHECK(first[0].id != first[1].id);
}

TEST_CASE("an address that was inherited twice has one label") {
    Named first = tcp("hello");
    Named second{Fd(::fcntl(first.fd.get(), F_DUPFD_CLOEXEC, 3)), "hello"};
    const auto listeners = Listeners::open(
        hello_on({"tcp://127.0.0.1:0"}), inherit_named(std::move(first), std::move(second)), 1);
    REQUIRE(listeners.has_value());
    CHECK(listeners->plan(0).size() == 2);
    CHECK(listeners->labels().size() == 1);
}

TEST_CASE("an inherited service uses the first section for it, also after a reload") {
    const Sections one = Sections({
        listen_on(ServiceKind::echo, {"tcp://127.0.0.1:0"}),
        listen_on(ServiceKind::hello, {"tcp://127.0.0.1:0"}, "one"),
        listen_on(ServiceKind::hello, {"tcp://127.0.0.2:0"}, "other"),
    });
    auto listeners = Listeners::open(one, inherit_named(tcp("hello"), udp("echo")), 2);
    REQUIRE(listeners.has_value());
    const auto answer = [&] {
        std::array<std::byte, message_bytes_max> buffer{};
        StreamState state;
        const auto service = listeners->plan(1)[0].service;
        const auto reply = service->arrived({.wall_seconds = 0}, state, buffer, 1);
        return std::string(reinterpret_cast<const char*>(buffer.data()), reply.size);
    };
    CHECK(answer() == "one");

    const auto before = listeners->plan(0);
    REQUIRE(
        outcome(listeners->apply(
            Sections({listen_on(ServiceKind::hello, {"tcp://127.0.0.1:0"}, "two")}))) == "applied");
    CHECK(answer() == "two");
    const auto after = listeners->plan(0);
    REQUIRE(after.size() == 2);
    CHECK(after[0].id == before[0].id);
    CHECK(after[0].fd == before[0].fd);
    CHECK(after[0].service != before[0].service);
    CHECK(after[1].service == before[1].service);

    // No section for it: the default.
    REQUIRE(outcome(listeners->apply(Sections({}))) == "applied");
    CHECK(answer() == "Hello, i'm server!");
    listeners->close_removed();
    CHECK(::fcntl(after[0].fd, F_GETFD) >= 0);
}
