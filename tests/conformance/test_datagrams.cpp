// Datagrams: sizes, addresses, batches, and answers that must not wait.
#include "tests/conformance/bench.h"
#include "tests/support/skip.h"

#include <algorithm>
#include <cerrno>

using namespace riposte;
using namespace riposte::test;

namespace {

constexpr Token token{5, 7};

void arm(Bench& bench, int fd) {
    bench.give({.kind = OpKind::receive_from, .token = token, .fd = fd, .size = 1});
}

/// The next datagram; arms the stream again when it has ended.
Event next(Bench& bench, int fd) {
    for (;;) {
        const Event event = bench.expect(OpKind::receive_from, token);
        if (event.last)
            arm(bench, fd);
        if (event.result != -ENOBUFS)
            return event;
    }
}

std::span<std::byte> bytes_of(Bench& bench, const Event& event) {
    return bench.datagrams().buffers().bytes(event.buffer).first(static_cast<size_t>(event.result));
}

std::string peer_of(Bench& bench, BufferId buffer) {
    const DatagramInfo& arrival = bench.datagrams().info(buffer);
    return to_string(SocketAddress{arrival.peer.any, arrival.peer_size});
}

void release(Bench& bench, BufferId buffer) {
    bench.datagrams().buffers().move(buffer, Owner::worker, Owner::pool);
}

void reply(Bench& bench, int fd, const Event& event) {
    bench.datagrams().buffers().move(event.buffer, Owner::worker, Owner::backend);
    bench.give(
        {.kind = OpKind::send_to,
         .segment_bytes = bench.datagrams().info(event.buffer).segment_bytes,
         .token = token,
         .fd = fd,
         .buffer = event.buffer,
         .size = static_cast<uint32_t>(event.result)});
}

/// Gives what arrives back until these bytes have come. Returns how many events that took.
size_t echo(Bench& bench, int fd, size_t bytes) {
    std::vector<Event> arrived;
    for (size_t came = 0; came < bytes; came += static_cast<size_t>(arrived.back().result)) {
        arrived.push_back(next(bench, fd));
        REQUIRE(arrived.back().result >= 0);
    }
    for (const Event& event : arrived)
        reply(bench, fd, event);
    for (const Event& event : arrived) {
        const Event sent = bench.expect(OpKind::send_to, token);
        CHECK(sent.result == event.result);
        CHECK(sent.buffer == event.buffer);
        release(bench, sent.buffer);
    }
    return arrived.size();
}

sim::Datagram await_answer(Bench& bench, int asker) {
    for (int turns = 0; turns < 500; ++turns) {
        if (auto answer = bench.answer(asker))
            return *answer;
        bench.turn(std::chrono::milliseconds(5));
    }
    FAIL("no answer came");
    return {};
}

/// The answers to a train: its datagrams, in their order.
void await_train(Bench& bench, int asker, const Bytes& train, size_t segment) {
    for (size_t at = 0; at < train.size(); at += segment) {
        CAPTURE(at);
        const auto datagram = std::span(train).subspan(at, std::min(segment, train.size() - at));
        REQUIRE(std::ranges::equal(await_answer(bench, asker).bytes, datagram));
    }
}

/// One question to `address`, and its answer, which must come from there.
void round_trip(Bench& bench, int fd, const std::string& address, const Bytes& question) {
    INFO(address, ", ", question.size(), " bytes");
    const int asker = bench.ask(fd, address, question);
    const Event event = next(bench, fd);
    REQUIRE(event.result == static_cast<int32_t>(question.size()));
    CHECK(std::ranges::equal(bytes_of(bench, event), question));
    CHECK(peer_of(bench, event.buffer) == to_string(bench.asker_address(asker)));
    reply(bench, fd, event);
    const Event sent = bench.expect(OpKind::send_to, token);
    CHECK(sent.result == event.result);
    CHECK(sent.last);
    CHECK(sent.buffer == event.buffer);
    release(bench, sent.buffer);
    const sim::Datagram answer = await_answer(bench, asker);
    CHECK(answer.bytes == question);
    CHECK(to_string(answer.local) == to_string(bench.asked_address(asker)));
}

} // namespace

