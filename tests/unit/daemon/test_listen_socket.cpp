// One bound socket: its options, and each reason why it cannot be opened.
#include "daemon/listen/listen_socket.h"
#include "tests/support/accept_one.h"
#include "tests/support/child.h"
#include "tests/support/skip.h"
#include "tests/unit/daemon/listen_support.h"

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstring>
#include <fstream>

#include <arpa/inet.h>
#include <doctest/doctest.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <netinet/udp.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>

using namespace riposte;
using namespace riposte::test;

namespace {

/// The only socket of the only worker.
struct Opened {
    Listeners listeners;
    int fd;
    uint16_t port;
    std::string label;
};

Opened open_one(const std::string& address) {
    auto listeners = Listeners::open(hello_on({address}), {}, 1);
    REQUIRE_MESSAGE(listeners.has_value(), outcome(listeners));
    const auto plan = listeners->plan(0);
    REQUIRE(plan.size() == 1);
    return {std::move(*listeners), plan[0].fd, port_of(plan[0].fd), plan[0].label};
}

/// Denies this process IPv6 sockets: socket(2) says EAFNOSUPPORT.
bool forbid_ipv6() {
    std::array<sock_filter, 6> program{{
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_socket, 0, 3),
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, args)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, AF_INET6, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EAFNOSUPPORT),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    }};
    const sock_fprog filter{static_cast<unsigned short>(program.size()), program.data()};
    return ::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
           ::prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter, 0, 0) == 0;
}

int sysctl(const std::string& name) {
    std::ifstream file("/proc/sys/" + name);
    int value = -1;
    file >> value;
    return value;
}

} // namespace

TEST_CASE("a tcp socket listens, does not block, is close-on-exec and has TCP_NODELAY") {
    if (!has_ipv6())
        SKIP("no IPv6 here");
    for (const std::string address : {"tcp://127.0.0.1:0", "tcp://[::1]:0", "tcp://*:0"}) {
        CAPTURE(address);
        const Opened opened = open_one(address);
        CHECK(option(opened.fd, SOL_SOCKET, SO_ACCEPTCONN) == 1);
        CHECK((::fcntl(opened.fd, F_GETFL) & O_NONBLOCK) != 0);
        CHECK((::fcntl(opened.fd, F_GETFD) & FD_CLOEXEC) != 0);
        CHECK(option(opened.fd, IPPROTO_TCP, TCP_NODELAY) == 1);
        CHECK(option(opened.fd, SOL_SOCKET, SO_REUSEADDR) == 1);
        CHECK(option(opened.fd, SOL_SOCKET, SO_REUSEPORT) == 0);
    }
}

TEST_CASE("accepted sockets have TCP_NODELAY as well") {
    const Opened opened = open_one("tcp://127.0.0.1:0");
    REQUIRE(connect_error("127.0.0.1", opened.port) == 0);
    const Fd accepted = test::accept_one(opened.fd);
    REQUIRE(accepted.get() >= 0);
    CHECK(option(accepted.get(), IPPROTO_TCP, TCP_NODELAY) == 1);
    CHECK(option(accepted.get(), SOL_SOCKET, SO_OOBINLINE) == 1);
}

TEST_CASE("a udp socket does not block, receives trains and does not share its port") {
    if (!has_ipv6())
        SKIP("no IPv6 here");
    for (const std::string address : {"udp://127.0.0.1:0", "udp://[::1]:0", "udp://*:0"}) {
        CAPTURE(address);
        const Opened opened = open_one(address);
        CHECK((::fcntl(opened.fd, F_GETFL) & O_NONBLOCK) != 0);
        CHECK((::fcntl(opened.fd, F_GETFD) & FD_CLOEXEC) != 0);
        CHECK(option(opened.fd, SOL_UDP, UDP_GRO) == 1);
        CHECK(option(opened.fd, SOL_SOCKET, SO_REUSEADDR) == 0);
        CHECK(option(opened.fd, SOL_SOCKET, SO_REUSEPORT) == 0);
    }
}

