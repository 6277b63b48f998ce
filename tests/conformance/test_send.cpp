// Sending, and the ways in which a connection ends.
#include "tests/conformance/harness.h"
#include "tests/support/skip.h"

#include <algorithm>
#include <cerrno>
#include <iterator>

using namespace riposte;
using namespace riposte::test;

namespace {

constexpr uint32_t send_buffer_bytes = Harness::stream_buffer_bytes;

/// Sends until a send stays in flight because the peer does not read. Returns the number of bytes
/// sent before it, which is also its offset in the pattern.
uint64_t fill(Harness& harness, const Link& link, BufferId& in_flight) {
    uint64_t sent = 0;
    for (int i = 0; i < 10'000; ++i) {
        in_flight = harness.send(link, send_buffer_bytes, sent);
        // A kernel may find room a moment after it had none, so try twice; even then it may find
        // some.
        auto event = harness.poll_for(OpKind::send, link.token);
        if (!event)
            event = harness.poll_for(OpKind::send, link.token);
        if (!event)
            return sent;
        REQUIRE(event->result > 0);
        sent += static_cast<uint32_t>(event->result);
        harness.release(event->buffer);
    }
    FAIL("sends to a peer that does not read never block");
    return sent;
}

} // namespace

CONFORMANCE_CASE("a send returns its buffer with the number of bytes sent") {
    const Link link = harness.link(harness.listen());
    const BufferId buffer = harness.send(link, 1000);
    const Event event = harness.expect(OpKind::send, link.token);
    CHECK(event.last);
    CHECK(event.buffer == buffer);
    CHECK(event.result == 1000);
    CHECK(harness.streams().owner(buffer) == Owner::worker);
    // From the middle, like the rest of a short send.
    harness.send_rest(link, buffer, 400, 500);
    CHECK(harness.expect(OpKind::send, link.token).result == 500);
    harness.release(buffer);
    int32_t end = 0;
    Bytes expected = pattern(1000);
    std::ranges::copy(pattern(500, 400), std::back_inserter(expected));
    CHECK(harness.peer_receive_all(link.peer, 1500, end) == expected);
}

CONFORMANCE_CASE("sends wait for a peer that reads late, and every byte arrives") {
    constexpr uint64_t total = uint64_t{4} << 20;
    const Link link = harness.link(harness.listen());
    BufferId buffer = no_buffer;
    uint64_t sent = fill(harness, link, buffer);
    CHECK(sent < total);
    Bytes got;
    for (uint32_t offset = 0; sent < total;) {
        auto event = harness.poll_for(OpKind::send, link.token);
        if (!event) {
            int32_t end = 0;
            std::ranges::copy(harness.peer_receive_all(link.peer, 1, end), std::back_inserter(got));
            REQUIRE(end == 1);
            continue;
        }
        REQUIRE(event->result > 0);
        sent += static_cast<uint32_t>(event->result);
        offset += static_cast<uint32_t>(event->result);
        // A send may end in the middle of a buffer: nothing may be in flight behind it then.
        if (offset < send_buffer_bytes && sent < total) {
            harness.send_rest(link, event->buffer, offset, send_buffer_bytes - offset);
            continue;
        }
        harness.release(event->buffer);
        offset = 0;
        if (sent < total)
            harness.send(link, send_buffer_bytes, sent);
    }
    int32_t end = 0;
    std::ranges::copy(
        harness.peer_receive_all(link.peer, sent - got.size(), end), std::back_inserter(got));
    CHECK(got.size() == sent);
    CHECK(got == pattern(sent));
}

CONFORMANCE_CASE("a send to a peer that reset fails and returns its buffer") {
    const Link link = harness.link(harness.listen());
    harness.peer_reset(link.peer);
    const BufferId buffer = harness.send(link, 100);
    const Event event = harness.expect(OpKind::send, link.token);
    CHECK(event.result < 0);
    CHECK(event.result != -EAGAIN);
    CHECK(event.last);
    CHECK(event.buffer == buffer);
    harness.release(buffer);
    harness.close(link);
}

