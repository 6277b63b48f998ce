// A server in a thread of its own, over a unix socket.
#include "common/http/thread.h"
#include "tests/support/patience.h"

#include <array>
#include <atomic>
#include <memory>
#include <string>
#include <vector>

#include <doctest/doctest.h>
#include <fmt/format.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>

using namespace riposte;

namespace {

struct Served {
    sockaddr_un address{};
    socklen_t size = sizeof(sa_family_t); ///< the kernel chooses an abstract name
    std::unique_ptr<HttpThread> thread{};

    explicit Served(HttpServer::Answer answer) {
        Fd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
        address.sun_family = AF_UNIX;
        REQUIRE(::bind(fd.get(), reinterpret_cast<sockaddr*>(&address), size) == 0);
        REQUIRE(::listen(fd.get(), 16) == 0);
        size = sizeof address;
        REQUIRE(::getsockname(fd.get(), reinterpret_cast<sockaddr*>(&address), &size) == 0);
        std::vector<Fd> listeners;
        listeners.push_back(std::move(fd));
        auto server = HttpServer::create(std::move(listeners), std::move(answer));
        REQUIRE(server.has_value());
        auto started = HttpThread::start(*std::move(server));
        REQUIRE(started.has_value());
        thread = *std::move(started);
    }

    Fd ask(std::string_view path) const {
        Fd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
        REQUIRE(::connect(fd.get(), reinterpret_cast<const sockaddr*>(&address), size) == 0);
        const std::string request = fmt::format("GET {} HTTP/1.0\r\n\r\n", path);
        REQUIRE(
            ::send(fd.get(), request.data(), request.size(), MSG_NOSIGNAL) ==
            static_cast<ssize_t>(request.size()));
        return fd;
    }
};

/// Until the end of the answer; ends with "<late>" if it does not come.
std::string body_of(const Fd& client) {
    std::string text;
    std::array<char, 65536> chunk{};
    pollfd poll{client.get(), POLLIN, 0};
    while (::poll(&poll, 1, test::patience_ms()) == 1) {
        const ssize_t size = ::recv(client.get(), chunk.data(), chunk.size(), 0);
        if (size <= 0)
            return text.substr(std::min(text.find("\r\n\r\n"), text.size()));
        text.append(chunk.data(), static_cast<size_t>(size));
    }
    return text + "<late>";
}

} // namespace

TEST_CASE("a server's thread answers while the caller does other work, and ends with it") {
    const auto caller = std::this_thread::get_id();
    std::atomic<bool> elsewhere = false;
    Fd silent;
    {
        const Served served([&](const HttpRequest& request, uint64_t) {
            elsewhere = std::this_thread::get_id() != caller;
            return line_answer(200, fmt::format("{} {}", request.path(), request.query()));
        });
        CHECK(body_of(served.ask("/a?b=c")) == "\r\n\r\n/a b=c\n");
        CHECK(elsewhere);
        silent = served.ask("/never"); // its answer may or may not leave
    }
    CHECK(!body_of(silent).ends_with("<late>"));
}

TEST_CASE("a large body in many chunks arrives whole at several clients at once") {
    HttpBody large;
    std::string expected = "\r\n\r\n";
    for (size_t i = 0; i < 200'000; ++i) {
        const std::string line = fmt::format("line {} of a document\n", i);
        large.append(line);
        expected += line;
    }
    const auto body = std::make_shared<const HttpBody>(std::move(large));
    const Served served([&](const HttpRequest&, uint64_t) { return HttpAnswer{.body = body}; });
    std::vector<Fd> clients;
    for (int i = 0; i < 4; ++i)
        clients.push_back(served.ask("/"));
    for (const Fd& client : clients)
        CHECK((body_of(client) == expected)); // not printed
}