TEST_CASE("a udp socket reports the destination address, unless it is bound to that one") {
    if (!has_ipv6())
        SKIP("no IPv6 here");
    const auto tells = [](const char* address) {
        const Opened opened = open_one(address);
        return option(opened.fd, SOL_SOCKET, SO_DOMAIN) == AF_INET6
                   ? option(opened.fd, IPPROTO_IPV6, IPV6_RECVPKTINFO)
                   : option(opened.fd, IPPROTO_IP, IP_PKTINFO);
    };
    CHECK(tells("udp://0.0.0.0:0") == 1);
    CHECK(tells("udp://[::]:0") == 1);
    CHECK(tells("udp://*:0") == 1);
    CHECK(tells("udp://224.0.0.251:0") == 1);
    CHECK(tells("udp://255.255.255.255:0") == 1);
    CHECK(tells("udp://127.0.0.1:0") == 0);
    CHECK(tells("udp://127.0.0.7:0") == 0);
    CHECK(tells("udp://[::1]:0") == 0);
}

TEST_CASE("an IPv6 address is IPv6 only, and the star is both families") {
    if (!has_ipv6())
        SKIP("no IPv6 here");
    CHECK(option(open_one("tcp://[::]:0").fd, IPPROTO_IPV6, IPV6_V6ONLY) == 1);
    CHECK(option(open_one("tcp://[::1]:0").fd, IPPROTO_IPV6, IPV6_V6ONLY) == 1);
    const Opened both = open_one("tcp://*:0");
    CHECK(option(both.fd, IPPROTO_IPV6, IPV6_V6ONLY) == 0);
    CHECK(both.label == fmt::format("hello on tcp://*:{}", both.port));
    CHECK(connect_error("127.0.0.1", both.port) == 0);
    CHECK(connect_error("::1", both.port) == 0);
}

TEST_CASE("on a dual-stack udp socket IPv4 uses the packet information of both families") {
    if (!has_ipv6())
        SKIP("no IPv6 here");
    const Opened server = open_one("udp://*:0");
    const Fd client = foreign_socket("127.0.0.1", Transport::udp);
    const auto asked =
        resolve({Transport::udp, "127.0.0.3", server.port}, Transport::udp, Family::any, false);
    REQUIRE(asked.has_value());
    REQUIRE(::sendto(client.get(), "hi", 2, 0, asked->front().get(), asked->front().size) == 2);

    std::array<char, 16> bytes{};
    iovec part{bytes.data(), bytes.size()};
    SocketAddress peer;
    alignas(cmsghdr)
        std::array<char, CMSG_SPACE(sizeof(in6_pktinfo)) + CMSG_SPACE(sizeof(in_pktinfo))>
            control{};
    msghdr message{};
    message.msg_name = peer.get();
    message.msg_namelen = sizeof peer.storage;
    message.msg_iov = &part;
    message.msg_iovlen = 1;
    message.msg_control = control.data();
    message.msg_controllen = control.size();
    REQUIRE(::recvmsg(server.fd, &message, 0) == 2);
    CHECK((message.msg_flags & MSG_CTRUNC) == 0);
    std::vector<std::pair<int, int>> told;
    for (cmsghdr* c = CMSG_FIRSTHDR(&message); c != nullptr; c = CMSG_NXTHDR(&message, c))
        told.emplace_back(c->cmsg_level, c->cmsg_type);
    std::ranges::sort(told);
    CHECK(
        told ==
        std::vector<std::pair<int, int>>{{IPPROTO_IP, IP_PKTINFO}, {IPPROTO_IPV6, IPV6_PKTINFO}});

    part.iov_len = 2;
    REQUIRE(::sendmsg(server.fd, &message, 0) == 2);
    SocketAddress from;
    from.size = sizeof from.storage;
    REQUIRE(::recvfrom(client.get(), bytes.data(), bytes.size(), 0, from.get(), &from.size) == 2);
    CHECK(to_string(from) == fmt::format("127.0.0.3:{}", server.port));
}

