// Accepting: who is given, what ends it, and what a descriptor's number means afterwards.
#include "tests/conformance/bench.h"
#include "tests/support/skip.h"

#include <algorithm>
#include <cerrno>

using namespace riposte;
using namespace riposte::test;

CONFORMANCE_CASE("accept gives every connection and goes on") {
    const int listener = bench.listen();
    std::vector<int> fds;
    for (int round = 0; round < 3; ++round) {
        for (int i = 0; i < 4; ++i)
            bench.connect(listener);
        for (int i = 0; i < 4; ++i)
            fds.push_back(bench.accept(listener));
    }
    std::ranges::sort(fds);
    CHECK(std::ranges::adjacent_find(fds) == fds.end());
    CHECK(bench.quiet());
}

CONFORMANCE_CASE("a burst of connections is accepted to the last, and one after it too") {
    const int listener = bench.listen();
    for (const int burst : {1, 40, 1, 3}) {
        std::vector<int> fds;
        fds.reserve(static_cast<size_t>(burst));
        for (int i = 0; i < burst; ++i)
            bench.connect(listener);
        for (int i = 0; i < burst; ++i)
            fds.push_back(bench.accept(listener));
        std::ranges::sort(fds);
        CHECK(std::ranges::adjacent_find(fds) == fds.end());
    }
    CHECK(bench.quiet());
}

CONFORMANCE_CASE("a stopped accept ends once, and later connections wait for the next one") {
    const int listener = bench.listen();
    const Op accept{.kind = OpKind::accept, .token = Bench::accept_token, .fd = listener};
    bench.give(accept);
    CHECK(bench.quiet());
    bench.give(
        {.kind = OpKind::stop,
         .target = OpKind::accept,
         .token = Bench::accept_token,
         .fd = listener});
    const Event end = bench.expect(OpKind::accept, Bench::accept_token);
    CHECK(end.result == -ECANCELED);
    CHECK(end.last);
    const int peer = bench.connect(listener);
    CHECK(bench.quiet());
    const int fd = bench.accept(listener);
    CHECK(bench.is_open(fd));
    bench.peer_give(peer, pattern(10));
    int32_t over = 0;
    CHECK(bench.receive_all({fd, {3, 1}, peer}, 10, over) == pattern(10));
}

CONFORMANCE_CASE("accept without a free descriptor says so and ends; nobody is lost") {
    const int listener = bench.listen();
    bench.link(listener);
    bench.stop_accept(listener);
    const int peer = bench.connect(listener);
    bench.refuse_descriptors();
    const Op accept{.kind = OpKind::accept, .token = Bench::accept_token, .fd = listener};
    bench.give(accept);
    const Event event = bench.expect(OpKind::accept, Bench::accept_token);
    bench.permit_descriptors();
    CHECK(event.result == -EMFILE);
    CHECK(event.last);
    CHECK(bench.quiet());
    const int fd = bench.accept(listener);
    bench.peer_give(peer, pattern(100));
    int32_t end = 0;
    CHECK(bench.receive_all({fd, {4, 1}, peer}, 100, end) == pattern(100));
}

CONFORMANCE_CASE("a close has one event, and the descriptor is gone") {
    const Link link = bench.link(bench.listen());
    CHECK(bench.is_open(link.fd));
    bench.close(link);
    CHECK_FALSE(bench.is_open(link.fd));
    CHECK(bench.peer_end(link.peer) == 0);
    CHECK(bench.quiet());
}

CONFORMANCE_CASE("a descriptor number that is used again belongs to the new connection only") {
    const int listener = bench.listen();
    const Link keeper = bench.link(listener); // keeps the accept stream armed meanwhile
    for (int round = 0; round < 5; ++round) {
        const Link old = bench.link(listener);
        bench.receive(old, 1000);
        CHECK(bench.quiet());
        bench.give({.kind = OpKind::abort, .token = old.token, .fd = old.fd});
        while (!bench.expect(OpKind::receive, old.token).last) {
        }
        const int peer = bench.connect(listener);
        bench.peer_give(peer, pattern(50));
        bench.close(old);
        const Link next{bench.accept(listener), {90 + static_cast<uint32_t>(round), 1}, peer};
        int32_t end = 0;
        CHECK(bench.receive_all(next, 50, end) == pattern(50));
        CHECK_FALSE(bench.look_for(OpKind::receive, old.token));
        bench.close(next);
    }
    bench.close(keeper);
}
