// Between two processes: which connections are inherited under which name, which worker continues
// them, and which are stored.
#include "build_features.h"
#include "common/address.h"
#include "daemon/supervisor/fd_store.h"
#include "tests/support/accept_one.h"
#include "tests/support/child.h"
#include "tests/unit/daemon/listen_support.h"

#include <string>
#include <utility>
#include <vector>

#include <doctest/doctest.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>

using namespace riposte;
using namespace riposte::test;

namespace {

/// A TCP connection on loopback, accepted by a listener.
struct Pair {
    Fd listener = foreign_socket("127.0.0.1", Transport::tcp);
    Fd client;
    Fd server;

    Pair() {
        client = Fd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
        SocketAddress address = local_address(listener.get());
        REQUIRE(::connect(client.get(), address.get(), address.size) == 0);
        server = test::accept_one(listener.get());
        REQUIRE(server);
    }
};

std::vector<systemd::InheritedSocket> one(std::string name, Fd fd) {
    std::vector<systemd::InheritedSocket> sockets;
    sockets.push_back({std::move(fd), std::move(name)});
    return sockets;
}

/// The problem that is reported for one descriptor of that name.
std::string verdict(std::string name, Fd fd) {
    auto sockets = one(std::move(name), std::move(fd));
    const Inheritance taken = take_connections(sockets);
    CHECK(sockets.empty());
    CHECK(taken.names.size() == 1);
    REQUIRE(taken.problems.size() <= 1);
    return fmt::format(
        "{} taken, {} ended; {}", taken.connections.size(), taken.ended,
        taken.problems.empty()
            ? ""
            : fmt::format("{}: {}", taken.problems[0].token, taken.problems[0].text));
}

ListenerSpec listener(uint64_t id, ServiceKind kind, int fd) {
    return {
        .id = id, .fd = fd, .transport = Transport::tcp, .kind = kind, .service = {}, .label = ""};
}

} // namespace

TEST_CASE("a service's connection is taken out of the inherited sockets, with accept's options") {
    Pair pair;
    const int fd = pair.server.get();
    auto sockets = one("connection-echo", std::move(pair.server));
    sockets.push_back({std::move(pair.listener), "echo"});
    const Inheritance taken = take_connections(sockets);
    REQUIRE(sockets.size() == 1);
    CHECK(sockets[0].name == "echo");
    CHECK(sockets[0].fd);
    REQUIRE(taken.connections.size() == 1);
    CHECK(taken.connections[0].fd.get() == fd);
    CHECK((taken.connections[0].kind == ServiceKind::echo));
    CHECK(taken.names == std::vector<std::string>{"connection-echo"});
    CHECK(taken.problems.empty());
    CHECK((::fcntl(fd, F_GETFL) & O_NONBLOCK) != 0);
    CHECK(option(fd, IPPROTO_TCP, TCP_NODELAY) == 1);
    CHECK(option(fd, SOL_SOCKET, SO_OOBINLINE) == 1);
}

TEST_CASE("each name is removed from the store once, whatever was stored under it") {
    std::vector<systemd::InheritedSocket> sockets;
    for (int i = 0; i < 3; ++i) {
        sockets.push_back({Fd(Pair().server.release()), "connection-echo"});
        sockets.push_back({Fd(::open("/dev/null", O_RDWR | O_CLOEXEC)), "connection-ecko"});
    }
    const Inheritance taken = take_connections(sockets);
    CHECK(taken.names == std::vector<std::string>{"connection-echo", "connection-ecko"});
    REQUIRE(taken.problems.size() == 1);
    CHECK(taken.problems[0].token == "no_service");
    CHECK(
        taken.problems[0].text ==
        "closed 3 inherited descriptors named 'connection-ecko': no such service");
}

TEST_CASE(
    "a descriptor other than TCP is closed and reported; a reset connection is only counted") {
    const auto closed = [](std::string_view name, std::string_view token, std::string_view why) {
        return fmt::format(
            "0 taken, 0 ended; {}: closed 1 inherited descriptor named '{}': {}", token, name, why);
    };
    for (const char* name : {"connection-", "connection-Echo", "connection-echo "}) {
        Pair pair;
        CHECK(
            verdict(name, std::move(pair.server)) == closed(name, "no_service", "no such service"));
    }
    CHECK(
        verdict("connection-e\n", Fd(::open("/dev/null", O_RDWR | O_CLOEXEC))) ==
        closed("connection-e\\n", "no_service", "no such service"));
    CHECK(
        verdict("connection-echo", Fd(::open("/dev/null", O_RDWR | O_CLOEXEC))) ==
        closed("connection-echo", "not_a_socket", "not a socket"));
    CHECK(
        verdict("connection-echo", Fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0))) ==
        closed("connection-echo", "not_tcp", "not TCP"));
    CHECK(
        verdict("connection-echo", foreign_socket("127.0.0.1", Transport::udp)) ==
        closed("connection-echo", "not_tcp", "not TCP"));
    CHECK(
        verdict("connection-echo", foreign_socket("127.0.0.1", Transport::tcp)) ==
        closed("connection-echo", "listening", "a socket that listens"));
    Pair gone;
    const linger at_close{.l_onoff = 1, .l_linger = 0};
    ::setsockopt(gone.client.get(), SOL_SOCKET, SO_LINGER, &at_close, sizeof at_close);
    gone.client.reset();
    CHECK(verdict("connection-echo", std::move(gone.server)) == "0 taken, 1 ended; ");
}

