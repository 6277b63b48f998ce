#include "common/http/representation.h"
#include "common/http/request.h"

#include <array>
#include <string>
#include <string_view>

#include <doctest/doctest.h>

using namespace riposte;

using State = HttpRequest::State;

namespace {

HttpRequest whole(std::string_view text) {
    HttpRequest request;
    request.feed(text);
    return request;
}

State state_of(std::string_view text) {
    return whole(text).state();
}

State state_of_line(std::string_view line) {
    return state_of(std::string(line) + "\r\nHost: a\r\n\r\n");
}

State state_of_field(std::string_view field) {
    return state_of("GET / HTTP/1.0\r\n" + std::string(field) + "\r\n\r\n");
}

Representation representation_of(std::string_view accept) {
    using enum Representation;
    return negotiate(accept, std::array{text, openmetrics, json});
}

std::string path_of(std::string_view target) {
    const HttpRequest request = whole("GET " + std::string(target) + " HTTP/1.0\r\n\r\n");
    REQUIRE(request.state() == State::complete);
    return std::string(request.path());
}

} // namespace

TEST_CASE("a request reads the same in pieces of any size") {
    const std::string text = "GET /metrics?name=x HTTP/1.1\r\nHost: localhost:9701\r\n"
                             "Accept: application/json\r\nUser-Agent: a b (c)\r\n\r\nand a body";
    const size_t head = text.find("and a body");
    for (size_t first = 0; first <= text.size(); ++first) {
        HttpRequest request;
        const State state = request.feed(std::string_view(text).substr(0, first));
        CHECK(state == (first < head ? State::reading : State::complete));
        CHECK(request.feed(std::string_view(text).substr(first)) == State::complete);
        CHECK(request.method() == "GET");
        CHECK(request.path() == "/metrics");
        CHECK(representation_of(request.accept()) == Representation::json);
    }
    HttpRequest request;
    for (const char c : text)
        request.feed({&c, 1});
    CHECK(request.state() == State::complete);
    CHECK(request.path() == "/metrics");
}

TEST_CASE("a line may end without CR, and one empty line may come first") {
    CHECK(state_of("GET / HTTP/1.0\n\n") == State::complete);
    CHECK(state_of("GET / HTTP/1.1\nHost: a\n\n") == State::complete);
    CHECK(state_of("\r\nGET / HTTP/1.0\r\n\r\n") == State::complete);
    CHECK(state_of("\r\n\r\nGET / HTTP/1.0\r\n\r\n") == State::bad);
}

TEST_CASE("the path is the target without its query and server") {
    CHECK(path_of("/metrics") == "/metrics");
    CHECK(path_of("/metrics?") == "/metrics");
    CHECK(path_of("/metrics?a=/b?c") == "/metrics");
    CHECK(path_of("/") == "/");
    CHECK(path_of("/%6detrics") == "/%6detrics"); // none of our paths has an escape
    CHECK(path_of("http://localhost:9701/metrics?a") == "/metrics");
    CHECK(path_of("HTTP://localhost") == "/");
    CHECK(path_of("http://localhost?a=/metrics") == "/");
    CHECK(path_of("*") == "*");
    CHECK(path_of("?") == "/");
}

TEST_CASE("the query is what follows the first question mark, as sent") {
    const auto query_of = [](std::string_view target) {
        return std::string(whole("GET " + std::string(target) + " HTTP/1.0\r\n\r\n").query());
    };
    CHECK(query_of("/probe?target=a%3A7&module=udp") == "target=a%3A7&module=udp");
    CHECK(query_of("/metrics") == "");
    CHECK(query_of("/metrics?") == "");
    CHECK(query_of("/metrics?a=/b?c") == "a=/b?c");
    CHECK(query_of("http://localhost:9702/probe?a") == "a");
    CHECK(query_of("http://localhost?a=/metrics") == "a=/metrics");
    CHECK(query_of("?") == "");
}

TEST_CASE("a bad request line is refused at its end or sooner") {
    for (const std::string_view line :
         {"GET", "GET ", "GET /", "GET / ", " / HTTP/1.1", "GET  HTTP/1.1", "GET / HTTP/1.1 ",
          "GET /a b HTTP/1.1", "G(T / HTTP/1.1", "GET /\xc3\xa4 HTTP/1.1", "GET / http/1.1",
          "GET / HTTP/1", "GET / HTTP/1.", "GET / HTTP/1.10", "GET / HTTP/x.1", "GET / HTTP1.1/",
          "GET\t/ HTTP/1.1"}) {
        CAPTURE(line);
        CHECK(state_of_line(line) == State::bad);
    }
    CHECK(state_of("\x16\x03\x01") == State::bad); // of TLS
    CHECK(state_of(std::string_view("\0", 1)) == State::bad);
    CHECK(state_of("GET\x1b") == State::bad);
    CHECK(state_of("GET /\rx") == State::bad);
}

TEST_CASE("another version of HTTP differs from a bad request") {
    CHECK(state_of("PRI * HTTP/2.0\r\n") == State::wrong_version);
    CHECK(state_of("GET / HTTP/1.2\r\n") == State::wrong_version);
    CHECK(state_of("GET / HTTP/0.9\r\n") == State::wrong_version);
    CHECK(state_of("GET / HTTP/3.0\n") == State::wrong_version);
}

TEST_CASE("fields are a name, a colon and a value") {
    for (const std::string_view field :
         {"A:", "A: b", "A:b:c", "A-b_c: \t d \t", "A: \xc3\xa4", "X: (\"a, b\")"}) {
        CAPTURE(field);
        CHECK(state_of_field(field) == State::complete);
    }
    for (const std::string_view field :
         {"A", ": b", "A : b", " A: b", "A b: c", "A: b\r\n c", "A: \x01", "A: \x7f",
          "\xc3\xa4: b"}) {
        CAPTURE(field);
        CHECK(state_of_field(field) == State::bad);
    }
}