CONFORMANCE_CASE("a peer's reset ends a send that waits for that peer") {
    const Link link = harness.link(harness.listen());
    BufferId buffer = no_buffer;
    fill(harness, link, buffer);
    harness.peer_reset(link.peer);
    Event event = harness.expect(OpKind::send, link.token);
    CHECK(event.buffer == buffer);
    if (event.result > 0) { // the kernel found room a moment before the reset
        harness.send_rest(link, buffer, 0, send_buffer_bytes);
        event = harness.expect(OpKind::send, link.token);
    }
    CHECK(event.result < 0);
    CHECK(event.buffer == buffer);
    harness.release(buffer);
    harness.close(link);
}

CONFORMANCE_CASE("after finish the peer gets all bytes and EOF, and can still send") {
    const Link link = harness.link(harness.listen());
    const BufferId buffer = harness.send(link, 3000);
    REQUIRE(harness.expect(OpKind::send, link.token).result == 3000);
    harness.release(buffer);
    harness.submit({.kind = OpKind::finish, .token = link.token, .fd = link.fd});
    int32_t end = 1;
    CHECK(harness.peer_receive_all(link.peer, 10'000, end) == pattern(3000));
    CHECK(end == 0);
    harness.peer_send_all(link.peer, pattern(2000));
    harness.peer_finish(link.peer);
    CHECK(harness.receive_all(link, 10'000, end) == pattern(2000));
    CHECK(end == 0);
    harness.close(link);
}

CONFORMANCE_CASE("bytes held back before a finish arrive with it, however many they are") {
    const int listener = harness.listen();
    for (const uint32_t size : {1u, 100u, 1459u, send_buffer_bytes}) {
        const Link link = harness.link(listener);
        const BufferId buffer = harness.send(link, size, 0, true);
        REQUIRE(harness.expect(OpKind::send, link.token).result == static_cast<int32_t>(size));
        harness.release(buffer);
        harness.submit({.kind = OpKind::finish, .token = link.token, .fd = link.fd});
        int32_t end = 1;
        CHECK(harness.peer_receive_all(link.peer, size + 1, end) == pattern(size));
        CHECK(end == 0);
        harness.close(link);
    }
}

CONFORMANCE_CASE("a close sends the bytes that a send held back") {
    const Link link = harness.link(harness.listen());
    const BufferId buffer = harness.send(link, 100, 0, true);
    REQUIRE(harness.expect(OpKind::send, link.token).result == 100);
    harness.release(buffer);
    harness.close(link);
    int32_t end = 1;
    CHECK(harness.peer_receive_all(link.peer, 1000, end) == pattern(100));
    CHECK(end == 0);
}

CONFORMANCE_CASE("abort ends each operation in flight once, and the peer gets a reset") {
    const Link link = harness.link(harness.listen());
    BufferId buffer = no_buffer;
    fill(harness, link, buffer);
    harness.receive(link, 1000);
    harness.turn();
    harness.submit({.kind = OpKind::abort, .token = link.token, .fd = link.fd});
    const Event received = harness.expect(OpKind::receive, link.token);
    CHECK(received.last);
    CHECK(received.result <= 0);
    CHECK(received.buffer == no_buffer);
    const Event sent = harness.expect(OpKind::send, link.token);
    CHECK(sent.last);
    CHECK(sent.buffer == buffer);
    harness.release(buffer);
    CHECK(harness.quiet());
    harness.close(link);
    CHECK(harness.peer_end(link.peer) == -ECONNRESET);
}

CONFORMANCE_CASE("a backend that is destroyed returns every buffer to its pool") {
    const int listener = harness.listen();
    const Link idle = harness.link(listener);
    const Link full = harness.link(listener);
    BufferId buffer = no_buffer;
    fill(harness, full, buffer);
    harness.receive(idle, 1000);
    harness.submit(
        {.kind = OpKind::receive_from,
         .token = {2, 1},
         .fd = harness.datagram_socket(Bound::ipv4),
         .size = 1});
    harness.turn();
    if (harness.streams().owner(buffer) == Owner::worker)
        harness.release(buffer); // the send completed after all
    harness.destroy_backend();
    CHECK(harness.streams().held(Owner::pool) == harness.streams().count());
    const BufferPool& datagrams = harness.datagrams().buffers();
    CHECK(datagrams.held(Owner::pool) == datagrams.count());
}
