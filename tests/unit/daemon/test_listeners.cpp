// Listeners as a whole: those that a configuration opens, and those that a reload keeps. Single
// sockets, errors and inherited ones: test_listen_socket.cpp, test_inherited.cpp.
#include "daemon/listen/listen_socket.h"
#include "daemon/listen/listeners.h"
#include "tests/support/skip.h"
#include "tests/unit/daemon/listen_support.h"

#include <algorithm>
#include <set>
#include <vector>

#include <doctest/doctest.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

using namespace riposte;
using namespace riposte::test;

namespace {

Listeners open_ok(const Sections& sections, uint32_t workers = 1) {
    auto listeners = Listeners::open(sections, {}, workers);
    REQUIRE_MESSAGE(listeners.has_value(), outcome(listeners));
    return std::move(*listeners);
}

} // namespace

TEST_CASE("port 0 binds a free port, and the label names it") {
    const Listeners listeners = open_ok(hello_on({"tcp://127.0.0.1:0", "udp://127.0.0.1:0"}));
    const auto plan = listeners.plan(0);
    REQUIRE(plan.size() == 2);
    CHECK(port_of(plan[0].fd) != 0);
    CHECK(plan[0].label == fmt::format("hello on tcp://127.0.0.1:{}", port_of(plan[0].fd)));
    CHECK(plan[1].label == fmt::format("hello on udp://127.0.0.1:{}", port_of(plan[1].fd)));
    CHECK((plan[0].transport == Transport::tcp));
    CHECK((plan[1].transport == Transport::udp));
    CHECK(plan[0].id != plan[1].id);
    CHECK(listeners.labels() == std::vector{plan[0].label, plan[1].label});
    CHECK_FALSE(listeners.inherited());
    CHECK(connect_error("127.0.0.1", port_of(plan[0].fd)) == 0);
}

TEST_CASE("each address of each section is opened with its own service") {
    const Listeners listeners = open_ok(Sections({
        listen_on(ServiceKind::echo, {"tcp://127.0.0.1:0", "udp://127.0.0.2:0"}),
        listen_on(ServiceKind::daytime, {"tcp://127.0.0.1:0"}),
    }));
    const auto plan = listeners.plan(0);
    REQUIRE(plan.size() == 3);
    CHECK((plan[0].kind == ServiceKind::echo));
    CHECK((plan[1].kind == ServiceKind::echo));
    CHECK((plan[2].kind == ServiceKind::daytime));
    CHECK(plan[1].label == fmt::format("echo on udp://127.0.0.2:{}", port_of(plan[1].fd)));
    for (const ListenerSpec& listener : plan)
        CHECK(listener.service != nullptr);
}

TEST_CASE("a name opens each of its addresses, on one port if that is free") {
    const Listeners listeners = open_ok(hello_on({"tcp://localhost:0"}));
    const auto addresses =
        resolve({Transport::tcp, "localhost", 0}, Transport::tcp, Family::any, true);
    REQUIRE(addresses.has_value());
    const auto plan = listeners.plan(0);
    CHECK(plan.size() >= 1);
    CHECK(plan.size() <= addresses->size());
    for (const ListenerSpec& listener : plan) {
        CHECK(listener.label == "hello on tcp://" + to_string(local_address(listener.fd)));
        CHECK(port_of(listener.fd) != 0);
    }
}

TEST_CASE("with several workers each has its own socket on the same port") {
    constexpr uint32_t workers = 3;
    const Listeners listeners =
        open_ok(hello_on({"tcp://127.0.0.1:0", "udp://127.0.0.1:0", "udp://*:0"}), workers);
    CHECK(listeners.labels().size() == 3);
    std::set<int> fds;
    std::set<uint64_t> ids;
    for (uint32_t worker = 0; worker < workers; ++worker) {
        const auto plan = listeners.plan(worker);
        REQUIRE(plan.size() == 3);
        for (size_t i = 0; i < plan.size(); ++i) {
            CHECK(port_of(plan[i].fd) == port_of(listeners.plan(0)[i].fd));
            CHECK(plan[i].label == listeners.labels()[i]);
            CHECK(option(plan[i].fd, SOL_SOCKET, SO_REUSEPORT) == 1);
            CHECK(plan[i].service == listeners.plan(0)[i].service);
            fds.insert(plan[i].fd);
            ids.insert(plan[i].id);
        }
    }
    CHECK(fds.size() == 9);
    CHECK(ids.size() == 9);
}

