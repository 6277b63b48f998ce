// Datagrams: sizes, addresses, batches, and replies that must not wait.
#include "tests/conformance/harness.h"
#include "tests/support/skip.h"

#include <algorithm>
#include <cerrno>

using namespace riposte;
using namespace riposte::test;

namespace {

constexpr Token token{5, 7};

void arm(Harness& harness, int fd) {
    harness.submit({.kind = OpKind::receive_from, .token = token, .fd = fd, .size = 1});
}

/// The next datagram; arms the stream again when it has ended.
Event next(Harness& harness, int fd) {
    for (;;) {
        const Event event = harness.expect(OpKind::receive_from, token);
        if (event.last)
            arm(harness, fd);
        if (event.result != -ENOBUFS)
            return event;
    }
}

std::span<std::byte> bytes_of(Harness& harness, const Event& event) {
    return harness.datagrams()
        .buffers()
        .bytes(event.buffer)
        .first(static_cast<size_t>(event.result));
}

std::string peer_of(Harness& harness, BufferId buffer) {
    const DatagramInfo& arrival = harness.datagrams().info(buffer);
    return to_string(SocketAddress{arrival.peer.any, arrival.peer_size});
}

void release(Harness& harness, BufferId buffer) {
    harness.datagrams().buffers().move(buffer, Owner::worker, Owner::pool);
}

void reply(Harness& harness, int fd, const Event& event) {
    harness.datagrams().buffers().move(event.buffer, Owner::worker, Owner::backend);
    harness.submit(
        {.kind = OpKind::send_to,
         .segment_bytes = harness.datagrams().info(event.buffer).segment_bytes,
         .token = token,
         .fd = fd,
         .buffer = event.buffer,
         .size = static_cast<uint32_t>(event.result)});
}

/// Echoes datagrams until `bytes` bytes have come. Returns the number of receive events.
size_t echo(Harness& harness, int fd, size_t bytes) {
    std::vector<Event> arrived;
    for (size_t came = 0; came < bytes; came += static_cast<size_t>(arrived.back().result)) {
        arrived.push_back(next(harness, fd));
        REQUIRE(arrived.back().result >= 0);
    }
    for (const Event& event : arrived)
        reply(harness, fd, event);
    for (const Event& event : arrived) {
        const Event sent = harness.expect(OpKind::send_to, token);
        CHECK(sent.result == event.result);
        CHECK(sent.buffer == event.buffer);
        release(harness, sent.buffer);
    }
    return arrived.size();
}

sim::Datagram await_reply(Harness& harness, int requester) {
    for (int turns = 0; turns < 500; ++turns) {
        if (auto reply = harness.reply_to(requester))
            return *reply;
        harness.turn(std::chrono::milliseconds(5));
    }
    FAIL("no reply came");
    return {};
}

/// Awaits the replies to a train: its datagrams, in order.
void await_train(Harness& harness, int requester, const Bytes& train, size_t segment) {
    for (size_t at = 0; at < train.size(); at += segment) {
        CAPTURE(at);
        const auto datagram = std::span(train).subspan(at, std::min(segment, train.size() - at));
        REQUIRE(std::ranges::equal(await_reply(harness, requester).bytes, datagram));
    }
}

/// Sends one request to `address` and awaits its reply, which must come from there.
void round_trip(Harness& harness, int fd, const std::string& address, const Bytes& request) {
    INFO(address, ", ", request.size(), " bytes");
    const int requester = harness.send_request(fd, address, request);
    const Event event = next(harness, fd);
    REQUIRE(event.result == static_cast<int32_t>(request.size()));
    CHECK(std::ranges::equal(bytes_of(harness, event), request));
    CHECK(peer_of(harness, event.buffer) == to_string(harness.requester_address(requester)));
    reply(harness, fd, event);
    const Event sent = harness.expect(OpKind::send_to, token);
    CHECK(sent.result == event.result);
    CHECK(sent.last);
    CHECK(sent.buffer == event.buffer);
    release(harness, sent.buffer);
    const sim::Datagram reply = await_reply(harness, requester);
    CHECK(reply.bytes == request);
    CHECK(to_string(reply.local) == to_string(harness.requested_address(requester)));
}

} // namespace

