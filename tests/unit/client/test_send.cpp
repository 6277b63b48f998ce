// The exchange over a stream, and the report of its end. Both ends are in the test: a stream socket
// pair, whose far end is filled in advance or served by a thread.
#include "client/net/connect.h"
#include "client/net/reach.h"
#include "client/send/exchange.h"
#include "common/clock.h"
#include "common/fd.h"

#include <cerrno>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <thread>

#include <arpa/inet.h>
#include <doctest/doctest.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

using namespace riposte;
using namespace riposte::client;

namespace {

const Report silent(Color::never, false);
constexpr uint32_t long_ms = 30000; // never reached by a test that passes
constexpr uint32_t short_ms = 20;

struct Pair {
    Fd near, far;
};

Pair socket_pair() {
    int fds[2] = {-1, -1};
    REQUIRE(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) == 0);
    REQUIRE(::fcntl(fds[0], F_SETFL, O_NONBLOCK) == 0);
    return {Fd(fds[0]), Fd(fds[1])};
}

/// An in-memory file for the answer.
class Output {
public:
    Output() : fd_(::memfd_create("answer", MFD_CLOEXEC)) { REQUIRE(fd_); }
    int fd() const { return fd_.get(); }
    std::string text() const {
        std::string bytes(static_cast<size_t>(::lseek(fd_.get(), 0, SEEK_END)), '\0');
        REQUIRE(
            ::pread(fd_.get(), bytes.data(), bytes.size(), 0) ==
            static_cast<ssize_t>(bytes.size()));
        return bytes;
    }

private:
    Fd fd_;
};

void put(int fd, std::string_view bytes) {
    REQUIRE(::write(fd, bytes.data(), bytes.size()) == static_cast<ssize_t>(bytes.size()));
}

std::optional<AnswerWatch> watch; ///< of the last exchange

Exchange talk(
    int fd, std::string_view message, uint32_t timeout_ms, int output,
    const AnswerRules& rules = {}) {
    watch.emplace(rules);
    return exchange_stream(fd, message, timeout_ms, output, silent, *watch);
}

std::string line_of(const Exchange& exchange, size_t message_bytes) {
    const auto result = judge(exchange, *watch, "tcp://host:7001", message_bytes, 5000);
    REQUIRE_FALSE(result.has_value());
    return result.error().message;
}

SocketAddress loopback(uint16_t port) {
    SocketAddress address;
    auto* const in = reinterpret_cast<sockaddr_in*>(address.get());
    in->sin_family = AF_INET;
    in->sin_port = htons(port);
    in->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    address.size = sizeof(sockaddr_in);
    return address;
}

Target target_of(std::vector<SocketAddress> addresses) {
    return {
        .name = "tcp://host:7001",
        .transport = Transport::tcp,
        .timeout_ms = 5000,
        .path = {},
        .sources = {},
        .addresses = std::move(addresses)};
}

} // namespace

TEST_CASE("the answer ends with the peer's FIN, and ours follows the message") {
    Pair pair = socket_pair();
    put(pair.far.get(), "Hello, i'm server!");
    REQUIRE(::shutdown(pair.far.get(), SHUT_WR) == 0);
    const Output output;
    const Exchange exchange = talk(pair.near.get(), "Hello", long_ms, output.fd());
    CHECK(exchange.ending == Ending::finished);
    CHECK(exchange.sent == 5);
    CHECK(exchange.received == 18);
    CHECK(exchange.last == '!');
    CHECK(output.text() == "Hello, i'm server!");
    CHECK(judge(exchange, *watch, "tcp://host:7001", 5, 5000).has_value());
    char message[16] = {};
    CHECK(::read(pair.far.get(), message, sizeof(message)) == 5);
    CHECK(::read(pair.far.get(), message, sizeof(message)) == 0);
}

TEST_CASE("an empty message is only half-closed") {
    Pair pair = socket_pair();
    put(pair.far.get(), "x\n");
    REQUIRE(::shutdown(pair.far.get(), SHUT_WR) == 0);
    const Output output;
    const Exchange exchange = talk(pair.near.get(), "", long_ms, output.fd());
    CHECK(exchange.ending == Ending::finished);
    CHECK(exchange.sent == 0);
    CHECK(output.text() == "x\n");
    char byte = 0;
    CHECK(::read(pair.far.get(), &byte, 1) == 0);
}

TEST_CASE("a message longer than all buffers is written while its echo is read") {
    Pair pair = socket_pair();
    std::string message(16 << 20, '\0');
    for (size_t at = 0; at < message.size(); ++at)
        message[at] = static_cast<char>((at * 2654435761U) >> 13);
    std::jthread echo([fd = pair.far.get()] {
        std::string buffer(4096, '\0');
        for (;;) {
            const ssize_t size = ::read(fd, buffer.data(), buffer.size());
            if (size <= 0)
                break;
            for (ssize_t done = 0; done < size;) {
                const auto offset = static_cast<size_t>(done);
                const ssize_t written =
                    ::write(fd, buffer.data() + offset, static_cast<size_t>(size) - offset);
                if (written < 0)
                    return;
                done += written;
            }
        }
        ::shutdown(fd, SHUT_WR);
    });
    const Output output;
    const Exchange exchange = talk(pair.near.get(), message, long_ms, output.fd());
    CHECK(exchange.ending == Ending::finished);
    CHECK(exchange.sent == message.size());
    CHECK(exchange.received == message.size());
    CHECK((output.text() == message));
    pair.near.reset();
}