TEST_CASE("overlapping addresses of one configuration are a configuration error") {
    for (const uint32_t workers : {1U, 2U}) {
        for (const std::string transport : {"tcp", "udp"}) {
            CAPTURE(workers);
            CAPTURE(transport);
            // A port that was free a moment ago.
            const auto port = port_of(open_ok(hello_on({transport + "://*:0"})).plan(0)[0].fd);
            CHECK(
                open_outcome(
                    hello_on(
                        {fmt::format("{}://*:{}", transport, port),
                         fmt::format("{}://127.0.0.1:{}", transport, port)}),
                    workers) ==
                fmt::format(
                    "exit 78: riposted.toml:12:1: {0}://127.0.0.1:{1}: address already in "
                    "use by this daemon's own {0}://*:{1} (riposted.toml:12:1)",
                    transport, port));
        }
    }
}

TEST_CASE("the same port on tcp and udp, on two addresses or on both families is not a conflict") {
    if (!has_ipv6())
        SKIP("no IPv6 here");
    const auto port = port_of(open_ok(hello_on({"tcp://*:0"})).plan(0)[0].fd);
    const Listeners listeners = open_ok(hello_on({
        fmt::format("tcp://127.0.0.1:{}", port),
        fmt::format("tcp://127.0.0.2:{}", port),
        fmt::format("tcp://[::1]:{}", port),
    }));
    CHECK(listeners.plan(0).size() == 3);
    const Listeners any = open_ok(hello_on({"udp://0.0.0.0:0"}));
    const auto any_port = port_of(any.plan(0)[0].fd);
    const Listeners any6 = open_ok(hello_on({fmt::format("udp://[::]:{}", any_port)}));
    CHECK(any6.labels().front() == fmt::format("hello on udp://[::]:{}", any_port));
}

TEST_CASE("an error opens nothing and leaks nothing") {
    const Fd foreign = foreign_socket("127.0.0.1", Transport::tcp);
    REQUIRE(foreign.get() >= 0);
    const size_t before = open_descriptors();
    for (const uint32_t workers : {1U, 4U}) {
        const auto listeners = Listeners::open(
            hello_on(
                {"tcp://127.0.0.1:0", "udp://127.0.0.1:0",
                 fmt::format("tcp://127.0.0.1:{}", port_of(foreign.get()))}),
            {}, workers);
        CHECK_FALSE(listeners.has_value());
    }
    CHECK(open_descriptors() == before);
}

TEST_CASE("listeners close their sockets when they are destroyed") {
    const size_t before = open_descriptors();
    {
        Listeners first = open_ok(hello_on({"tcp://127.0.0.1:0"}), 2);
        Listeners second = open_ok(hello_on({"tcp://127.0.0.1:0"}), 2);
        CHECK(open_descriptors() == before + 4);
        first = std::move(second);
        CHECK(open_descriptors() == before + 2);
    }
    CHECK(open_descriptors() == before);
}

TEST_CASE("a reload of the same configuration changes nothing") {
    const Sections config = Sections({
        listen_on(ServiceKind::hello, {"tcp://127.0.0.1:0", "udp://*:0"}),
        listen_on(ServiceKind::echo, {"tcp://localhost:0"}),
    });
    for (const uint32_t workers : {1U, 2U}) {
        Listeners listeners = open_ok(config, workers);
        const auto before = listeners.plan(workers - 1);
        const size_t descriptors = open_descriptors();
        REQUIRE(outcome(listeners.apply(config)) == "applied");
        listeners.close_removed();
        const auto after = listeners.plan(workers - 1);
        REQUIRE(after.size() == before.size());
        for (size_t i = 0; i < before.size(); ++i) {
            CHECK(after[i].id == before[i].id);
            CHECK(after[i].fd == before[i].fd);
            CHECK(after[i].service == before[i].service);
            CHECK(after[i].label == before[i].label);
        }
        CHECK(open_descriptors() == descriptors);
    }
}

