// Receiving: order, caps, ends, and running out of buffers.
#include "tests/conformance/harness.h"
#include "tests/support/skip.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <iterator>

using namespace riposte;
using namespace riposte::test;

namespace {

constexpr size_t buffer_bytes = Harness::stream_buffer_bytes;

void stop_receive(Harness& harness, const Link& link) {
    harness.submit(
        {.kind = OpKind::stop, .target = OpKind::receive, .token = link.token, .fd = link.fd});
}

} // namespace

CONFORMANCE_CASE("receive gives the bytes in order, then 0 at EOF as its last event") {
    const Link link = harness.link(harness.listen());
    const Bytes sent = pattern(10'000);
    harness.peer_send_all(link.peer, std::span(sent).first(1));
    int32_t end = 0;
    Bytes got = harness.receive_all(link, 1, end);
    harness.peer_send_all(link.peer, std::span(sent).subspan(1));
    harness.peer_finish(link.peer);
    std::ranges::copy(harness.receive_all(link, 100'000, end), std::back_inserter(got));
    CHECK(end == 0);
    CHECK(got == sent);
    CHECK(harness.quiet());
}

CONFORMANCE_CASE("receive can be armed again after EOF and gives 0 again") {
    const Link link = harness.link(harness.listen());
    harness.peer_finish(link.peer);
    for (int i = 0; i < 3; ++i) {
        harness.receive(link, 100);
        const Event event = harness.expect(OpKind::receive, link.token);
        CHECK(event.result == 0);
        CHECK(event.last);
        CHECK(event.buffer == no_buffer);
    }
}

CONFORMANCE_CASE("a receive ends at its cap or less than one buffer beyond it, and loses nothing") {
    const Link link = harness.link(harness.listen());
    const Bytes sent = pattern(20 * buffer_bytes / 2);
    harness.peer_send_all(link.peer, sent);
    harness.peer_finish(link.peer);
    Bytes got;
    for (uint32_t cap = 1; got.size() < sent.size(); cap = cap * 3 + 1) {
        harness.receive(link, cap);
        uint32_t in_stream = 0;
        for (bool last = false; !last;) {
            const Event event = harness.expect(OpKind::receive, link.token);
            last = event.last;
            if (event.result > 0) {
                REQUIRE(in_stream < cap); // otherwise the event before had to be the last
                in_stream += static_cast<uint32_t>(event.result);
                std::ranges::copy(harness.take(event), std::back_inserter(got));
            } else {
                REQUIRE(last);
                REQUIRE((event.result == 0 || event.result == -ENOBUFS));
            }
        }
        CHECK(in_stream < cap + buffer_bytes);
        REQUIRE(harness.quiet());
    }
    CHECK(got == sent);
}

CONFORMANCE_CASE("a stopped receive has exactly one last event, and later bytes are not lost") {
    const Link link = harness.link(harness.listen());
    harness.receive(link, 1000);
    CHECK(harness.quiet());
    stop_receive(harness, link);
    const Event event = harness.expect(OpKind::receive, link.token);
    CHECK(event.result == -ECANCELED);
    CHECK(event.last);
    harness.peer_send_all(link.peer, pattern(300));
    CHECK(harness.quiet());
    int32_t end = 0;
    CHECK(harness.receive_all(link, 300, end) == pattern(300));
}

CONFORMANCE_CASE("a receive that is stopped in the turn of its submission loses nothing") {
    const Link link = harness.link(harness.listen());
    harness.peer_send_all(link.peer, pattern(300));
    harness.receive(link, 1000);
    stop_receive(harness, link);
    Bytes got;
    for (bool last = false; !last;) {
        const Event event = harness.expect(OpKind::receive, link.token);
        last = event.last;
        if (event.result > 0)
            std::ranges::copy(harness.take(event), std::back_inserter(got));
        else
            CHECK(event.result == -ECANCELED);
    }
    CHECK(harness.quiet());
    int32_t end = 0;
    if (got.size() < 300)
        std::ranges::copy(
            harness.receive_all(link, 300 - got.size(), end), std::back_inserter(got));
    CHECK(got == pattern(300));
}

CONFORMANCE_CASE("an empty pool ends a receive with -ENOBUFS; after a release the bytes come") {
    const Link link = harness.link(harness.listen());
    const Bytes sent = pattern(10 * buffer_bytes);
    harness.peer_send_all(link.peer, sent);
    std::vector<BufferId> ours; // all buffers that the backend has not taken already
    for (BufferId id = 0; (id = harness.streams().take(Owner::worker)) != no_buffer;)
        ours.push_back(id);
    Bytes got;
    std::vector<BufferId> received;
    for (bool dry = false; !dry;) {
        harness.receive(link, 1'000'000);
        for (bool last = false; !last;) {
            const Event event = harness.expect(OpKind::receive, link.token);
            last = event.last;
            if (event.result < 0) {
                CHECK(event.result == -ENOBUFS);
                REQUIRE(last);
                dry = true;
                continue;
            }
            REQUIRE(event.result > 0);
            const auto bytes =
                harness.streams().bytes(event.buffer).first(static_cast<size_t>(event.result));
            std::ranges::copy(bytes, std::back_inserter(got));
            received.push_back(event.buffer);
        }
    }
    CHECK(got.size() < sent.size());
    CHECK(harness.quiet());
    harness.receive(link, 1'000'000);
    const Event again = harness.expect(OpKind::receive, link.token);
    CHECK(again.result == -ENOBUFS);
    CHECK(again.last);
    for (const BufferId id : received)
        harness.release(id);
    for (const BufferId id : ours)
        harness.release(id);
    int32_t end = 0;
    std::ranges::copy(
        harness.receive_all(link, sent.size() - got.size(), end), std::back_inserter(got));
    CHECK(got == sent);
}

CONFORMANCE_CASE("a peer's reset ends a receive with -ECONNRESET") {
    const Link link = harness.link(harness.listen());
    harness.receive(link, 1000);
    CHECK(harness.quiet());
    harness.peer_reset(link.peer);
    const Event event = harness.expect(OpKind::receive, link.token);
    CHECK(event.result == -ECONNRESET);
    CHECK(event.last);
    CHECK(event.buffer == no_buffer);
    harness.close(link);
}

CONFORMANCE_CASE("peers that send endlessly do not starve one that sends little") {
    const int listener = harness.listen();
    const std::array busy = {harness.link(listener), harness.link(listener)};
    const Link small = harness.link(listener);
    const Bytes plenty = pattern(size_t{4} * Harness::stream_buffer_bytes);
    for (const Link& link : busy) {
        harness.peer_send_all(link.peer, plenty);
        harness.receive(link, 2 * Harness::stream_buffer_bytes);
    }
    harness.receive(small, 100);
    harness.peer_send_all(small.peer, pattern(10));
    // The busy peers always have bytes to send, and are armed again at once.
    int others = 0;
    for (;; ++others) {
        REQUIRE(others < 60);
        const Event event = harness.next();
        if (event.token == small.token) {
            CHECK(harness.take(event) == pattern(10));
            break;
        }
        const Link& link = event.token == busy[0].token ? busy[0] : busy[1];
        REQUIRE(event.token == link.token);
        if (event.result > 0)
            harness.take(event);
        else
            REQUIRE(event.result == -ENOBUFS);
        harness.peer_send(link.peer, plenty); // as much as its socket buffer takes
        if (event.last)
            harness.receive(link, 2 * Harness::stream_buffer_bytes);
    }
}

CONFORMANCE_CASE("an events span of one loses nothing and keeps the order of each stream") {
    const int listener = harness.listen();
    const std::vector<Link> links = {
        harness.link(listener), harness.link(listener), harness.link(listener)};
    harness.set_span(1);
    for (const Link& link : links) {
        harness.peer_send_all(link.peer, pattern(3 * buffer_bytes, link.token.slot));
        harness.receive(link, 1'000'000);
    }
    for (const Link& link : links) {
        Bytes got;
        while (got.size() < 3 * buffer_bytes) {
            const Event event = harness.expect(OpKind::receive, link.token);
            if (event.result > 0)
                std::ranges::copy(harness.take(event), std::back_inserter(got));
            if (event.last)
                harness.receive(link, 1'000'000);
        }
        CHECK(got == pattern(3 * buffer_bytes, link.token.slot));
    }
}
