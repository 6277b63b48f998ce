#include "daemon/services/service.h"

#include <algorithm>
#include <array>
#include <string>
#include <vector>

#include <doctest/doctest.h>

using namespace riposte;

namespace {

// 2026-11-22 16:03:48 UTC, a Sunday.
constexpr ServiceContext context{.wall_seconds = 1'795'363'428};

struct Answer {
    std::string bytes;
    bool finish;
};

Answer answer(std::span<const std::byte> buffer, StreamReply reply) {
    REQUIRE(reply.size <= buffer.size());
    return {std::string(reinterpret_cast<const char*>(buffer.data()), reply.size), reply.finish};
}

Answer arrived(const Service& service, std::string_view bytes, size_t room = 2048) {
    std::vector<std::byte> buffer(std::max(room, bytes.size()));
    std::ranges::copy(std::as_bytes(std::span(bytes)), buffer.begin());
    StreamState state;
    return answer(buffer, service.arrived(context, state, buffer, bytes.size()));
}

struct Datagram {
    DatagramReply::Verdict verdict;
    std::string bytes;
};

Datagram datagram(const Service& service, std::string_view bytes) {
    std::vector<std::byte> buffer(bytes.size());
    std::ranges::copy(std::as_bytes(std::span(bytes)), buffer.begin());
    DatagramReply reply = service.datagram(context, buffer);
    REQUIRE(reply.size <= bytes.size()); // no amplification, whatever the verdict
    return {reply.verdict, std::string(reinterpret_cast<const char*>(buffer.data()), reply.size)};
}

} // namespace

TEST_CASE("which services another process may continue, and which not") {
    for (const ServiceKind kind : {ServiceKind::echo, ServiceKind::discard}) {
        const auto service = make_service(kind, {});
        StreamState state;
        std::vector<std::byte> buffer(100);
        CHECK(service->resumable(state));
        service->arrived(context, state, buffer, 100);
        CHECK(service->resumable(state));
    }
    for (const ServiceKind kind : {ServiceKind::daytime, ServiceKind::chargen, ServiceKind::time})
        CHECK_FALSE(make_service(kind, {})->resumable({}));
    const auto hello = make_service(ServiceKind::hello, {});
    StreamState state;
    std::vector<std::byte> buffer(100);
    CHECK(hello->resumable(state));
    hello->arrived(context, state, buffer, 1);
    CHECK_FALSE(hello->resumable(state)); // its first message has arrived
}

TEST_CASE("each service has a name that reads back") {
    REQUIRE(service_names().size() == 7);
    for (std::string_view name : service_names()) {
        auto kind = parse_service(name);
        REQUIRE(kind);
        CHECK(to_string(*kind) == name);
        CHECK(make_service(*kind, {}) != nullptr);
    }
    CHECK_FALSE(parse_service("Echo"));
    CHECK_FALSE(parse_service(""));
}

TEST_CASE("hello answers the first bytes with its message and finishes") {
    auto hello = make_service(ServiceKind::hello, {});
    CHECK_FALSE(hello->speaks_first());
    for (std::string_view message :
         {std::string_view("Hello, i'm client!"), std::string_view("x")}) {
        auto [bytes, finish] = arrived(*hello, message);
        CHECK(bytes == "Hello, i'm server!");
        CHECK(finish);
    }
    CHECK(arrived(*make_service(ServiceKind::hello, {.message = "moin"}), "hi").bytes == "moin");
}

TEST_CASE("hello answers a client that half-closes silently") {
    auto hello = make_service(ServiceKind::hello, {});
    std::array<std::byte, 2048> buffer{};
    StreamState state;
    auto [bytes, finish] = answer(buffer, hello->peer_finished(context, state, buffer));
    CHECK(bytes == "Hello, i'm server!");
    CHECK(finish);
}

TEST_CASE("hello sends a datagram back as it is, an empty one too") {
    auto hello = make_service(ServiceKind::hello, {});
    CHECK(datagram(*hello, "Hello!").bytes == "Hello!");
    CHECK(datagram(*hello, "").verdict == DatagramReply::Verdict::send);
}

TEST_CASE("echo leaves the received bytes in place") {
    auto echo = make_service(ServiceKind::echo, {});
    std::string all(256, '\0');
    for (size_t i = 0; i < all.size(); ++i)
        all[i] = static_cast<char>(i);
    auto [bytes, finish] = arrived(*echo, all);
    CHECK(bytes == all);
    CHECK_FALSE(finish);
    CHECK(datagram(*echo, all).bytes == all);
    CHECK(datagram(*echo, "").verdict == DatagramReply::Verdict::send);
}

TEST_CASE("discard does not answer") {
    auto discard = make_service(ServiceKind::discard, {});
    CHECK(arrived(*discard, "anything").bytes.empty());
    CHECK_FALSE(arrived(*discard, "anything").finish);
    CHECK(datagram(*discard, "anything").verdict == DatagramReply::Verdict::drop);
}

TEST_CASE("by default a peer's FIN ends a service without another byte") {
    for (auto kind : {ServiceKind::echo, ServiceKind::discard, ServiceKind::chargen}) {
        std::array<std::byte, 64> buffer{};
        StreamState state;
        auto reply = make_service(kind, {})->peer_finished(context, state, buffer);
        CHECK(reply.size == 0);
        CHECK(reply.finish);
    }
}

TEST_CASE("daytime writes one UTC line and finishes") {
    auto daytime = make_service(ServiceKind::daytime, {});
    CHECK(daytime->speaks_first());
    std::array<std::byte, 2048> buffer{};
    StreamState state;
    auto [bytes, finish] = answer(buffer, daytime->writable(context, state, buffer));
    CHECK(bytes == "Sunday, November 22, 2026 16:03:48-UTC\r\n");
    CHECK(finish);
}

TEST_CASE("daytime over UDP answers only a request that is long enough") {
    auto daytime = make_service(ServiceKind::daytime, {});
    constexpr size_t line = 40;
    CHECK(datagram(*daytime, "").verdict == DatagramReply::Verdict::too_long);
    CHECK(
        datagram(*daytime, std::string(line - 1, 'x')).verdict == DatagramReply::Verdict::too_long);
    CHECK(
        datagram(*daytime, std::string(line, 'x')).bytes ==
        "Sunday, November 22, 2026 16:03:48-UTC\r\n");
    CHECK(datagram(*daytime, std::string(line + 1, 'x')).bytes.size() == line);
}

TEST_CASE("only daytime and time have an answer longer than its request") {
    for (const ServiceKind kind :
         {ServiceKind::hello, ServiceKind::echo, ServiceKind::discard, ServiceKind::daytime,
          ServiceKind::chargen, ServiceKind::time}) {
        std::array<std::byte, 2048> buffer{};
        const uint32_t size =
            make_service(kind, {})->longer_reply(context, LongerReplyBuffer(buffer));
        const std::string text(reinterpret_cast<const char*>(buffer.data()), size);
        if (kind == ServiceKind::daytime)
            CHECK(text == "Sunday, November 22, 2026 16:03:48-UTC\r\n");
        else
            CHECK(size == (kind == ServiceKind::time ? 4 : 0));
    }
}

TEST_CASE("time is seconds since 1900, big-endian") {
    auto time = make_service(ServiceKind::time, {});
    CHECK(time->speaks_first());
    std::array<std::byte, 2048> buffer{};
    StreamState state;
    // RFC 868: 2,208,988,800 corresponds to 00:00 1 Jan 1970 GMT.
    auto epoch = answer(buffer, time->writable({.wall_seconds = 0}, state, buffer));
    CHECK(epoch.bytes == std::string("\x83\xaa\x7e\x80", 4));
    CHECK(epoch.finish);
    // RFC 868: 4,294,967,295 is the last one before it wraps, in 2036.
    auto last = answer(buffer, time->writable({.wall_seconds = 2'085'978'495}, state, buffer));
    CHECK(last.bytes == "\xff\xff\xff\xff");
    auto wrapped = answer(buffer, time->writable({.wall_seconds = 2'085'978'496}, state, buffer));
    CHECK(wrapped.bytes == std::string(4, '\0'));
    CHECK(datagram(*time, "xyz").verdict == DatagramReply::Verdict::too_long);
    CHECK(datagram(*time, "wxyz").bytes.size() == 4);
    CHECK(datagram(*time, "vwxyz").bytes.size() == 4);
}

TEST_CASE("chargen sends RFC 864's pattern, the same for any size of buffer") {
    auto chargen = make_service(ServiceKind::chargen, {});
    CHECK(chargen->speaks_first());
    std::string expected;
    for (size_t line = 0; line < 200; ++line) {
        for (size_t column = 0; column < 72; ++column)
            expected += static_cast<char>(' ' + (line + column) % 95);
        expected += "\r\n";
    }
    for (size_t room : {1u, 7u, 74u, 1000u, 16'384u}) {
        CAPTURE(room);
        std::vector<std::byte> buffer(room);
        StreamState state;
        std::string got;
        while (got.size() < expected.size()) {
            auto [bytes, finish] = answer(buffer, chargen->writable(context, state, buffer));
            REQUIRE(bytes.size() == room);
            REQUIRE_FALSE(finish);
            got += bytes;
        }
        CHECK(got.substr(0, expected.size()) == expected);
    }
}

TEST_CASE("chargen over UDP is never longer than the request, nor than 512 bytes") {
    auto chargen = make_service(ServiceKind::chargen, {});
    for (size_t size : {0u, 1u, 73u, 511u, 512u, 513u, 65'507u}) {
        auto reply = datagram(*chargen, std::string(size, 'x'));
        CHECK(reply.verdict == DatagramReply::Verdict::send);
        CHECK(reply.bytes.size() == std::min<size_t>(size, 512));
    }
    CHECK(datagram(*chargen, std::string(5, 'x')).bytes == " !\"#$");
}