TEST_CASE("a changed message or service keeps the socket and its id") {
    Listeners listeners = open_ok(Sections({
        listen_on(ServiceKind::hello, {"tcp://127.0.0.1:0"}, "one"),
        listen_on(ServiceKind::hello, {"udp://127.0.0.1:0"}, "same"),
    }));
    const auto before = listeners.plan(0);
    REQUIRE(
        outcome(listeners.apply(Sections({
            listen_on(ServiceKind::hello, {"tcp://127.0.0.1:0"}, "two"),
            listen_on(ServiceKind::hello, {"udp://127.0.0.1:0"}, "same"),
        }))) == "applied");
    const auto message = listeners.plan(0);
    CHECK(message[0].id == before[0].id);
    CHECK(message[0].fd == before[0].fd);
    CHECK(message[0].service != before[0].service);
    CHECK(message[1].service == before[1].service);

    REQUIRE(
        outcome(listeners.apply(Sections({
            listen_on(ServiceKind::echo, {"tcp://127.0.0.1:0"}),
            listen_on(ServiceKind::hello, {"udp://127.0.0.1:0"}, "same"),
        }))) == "applied");
    const auto service = listeners.plan(0);
    CHECK(service[0].id == before[0].id);
    CHECK((service[0].kind == ServiceKind::echo));
    CHECK(service[0].service != message[0].service);
    CHECK(service[0].label == fmt::format("echo on tcp://127.0.0.1:{}", port_of(before[0].fd)));
    CHECK(service[1].service == before[1].service);
}

TEST_CASE("the kernel defers a connection until its first message for hello only") {
    const auto deferred = [](const Listeners& listeners, uint32_t worker) {
        std::vector<bool> found;
        for (const ListenerSpec& listener : listeners.plan(worker)) {
            int seconds = 0;
            socklen_t size = sizeof seconds;
            REQUIRE(::getsockopt(listener.fd, IPPROTO_TCP, TCP_DEFER_ACCEPT, &seconds, &size) == 0);
            found.push_back(seconds > 0);
        }
        return found;
    };
    constexpr const char* first = "tcp://127.0.0.1:0";
    constexpr const char* second = "tcp://127.0.0.2:0";
    Listeners listeners = open_ok(
        Sections({listen_on(ServiceKind::hello, {first}), listen_on(ServiceKind::echo, {second})}),
        2);
    for (const uint32_t worker : {0u, 1u})
        CHECK(deferred(listeners, worker) == std::vector{true, false});
    REQUIRE(
        outcome(listeners.apply(Sections(
            {listen_on(ServiceKind::daytime, {first}),
             listen_on(ServiceKind::hello, {second})}))) == "applied");
    for (const uint32_t worker : {0u, 1u})
        CHECK(deferred(listeners, worker) == std::vector{false, true});
}

TEST_CASE("a reload adds listeners with new ids, in the order of the configuration") {
    Listeners listeners = open_ok(hello_on({"tcp://127.0.0.1:0"}), 2);
    const auto before = listeners.plan(1);
    REQUIRE(
        outcome(listeners.apply(Sections({
            listen_on(ServiceKind::echo, {"udp://127.0.0.1:0", "tcp://127.0.0.2:0"}),
            listen_on(ServiceKind::hello, {"tcp://127.0.0.1:0"}),
        }))) == "applied");
    const auto after = listeners.plan(1);
    REQUIRE(after.size() == 3);
    CHECK((after[0].transport == Transport::udp));
    CHECK(after[2].id == before[0].id);
    CHECK(after[2].fd == before[0].fd);
    for (const size_t added : {0U, 1U}) {
        for (const uint32_t worker : {0U, 1U})
            CHECK(listeners.plan(worker)[added].id > std::max(before[0].id, after[2].id));
    }
}

