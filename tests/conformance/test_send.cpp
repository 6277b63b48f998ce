// Sending, and the ways in which a connection ends.
#include "tests/conformance/bench.h"
#include "tests/support/skip.h"

#include <algorithm>
#include <cerrno>
#include <iterator>

using namespace riposte;
using namespace riposte::test;

namespace {

constexpr uint32_t send_buffer_bytes = Bench::stream_buffer_bytes;

/// Sends until one is in flight because the peer does not read. Returns how many bytes went before
/// it; its own place in the pattern starts there.
uint64_t fill(Bench& bench, const Link& link, BufferId& in_flight) {
    uint64_t sent = 0;
    for (int i = 0; i < 10'000; ++i) {
        in_flight = bench.send(link, send_buffer_bytes, sent);
        // A kernel may find room a moment after it had none: cases can not rely on it altogether.
        auto event = bench.look_for(OpKind::send, link.token);
        if (!event)
            event = bench.look_for(OpKind::send, link.token);
        if (!event)
            return sent;
        REQUIRE(event->result > 0);
        sent += static_cast<uint32_t>(event->result);
        bench.release(event->buffer);
    }
    FAIL("a peer that does not read is sent without end");
    return sent;
}

} // namespace

CONFORMANCE_CASE("a send gives its buffer back with the number of bytes that went") {
    const Link link = bench.link(bench.listen());
    const BufferId buffer = bench.send(link, 1000);
    const Event event = bench.expect(OpKind::send, link.token);
    CHECK(event.last);
    CHECK(event.buffer == buffer);
    CHECK(event.result == 1000);
    CHECK(bench.streams().owner(buffer) == Owner::worker);
    // From the middle, as what is left of a short send.
    bench.send_rest(link, buffer, 400, 500);
    CHECK(bench.expect(OpKind::send, link.token).result == 500);
    bench.release(buffer);
    int32_t end = 0;
    Bytes expected = pattern(1000);
    std::ranges::copy(pattern(500, 400), std::back_inserter(expected));
    CHECK(bench.peer_take(link.peer, 1500, end) == expected);
}

CONFORMANCE_CASE("sends to a peer that reads late wait for it, and every byte arrives") {
    constexpr uint64_t total = uint64_t{4} << 20;
    const Link link = bench.link(bench.listen());
    BufferId buffer = no_buffer;
    uint64_t sent = fill(bench, link, buffer);
    CHECK(sent < total);
    Bytes got;
    for (uint32_t offset = 0; sent < total;) {
        auto event = bench.look_for(OpKind::send, link.token);
        if (!event) {
            int32_t end = 0;
            std::ranges::copy(bench.peer_take(link.peer, 1, end), std::back_inserter(got));
            REQUIRE(end == 1);
            continue;
        }
        REQUIRE(event->result > 0);
        sent += static_cast<uint32_t>(event->result);
        offset += static_cast<uint32_t>(event->result);
        // What went may end in the middle of a buffer: nothing may be in flight behind it then.
        if (offset < send_buffer_bytes && sent < total) {
            bench.send_rest(link, event->buffer, offset, send_buffer_bytes - offset);
            continue;
        }
        bench.release(event->buffer);
        offset = 0;
        if (sent < total)
            bench.send(link, send_buffer_bytes, sent);
    }
    int32_t end = 0;
    std::ranges::copy(bench.peer_take(link.peer, sent - got.size(), end), std::back_inserter(got));
    CHECK(got.size() == sent);
    CHECK(got == pattern(sent));
}

CONFORMANCE_CASE("a send to a peer that reset fails and gives its buffer back") {
    const Link link = bench.link(bench.listen());
    bench.peer_reset(link.peer);
    const BufferId buffer = bench.send(link, 100);
    const Event event = bench.expect(OpKind::send, link.token);
    CHECK(event.result < 0);
    CHECK(event.result != -EAGAIN);
    CHECK(event.last);
    CHECK(event.buffer == buffer);
    bench.release(buffer);
    bench.close(link);
}