TEST_CASE("a peer that has ended its answer still gets the rest of the message") {
    Pair pair = socket_pair();
    put(pair.far.get(), "done");
    REQUIRE(::shutdown(pair.far.get(), SHUT_WR) == 0);
    const std::string message(4 << 20, 'm');
    size_t read = 0;
    {
        const std::jthread reader([&read, fd = pair.far.get()] {
            std::string buffer(4096, '\0');
            for (ssize_t size = 0; (size = ::read(fd, buffer.data(), buffer.size())) > 0;)
                read += static_cast<size_t>(size);
        });
        const Output output;
        const Exchange exchange = talk(pair.near.get(), message, long_ms, output.fd());
        CHECK(exchange.ending == Ending::finished);
        CHECK(exchange.sent == message.size());
        pair.near.reset();
    }
    CHECK(read == message.size());
}

TEST_CASE("a silent peer is reported with the time waited") {
    Pair pair = socket_pair();
    const Output output;
    Exchange exchange = talk(pair.near.get(), "Hello", short_ms, output.fd());
    CHECK(exchange.ending == Ending::timed_out);
    exchange.connect_ms = 0.28;
    CHECK(
        line_of(exchange, 5) ==
        "tcp://host:7001: connected in 0.280 ms, no answer after 5s; -W waits longer");
}

TEST_CASE("an answer that stops halfway is reported with the bytes received") {
    Pair pair = socket_pair();
    put(pair.far.get(), "Hel");
    const Output output;
    const Exchange exchange = talk(pair.near.get(), "Hello", short_ms, output.fd());
    CHECK(exchange.ending == Ending::timed_out);
    CHECK(output.text() == "Hel");
    CHECK(
        line_of(exchange, 5) ==
        "tcp://host:7001: the answer stalled for 5s (3 bytes had come); -W waits longer");
}

TEST_CASE("a peer that stops reading is reported with the bytes sent") {
    Pair pair = socket_pair();
    const std::string message(16 << 20, 'm');
    const Output output;
    Exchange exchange = talk(pair.near.get(), message, short_ms, output.fd());
    CHECK(exchange.ending == Ending::timed_out);
    CHECK(exchange.sent > 0);
    CHECK(exchange.sent < message.size());
    exchange.sent = 1024;
    CHECK(
        line_of(exchange, message.size()) == "tcp://host:7001: the peer stopped reading the "
                                             "message for 5s (1024 of 16777216 bytes sent, "
                                             "0 bytes of answer); -W waits longer");
}

TEST_CASE("a peer that closes at once is a failure") {
    Pair pair = socket_pair();
    REQUIRE(::shutdown(pair.far.get(), SHUT_WR) == 0);
    const Output output;
    const Exchange exchange = talk(pair.near.get(), "x", long_ms, output.fd());
    CHECK(exchange.ending == Ending::finished);
    CHECK(
        line_of(exchange, 1) ==
        "tcp://host:7001: closed without an answer; is it the service that you meant?");
}

TEST_CASE("bytes before a reset are copied, and the reset is reported") {
    Pair pair = socket_pair();
    put(pair.far.get(), "answer");
    pair.far.reset(); // writing now fails, reading what is there does not
    const Output output;
    const Exchange exchange = talk(pair.near.get(), "Hello", long_ms, output.fd());
    CHECK(exchange.ending == Ending::broken);
    CHECK(exchange.error == ECONNRESET);
    CHECK(output.text() == "answer");
    CHECK(
        line_of(exchange, 5) ==
        "tcp://host:7001: connection reset by peer (6 bytes had come); the message may have been "
        "longer than the peer reads");
}

TEST_CASE("a reset without an answer is reported as just that") {
    Pair pair = socket_pair();
    pair.far.reset();
    const Output output;
    const Exchange exchange = talk(pair.near.get(), "Hello", long_ms, output.fd());
    CHECK(line_of(exchange, 5) == "tcp://host:7001: connection reset by peer (0 bytes had come)");
}

TEST_CASE("an answer that cannot be written is a local error") {
    Pair pair = socket_pair();
    put(pair.far.get(), "answer");
    const Fd full(::open("/dev/full", O_WRONLY | O_CLOEXEC));
    REQUIRE(full);
    const Exchange exchange = talk(pair.near.get(), "Hello", long_ms, full.get());
    CHECK(exchange.ending == Ending::output_failed);
    const auto result = judge(exchange, *watch, "tcp://host:7001", 5, 5000);
    REQUIRE_FALSE(result.has_value());
    CHECK(result.error().exit == Exit::usage);
    CHECK(result.error().message == "standard output: no space left on device");
}

