#include "client/status/http_answer.h"

#include <string>

#include <doctest/doctest.h>

using namespace riposte::client;
using State = HttpAnswer::State;

namespace {

const std::string whole = "HTTP/1.1 200 OK\r\ncontent-length:  7 \r\nX: y\r\n\r\n{\"a\":1}";

} // namespace

TEST_CASE("an answer is complete with its last byte, however it is split") {
    for (size_t size = 0; size < whole.size(); ++size) {
        CAPTURE(size);
        CHECK(read_http_answer(whole.substr(0, size), false).state == State::incomplete);
        CHECK(read_http_answer(whole.substr(0, size), true).state == State::wrong);
    }
    for (const bool ended : {false, true}) {
        const HttpAnswer answer = read_http_answer(whole, ended);
        CHECK(answer.state == State::complete);
        CHECK(answer.body == "{\"a\":1}");
    }
}

TEST_CASE("the Host field names the server without scheme and without our zone") {
    const auto host = [](std::string name) {
        return http_host({riposte::Transport::tcp, std::move(name), 9701});
    };
    CHECK(host("127.0.0.1") == "127.0.0.1:9701");
    CHECK(host("metrics.example.org") == "metrics.example.org:9701");
    CHECK(host("::1") == "[::1]:9701");
    CHECK(host("fe80::1%eth0") == "[fe80::1]:9701");
}

TEST_CASE("bytes after the body are not part of it") {
    CHECK(read_http_answer(whole + "more", false).body == "{\"a\":1}");
}

TEST_CASE("without a length the body ends with the connection") {
    const std::string answer = "HTTP/1.0 200 OK\r\n\r\nbody";
    CHECK(read_http_answer(answer, false).state == State::incomplete);
    CHECK(read_http_answer(answer, true).body == "body");
}

TEST_CASE("another status is reported with its text") {
    const std::string answer = "HTTP/1.1 503 Service \x1b[31mUnavailable\r\n\r\n";
    CHECK(
        read_http_answer(answer, false).wrong ==
        "the answer is \"503 Service \\x1b[31mUnavailable\"");
}

TEST_CASE("bytes that are not HTTP are refused at once") {
    CHECK(
        read_http_answer("SSH-2.0-x\r\n", false).wrong ==
        "it does not speak HTTP: \"SSH-2.0-x\\r\\n\"");
    CHECK(read_http_answer("HTTP/2", false).state == State::wrong);
    for (const std::string line :
         {"HTTP/1.", "HTTP/1.\n", "HTTP/1.1", "HTTP/1.1 ", "HTTP/1.1 20", "HTTP/1.1 2000 OK",
          "HTTP/1.x 200 OK", "HTTP/1.1\t200 OK", "HTTP/1.1 -20 OK", "HTTP/1.1\n200 OK"}) {
        CAPTURE(line);
        CHECK(read_http_answer(line + "\r\n\r\n{}", true)
                  .wrong.starts_with("it does not speak HTTP: \""));
    }
    CHECK(read_http_answer("HTTP/1.1 200\r\n\r\n{}", true).body == "{}");
    CHECK(read_http_answer("HTT", false).state == State::incomplete);
}

TEST_CASE("impossible lengths and chunked bodies are refused") {
    std::string answer; // the body is a view of it
    const auto with = [&](const std::string& field) {
        answer = "HTTP/1.1 200 OK\r\n" + field + "\r\n\r\nbody";
        return read_http_answer(answer, false);
    };
    CHECK(with("Content-Length: -1").state == State::wrong);
    CHECK(with("Content-Length: 4x").state == State::wrong);
    CHECK(with("Content-Length: 99999999999999999999999").state == State::wrong);
    CHECK(with("Content-Length: 1048577").state == State::wrong);
    CHECK(with("Transfer-Encoding: chunked").state == State::wrong);
    CHECK(with("Content-Length:").state == State::wrong);
    CHECK(with("Content-Length: ").state == State::wrong);
    CHECK(with("Content-Length: 4\r\nContent-Length: 3").state == State::wrong);
    CHECK(with("Content-Length: 4\r\ncontent-length:4").body == "body");
    CHECK(with("Content-Length: 4").body == "body");
}

TEST_CASE("the error of a truncated answer says where it ended") {
    CHECK(read_http_answer("", true).wrong == "closed without an answer");
    CHECK(
        read_http_answer("HTTP/1.1 200 OK\r\n", true).wrong ==
        "closed in the middle of its answer's head");
    CHECK(
        read_http_answer("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nbody", true).wrong ==
        "closed after 4 of 9 bytes");
}