TEST_CASE("HTTP/1.1 has one Host, HTTP/1.0 at most one") {
    CHECK(state_of("GET / HTTP/1.1\r\n\r\n") == State::bad);
    CHECK(state_of("GET / HTTP/1.1\r\nhOST: a\r\n\r\n") == State::complete);
    CHECK(state_of("GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n") == State::bad);
    CHECK(state_of("GET / HTTP/1.0\r\n\r\n") == State::complete);
    CHECK(state_of("GET / HTTP/1.0\r\nHost: a\r\nHost: a\r\n\r\n") == State::bad);
}

TEST_CASE("a head of 8192 bytes is read, one of 8193 is too long") {
    const std::string begin = "GET / HTTP/1.0\r\nA: ";
    const std::string end = "\r\n\r\n";
    const std::string filler(HttpRequest::head_bytes_max - begin.size() - end.size(), 'x');
    CHECK(state_of(begin + filler + end) == State::complete);
    CHECK(state_of(begin + filler + "x" + end) == State::too_long);
    CHECK(state_of(std::string(HttpRequest::head_bytes_max, 'x')) == State::reading);
    CHECK(state_of(std::string(HttpRequest::head_bytes_max + 1, 'x')) == State::too_long);
}

TEST_CASE("a decision is final") {
    HttpRequest request = whole("GET\x01");
    CHECK(request.feed(" / HTTP/1.0\r\n\r\n") == State::bad);
    request = whole("GET /a HTTP/1.0\r\n\r\n");
    CHECK(request.feed("GET /b HTTP/1.0\r\n\r\n") == State::complete);
    CHECK(request.path() == "/a");
}

TEST_CASE("the representation is the most preferred one") {
    using enum Representation;
    struct Row {
        std::string_view accept;
        Representation wanted;
    };
    for (const auto& [accept, wanted] : {
             Row{"", text},
             Row{"*/*", text},
             Row{"text/plain", text},
             Row{"text/html", text},
             Row{"application/json", json},
             Row{"APPLICATION/Json", json},
             Row{"application/openmetrics-text", openmetrics},
             Row{"application/openmetrics-text; version=1.0.0; charset=utf-8", openmetrics},
             Row{"application/openmetrics-text;version=\"1.0.0\"", openmetrics},
             Row{"application/openmetrics-text;version=0.0.1", text},
             Row{"application/openmetrics-text;version=2.0.0,*/*;q=0.1", text},
             Row{"application/*", openmetrics},
             Row{"application/json, */*", json},
             Row{"*/*, application/json", json},
             Row{"application/json, text/plain, */*", json},
             Row{"text/plain, application/json", text},
             Row{"text/plain;version=0.0.4, application/json", text},
             Row{"application/json, text/plain;version=0.0.4", json},
             Row{"application/json;q=0.5, text/plain;q=0.6", text},
             Row{"application/json;q=0.6, text/plain;q=0.599", json},
             Row{"application/json ; q=0.6 , text/plain ; q=0.599", json},
             Row{"application/json;Q=0.2,text/plain;q=0.3", text},
             Row{"text/plain;q=0, application/json;q=0.001", json},
             Row{"application/json;q=0", text},
             Row{"text/html, application/json;q=0.9", json},
             Row{"image/png;q=0.2, application/json;q=0.1", json},
             Row{"*/*, text/plain;q=0.1", openmetrics},
             Row{"*/*;q=0", text},
             Row{"application/json;q=2, text/plain;q=0.1", text},
             Row{"application/json;q=, text/plain;q=0.1", text},
             Row{"application/json;q=0.1234, text/plain;q=0.1", text},
             Row{"application/json;x=\",;\";q=0.2,text/plain;q=0.1", json},
             Row{",,;,/,application/json,", json},
             Row{"json", text},
             Row{"application/json;x=\"\\", json},
         }) {
        CAPTURE(accept);
        CHECK(representation_of(accept) == wanted);
    }
}

TEST_CASE("Prometheus gets OpenMetrics, unless it asks for another format") {
    CHECK(
        representation_of("application/openmetrics-text;version=1.0.0,application/openmetrics-text;"
                          "version=0.0.1;q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1") ==
        Representation::openmetrics);
    CHECK(
        representation_of(
            "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,"
            "application/openmetrics-text;version=0.0.1;q=0.5,text/plain;version=1.0.0;"
            "escaping=allow-utf-8;q=0.4,text/plain;version=0.0.4;q=0.3,*/*;q=0.2") ==
        Representation::openmetrics);
    CHECK(representation_of("text/plain;version=0.0.4;q=0.6,*/*;q=0.5") == Representation::text);
}

TEST_CASE("a server offers some of the representations, the first of them by default") {
    using enum Representation;
    constexpr std::array two{text, openmetrics};
    CHECK(negotiate("application/json", two) == text);
    CHECK(negotiate("application/json, application/openmetrics-text;q=0.1", two) == openmetrics);
    CHECK(negotiate("*/*", std::array{openmetrics, text}) == openmetrics);
    CHECK(negotiate("text/html", std::array{json}) == json);
}

TEST_CASE("several Accept fields count as one") {
    const HttpRequest request =
        whole("GET / HTTP/1.0\r\nAccept: text/plain;q=0.1\r\naccept: application/json\r\n\r\n");
    CHECK(representation_of(request.accept()) == Representation::json);
}