TEST_CASE(
    "workers take turns, and each connection goes to its service, preferably on its own port") {
    Pair first;
    Pair second;
    Pair third;
    const auto plan = [&](uint64_t id) {
        ListenerSpec datagrams = listener(id, ServiceKind::echo, second.listener.get());
        datagrams.transport = Transport::udp;
        return std::vector{
            listener(id + 1, ServiceKind::discard, second.listener.get()), datagrams,
            listener(id + 2, ServiceKind::echo, first.listener.get()),
            listener(id + 3, ServiceKind::echo, second.listener.get())};
    };
    const std::vector plans{plan(10), plan(20)};
    const std::vector fds{first.server.get(), second.server.get(), third.server.get()};
    std::vector<handoff::Stored> connections;
    connections.push_back({std::move(third.server), ServiceKind::echo}); // no listener has its port
    connections.push_back({std::move(second.server), ServiceKind::echo});
    connections.push_back(
        {std::move(first.server), ServiceKind::time}); // no listener has its service
    const auto placed = place_connections(std::move(connections), plans);
    REQUIRE(placed.size() == 2);
    REQUIRE(placed[0].size() == 2);
    REQUIRE(placed[1].size() == 1);
    CHECK(placed[0][0].fd.get() == fds[2]);
    CHECK(placed[0][0].listener == 12);
    CHECK(placed[1][0].fd.get() == fds[1]);
    CHECK(placed[1][0].listener == 23);
    CHECK(placed[0][1].fd.get() == fds[0]);
    CHECK(placed[0][1].listener == 0);
    CHECK((placed[0][1].kind == ServiceKind::time));
}

TEST_CASE("finished connections get FIN, and no reset for bytes that they still send") {
    Pair pair;
    const std::string said(100'000, 'x');
    REQUIRE(::send(pair.client.get(), said.data(), 1000, MSG_NOSIGNAL) == 1000);
    REQUIRE(::shutdown(pair.client.get(), SHUT_WR) == 0);
    std::vector<Fd> fds;
    fds.push_back(std::move(pair.server));
    finish_connections(std::move(fds), 10'000);
    char byte = 0;
    CHECK(::recv(pair.client.get(), &byte, 1, 0) == 0);
    CHECK(option(pair.client.get(), SOL_SOCKET, SO_ERROR) == 0);
}

#if RIPOSTE_HAVE_SYSTEMD

namespace {

/// The outcome of connections without a listener.
std::string stored_for_nobody(size_t echoes, size_t discards) {
    return in_child([&] {
        forget_service_manager();
        set_environment("NOTIFY_SOCKET", "/nonexistent/notify");
        systemd::Notifier notifier;
        std::vector<handoff::Stored> connections;
        connections.reserve(echoes + discards);
        for (size_t i = 0; i < echoes; ++i)
            connections.push_back({Fd(::dup(0)), ServiceKind::echo});
        for (size_t i = 0; i < discards; ++i)
            connections.push_back({Fd(::dup(0)), ServiceKind::discard});
        const StoreOutcome stored = store_connections(std::move(connections), notifier, -1);
        bool open = true;
        for (const Fd& fd : stored.left)
            open = open && ::fcntl(fd.get(), F_GETFD) >= 0;
        return fmt::format(
            "{} stored, {} left{}: {}", stored.count, stored.left.size(), open ? "" : " CLOSED",
            stored.problem.text);
    });
}

} // namespace

TEST_CASE("connections that cannot be stored are left, with the reason") {
    CHECK(
        stored_for_nobody(300, 2) ==
        "0 stored, 302 left: the service manager did not take them: No such file or directory");
}

TEST_CASE("the store's capacity is what the manager says, as far as the variable is valid") {
    const auto capacity = [](const char* fdstore, bool manager) {
        return in_child([&] {
            forget_service_manager();
            unset_environment("FDSTORE");
            if (fdstore != nullptr)
                set_environment("FDSTORE", fdstore);
            if (manager)
                set_environment("NOTIFY_SOCKET", "@manager");
            return std::to_string(systemd::store_capacity());
        });
    };
    CHECK(capacity("4096", true) == "4096");
    CHECK(capacity("100000", true) == "6000");
    CHECK(capacity("4096", false) == "0");
    CHECK(capacity(nullptr, true) == "0");
    for (const char* wrong : {"", "0", "-1", "x", "12x", "99999999999"})
        CHECK(capacity(wrong, true) == "0");
}

#endif
