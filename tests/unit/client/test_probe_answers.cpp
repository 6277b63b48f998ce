// What a prober's HTTP server answers, and how figures get to it from the thread that probes.
#include "client/probe/export_server.h"
#include "client/probe/figures_exchange.h"
#include "client/probe/probe_answers.h"
#include "tests/support/patience.h"
#include "tests/unit/client/fleet_sample.h"

#include <atomic>
#include <chrono>
#include <memory>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include <doctest/doctest.h>
#include <fmt/format.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>

using namespace riposte;
using namespace riposte::client;
using namespace riposte::client::test;

namespace {

using Picture = std::shared_ptr<const FleetFigures>;

HttpRequest request_of(std::string_view path, std::string_view accept = "*/*") {
    HttpRequest request;
    request.feed(fmt::format("GET {} HTTP/1.0\r\nAccept: {}\r\n\r\n", path, accept));
    REQUIRE(request.state() == HttpRequest::State::complete);
    return request;
}

struct Served {
    size_t pictures = 0;
    Picture figures = std::make_shared<const FleetFigures>(small_fleet());
    ProbeAnswers answers{
        [this] {
            ++pictures;
            return figures;
        },
        [](const FleetFigures& fleet) { return fmt::format("[{}]", fleet.targets.size()); },
        "1.2.3", true};

    HttpAnswer ask(std::string_view path, std::string_view accept = "*/*", uint64_t now_us = 0) {
        return answers.answer(request_of(path, accept), now_us);
    }
};

bool is_readable(int fd, int timeout_ms) {
    pollfd poll{fd, POLLIN, 0};
    return ::poll(&poll, 1, timeout_ms) == 1;
}

} // namespace

TEST_CASE("a scraper gets text or OpenMetrics, as it accepts") {
    Served served;
    const HttpAnswer text = served.ask("/metrics?name=x");
    CHECK(text.code == 200);
    CHECK(text.type == "text/plain; version=0.0.4; charset=utf-8");
    CHECK(text.by_accept);
    CHECK(text.body->text().find("# EOF") == std::string::npos);
    const HttpAnswer open = served.ask(
        "/metrics", "application/openmetrics-text;version=1.0.0;q=0.8,text/plain;q=0.5,*/*;q=0.1");
    CHECK(open.type == "application/openmetrics-text; version=1.0.0; charset=utf-8");
    CHECK(open.body->text().ends_with("# EOF\n"));
    CHECK(open.body->text().find("version=\"1.2.3\"") != std::string::npos);
    CHECK(served.ask("/metrics", "application/json").type.starts_with("text/plain"));
}

TEST_CASE("/targets is JSON, and / a page, each of one picture") {
    Served served;
    const HttpAnswer targets = served.ask("/targets", "text/plain");
    CHECK(targets.code == 200);
    CHECK(targets.type == "application/json");
    CHECK(!targets.by_accept);
    CHECK(targets.body->text() == "[2]");
    const HttpAnswer page = served.ask("/");
    CHECK(page.type == "text/html; charset=utf-8");
    CHECK(page.body->text().starts_with("<!DOCTYPE html>"));
    CHECK(served.pictures == 2);
}

TEST_CASE("other paths and methods are refused without a picture") {
    Served served;
    CHECK(served.ask("/index.html").code == 404);
    CHECK(served.ask("/metrics/").code == 404);
    CHECK(served.ask("/probe?target=192.0.2.1:7").code == 404);
    HttpRequest post;
    post.feed("POST /metrics HTTP/1.0\r\n\r\n");
    CHECK(served.answers.answer(post, 0).code == 405);
    CHECK(served.ask("/healthz").body->text() == "ok\n");
    CHECK(served.pictures == 0);
}

TEST_CASE("a flood of scrapes asks the prober for few pictures") {
    Served served;
    for (int i = 0; i < 100; ++i)
        for (const char* path : {"/metrics", "/targets"})
            CHECK(served.ask(path).code == 200);
    CHECK(served.pictures == ProbeAnswers::renders_per_second);
    CHECK(served.ask("/metrics", "*/*", 1'000'000).code == 200);
    CHECK(served.pictures == ProbeAnswers::renders_per_second + 1);
}

TEST_CASE("a prober that hands over no figures is not covered by old ones") {
    Served served;
    CHECK(served.ask("/metrics").code == 200);
    served.figures = nullptr;
    const HttpAnswer answer = served.ask("/metrics", "*/*", 1);
    CHECK(answer.code == 503);
    CHECK(
        answer.body->text() ==
        "no figures now: the prober is too busy, or slow clients hold too many; try again\n");
    CHECK(served.ask("/healthz").code == 200);
}

