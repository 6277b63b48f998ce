// Releasing: the backend forgets a connection and leaves it as it is.
#include "tests/conformance/bench.h"
#include "tests/support/skip.h"

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <iterator>

using namespace riposte;
using namespace riposte::test;
using std::chrono::milliseconds;
using std::chrono::steady_clock;

namespace {

/// Everything that waits for a connection which the backend does not know.
Bytes waiting(Bench& bench, int fd) {
    Bytes all;
    Bytes some(10'000);
    int32_t size = 0;
    while ((size = bench.read_directly(fd, some)) > 0)
        all.insert(all.end(), some.begin(), some.begin() + size);
    CHECK(size == -EAGAIN);
    return all;
}

/// A receive that was armed and has had its share is stopped; what it still brought.
Bytes stop(Bench& bench, const Link& link) {
    bench.give(
        {.kind = OpKind::stop, .target = OpKind::receive, .token = link.token, .fd = link.fd});
    Bytes got;
    for (bool last = false; !last;) {
        const Event event = bench.expect(OpKind::receive, link.token);
        last = event.last;
        if (event.result > 0)
            std::ranges::copy(bench.take(event), std::back_inserter(got));
        else
            CHECK(event.result == -ECANCELED);
    }
    return got;
}

} // namespace

CONFORMANCE_CASE("a released connection is open, and what comes for it stays in the kernel") {
    const Link link = bench.link(bench.listen());
    bench.let_go(link); // nothing was ever given for it
    bench.peer_give(link.peer, pattern(300));
    CHECK(bench.quiet());
    CHECK(waiting(bench, link.fd) == pattern(300));
}

CONFORMANCE_CASE("right after a stopped receive, what came is told or waits, and once") {
    const int listener = bench.listen();
    for (const size_t early : {0U, 100U, 3000U}) {
        const Link link = bench.link(listener);
        const Bytes sent = pattern(5000);
        bench.receive(link, 100'000);
        bench.turn();
        bench.peer_give(link.peer, std::span(sent).first(early));
        Bytes got = stop(bench, link);
        bench.peer_give(link.peer, std::span(sent).subspan(early));
        bench.let_go(link);
        CHECK(bench.quiet());
        std::ranges::copy(waiting(bench, link.fd), std::back_inserter(got));
        CHECK(got == sent);
    }
}

CONFORMANCE_CASE("a release after a send leaves its bytes on their way to the peer") {
    const Link link = bench.link(bench.listen());
    const BufferId buffer = bench.send(link, 1000);
    const Event event = bench.expect(OpKind::send, link.token);
    REQUIRE(event.result == 1000);
    bench.release(buffer);
    bench.let_go(link);
    int32_t end = 0;
    CHECK(bench.peer_take(link.peer, 1000, end) == pattern(1000));
}

CONFORMANCE_CASE("a released number that comes again has nothing of the connection before") {
    const int listener = bench.listen();
    const Link old = bench.link(listener);
    bench.receive(old, 1000);
    bench.turn();
    REQUIRE(stop(bench, old).empty());
    bench.let_go(old);
    bench.stop_accept(listener);
    Link next{.fd = -1, .token = {old.token.slot + 1, 1}, .peer = bench.connect(listener)};
    const int elsewhere = bench.pass_on(old.fd);
    next.fd = bench.accept(listener);
    REQUIRE(next.fd == old.fd);
    bench.receive(next, 1000);
    bench.turn();
    bench.peer_give(old.peer, pattern(100));
    CHECK(bench.quiet());
    bench.peer_give(next.peer, pattern(50));
    CHECK(bench.take(bench.expect(OpKind::receive, next.token)) == pattern(50));
    bench.peer_finish(old.peer);
    CHECK(bench.quiet());
    Bytes bytes(200);
    CHECK(bench.read_directly(elsewhere, bytes) == 100);
    CHECK(bench.read_directly(elsewhere, bytes) == 0);
}

CONFORMANCE_CASE("what happens on a released connection does not end a turn's wait") {
    const Link link = bench.link(bench.listen());
    bench.receive(link, 1000);
    bench.turn();
    REQUIRE(stop(bench, link).empty());
    bench.let_go(link);
    bench.pass_on(link.fd);
    bench.turn();
    // A ring that the case before closed may interrupt a wait once; a connection that is still
    // known does it each time.
    bool slept = false;
    for (int tries = 0; tries < 5 && !slept; ++tries) {
        bench.peer_give(link.peer, pattern(100));
        const auto begin = steady_clock::now();
        CHECK(bench.turn(milliseconds(30)) == 0);
        slept = steady_clock::now() - begin >= milliseconds(30);
    }
    CHECK(slept);
}

CONFORMANCE_CASE("a released connection can come back, as one that was never seen") {
    Link link = bench.link(bench.listen());
    bench.receive(link, 1000);
    bench.turn();
    REQUIRE(stop(bench, link).empty());
    bench.let_go(link);
    bench.peer_give(link.peer, pattern(100));
    link.fd = bench.pass_on(link.fd);
    link.token = {link.token.slot + 1000, 5};
    bench.bring_back(link.fd);
    int32_t end = 0;
    CHECK(bench.receive_all(link, 100, end) == pattern(100));
    const BufferId buffer = bench.send(link, 700);
    CHECK(bench.expect(OpKind::send, link.token).result == 700);
    bench.release(buffer);
    CHECK(bench.peer_take(link.peer, 700, end) == pattern(700));
    bench.close(link);
    CHECK(bench.peer_end(link.peer) == 0);
}
