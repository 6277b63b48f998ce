// The turn itself: waiting, and being woken.
#include "tests/conformance/bench.h"
#include "tests/support/skip.h"

#include <thread>

using namespace riposte;
using namespace riposte::test;
using std::chrono::milliseconds;

CONFORMANCE_CASE("a turn with nothing to do returns no event, with and without a wait") {
    const Link link = bench.link(bench.listen());
    bench.receive(link, 1000);
    CHECK(bench.turn(milliseconds(0)) == 0);
    CHECK(bench.turn(milliseconds(10)) == 0);
    CHECK(bench.turn(milliseconds(0)) == 0);
}

CONFORMANCE_CASE("wake from another thread ends a wait without end") {
    for (int round = 0; round < 3; ++round) {
        std::thread waker([&] {
            std::this_thread::sleep_for(milliseconds(20));
            bench.backend().wake();
        });
        CHECK(bench.turn(milliseconds(-1)) == 0);
        waker.join();
    }
}

CONFORMANCE_CASE("a wake before the turn is not lost") {
    for (int round = 0; round < 3; ++round) {
        bench.backend().wake();
        bench.backend().wake();
        CHECK(bench.turn(milliseconds(-1)) == 0);
    }
}

CONFORMANCE_CASE("a wake does not hide events") {
    const Link link = bench.link(bench.listen());
    bench.receive(link, 1000);
    bench.turn();
    bench.peer_give(link.peer, pattern(10));
    bench.backend().wake();
    const Event event = bench.expect(OpKind::receive, link.token);
    CHECK(bench.take(event) == pattern(10));
}
