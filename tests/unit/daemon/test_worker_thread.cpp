// The mailbox between the main thread and a worker's, with real sockets. Also runs under
// ThreadSanitizer.

#include "build_features.h"
#include "common/fd.h"
#include "daemon/worker/worker_thread.h"
#include "tests/support/patience.h"
#include "tests/support/skip.h"

#include <string>
#include <thread>

#include <doctest/doctest.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>

using namespace riposte;

namespace {

/// A listening socket on a free port of 127.0.0.1.
struct ListenerSlot {
    Fd fd{::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0)};
    sockaddr_in address{};

    ListenerSlot() {
        address.sin_family = AF_INET;
        address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        socklen_t size = sizeof address;
        REQUIRE(::bind(fd.get(), reinterpret_cast<sockaddr*>(&address), size) == 0);
        REQUIRE(::listen(fd.get(), 16) == 0);
        REQUIRE(::getsockname(fd.get(), reinterpret_cast<sockaddr*>(&address), &size) == 0);
    }

    ListenerSpec lend(uint64_t id, ServiceKind kind, const ServiceOptions& options = {}) const {
        return {
            .id = id,
            .fd = fd.get(),
            .transport = Transport::tcp,
            .kind = kind,
            .service = make_service(kind, options),
            .label = "test"};
    }

    Fd connect() const {
        Fd client(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
        REQUIRE(
            ::connect(client.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) ==
            0);
        const timeval bound{.tv_sec = test::patience_ms() / 1000, .tv_usec = 0};
        ::setsockopt(client.get(), SOL_SOCKET, SO_RCVTIMEO, &bound, sizeof bound);
        return client;
    }
};

std::string exchange(const Fd& client, std::string_view message) {
    REQUIRE(
        ::send(client.get(), message.data(), message.size(), MSG_NOSIGNAL) ==
        static_cast<ssize_t>(message.size()));
    char buffer[256];
    ssize_t n = ::recv(client.get(), buffer, sizeof buffer, 0);
    REQUIRE(n >= 0);
    return std::string(buffer, static_cast<size_t>(n));
}

struct Running {
    Fd news{::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)};

    /// Waits for news until `done` is true.
    void wait_until(auto done) {
        while (!done()) {
            pollfd fd{news.get(), POLLIN, 0};
            REQUIRE(::poll(&fd, 1, test::patience_ms()) == 1);
            uint64_t count = 0;
            [[maybe_unused]] ssize_t n = ::read(news.get(), &count, sizeof count);
        }
    }
};

/// Starts a worker; null, with a message, if the backend is not available here.
std::unique_ptr<WorkerThread> start(
    BackendChoice backend, WorkerPlan plan, const Running& fixture, std::string& why) {
    auto worker = std::make_unique<WorkerThread>(0, backend, std::move(plan), fixture.news.get());
    auto started = worker->started();
    if (started)
        return worker;
    why = started.error().message;
    CHECK(started.error().exit == Exit::unavailable);
    return nullptr;
}

void live_and_die(BackendChoice backend, bool by_force, std::string& skip) {
    ListenerSlot first;
    ListenerSlot second;
    Running fixture;
    TcpLimits limits{.connections_max = 16};
    auto worker = start(backend, {{first.lend(1, ServiceKind::echo)}, limits}, fixture, skip);
    if (!worker)
        return;
    Fd client = first.connect();
    CHECK(exchange(client, "before") == "before");

    // A reload removes the first listener and adds another; the connection continues.
    worker->apply({{second.lend(2, ServiceKind::hello, {.message = "moin"})}, limits}, 7);
    fixture.wait_until([&] { return worker->settled() == 7; });
    CHECK(exchange(second.connect(), "x") == "moin");
    CHECK(exchange(client, "after") == "after");

    // A reload without changes settles as well, although no socket has an event.
    worker->apply({{second.lend(2, ServiceKind::hello, {.message = "moin"})}, limits}, 8);
    fixture.wait_until([&] { return worker->settled() == 8; });

    worker->ping(3);
    const auto end = std::chrono::steady_clock::now() + test::patience();
    while (worker->answered() != 3 && std::chrono::steady_clock::now() < end)
        std::this_thread::sleep_for(std::chrono::milliseconds(1));
    CHECK(worker->answered() == 3);

    CHECK_FALSE(worker->stopped());
    if (by_force) {
        worker->abort();
        fixture.wait_until([&] { return worker->stopped(); });
        char byte = 0;
        CHECK(::recv(client.get(), &byte, 1, 0) == -1);
        CHECK(errno == ECONNRESET);
    } else {
        worker->drain(static_cast<uint32_t>(test::patience_ms()), 0);
        char byte = 0;
        CHECK(::recv(client.get(), &byte, 1, 0) == 0); // FIN, not RST
        client.reset();
        fixture.wait_until([&] { return worker->stopped(); });
    }
    CHECK(worker->metrics().get(Counter::connections_accepted) == 2);
    CHECK(worker->metrics().get(Counter::connections_closed) == 2);
}

