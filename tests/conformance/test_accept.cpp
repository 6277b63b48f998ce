// Accepting: which connections come, what ends the stream, and the reuse of descriptor numbers.
#include "tests/conformance/harness.h"
#include "tests/support/skip.h"

#include <algorithm>
#include <cerrno>

using namespace riposte;
using namespace riposte::test;

CONFORMANCE_CASE("an accept stream gives every connection and stays armed") {
    const int listener = harness.listen();
    std::vector<int> fds;
    for (int round = 0; round < 3; ++round) {
        for (int i = 0; i < 4; ++i)
            harness.connect(listener);
        for (int i = 0; i < 4; ++i)
            fds.push_back(harness.accept(listener));
    }
    std::ranges::sort(fds);
    CHECK(std::ranges::adjacent_find(fds) == fds.end());
    CHECK(harness.quiet());
}

CONFORMANCE_CASE("every connection of a burst is accepted, and later ones too") {
    const int listener = harness.listen();
    for (const int burst : {1, 40, 1, 3}) {
        std::vector<int> fds;
        fds.reserve(static_cast<size_t>(burst));
        for (int i = 0; i < burst; ++i)
            harness.connect(listener);
        for (int i = 0; i < burst; ++i)
            fds.push_back(harness.accept(listener));
        std::ranges::sort(fds);
        CHECK(std::ranges::adjacent_find(fds) == fds.end());
    }
    CHECK(harness.quiet());
}

CONFORMANCE_CASE("a stopped accept ends once, and later connections wait for the next one") {
    const int listener = harness.listen();
    const Op accept{.kind = OpKind::accept, .token = Harness::accept_token, .fd = listener};
    harness.submit(accept);
    CHECK(harness.quiet());
    harness.submit(
        {.kind = OpKind::stop,
         .target = OpKind::accept,
         .token = Harness::accept_token,
         .fd = listener});
    const Event end = harness.expect(OpKind::accept, Harness::accept_token);
    CHECK(end.result == -ECANCELED);
    CHECK(end.last);
    const int peer = harness.connect(listener);
    CHECK(harness.quiet());
    const int fd = harness.accept(listener);
    CHECK(harness.is_open(fd));
    harness.peer_send_all(peer, pattern(10));
    int32_t over = 0;
    CHECK(harness.receive_all({fd, {3, 1}, peer}, 10, over) == pattern(10));
}

CONFORMANCE_CASE("accept without a free descriptor ends with -EMFILE and loses no connection") {
    const int listener = harness.listen();
    harness.link(listener);
    harness.stop_accept(listener);
    const int peer = harness.connect(listener);
    harness.refuse_descriptors();
    const Op accept{.kind = OpKind::accept, .token = Harness::accept_token, .fd = listener};
    harness.submit(accept);
    const Event event = harness.expect(OpKind::accept, Harness::accept_token);
    harness.permit_descriptors();
    CHECK(event.result == -EMFILE);
    CHECK(event.last);
    CHECK(harness.quiet());
    const int fd = harness.accept(listener);
    harness.peer_send_all(peer, pattern(100));
    int32_t end = 0;
    CHECK(harness.receive_all({fd, {4, 1}, peer}, 100, end) == pattern(100));
}

CONFORMANCE_CASE("a close has one event, and the descriptor is closed") {
    const Link link = harness.link(harness.listen());
    CHECK(harness.is_open(link.fd));
    harness.close(link);
    CHECK_FALSE(harness.is_open(link.fd));
    CHECK(harness.peer_end(link.peer) == 0);
    CHECK(harness.quiet());
}

CONFORMANCE_CASE("a descriptor number that is used again belongs to the new connection only") {
    const int listener = harness.listen();
    const Link keeper = harness.link(listener); // keeps the accept stream armed meanwhile
    for (int round = 0; round < 5; ++round) {
        const Link old = harness.link(listener);
        harness.receive(old, 1000);
        CHECK(harness.quiet());
        harness.submit({.kind = OpKind::abort, .token = old.token, .fd = old.fd});
        while (!harness.expect(OpKind::receive, old.token).last) {
        }
        const int peer = harness.connect(listener);
        harness.peer_send_all(peer, pattern(50));
        harness.close(old);
        const Link next{harness.accept(listener), {90 + static_cast<uint32_t>(round), 1}, peer};
        int32_t end = 0;
        CHECK(harness.receive_all(next, 50, end) == pattern(50));
        CHECK_FALSE(harness.poll_for(OpKind::receive, old.token));
        harness.close(next);
    }
    harness.close(keeper);
}
