// Receiving: order, caps, ends, and what happens when buffers run out.
#include "tests/conformance/bench.h"
#include "tests/support/skip.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <iterator>

using namespace riposte;
using namespace riposte::test;

namespace {

constexpr size_t buffer_bytes = Bench::stream_buffer_bytes;

void stop_receive(Bench& bench, const Link& link) {
    bench.give(
        {.kind = OpKind::stop, .target = OpKind::receive, .token = link.token, .fd = link.fd});
}

} // namespace

CONFORMANCE_CASE("receive gives the bytes in order, then 0 at EOF, which is the last") {
    const Link link = bench.link(bench.listen());
    const Bytes sent = pattern(10'000);
    bench.peer_give(link.peer, std::span(sent).first(1));
    int32_t end = 0;
    Bytes got = bench.receive_all(link, 1, end);
    bench.peer_give(link.peer, std::span(sent).subspan(1));
    bench.peer_finish(link.peer);
    std::ranges::copy(bench.receive_all(link, 100'000, end), std::back_inserter(got));
    CHECK(end == 0);
    CHECK(got == sent);
    CHECK(bench.quiet());
}

CONFORMANCE_CASE("receive can be armed again after EOF and says 0 again") {
    const Link link = bench.link(bench.listen());
    bench.peer_finish(link.peer);
    for (int i = 0; i < 3; ++i) {
        bench.receive(link, 100);
        const Event event = bench.expect(OpKind::receive, link.token);
        CHECK(event.result == 0);
        CHECK(event.last);
        CHECK(event.buffer == no_buffer);
    }
}

CONFORMANCE_CASE("a receive ends by its cap with less than one buffer more, and nothing is lost") {
    const Link link = bench.link(bench.listen());
    const Bytes sent = pattern(20 * buffer_bytes / 2);
    bench.peer_give(link.peer, sent);
    bench.peer_finish(link.peer);
    Bytes got;
    for (uint32_t cap = 1; got.size() < sent.size(); cap = cap * 3 + 1) {
        bench.receive(link, cap);
        uint32_t in_stream = 0;
        for (bool last = false; !last;) {
            const Event event = bench.expect(OpKind::receive, link.token);
            last = event.last;
            if (event.result > 0) {
                REQUIRE(in_stream < cap); // else it had to be the last
                in_stream += static_cast<uint32_t>(event.result);
                std::ranges::copy(bench.take(event), std::back_inserter(got));
            } else {
                REQUIRE(last);
                REQUIRE((event.result == 0 || event.result == -ENOBUFS));
            }
        }
        CHECK(in_stream < cap + buffer_bytes);
        REQUIRE(bench.quiet());
    }
    CHECK(got == sent);
}

CONFORMANCE_CASE("a stopped receive has exactly one last event, and later bytes are not lost") {
    const Link link = bench.link(bench.listen());
    bench.receive(link, 1000);
    CHECK(bench.quiet());
    stop_receive(bench, link);
    const Event event = bench.expect(OpKind::receive, link.token);
    CHECK(event.result == -ECANCELED);
    CHECK(event.last);
    bench.peer_give(link.peer, pattern(300));
    CHECK(bench.quiet());
    int32_t end = 0;
    CHECK(bench.receive_all(link, 300, end) == pattern(300));
}

CONFORMANCE_CASE("a receive that is stopped in the turn it was given loses nothing") {
    const Link link = bench.link(bench.listen());
    bench.peer_give(link.peer, pattern(300));
    bench.receive(link, 1000);
    stop_receive(bench, link);
    Bytes got;
    for (bool last = false; !last;) {
        const Event event = bench.expect(OpKind::receive, link.token);
        last = event.last;
        if (event.result > 0)
            std::ranges::copy(bench.take(event), std::back_inserter(got));
        else
            CHECK(event.result == -ECANCELED);
    }
    CHECK(bench.quiet());
    int32_t end = 0;
    if (got.size() < 300)
        std::ranges::copy(bench.receive_all(link, 300 - got.size(), end), std::back_inserter(got));
    CHECK(got == pattern(300));
}

CONFORMANCE_CASE("an empty pool ends a receive with -ENOBUFS; after a release the bytes come") {
    const Link link = bench.link(bench.listen());
    const Bytes sent = pattern(10 * buffer_bytes);
    bench.peer_give(link.peer, sent);
    std::vector<BufferId> ours; // all that the backend has not taken already
    for (BufferId id = 0; (id = bench.streams().take(Owner::worker)) != no_buffer;)
        ours.push_back(id);
    Bytes got;
    std::vector<BufferId> received;
    for (bool dry = false; !dry;) {
        bench.receive(link, 1'000'000);
        for (bool last = false; !last;) {
            const Event event = bench.expect(OpKind::receive, link.token);
            last = event.last;
            if (event.result < 0) {
                CHECK(event.result == -ENOBUFS);
                REQUIRE(last);
                dry = true;
                continue;
            }
            REQUIRE(event.result > 0);
            const auto bytes =
                bench.streams().bytes(event.buffer).first(static_cast<size_t>(event.result));
            std::ranges::copy(bytes, std::back_inserter(got));
            received.push_back(event.buffer);
        }
    }
    CHECK(got.size() < sent.size());
    CHECK(bench.quiet());
    bench.receive(link, 1'000'000);
    const Event again = bench.expect(OpKind::receive, link.token);
    CHECK(again.result == -ENOBUFS);
    CHECK(again.last);
    for (const BufferId id : received)
        bench.release(id);
    for (const BufferId id : ours)
        bench.release(id);
    int32_t end = 0;
    std::ranges::copy(
        bench.receive_all(link, sent.size() - got.size(), end), std::back_inserter(got));
    CHECK(got == sent);
}

CONFORMANCE_CASE("a peer's reset ends a receive with -ECONNRESET") {
    const Link link = bench.link(bench.listen());
    bench.receive(link, 1000);
    CHECK(bench.quiet());
    bench.peer_reset(link.peer);
    const Event event = bench.expect(OpKind::receive, link.token);
    CHECK(event.result == -ECONNRESET);
    CHECK(event.last);
    CHECK(event.buffer == no_buffer);
    bench.close(link);
}

CONFORMANCE_CASE("peers that send without end do not keep a small one from its turn") {
    const int listener = bench.listen();
    const std::array busy = {bench.link(listener), bench.link(listener)};
    const Link small = bench.link(listener);
    const Bytes plenty = pattern(size_t{4} * Bench::stream_buffer_bytes);
    for (const Link& link : busy) {
        bench.peer_give(link.peer, plenty);
        bench.receive(link, 2 * Bench::stream_buffer_bytes);
    }
    bench.receive(small, 100);
    bench.peer_give(small.peer, pattern(10));
    // They never run dry, and are armed again at once.
    int others = 0;
    for (;; ++others) {
        REQUIRE(others < 60);
        const Event event = bench.next();
        if (event.token == small.token) {
            CHECK(bench.take(event) == pattern(10));
            break;
        }
        const Link& link = event.token == busy[0].token ? busy[0] : busy[1];
        REQUIRE(event.token == link.token);
        if (event.result > 0)
            bench.take(event);
        else
            REQUIRE(event.result == -ENOBUFS);
        bench.peer_send(link.peer, plenty); // as much as there is room for
        if (event.last)
            bench.receive(link, 2 * Bench::stream_buffer_bytes);
    }
}

CONFORMANCE_CASE("an events span of one loses nothing and keeps the order of each stream") {
    const int listener = bench.listen();
    const std::vector<Link> links = {
        bench.link(listener), bench.link(listener), bench.link(listener)};
    bench.set_span(1);
    for (const Link& link : links) {
        bench.peer_give(link.peer, pattern(3 * buffer_bytes, link.token.slot));
        bench.receive(link, 1'000'000);
    }
    for (const Link& link : links) {
        Bytes got;
        while (got.size() < 3 * buffer_bytes) {
            const Event event = bench.expect(OpKind::receive, link.token);
            if (event.result > 0)
                std::ranges::copy(bench.take(event), std::back_inserter(got));
            if (event.last)
                bench.receive(link, 1'000'000);
        }
        CHECK(got == pattern(3 * buffer_bytes, link.token.slot));
    }
}