CONFORMANCE_CASE("a datagram of any size comes whole with its peer, and its answer goes back") {
    const int fd = bench.datagram_socket(Bound::ipv4);
    arm(bench, fd);
    for (const size_t size : {0U, 1U, 1472U, 65'507U})
        round_trip(bench, fd, "127.0.0.1", pattern(size));
}

CONFORMANCE_CASE("the same over IPv6") {
    if (!bench.has_ipv6())
        SKIP("this machine has no IPv6");
    const int fd = bench.datagram_socket(Bound::ipv6);
    arm(bench, fd);
    for (const size_t size : {0U, 1U, 1472U, 65'507U})
        round_trip(bench, fd, "::1", pattern(size));
}

CONFORMANCE_CASE("an answer leaves from the address that was asked") {
    const int fd = bench.datagram_socket(Bound::any_ipv4);
    arm(bench, fd);
    for (const char* address : {"127.0.0.1", "127.0.0.2", "127.0.0.9"})
        round_trip(bench, fd, address, pattern(20));
}

CONFORMANCE_CASE("a dual-stack socket answers IPv4 and IPv6 from the address that was asked") {
    if (!bench.has_ipv6())
        SKIP("this machine has no IPv6");
    const int fd = bench.datagram_socket(Bound::dual_stack);
    arm(bench, fd);
    for (const char* address : {"127.0.0.1", "127.0.0.2", "::1"})
        round_trip(bench, fd, address, pattern(20));
}

CONFORMANCE_CASE("more datagrams than a batch come all, in their order") {
    constexpr uint32_t count = 100;
    const int fd = bench.datagram_socket(Bound::ipv4);
    for (uint32_t i = 0; i < count; ++i)
        bench.ask(fd, "127.0.0.1", pattern(i % 7, i));
    arm(bench, fd);
    for (uint32_t i = 0; i < count; ++i) {
        const Event event = next(bench, fd);
        REQUIRE(event.result >= 0);
        REQUIRE(std::ranges::equal(bytes_of(bench, event), pattern(i % 7, i)));
        release(bench, event.buffer);
    }
    CHECK(bench.quiet());
}

CONFORMANCE_CASE("more datagrams than buffers end the stream with -ENOBUFS; the rest comes later") {
    constexpr uint32_t count = Bench::datagram_buffers + 10;
    const int fd = bench.datagram_socket(Bound::ipv4);
    for (uint32_t i = 0; i < count; ++i)
        bench.ask(fd, "127.0.0.1", pattern(5, i));
    arm(bench, fd);
    std::vector<Event> held;
    for (bool dry = false; !dry;) {
        const Event event = bench.expect(OpKind::receive_from, token);
        dry = event.result == -ENOBUFS;
        CHECK(event.last == dry);
        if (!dry)
            held.push_back(event);
        else
            CHECK(event.buffer == no_buffer);
    }
    CHECK(held.size() == Bench::datagram_buffers);
    for (uint32_t i = 0; i < held.size(); ++i) {
        CHECK(std::ranges::equal(bytes_of(bench, held[i]), pattern(5, i)));
        release(bench, held[i].buffer);
    }
    arm(bench, fd);
    for (uint32_t i = Bench::datagram_buffers; i < count; ++i) {
        const Event event = next(bench, fd);
        REQUIRE(event.result == 5);
        CHECK(std::ranges::equal(bytes_of(bench, event), pattern(5, i)));
        release(bench, event.buffer);
    }
}

CONFORMANCE_CASE("a stopped receive_from ends once; what comes later waits for the next one") {
    const int fd = bench.datagram_socket(Bound::ipv4);
    arm(bench, fd);
    CHECK(bench.quiet());
    bench.give({.kind = OpKind::stop, .target = OpKind::receive_from, .token = token, .fd = fd});
    const Event end = bench.expect(OpKind::receive_from, token);
    CHECK(end.result == -ECANCELED);
    CHECK(end.last);
    bench.ask(fd, "127.0.0.1", pattern(9));
    CHECK(bench.quiet());
    arm(bench, fd);
    const Event event = next(bench, fd);
    CHECK(event.result == 9);
    release(bench, event.buffer);
}

CONFORMANCE_CASE("an answer that can not be sent fails at once and gives its buffer back") {
    const int fd = bench.datagram_socket(Bound::ipv4);
    arm(bench, fd);
    bench.ask(fd, "127.0.0.1", pattern(9));
    bench.ask(fd, "127.0.0.1", pattern(11));
    const Event first = next(bench, fd);
    const Event second = next(bench, fd);
    bench.block_answer(first.buffer);
    reply(bench, fd, first);
    const Event failed = bench.expect(OpKind::send_to, token);
    CHECK(failed.result < 0);
    CHECK(failed.last);
    CHECK(failed.buffer == first.buffer);
    release(bench, failed.buffer);
    release(bench, second.buffer);
    CHECK(bench.quiet());
}

CONFORMANCE_CASE("answers that go out together are told one by one, a failed one by itself") {
    const int fd = bench.datagram_socket(Bound::ipv4);
    arm(bench, fd);
    std::vector<int> askers;
    askers.reserve(3);
    for (uint32_t i = 0; i < 3; ++i)
        askers.push_back(bench.ask(fd, "127.0.0.1", pattern(10 + i, i)));
    std::vector<Event> arrived;
    arrived.reserve(3);
    for (uint32_t i = 0; i < 3; ++i)
        arrived.push_back(next(bench, fd));
    for (const Event& event : arrived)
        reply(bench, fd, event);
    for (uint32_t i = 0; i < 3; ++i) {
        const Event sent = bench.expect(OpKind::send_to, token);
        CHECK(sent.result == static_cast<int32_t>(10 + i));
        CHECK(sent.buffer == arrived[i].buffer);
        release(bench, sent.buffer);
        CHECK(await_answer(bench, askers[i]).bytes == pattern(10 + i, i));
    }
}

// Trains ------------------------------------------------------------------------------------------

namespace {

constexpr const char* no_trains = "this machine can not send trains of datagrams";

void train_round_trip(Bench& bench, Bound bound, const std::string& address) {
    const int fd = bench.datagram_socket(bound);
    arm(bench, fd);
    struct Train {
        uint16_t segment;
        size_t bytes;
    };
    // Two; two and an odd last one; as many as every kernel takes; as large as a packet can be.
    for (const auto [segment, bytes] :
         {Train{1, 2}, Train{1, 64}, Train{10, 25}, Train{1200, 1201}, Train{1200, 38'400},
          Train{1472, 58'879}, Train{9000, 63'000}, Train{9000, 65'400}, Train{32'000, 64'000}}) {
        INFO(bytes, " bytes in datagrams of ", segment);
        const Bytes train = pattern(bytes, segment);
        const int asker = bench.asker(fd, address);
        if (!bench.question(asker, train, segment))
            SKIP(no_trains);
        const Event event = next(bench, fd);
        REQUIRE(event.result == static_cast<int32_t>(bytes));
        CHECK(bench.datagrams().info(event.buffer).segment_bytes == segment);
        CHECK(std::ranges::equal(bytes_of(bench, event), train));
        CHECK(peer_of(bench, event.buffer) == to_string(bench.asker_address(asker)));
        reply(bench, fd, event);
        const Event sent = bench.expect(OpKind::send_to, token);
        CHECK(sent.result == event.result);
        release(bench, sent.buffer);
        await_train(bench, asker, train, segment);
        CHECK_FALSE(bench.answer(asker).has_value());
    }
}

} // namespace

CONFORMANCE_CASE("a train comes as one, and goes back datagram for datagram, in its order") {
    train_round_trip(bench, Bound::ipv4, "127.0.0.1");
}

CONFORMANCE_CASE("the same for trains over IPv6") {
    if (!bench.has_ipv6())
        SKIP("this machine has no IPv6");
    train_round_trip(bench, Bound::ipv6, "::1");
}

CONFORMANCE_CASE("a train is answered from the address that was asked") {
    train_round_trip(bench, Bound::any_ipv4, "127.0.0.7");
}

CONFORMANCE_CASE("a train of more datagrams than a message may have goes whole") {
    const int fd = bench.datagram_socket(Bound::ipv4);
    arm(bench, fd);
    const Bytes bytes = pattern(200);
    const int asker = bench.ask(fd, "127.0.0.1", bytes);
    const Event event = next(bench, fd);
    REQUIRE(event.result == 200);
    bench.datagrams().info(event.buffer).segment_bytes = 1;
    reply(bench, fd, event);
    const Event sent = bench.expect(OpKind::send_to, token);
    CHECK(sent.result == 200);
    release(bench, sent.buffer);
    await_train(bench, asker, bytes, 1);
}

CONFORMANCE_CASE("trains, datagrams and empty ones of one peer keep their order") {
    const int fd = bench.datagram_socket(Bound::ipv4);
    const int asker = bench.asker(fd, "127.0.0.1");
    const Bytes bytes = pattern(1000);
    const std::span<const std::byte> all = bytes;
    if (!bench.question(asker, all.first(250), 100))
        SKIP(no_trains);
    REQUIRE(bench.question(asker, all.subspan(250, 100)));
    REQUIRE(bench.question(asker, {}));
    REQUIRE(bench.question(asker, all.subspan(350, 200), 100));
    REQUIRE(bench.question(asker, all.subspan(550, 30)));
    REQUIRE(bench.question(asker, all.subspan(580, 300), 30));
    REQUIRE(bench.question(asker, all.subspan(880, 120)));
    arm(bench, fd);
    CHECK(echo(bench, fd, bytes.size()) == 7);
    size_t at = 0;
    for (const size_t size :
         {100U, 100U, 50U, 100U, 0U, 100U, 100U, 30U, 30U, 30U, 30U, 30U, 30U, 30U, 30U, 30U, 30U,
          30U, 120U}) {
        CAPTURE(at);
        REQUIRE(std::ranges::equal(await_answer(bench, asker).bytes, all.subspan(at, size)));
        at += size;
    }
    CHECK(at == bytes.size());
}

CONFORMANCE_CASE("neighbours of one size to one peer go back one by one, in their order") {
    constexpr uint32_t count = Bench::datagram_buffers;
    const int fd = bench.datagram_socket(Bound::ipv4);
    const int asker = bench.asker(fd, "127.0.0.1");
    for (uint32_t i = 0; i < count; ++i)
        REQUIRE(bench.question(asker, pattern(1200, i)));
    REQUIRE(bench.question(asker, pattern(7)));
    arm(bench, fd);
    CHECK(echo(bench, fd, size_t{count} * 1200) == count);
    CHECK(echo(bench, fd, 7) == 1);
    for (uint32_t i = 0; i < count; ++i)
        REQUIRE(await_answer(bench, asker).bytes == pattern(1200, i));
    CHECK(await_answer(bench, asker).bytes == pattern(7));
}

CONFORMANCE_CASE("peers that ask by turns get their own answers, each in its order") {
    const int fd = bench.datagram_socket(Bound::any_ipv4);
    const int first = bench.asker(fd, "127.0.0.1");
    const int second = bench.asker(fd, "127.0.0.2");
    const Bytes train = pattern(350, 9);
    for (uint32_t i = 0; i < 8; ++i) {
        REQUIRE(bench.question(first, pattern(60, i)));
        REQUIRE(bench.question(second, pattern(60, 100 + i)));
        REQUIRE(bench.question(second, pattern(60, 200 + i)));
        if (!bench.question(first, train, 100))
            SKIP(no_trains);
    }
    arm(bench, fd);
    CHECK(echo(bench, fd, size_t{8} * (3 * 60 + 350)) == 32);
    for (uint32_t i = 0; i < 8; ++i) {
        CAPTURE(i);
        const sim::Datagram answer = await_answer(bench, second);
        REQUIRE(answer.bytes == pattern(60, 100 + i));
        CHECK(to_string(answer.local) == to_string(bench.asked_address(second)));
        REQUIRE(await_answer(bench, second).bytes == pattern(60, 200 + i));
        REQUIRE(await_answer(bench, first).bytes == pattern(60, i));
        await_train(bench, first, train, 100);
    }
}

CONFORMANCE_CASE("a train that can not be sent fails once and gives its buffer back") {
    const int fd = bench.datagram_socket(Bound::ipv4);
    arm(bench, fd);
    const int asker = bench.asker(fd, "127.0.0.1");
    if (!bench.question(asker, pattern(500), 100))
        SKIP(no_trains);
    const Event event = next(bench, fd);
    bench.block_answer(event.buffer);
    reply(bench, fd, event);
    const Event failed = bench.expect(OpKind::send_to, token);
    CHECK(failed.result < 0);
    CHECK(failed.buffer == event.buffer);
    release(bench, failed.buffer);
    CHECK(bench.quiet());
}

CONFORMANCE_CASE("sockets that take turns at the last buffers starve neither") {
    constexpr Token other{6, 1};
    const int fd = bench.datagram_socket(Bound::ipv4);
    const int other_fd = bench.datagram_socket(Bound::ipv4);
    std::vector<BufferId> taken;
    for (uint32_t i = 1; i < Bench::datagram_buffers; ++i)
        taken.push_back(bench.datagrams().buffers().take(Owner::worker));
    arm(bench, fd); // one is left, and either may keep it at hand
    bench.give({.kind = OpKind::receive_from, .token = other, .fd = other_fd, .size = 1});
    for (uint32_t i = 0; i < 6; ++i) {
        const bool mine = i % 2 == 0;
        bench.ask(mine ? fd : other_fd, "127.0.0.1", pattern(20, i));
        const Event event = bench.expect(OpKind::receive_from, mine ? token : other);
        REQUIRE(event.result == 20);
        CHECK(std::ranges::equal(bytes_of(bench, event), pattern(20, i)));
        release(bench, event.buffer);
    }
    for (const BufferId buffer : taken)
        release(bench, buffer);
}