CONFORMANCE_CASE("a peer's reset ends a send that waits for it") {
    const Link link = bench.link(bench.listen());
    BufferId buffer = no_buffer;
    fill(bench, link, buffer);
    bench.peer_reset(link.peer);
    Event event = bench.expect(OpKind::send, link.token);
    CHECK(event.buffer == buffer);
    if (event.result > 0) { // there was room after all, a moment before the reset
        bench.send_rest(link, buffer, 0, send_buffer_bytes);
        event = bench.expect(OpKind::send, link.token);
    }
    CHECK(event.result < 0);
    CHECK(event.buffer == buffer);
    bench.release(buffer);
    bench.close(link);
}

CONFORMANCE_CASE("after finish the peer sees EOF behind all bytes, and can still send") {
    const Link link = bench.link(bench.listen());
    const BufferId buffer = bench.send(link, 3000);
    REQUIRE(bench.expect(OpKind::send, link.token).result == 3000);
    bench.release(buffer);
    bench.give({.kind = OpKind::finish, .token = link.token, .fd = link.fd});
    int32_t end = 1;
    CHECK(bench.peer_take(link.peer, 10'000, end) == pattern(3000));
    CHECK(end == 0);
    bench.peer_give(link.peer, pattern(2000));
    bench.peer_finish(link.peer);
    CHECK(bench.receive_all(link, 10'000, end) == pattern(2000));
    CHECK(end == 0);
    bench.close(link);
}

CONFORMANCE_CASE("bytes that a finish takes along arrive with it, however many they are") {
    const int listener = bench.listen();
    for (const uint32_t size : {1u, 100u, 1459u, send_buffer_bytes}) {
        const Link link = bench.link(listener);
        const BufferId buffer = bench.send(link, size, 0, true);
        REQUIRE(bench.expect(OpKind::send, link.token).result == static_cast<int32_t>(size));
        bench.release(buffer);
        bench.give({.kind = OpKind::finish, .token = link.token, .fd = link.fd});
        int32_t end = 1;
        CHECK(bench.peer_take(link.peer, size + 1, end) == pattern(size));
        CHECK(end == 0);
        bench.close(link);
    }
}

CONFORMANCE_CASE("a close takes along what a send held back") {
    const Link link = bench.link(bench.listen());
    const BufferId buffer = bench.send(link, 100, 0, true);
    REQUIRE(bench.expect(OpKind::send, link.token).result == 100);
    bench.release(buffer);
    bench.close(link);
    int32_t end = 1;
    CHECK(bench.peer_take(link.peer, 1000, end) == pattern(100));
    CHECK(end == 0);
}

CONFORMANCE_CASE("abort ends what is in flight, once each, and the peer sees a reset") {
    const Link link = bench.link(bench.listen());
    BufferId buffer = no_buffer;
    fill(bench, link, buffer);
    bench.receive(link, 1000);
    bench.turn();
    bench.give({.kind = OpKind::abort, .token = link.token, .fd = link.fd});
    const Event received = bench.expect(OpKind::receive, link.token);
    CHECK(received.last);
    CHECK(received.result <= 0);
    CHECK(received.buffer == no_buffer);
    const Event sent = bench.expect(OpKind::send, link.token);
    CHECK(sent.last);
    CHECK(sent.buffer == buffer);
    bench.release(buffer);
    CHECK(bench.quiet());
    bench.close(link);
    CHECK(bench.peer_end(link.peer) == -ECONNRESET);
}

CONFORMANCE_CASE("a backend that is destroyed gives every buffer back to its pool") {
    const int listener = bench.listen();
    const Link idle = bench.link(listener);
    const Link full = bench.link(listener);
    BufferId buffer = no_buffer;
    fill(bench, full, buffer);
    bench.receive(idle, 1000);
    bench.give(
        {.kind = OpKind::receive_from,
         .token = {2, 1},
         .fd = bench.datagram_socket(Bound::ipv4),
         .size = 1});
    bench.turn();
    if (bench.streams().owner(buffer) == Owner::worker)
        bench.release(buffer); // it went after all
    bench.destroy_backend();
    CHECK(bench.streams().held(Owner::pool) == bench.streams().count());
    const BufferPool& datagrams = bench.datagrams().buffers();
    CHECK(datagrams.held(Owner::pool) == datagrams.count());
}