TEST_CASE("listeners that a reload removes stay open until close_removed") {
    Listeners listeners = open_ok(hello_on({"tcp://127.0.0.1:0", "udp://127.0.0.1:0"}));
    const auto before = listeners.plan(0);
    const uint16_t port = port_of(before[0].fd);
    REQUIRE(outcome(listeners.apply(hello_on({"udp://127.0.0.1:0"}))) == "applied");
    REQUIRE(listeners.plan(0).size() == 1);
    CHECK(listeners.plan(0)[0].id == before[1].id);
    CHECK(listeners.labels() == std::vector{before[1].label});
    CHECK(port_of(before[0].fd) == port);
    CHECK(connect_error("127.0.0.1", port) == 0);

    listeners.close_removed();
    CHECK(::fcntl(before[0].fd, F_GETFD) == -1);
    CHECK(connect_error("127.0.0.1", port) == ECONNREFUSED);
    CHECK(::fcntl(before[1].fd, F_GETFD) >= 0);

    // Its id is not reused, though its address is.
    REQUIRE(
        outcome(listeners.apply(hello_on({"tcp://127.0.0.1:0", "udp://127.0.0.1:0"}))) ==
        "applied");
    CHECK(listeners.plan(0)[0].id > before[1].id);
}

TEST_CASE("a reload that fails changes nothing and leaks nothing") {
    const Fd foreign = foreign_socket("127.0.0.1", Transport::tcp);
    const uint16_t port = port_of(foreign.get());
    for (const uint32_t workers : {1U, 3U}) {
        Listeners listeners = open_ok(
            Sections({listen_on(ServiceKind::hello, {"tcp://127.0.0.1:0"}, "one")}), workers);
        const auto before = listeners.plan(0);
        const size_t descriptors = open_descriptors();
        CHECK(
            outcome(listeners.apply(Sections({
                listen_on(ServiceKind::hello, {"tcp://127.0.0.1:0"}, "two"),
                listen_on(
                    ServiceKind::echo,
                    {"udp://127.0.0.1:0", fmt::format("tcp://127.0.0.1:{}", port)}),
            }))) ==
            fmt::format(
                "exit 71: riposted.toml:12:1: tcp://127.0.0.1:{0}: address already in use; "
                "another process holds the port (ss -ltnp 'sport = {0}' shows it)",
                port));
        const auto after = listeners.plan(0);
        REQUIRE(after.size() == 1);
        CHECK(after[0].id == before[0].id);
        CHECK(after[0].service == before[0].service);
        CHECK(open_descriptors() == descriptors);
    }
}

TEST_CASE("a reload cannot replace an address by one that overlaps it, and says so") {
    if (!has_ipv6())
        SKIP("no IPv6 here");
    for (const uint32_t workers : {1U, 2U}) {
        CAPTURE(workers);
        uint16_t port = 0;
        {
            const Listeners any = open_ok(hello_on({"tcp://*:0"}));
            port = port_of(any.plan(0)[0].fd);
        }
        const auto narrow = hello_on({fmt::format("tcp://127.0.0.1:{}", port)});
        const auto wide = hello_on({fmt::format("tcp://*:{}", port)});
        const std::string refused = fmt::format(
            "exit 78: riposted.toml:12:1: tcp://*:{0}: address already in use by this "
            "daemon's own tcp://127.0.0.1:{0} (riposted.toml:12:1); a reload opens "
            "sockets before it closes others: restart to replace it",
            port);
        Listeners listeners = open_ok(narrow, workers);
        CHECK(outcome(listeners.apply(wide)) == refused);

        // The port is free after the listener is removed and closed, not before.
        REQUIRE(outcome(listeners.apply(hello_on({"udp://127.0.0.1:0"}))) == "applied");
        CHECK(outcome(listeners.apply(wide)) == refused);
        listeners.close_removed();
        CHECK(outcome(listeners.apply(wide)) == "applied");
    }
}
