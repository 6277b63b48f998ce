// The daemon's server on loopback and on a unix socket, with clients in the same thread and the
// test's own clock; server and clients run in turns.
#include "common/http/server.h"
#include "daemon/telemetry/scrape_answers.h"
#include "tests/support/child.h"
#include "tests/support/patience.h"

#include <array>
#include <cerrno>
#include <string>
#include <vector>

#include <arpa/inet.h>
#include <doctest/doctest.h>
#include <fmt/format.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>

using namespace riposte;
using namespace riposte::test;

namespace {

constexpr uint64_t start_us = 1'000'000'000;

Fd listen_on_loopback(sockaddr_in& address) {
    Fd fd(::socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof address;
    REQUIRE(::bind(fd.get(), reinterpret_cast<sockaddr*>(&address), size) == 0);
    REQUIRE(::listen(fd.get(), 512) == 0);
    REQUIRE(::getsockname(fd.get(), reinterpret_cast<sockaddr*>(&address), &size) == 0);
    return fd;
}

/// An abstract address, which leaves no file behind.
Fd listen_on_unix(sockaddr_un& address, socklen_t& size) {
    Fd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
    address.sun_family = AF_UNIX;
    size = sizeof(sa_family_t); // the kernel chooses a name
    REQUIRE(::bind(fd.get(), reinterpret_cast<sockaddr*>(&address), size) == 0);
    REQUIRE(::listen(fd.get(), 512) == 0);
    size = sizeof address;
    REQUIRE(::getsockname(fd.get(), reinterpret_cast<sockaddr*>(&address), &size) == 0);
    return fd;
}

bool readable(int fd, int timeout_ms = test::patience_ms()) {
    pollfd poll{fd, POLLIN, 0};
    return ::poll(&poll, 1, timeout_ms) == 1;
}

struct Bench {
    uint64_t now_us = start_us;
    uint32_t renders = 0;
    size_t document_bytes = 20;
    sockaddr_in tcp{};
    sockaddr_un local{};
    socklen_t local_size = 0;
    ScrapeAnswers answers{[this](Representation kind) {
        std::string text = fmt::format("{} {} ", static_cast<int>(kind), ++renders);
        text.resize(document_bytes, '.');
        return text;
    }};
    std::unique_ptr<HttpServer> server;

    Bench() {
        std::vector<Fd> listeners;
        listeners.push_back(listen_on_loopback(tcp));
        listeners.push_back(listen_on_unix(local, local_size));
        auto created = HttpServer::create(
            std::move(listeners), [this](const HttpRequest& request, uint64_t at_us) {
                return answers.answer(request, at_us);
            });
        REQUIRE(created.has_value());
        server = std::move(*created);
    }

    std::vector<Fd> connect_many(size_t count) const {
        std::vector<Fd> clients(count);
        for (Fd& client : clients)
            client = connect();
        return clients;
    }

    Fd connect(bool over_tcp = true) const {
        Fd fd(::socket(over_tcp ? AF_INET : AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
        const int result =
            over_tcp ? ::connect(fd.get(), reinterpret_cast<const sockaddr*>(&tcp), sizeof tcp)
                     : ::connect(fd.get(), reinterpret_cast<const sockaddr*>(&local), local_size);
        REQUIRE(result == 0);
        return fd;
    }

    /// Runs the server as its owner does, as its descriptor and its deadline say.
    void turn() const {
        for (int i = 0; i < 1000 && readable(server->fd(), 0); ++i)
            server->on_ready(now_us);
    }

    /// The bytes until the end; they end with "<RST>" after a reset.
    std::string receive(const Fd& client) const {
        std::string text;
        std::array<char, 65536> chunk{};
        for (;;) {
            turn();
            if (!readable(client.get(), 1)) {
                REQUIRE(text.size() < size_t{64} << 20);
                if (!readable(server->fd(), 0) && !readable(client.get(), 2000))
                    return text + "<open>";
                continue;
            }
            const ssize_t size = ::recv(client.get(), chunk.data(), chunk.size(), 0);
            if (size < 0)
                return text + "<RST>";
            if (size == 0)
                return text;
            text.append(chunk.data(), static_cast<size_t>(size));
        }
    }

    std::string ask(std::string_view request, bool over_tcp = true) const {
        const Fd client = connect(over_tcp);
        send(client, request);
        return receive(client);
    }

    static void send(const Fd& client, std::string_view text) {
        REQUIRE(
            ::send(client.get(), text.data(), text.size(), MSG_NOSIGNAL) ==
            static_cast<ssize_t>(text.size()));
    }
};

std::string get(std::string_view path, std::string_view more = "") {
    return fmt::format("GET {} HTTP/1.1\r\nHost: a\r\n{}\r\n", path, more);
}

std::string status_line(const std::string& answer) {
    return answer.substr(0, answer.find("\r\n"));
}

std::string body(const std::string& answer) {
    const size_t end = answer.find("\r\n\r\n");
    return end == std::string::npos ? "<no head>" : answer.substr(end + 4);
}

bool answer_has(const std::string& answer, std::string_view line) {
    return answer.find(fmt::format("\r\n{}\r\n", line)) != std::string::npos;
}

/// True if the peer got a reset or FIN.
bool is_ended(const Fd& client) {
    char byte = 0;
    return readable(client.get()) && ::recv(client.get(), &byte, 1, MSG_DONTWAIT) <= 0 &&
           errno != EAGAIN;
}

} // namespace

TEST_CASE("a scrape gets the document in an accepted format, over TCP and a unix socket") {
    Bench bench;
    for (const bool over_tcp : {true, false}) {
        const std::string text = bench.ask(get("/metrics"), over_tcp);
        CHECK(status_line(text) == "HTTP/1.1 200 OK");
        CHECK(answer_has(text, "Content-Type: text/plain; version=0.0.4; charset=utf-8"));
        CHECK(answer_has(text, "Content-Length: 20"));
        CHECK(answer_has(text, "Vary: Accept"));
        CHECK(answer_has(text, "Cache-Control: no-store"));
        CHECK(answer_has(text, "Connection: close"));
        CHECK(body(text).size() == 20);
        CHECK(body(text).starts_with("0 "));
        const std::string openmetrics =
            bench.ask(get("/metrics?a=b", "Accept: application/openmetrics-text\r\n"), over_tcp);
        CHECK(answer_has(
            openmetrics,
            "Content-Type: application/openmetrics-text; version=1.0.0; charset=utf-8"));
        CHECK(body(openmetrics).starts_with("1 "));
        const std::string json =
            bench.ask(get("/metrics", "Accept: application/json\r\n"), over_tcp);
        CHECK(answer_has(json, "Content-Type: application/json"));
        CHECK(body(json).starts_with("2 "));
    }
    CHECK(bench.server->counts().answered.at(200) == 6);
}

TEST_CASE("HEAD is GET without the body") {
    Bench bench;
    const std::string answer = bench.ask("HEAD /metrics HTTP/1.0\r\n\r\n");
    CHECK(status_line(answer) == "HTTP/1.1 200 OK");
    CHECK(answer_has(answer, "Content-Length: 20"));
    CHECK(body(answer) == "");
}

TEST_CASE("/healthz is ok, and draining during a drain") {
    Bench bench;
    CHECK(body(bench.ask(get("/healthz"))) == "ok\n");
    bench.answers.set_draining();
    const std::string answer = bench.ask(get("/healthz"));
    CHECK(status_line(answer) == "HTTP/1.1 503 Service Unavailable");
    CHECK(body(answer) == "draining\n");
    CHECK(status_line(bench.ask(get("/metrics"))) == "HTTP/1.1 200 OK");
}

TEST_CASE("a request other than a scrape is refused with its status") {
    Bench bench;
    CHECK(status_line(bench.ask(get("/"))) == "HTTP/1.1 404 Not Found");
    CHECK(status_line(bench.ask(get("/metrics/"))) == "HTTP/1.1 404 Not Found");
    const std::string post = bench.ask("POST /metrics HTTP/1.0\r\nContent-Length: 4\r\n\r\nbody");
    CHECK(status_line(post) == "HTTP/1.1 405 Method Not Allowed");
    CHECK(answer_has(post, "Allow: GET, HEAD"));
    CHECK(status_line(bench.ask("nonsense\r\n")) == "HTTP/1.1 400 Bad Request");
    CHECK(status_line(bench.ask("\x16\x03\x01")) == "HTTP/1.1 400 Bad Request");
    CHECK(
        status_line(bench.ask("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")) ==
        "HTTP/1.1 505 HTTP Version Not Supported");
    const std::string large = get("/metrics", fmt::format("A: {}\r\n", std::string(100'000, 'x')));
    CHECK(status_line(bench.ask(large)) == "HTTP/1.1 431 Request Header Fields Too Large");
    const auto& answered = bench.server->counts().answered;
    CHECK(answered == std::map<int, uint64_t>{{400, 2}, {404, 2}, {405, 1}, {431, 1}, {505, 1}});
    CHECK(bench.renders == 0);
}

TEST_CASE("a request may arrive byte by byte, and an answer leaves as the peer reads it") {
    Bench bench;
    bench.document_bytes = size_t{16} << 20;
    const Fd client = bench.connect();
    for (const char& c : get("/metrics")) {
        Bench::send(client, {&c, 1});
        bench.turn();
    }
    CHECK(bench.server->counts().answered.empty()); // larger than the kernel takes at once
    CHECK(body(bench.receive(client)).size() == bench.document_bytes);
    CHECK(bench.server->counts().answered.at(200) == 1);
}

TEST_CASE("a peer that ends early is forgotten, at any stage") {
    Bench bench;
    bench.document_bytes = size_t{16} << 20;
    for (const std::string& request : {std::string(), std::string("GET /met"), get("/metrics")}) {
        CAPTURE(request);
        const uint64_t gone = bench.server->counts().gone;
        {
            const Fd client = bench.connect();
            Bench::send(client, request);
            bench.turn();
            CHECK(bench.server->connections() == 1);
        }
        for (int i = 0; i < 1000 && bench.server->connections() > 0; ++i) {
            readable(bench.server->fd(), 20);
            bench.turn();
        }
        CHECK(bench.server->connections() == 0);
        CHECK(bench.server->counts().gone == gone + 1);
    }
}

TEST_CASE("no connection outlives its lifetime, whatever its peer does") {
    Bench bench;
    bench.document_bytes = size_t{16} << 20;
    std::vector<Fd> clients;
    for (const std::string& request :
         {std::string(), std::string("GET /met"), get("/metrics"), get("/healthz")}) {
        clients.push_back(bench.connect());
        Bench::send(clients.back(), request);
        readable(bench.server->fd());
        bench.turn();
    }
    CHECK(bench.server->connections() == 4);
    CHECK(bench.server->deadline_us() == start_us + HttpServer::lifetime_us);
    bench.now_us += HttpServer::lifetime_us - 1;
    bench.server->on_ready(bench.now_us);
    CHECK(bench.server->connections() == 4);
    bench.now_us += 1;
    bench.server->on_ready(bench.now_us);
    CHECK(bench.server->connections() == 0);
    CHECK(bench.server->deadline_us() == std::nullopt);
    CHECK(bench.server->counts().slow == 3); // the fourth had its answer
    CHECK(bench.server->counts().answered.at(200) == 1);
    for (size_t i = 0; i < 2; ++i)
        CHECK(is_ended(clients[i]));
    CHECK(bench.receive(clients[2]).ends_with("<RST>"));
}

TEST_CASE("a connection over the limit evicts the oldest one") {
    Bench bench;
    const std::vector<Fd> clients = bench.connect_many(HttpServer::connections_max);
    readable(bench.server->fd());
    bench.turn();
    CHECK(bench.server->connections() == HttpServer::connections_max);
    CHECK(body(bench.ask(get("/healthz"))) == "ok\n");
    CHECK(is_ended(clients.front()));
    CHECK(!readable(clients[1].get(), 0));
    CHECK(bench.server->counts().crowded == 1);

    // One that only lingers is evicted first, though it is newer.
    const Fd answered = bench.connect();
    Bench::send(answered, get("/healthz"));
    readable(bench.server->fd());
    bench.turn();
    const Fd next = bench.connect();
    readable(bench.server->fd());
    bench.turn();
    CHECK(bench.server->connections() == HttpServer::connections_max);
    CHECK(bench.server->counts().crowded == 1);
    CHECK(!readable(clients[2].get(), 0));
}

TEST_CASE("a hundred a second are accepted, and listeners are not polled meanwhile") {
    Bench bench;
    const uint64_t burst = HttpServer::accepts_per_second;
    const std::vector<Fd> clients = bench.connect_many(burst + 20);
    readable(bench.server->fd());
    bench.turn();
    CHECK(bench.server->counts().crowded == burst - HttpServer::connections_max);
    CHECK(!readable(bench.server->fd(), 0)); // no spin
    CHECK(bench.server->deadline_us() == start_us + 1'000'000 / burst);
    bench.now_us += 50'000;
    bench.server->on_ready(bench.now_us);
    bench.turn();
    CHECK(bench.server->counts().crowded == burst + 5 - HttpServer::connections_max);
    CHECK(!readable(bench.server->fd(), 0));
}

TEST_CASE("a flood on one listener does not delay connections on another") {
    Bench bench;
    const std::vector<Fd> flood = bench.connect_many(150);
    const Fd client = bench.connect(false);
    Bench::send(client, get("/healthz"));
    readable(bench.server->fd());
    bench.turn();
    CHECK(body(bench.receive(client)) == "ok\n");
}

TEST_CASE("twenty documents a second are rendered, and then the last one is sent again") {
    Bench bench;
    for (uint32_t i = 1; i <= 30; ++i) {
        const std::string text = body(bench.ask(get("/metrics")));
        CHECK(text.starts_with(fmt::format("0 {} ", std::min(i, 20U))));
    }
    CHECK(bench.renders == 20);
    CHECK(body(bench.ask(get("/metrics", "Accept: application/json\r\n"))).starts_with("2 21 "));
    bench.now_us += 1'000'000;
    CHECK(body(bench.ask(get("/metrics"))).starts_with("0 22 "));
}

TEST_CASE("a peer that sends endlessly is reset") {
    Bench bench;
    const Fd client = bench.connect();
    const std::string chunk(65536, 'x');
    size_t sent = 0;
    while (sent < size_t{64} << 20) {
        const ssize_t size =
            ::send(client.get(), chunk.data(), chunk.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
        if (size < 0 && errno != EAGAIN)
            break;
        sent += size > 0 ? static_cast<size_t>(size) : 0;
        bench.turn();
    }
    CHECK(sent < size_t{64} << 20);
    CHECK(bench.server->connections() == 0);
    CHECK(bench.server->counts().answered.at(431) == 1);
}

TEST_CASE("without a descriptor accepting pauses, and resumes when there is one") {
    const std::string outcome = in_child([]() -> std::string {
        Bench bench;
        const Fd client = bench.connect();
        Bench::send(client, get("/healthz"));
        rlimit limit{};
        ::getrlimit(RLIMIT_NOFILE, &limit);
        const rlim_t had = limit.rlim_cur;
        limit.rlim_cur = 3; // all open ones stay
        ::setrlimit(RLIMIT_NOFILE, &limit);
        readable(bench.server->fd());
        bench.turn();
        if (bench.server->counts().accept_failed != 1)
            return "it did not fail";
        if (readable(bench.server->fd(), 0))
            return "it is polled";
        if (bench.server->deadline_us() != start_us + HttpServer::pause_us)
            return "it does not come back";
        limit.rlim_cur = had;
        ::setrlimit(RLIMIT_NOFILE, &limit);
        bench.now_us += HttpServer::pause_us;
        bench.server->on_ready(bench.now_us);
        const std::string answer = body(bench.receive(client));
        return answer == "ok\n" ? "" : answer;
    });
    CHECK(outcome == "");
}
