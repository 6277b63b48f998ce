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
    const Arrival& arrival = bench.datagrams().arrival(buffer);
    return to_string(SocketAddress{arrival.peer.any, arrival.peer_size});
}

void release(Bench& bench, BufferId buffer) {
    bench.datagrams().buffers().move(buffer, Owner::worker, Owner::pool);
}

void reply(Bench& bench, int fd, const Event& event) {
    bench.datagrams().buffers().move(event.buffer, Owner::worker, Owner::backend);
    bench.give(
        {.kind = OpKind::send_to,
         .token = token,
         .fd = fd,
         .buffer = event.buffer,
         .size = static_cast<uint32_t>(event.result)});
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