TEST_CASE("a port that another process holds is refused, with any number of workers") {
    if (!has_ipv6())
        SKIP("no IPv6 here");
    struct Case {
        const char* host;
        Transport transport;
        const char* ss;
    };
    for (const Case& c :
         {Case{"127.0.0.1", Transport::tcp, "ss -ltnp"},
          Case{"127.0.0.1", Transport::udp, "ss -lunp"}, Case{"::1", Transport::tcp, "ss -ltnp"},
          Case{"::1", Transport::udp, "ss -lunp"}, Case{"*", Transport::tcp, "ss -ltnp"}}) {
        for (const int shared : {0, SO_REUSEPORT}) {
            const Fd foreign = foreign_socket(c.host, c.transport, shared);
            REQUIRE(foreign.get() >= 0);
            const uint16_t port = port_of(foreign.get());
            const std::string address = to_string(Endpoint{c.transport, c.host, port});
            for (const uint32_t workers : {1U, 2U}) {
                CAPTURE(address);
                CAPTURE(shared);
                CAPTURE(workers);
                CHECK(
                    open_outcome(hello_on({address}), workers) ==
                    fmt::format(
                        "exit 71: riposted.toml:12:1: {}: address already in use; another "
                        "process holds the port ({} 'sport = {}' shows it)",
                        address, c.ss, port));
            }
        }
    }
}

TEST_CASE("a port in use at one address of a name is refused with that address") {
    const Fd foreign = foreign_socket("127.0.0.1", Transport::tcp);
    const uint16_t port = port_of(foreign.get());
    CHECK(
        open_outcome(hello_on({fmt::format("tcp://localhost:{}", port)})) ==
        fmt::format(
            "exit 71: riposted.toml:12:1: tcp://localhost:{0} (127.0.0.1:{0}): address "
            "already in use; another process holds the port (ss -ltnp 'sport = {0}' shows "
            "it)",
            port));
}

TEST_CASE("a privileged port without the privilege is exit 77, with the remedy") {
    if (sysctl("net/ipv4/ip_unprivileged_port_start") <= 7)
        SKIP("net.ipv4.ip_unprivileged_port_start makes no port privileged");
    for (const std::string address : {"tcp://127.0.0.1:7", "udp://127.0.0.1:7"}) {
        CAPTURE(address);
        CHECK(
            in_child([&]() -> std::string {
                if (::geteuid() == 0 && ::setresuid(65534, 65534, 65534) != 0)
                    return "(cannot drop privileges)";
                return open_outcome(hello_on({address}));
            }) == "exit 77: riposted.toml:12:1: " + address +
                      ": permission denied; ports below 1024 are privileged: grant "
                      "CAP_NET_BIND_SERVICE, use a port from 1024 up, or let systemd pass the "
                      "socket (socket activation)");
    }
}

TEST_CASE("a host that does not resolve is a configuration error") {
    // Too long for a name: the resolver itself refuses it, without a query to the network.
    const std::string host(64, 'x');
    ListenerConfig listen = listen_on(ServiceKind::hello, {});
    listen.addresses.push_back({Transport::tcp, host, 7001});
    const std::string text = open_outcome(Sections({listen}));
    const std::string expected =
        fmt::format("exit 78: riposted.toml:12:1: tcp://{0}:7001: cannot resolve '{0}': ", host);
    CHECK(text.substr(0, expected.size()) == expected);
    CHECK(text.size() > expected.size());
}

TEST_CASE("an address that this machine does not have is refused") {
    if (sysctl("net/ipv4/ip_nonlocal_bind") == 1)
        SKIP("net.ipv4.ip_nonlocal_bind allows it");
    for (const uint32_t workers : {1U, 2U})
        CHECK(
            open_outcome(hello_on({"tcp://192.0.2.1:7001"}), workers) ==
            "exit 71: riposted.toml:12:1: tcp://192.0.2.1:7001: address not available: no network "
            "interface has it ('ip address' lists the addresses of this host)");
}