/// Two workers, one after the other, and a connection that the first one accepts.
void pass_on(BackendChoice backend, std::string& skip) {
    ListenerSlot socket;
    Running fixture;
    TcpLimits limits{.connections_max = 16};
    auto first = start(backend, {{socket.lend(1, ServiceKind::echo)}, limits}, fixture, skip);
    if (!first)
        return;
    Fd client = socket.connect();
    Fd other = socket.connect();
    CHECK(exchange(client, "before") == "before");
    CHECK(exchange(other, "before") == "before");
    first->drain(static_cast<uint32_t>(test::patience_ms()), 1);
    char byte = 0;
    pollfd ends[] = {{client.get(), POLLIN, 0}, {other.get(), POLLIN, 0}};
    REQUIRE(::poll(ends, 2, test::patience_ms()) == 1);
    if (ends[0].revents != 0)
        std::swap(client, other);
    CHECK(::recv(other.get(), &byte, 1, 0) == 0);
    other.reset();
    fixture.wait_until([&] { return first->stopped(); });
    auto released = first->take_released();
    REQUIRE(released.size() == 1);
    CHECK((released[0].kind == ServiceKind::echo));
    CHECK(first->metrics().get(Counter::connections_handed_over) == 1);
    CHECK(first->metrics().get(Counter::connections_closed) == 1);
    first.reset();
    REQUIRE(::send(client.get(), "between", 7, MSG_NOSIGNAL) == 7);

    auto second = start(backend, {{socket.lend(5, ServiceKind::echo)}, limits}, fixture, skip);
    REQUIRE(second);
    std::vector<handoff::Adopted> adopted;
    adopted.push_back({std::move(released[0].fd), released[0].kind, 5});
    second->adopt(std::move(adopted));
    char buffer[16];
    REQUIRE(::recv(client.get(), buffer, sizeof buffer, 0) == 7);
    CHECK(std::string_view(buffer, 7) == "between");
    CHECK(exchange(client, "after") == "after");
    CHECK(second->metrics().get(Counter::connections_adopted) == 1);
    client.reset();
    second->drain(static_cast<uint32_t>(test::patience_ms()), 0);
    fixture.wait_until([&] { return second->stopped(); });
    CHECK(second->metrics().get(Counter::connections_closed) == 1);
}

} // namespace

TEST_CASE("the next worker continues a connection that a worker on epoll hands over") {
    std::string skip;
    pass_on(BackendChoice::epoll, skip);
    CHECK(skip.empty());
}

TEST_CASE("a worker on epoll serves, adopts a plan, answers a ping, drains") {
    std::string skip;
    live_and_die(BackendChoice::epoll, false, skip);
    CHECK(skip.empty());
}

TEST_CASE("a worker on epoll can be aborted") {
    std::string skip;
    live_and_die(BackendChoice::epoll, true, skip);
    CHECK(skip.empty());
}

#if RIPOSTE_HAVE_IO_URING

TEST_CASE("a worker on io_uring serves, adopts a plan, answers a ping, drains") {
    std::string skip;
    live_and_die(BackendChoice::io_uring, false, skip);
    if (!skip.empty())
        SKIP(skip);
}

TEST_CASE("the next worker continues a connection that a worker on io_uring hands over") {
    std::string skip;
    pass_on(BackendChoice::io_uring, skip);
    if (!skip.empty())
        SKIP(skip);
}

TEST_CASE("a worker on io_uring can be aborted") {
    std::string skip;
    live_and_die(BackendChoice::io_uring, true, skip);
    if (!skip.empty())
        SKIP(skip);
}

#endif