CONFORMANCE_CASE(
    "a datagram of any size comes whole with its peer's address, and the peer gets the reply") {
    const int fd = harness.datagram_socket(Bound::ipv4);
    arm(harness, fd);
    for (const size_t size : {0U, 1U, 1472U, 65'507U})
        round_trip(harness, fd, "127.0.0.1", pattern(size));
}

CONFORMANCE_CASE("a datagram of any size comes whole over IPv6, too") {
    if (!harness.has_ipv6())
        SKIP("this machine has no IPv6");
    const int fd = harness.datagram_socket(Bound::ipv6);
    arm(harness, fd);
    for (const size_t size : {0U, 1U, 1472U, 65'507U})
        round_trip(harness, fd, "::1", pattern(size));
}

CONFORMANCE_CASE("a reply leaves from the address that received the request") {
    const int fd = harness.datagram_socket(Bound::any_ipv4);
    arm(harness, fd);
    for (const char* address : {"127.0.0.1", "127.0.0.2", "127.0.0.9"})
        round_trip(harness, fd, address, pattern(20));
}

CONFORMANCE_CASE(
    "a dual-stack socket replies over IPv4 and IPv6 from the address that received the request") {
    if (!harness.has_ipv6())
        SKIP("this machine has no IPv6");
    const int fd = harness.datagram_socket(Bound::dual_stack);
    arm(harness, fd);
    for (const char* address : {"127.0.0.1", "127.0.0.2", "::1"})
        round_trip(harness, fd, address, pattern(20));
}

CONFORMANCE_CASE("all datagrams come in order when there are more than a batch holds") {
    constexpr uint32_t count = 100;
    const int fd = harness.datagram_socket(Bound::ipv4);
    for (uint32_t i = 0; i < count; ++i)
        harness.send_request(fd, "127.0.0.1", pattern(i % 7, i));
    arm(harness, fd);
    for (uint32_t i = 0; i < count; ++i) {
        const Event event = next(harness, fd);
        REQUIRE(event.result >= 0);
        REQUIRE(std::ranges::equal(bytes_of(harness, event), pattern(i % 7, i)));
        release(harness, event.buffer);
    }
    CHECK(harness.quiet());
}

CONFORMANCE_CASE("more datagrams than buffers end the stream with -ENOBUFS; the rest comes later") {
    constexpr uint32_t count = Harness::datagram_buffers + 10;
    const int fd = harness.datagram_socket(Bound::ipv4);
    for (uint32_t i = 0; i < count; ++i)
        harness.send_request(fd, "127.0.0.1", pattern(5, i));
    arm(harness, fd);
    std::vector<Event> held;
    for (bool dry = false; !dry;) {
        const Event event = harness.expect(OpKind::receive_from, token);
        dry = event.result == -ENOBUFS;
        CHECK(event.last == dry);
        if (!dry)
            held.push_back(event);
        else
            CHECK(event.buffer == no_buffer);
    }
    CHECK(held.size() == Harness::datagram_buffers);
    for (uint32_t i = 0; i < held.size(); ++i) {
        CHECK(std::ranges::equal(bytes_of(harness, held[i]), pattern(5, i)));
        release(harness, held[i].buffer);
    }
    arm(harness, fd);
    for (uint32_t i = Harness::datagram_buffers; i < count; ++i) {
        const Event event = next(harness, fd);
        REQUIRE(event.result == 5);
        CHECK(std::ranges::equal(bytes_of(harness, event), pattern(5, i)));
        release(harness, event.buffer);
    }
}

CONFORMANCE_CASE("a stopped receive_from ends once; later datagrams wait for the next one") {
    const int fd = harness.datagram_socket(Bound::ipv4);
    arm(harness, fd);
    CHECK(harness.quiet());
    harness.submit(
        {.kind = OpKind::stop, .target = OpKind::receive_from, .token = token, .fd = fd});
    const Event end = harness.expect(OpKind::receive_from, token);
    CHECK(end.result == -ECANCELED);
    CHECK(end.last);
    harness.send_request(fd, "127.0.0.1", pattern(9));
    CHECK(harness.quiet());
    arm(harness, fd);
    const Event event = next(harness, fd);
    CHECK(event.result == 9);
    release(harness, event.buffer);
}

CONFORMANCE_CASE("a reply that cannot be sent fails at once and returns its buffer") {
    const int fd = harness.datagram_socket(Bound::ipv4);
    arm(harness, fd);
    harness.send_request(fd, "127.0.0.1", pattern(9));
    harness.send_request(fd, "127.0.0.1", pattern(11));
    const Event first = next(harness, fd);
    const Event second = next(harness, fd);
    harness.block_reply(first.buffer);
    reply(harness, fd, first);
    const Event failed = harness.expect(OpKind::send_to, token);
    CHECK(failed.result < 0);
    CHECK(failed.last);
    CHECK(failed.buffer == first.buffer);
    release(harness, failed.buffer);
    release(harness, second.buffer);
    CHECK(harness.quiet());
}

CONFORMANCE_CASE("replies that are sent together have one event each") {
    const int fd = harness.datagram_socket(Bound::ipv4);
    arm(harness, fd);
    std::vector<int> requesters;
    requesters.reserve(3);
    for (uint32_t i = 0; i < 3; ++i)
        requesters.push_back(harness.send_request(fd, "127.0.0.1", pattern(10 + i, i)));
    std::vector<Event> arrived;
    arrived.reserve(3);
    for (uint32_t i = 0; i < 3; ++i)
        arrived.push_back(next(harness, fd));
    for (const Event& event : arrived)
        reply(harness, fd, event);
    for (uint32_t i = 0; i < 3; ++i) {
        const Event sent = harness.expect(OpKind::send_to, token);
        CHECK(sent.result == static_cast<int32_t>(10 + i));
        CHECK(sent.buffer == arrived[i].buffer);
        release(harness, sent.buffer);
        CHECK(await_reply(harness, requesters[i]).bytes == pattern(10 + i, i));
    }
}

// Trains ------------------------------------------------------------------------------------------

namespace {

constexpr const char* no_trains =
    "this kernel has no trains of datagrams on the loopback interface";

void train_round_trip(Harness& harness, Bound bound, const std::string& address) {
    const int fd = harness.datagram_socket(bound);
    arm(harness, fd);
    struct Train {
        uint16_t segment;
        size_t bytes;
    };
    // Two datagrams; a shorter last one; as many as every kernel permits; as large as a packet can
    // be.
    for (const auto [segment, bytes] :
         {Train{1, 2}, Train{1, 64}, Train{10, 25}, Train{1200, 1201}, Train{1200, 38'400},
          Train{1472, 58'879}, Train{9000, 63'000}, Train{9000, 65'400}, Train{32'000, 64'000}}) {
        INFO(bytes, " bytes in datagrams of ", segment);
        const Bytes train = pattern(bytes, segment);
        const int requester = harness.requester(fd, address);
        if (!harness.request(requester, train, segment))
            SKIP(no_trains);
        const Event event = next(harness, fd);
        REQUIRE(event.result == static_cast<int32_t>(bytes));
        CHECK(harness.datagrams().info(event.buffer).segment_bytes == segment);
        CHECK(std::ranges::equal(bytes_of(harness, event), train));
        CHECK(peer_of(harness, event.buffer) == to_string(harness.requester_address(requester)));
        reply(harness, fd, event);
        const Event sent = harness.expect(OpKind::send_to, token);
        CHECK(sent.result == event.result);
        release(harness, sent.buffer);
        await_train(harness, requester, train, segment);
        CHECK_FALSE(harness.reply_to(requester).has_value());
    }
}

} // namespace

CONFORMANCE_CASE("a train comes as one event, and goes back as single datagrams in order") {
    train_round_trip(harness, Bound::ipv4, "127.0.0.1");
}

CONFORMANCE_CASE("a train comes as one event over IPv6, too") {
    if (!harness.has_ipv6())
        SKIP("this machine has no IPv6");
    train_round_trip(harness, Bound::ipv6, "::1");
}

CONFORMANCE_CASE("replies to a train leave from the address that received it") {
    train_round_trip(harness, Bound::any_ipv4, "127.0.0.7");
}

CONFORMANCE_CASE("a train of more datagrams than a message may have is sent completely") {
    const int fd = harness.datagram_socket(Bound::ipv4);
    arm(harness, fd);
    const Bytes bytes = pattern(200);
    const int requester = harness.send_request(fd, "127.0.0.1", bytes);
    const Event event = next(harness, fd);
    REQUIRE(event.result == 200);
    harness.datagrams().info(event.buffer).segment_bytes = 1;
    reply(harness, fd, event);
    const Event sent = harness.expect(OpKind::send_to, token);
    CHECK(sent.result == 200);
    release(harness, sent.buffer);
    await_train(harness, requester, bytes, 1);
}

CONFORMANCE_CASE("trains, datagrams and empty datagrams of one peer keep their order") {
    const int fd = harness.datagram_socket(Bound::ipv4);
    const int requester = harness.requester(fd, "127.0.0.1");
    const Bytes bytes = pattern(1000);
    const std::span<const std::byte> all = bytes;
    if (!harness.request(requester, all.first(250), 100))
        SKIP(no_trains);
    REQUIRE(harness.request(requester, all.subspan(250, 100)));
    REQUIRE(harness.request(requester, {}));
    REQUIRE(harness.request(requester, all.subspan(350, 200), 100));
    REQUIRE(harness.request(requester, all.subspan(550, 30)));
    REQUIRE(harness.request(requester, all.subspan(580, 300), 30));
    REQUIRE(harness.request(requester, all.subspan(880, 120)));
    arm(harness, fd);
    CHECK(echo(harness, fd, bytes.size()) == 7);
    size_t at = 0;
    for (const size_t size :
         {100U, 100U, 50U, 100U, 0U, 100U, 100U, 30U, 30U, 30U, 30U, 30U, 30U, 30U, 30U, 30U, 30U,
          30U, 120U}) {
        CAPTURE(at);
        REQUIRE(std::ranges::equal(await_reply(harness, requester).bytes, all.subspan(at, size)));
        at += size;
    }
    CHECK(at == bytes.size());
}

CONFORMANCE_CASE("consecutive datagrams of one size and peer go back one by one, in order") {
    constexpr uint32_t count = Harness::datagram_buffers;
    const int fd = harness.datagram_socket(Bound::ipv4);
    const int requester = harness.requester(fd, "127.0.0.1");
    for (uint32_t i = 0; i < count; ++i)
        REQUIRE(harness.request(requester, pattern(1200, i)));
    REQUIRE(harness.request(requester, pattern(7)));
    arm(harness, fd);
    CHECK(echo(harness, fd, size_t{count} * 1200) == count);
    CHECK(echo(harness, fd, 7) == 1);
    for (uint32_t i = 0; i < count; ++i)
        REQUIRE(await_reply(harness, requester).bytes == pattern(1200, i));
    CHECK(await_reply(harness, requester).bytes == pattern(7));
}

CONFORMANCE_CASE("peers that send alternately get their own replies, each in order") {
    const int fd = harness.datagram_socket(Bound::any_ipv4);
    const int first = harness.requester(fd, "127.0.0.1");
    const int second = harness.requester(fd, "127.0.0.2");
    const Bytes train = pattern(350, 9);
    for (uint32_t i = 0; i < 8; ++i) {
        REQUIRE(harness.request(first, pattern(60, i)));
        REQUIRE(harness.request(second, pattern(60, 100 + i)));
        REQUIRE(harness.request(second, pattern(60, 200 + i)));
        if (!harness.request(first, train, 100))
            SKIP(no_trains);
    }
    arm(harness, fd);
    CHECK(echo(harness, fd, size_t{8} * (3 * 60 + 350)) == 32);
    for (uint32_t i = 0; i < 8; ++i) {
        CAPTURE(i);
        const sim::Datagram reply = await_reply(harness, second);
        REQUIRE(reply.bytes == pattern(60, 100 + i));
        CHECK(to_string(reply.local) == to_string(harness.requested_address(second)));
        REQUIRE(await_reply(harness, second).bytes == pattern(60, 200 + i));
        REQUIRE(await_reply(harness, first).bytes == pattern(60, i));
        await_train(harness, first, train, 100);
    }
}

CONFORMANCE_CASE("a train that cannot be sent fails once and returns its buffer") {
    const int fd = harness.datagram_socket(Bound::ipv4);
    arm(harness, fd);
    const int requester = harness.requester(fd, "127.0.0.1");
    if (!harness.request(requester, pattern(500), 100))
        SKIP(no_trains);
    const Event event = next(harness, fd);
    harness.block_reply(event.buffer);
    reply(harness, fd, event);
    const Event failed = harness.expect(OpKind::send_to, token);
    CHECK(failed.result < 0);
    CHECK(failed.buffer == event.buffer);
    release(harness, failed.buffer);
    CHECK(harness.quiet());
}

CONFORMANCE_CASE("neither of two sockets that share the last buffer starves") {
    constexpr Token other{6, 1};
    const int fd = harness.datagram_socket(Bound::ipv4);
    const int other_fd = harness.datagram_socket(Bound::ipv4);
    std::vector<BufferId> taken;
    for (uint32_t i = 1; i < Harness::datagram_buffers; ++i)
        taken.push_back(harness.datagrams().buffers().take(Owner::worker));
    arm(harness, fd); // one buffer is left, and either socket may hold it
    harness.submit({.kind = OpKind::receive_from, .token = other, .fd = other_fd, .size = 1});
    for (uint32_t i = 0; i < 6; ++i) {
        const bool mine = i % 2 == 0;
        harness.send_request(mine ? fd : other_fd, "127.0.0.1", pattern(20, i));
        const Event event = harness.expect(OpKind::receive_from, mine ? token : other);
        REQUIRE(event.result == 20);
        CHECK(std::ranges::equal(bytes_of(harness, event), pattern(20, i)));
        release(harness, event.buffer);
    }
    for (const BufferId buffer : taken)
        release(harness, buffer);
}