TEST_CASE("a link-local address without its zone is refused with an example") {
    if (!has_ipv6())
        SKIP("no IPv6 here");
    CHECK(
        open_outcome(hello_on({"udp://[fe80::1]:0"})) ==
        "exit 71: riposted.toml:12:1: udp://[fe80::1]:0: not an address to listen on (a link-local "
        "one needs its zone: [fe80::1%eth0])");
}

TEST_CASE("a lack of descriptors is an operating system error that says how to get more") {
    CHECK(
        in_child([] {
            const rlimit limit{20, 20};
            ::setrlimit(RLIMIT_NOFILE, &limit);
            return open_outcome(hello_on({"tcp://127.0.0.1:0"}), 30);
        }) == "exit 71: riposted.toml:12:1: tcp://127.0.0.1:0: too many open files: raise "
              "LimitNOFILE= (ulimit -n)");
}

TEST_CASE("without IPv6 the star is all of IPv4, and an IPv6 address is refused") {
    const std::string text = in_child([]() -> std::string {
        if (!forbid_ipv6())
            return "not permitted";
        std::string result = has_ipv6() ? "has IPv6\n" : "";
        for (const std::string address : {"tcp://*:0", "udp://*:0"}) {
            const auto listeners = Listeners::open(hello_on({address}), {}, 1);
            if (!listeners)
                return listeners.error().message;
            const int fd = listeners->plan(0)[0].fd;
            const bool labelled =
                listeners->labels()[0] ==
                fmt::format("hello on {}0.0.0.0:{}", address.substr(0, 6), port_of(fd));
            result += labelled ? "all of IPv4\n" : listeners->labels()[0];
        }
        return result + open_outcome(hello_on({"tcp://[::1]:0"}));
    });
    if (text == "not permitted")
        SKIP("seccomp filters are not permitted");
    CHECK(
        text ==
        "all of IPv4\nall of IPv4\n"
        "exit 71: riposted.toml:12:1: tcp://[::1]:0: address family not supported by this system");
}

TEST_CASE("the check for IPv6 agrees with the kernel") {
    const Fd fd = foreign_socket("::1", Transport::udp);
    CHECK(has_ipv6() == (fd.get() >= 0));
}

TEST_CASE("addresses overlap if one port cannot serve both") {
    if (!has_ipv6())
        SKIP("no IPv6 here");
    const auto address = [](const std::string& text) {
        const auto endpoint = parse_endpoint(text, {.wildcard = true, .default_port = {}}).value();
        const auto resolved =
            resolve(endpoint, *endpoint.transport, Family::any, true).value().front();
        return ListenAddress{*endpoint.transport, resolved, endpoint.host == "*"};
    };
    const auto both = [&](const std::string& a, const std::string& b) {
        CHECK(overlap(address(a), address(b)) == overlap(address(b), address(a)));
        return overlap(address(a), address(b));
    };
    CHECK(both("tcp://*:7001", "tcp://127.0.0.1:7001"));
    CHECK(both("tcp://*:7001", "tcp://[::1]:7001"));
    CHECK(both("tcp://*:7001", "tcp://0.0.0.0:7001"));
    CHECK(both("tcp://0.0.0.0:7001", "tcp://127.0.0.1:7001"));
    CHECK(both("udp://127.0.0.1:7001", "udp://127.0.0.1:7001"));
    CHECK_FALSE(both("tcp://[::]:7001", "tcp://0.0.0.0:7001"));
    CHECK_FALSE(both("tcp://[::]:7001", "tcp://127.0.0.1:7001"));
    CHECK_FALSE(both("tcp://*:7001", "udp://*:7001"));
    CHECK_FALSE(both("tcp://*:7001", "tcp://*:7002"));
    CHECK_FALSE(both("tcp://127.0.0.1:7001", "tcp://127.0.0.2:7001"));
}