TEST_CASE("exporters get a picture that was made after they asked") {
    auto exchange = FiguresExchange::create();
    REQUIRE(exchange.has_value());
    FiguresExchange& each = **exchange;
    const std::chrono::milliseconds patience(riposte::test::patience_ms());
    std::atomic<uint64_t> made = 0;
    std::atomic<size_t> stale = 0;
    std::atomic<size_t> ended = 0;
    std::vector<std::thread> exporters;
    for (int i = 0; i < 3; ++i)
        exporters.emplace_back([&] {
            for (int round = 0; round < 200; ++round) {
                const uint64_t before = made;
                const Picture figures = each.ask(patience);
                if (!figures || figures->at_ns <= before)
                    ++stale;
            }
            ++ended;
        });
    while (ended < exporters.size())
        if (is_readable(each.fd(), 10))
            each.answer([&] {
                auto figures = std::make_shared<FleetFigures>();
                figures->at_ns = ++made;
                return Picture(std::move(figures));
            });
    for (std::thread& exporter : exporters)
        exporter.join();
    CHECK(stale == 0);
    CHECK(!is_readable(each.fd(), 0));
}

TEST_CASE("an exporter does not wait for a prober that does not answer, or has ended") {
    auto exchange = FiguresExchange::create();
    REQUIRE(exchange.has_value());
    FiguresExchange& each = **exchange;
    CHECK(each.ask(std::chrono::milliseconds(1)) == nullptr);
    CHECK(each.ask(std::chrono::hours(1)) == nullptr); // after a brief wait, as the last one failed
    CHECK(is_readable(each.fd(), 0));                  // it is still wanted
    const auto figures = std::make_shared<const FleetFigures>();
    each.answer([&] { return figures; });
    CHECK(figures.use_count() == 1); // no exporter waits, so it is not kept
    CHECK(!is_readable(each.fd(), 0));
    std::thread closer([&] {
        is_readable(each.fd(), riposte::test::patience_ms());
        each.close();
    });
    CHECK(each.ask(std::chrono::hours(1)) == nullptr);
    CHECK(each.ask(std::chrono::hours(1)) == nullptr);
    closer.join();
}

TEST_CASE("a server of a prober answers from a thread while the prober probes, and ends at once") {
    const auto address = parse_http_address("tcp://127.0.0.1:0");
    REQUIRE(address.has_value());
    auto opened = ExportServer::open(
        {.listen = {*address},
         .targets_json = [](const FleetFigures&) { return std::string("[]"); },
         .version = "1.2.3"});
    REQUIRE(opened.has_value());
    std::unique_ptr<ExportServer> server = *std::move(opened);
    REQUIRE(server->addresses().size() == 1);
    const auto bound = parse_http_address(server->addresses().front());
    REQUIRE(bound.has_value());
    const auto connected = [&] {
        sockaddr_in to{};
        to.sin_family = AF_INET;
        to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        to.sin_port = htons(bound->endpoint.port);
        Fd fd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
        REQUIRE(::connect(fd.get(), reinterpret_cast<const sockaddr*>(&to), sizeof to) == 0);
        const std::string request = "GET /metrics HTTP/1.0\r\n\r\n";
        REQUIRE(
            ::send(fd.get(), request.data(), request.size(), MSG_NOSIGNAL) ==
            static_cast<ssize_t>(request.size()));
        return fd;
    };
    const Fd client = connected();
    REQUIRE(is_readable(server->fd(), riposte::test::patience_ms()));
    server->answer([] { return std::make_shared<const FleetFigures>(small_fleet()); });
    REQUIRE(is_readable(client.get(), riposte::test::patience_ms()));
    std::string text(65536, '\0');
    const ssize_t size = ::recv(client.get(), text.data(), text.size(), MSG_WAITALL);
    REQUIRE(size > 0);
    text.resize(static_cast<size_t>(size));
    CHECK(text.starts_with("HTTP/1.1 200 OK\r\n"));
    CHECK(text.find("riposte_probe_sent_total{target=\"db1:7007\"") != std::string::npos);

    const Fd waits = connected();
    REQUIRE(is_readable(server->fd(), riposte::test::patience_ms()));
    server.reset(); // while an exporter waits for a picture
    char byte = 0;
    CHECK(::recv(waits.get(), &byte, 1, MSG_DONTWAIT) <= 1);
}