TEST_CASE("a refusal asks whether the daemon runs, and is the peer's failure") {
    const Target target = target_of({loopback(7001)});
    const Failure failure{.address = loopback(7001), .error = ECONNREFUSED};
    const Error error = connect_error(target, std::span(&failure, 1));
    CHECK(error.exit == Exit::failed);
    CHECK(
        error.message ==
        "tcp://host:7001 (127.0.0.1:7001): connection refused; is riposted running there?");
    Target written = target;
    written.name = "tcp://127.0.0.1:7001";
    CHECK(
        connect_error(written, std::span(&failure, 1)).message ==
        "tcp://127.0.0.1:7001: connection refused; is riposted running there?");
}

TEST_CASE("with several addresses each failure is reported") {
    const Target target = target_of({loopback(1), loopback(2)});
    const Failure failures[] = {
        {.address = loopback(1), .error = ETIMEDOUT, .waited_ms = 2500},
        {.address = loopback(2), .error = ECONNREFUSED}};
    CHECK(
        connect_error(target, failures).message ==
        "tcp://host:7001: 127.0.0.1:1: no connection after 2500ms, 127.0.0.1:2: connection "
        "refused; is riposted running there?");
}

TEST_CASE("a refusal by a firewall on the way is not a local error") {
    const Target target = target_of({loopback(7001)});
    Failure failure{.address = loopback(7001), .error = EACCES};
    const Error here = connect_error(target, std::span(&failure, 1));
    CHECK(here.exit == Exit::usage);
    CHECK(here.message.ends_with("permission denied; does a local firewall forbid it?"));
    failure.heard = true;
    const Error there = connect_error(target, std::span(&failure, 1));
    CHECK(there.exit == Exit::failed);
    CHECK(there.message.ends_with("permission denied; a firewall on the way forbids it"));
}

TEST_CASE("a refusal by this machine is a local error") {
    Target target = target_of({loopback(7001)});
    target.path.source = "192.0.2.1";
    Failure failure{.address = loopback(7001), .error = EADDRNOTAVAIL, .option = "--source"};
    const Error source = connect_error(target, std::span(&failure, 1));
    CHECK(source.exit == Exit::usage);
    CHECK(
        source.message == "--source 192.0.2.1: cannot assign requested address; it is not an "
                          "address of this machine: `ip address` lists those");
    failure = {.address = loopback(7001), .error = EMFILE};
    const Error files = connect_error(target, std::span(&failure, 1));
    CHECK(files.exit == Exit::usage);
    CHECK(files.message == "tcp://host:7001 (127.0.0.1:7001): too many open files");
}

TEST_CASE("the next address is tried when one refuses") {
    const Fd closed(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    REQUIRE(closed);
    SocketAddress bound = loopback(0);
    REQUIRE(::bind(closed.get(), bound.get(), bound.size) == 0);
    bound = local_address(closed.get());
    // Bound and not listening: refused, and no other process can take the port meanwhile.
    const Fd open(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    REQUIRE(open);
    SocketAddress second = loopback(0);
    REQUIRE(::bind(open.get(), second.get(), second.size) == 0);
    REQUIRE(::listen(open.get(), 1) == 0);
    second = local_address(open.get());

    const Trial trial{.datagram = {}, .patience = {.deadline_ms = monotonic_ms() + long_ms}};
    const Target target = target_of({bound, second});
    const auto reached = reach(target, trial, silent);
    REQUIRE(reached.has_value());
    CHECK(to_string(reached->address) == to_string(second));
    CHECK(to_string(peer_address(reached->fd.get())) == to_string(second));
    const Target closed_twice = target_of({bound, bound});
    const auto refused = reach(closed_twice, trial, silent);
    REQUIRE_FALSE(refused.has_value());
    REQUIRE(refused.error().size() == 2);
    CHECK(connect_error(closed_twice, refused.error()).exit == Exit::failed);
}

TEST_CASE("the source must have an address of the endpoint's family") {
    const Endpoint endpoint{Transport::tcp, "127.0.0.1", 7001};
    CommonOptions common;
    common.path.source = "::1";
    const Patience patience{.deadline_ms = monotonic_ms() + long_ms};
    const auto target = resolve_target(endpoint, common, patience);
    REQUIRE_FALSE(target.has_value());
    CHECK(target.error().exit == Exit::usage);
    CHECK(
        target.error().message ==
        "--source ::1: tcp://127.0.0.1:7001 has no address of that family");
    common.path.source = "127.0.0.2";
    const auto right = resolve_target(endpoint, common, patience);
    REQUIRE_MESSAGE(right.has_value(), right.error().message);
    CHECK(to_string(right->sources.at(0)) == "127.0.0.2:0");
}
