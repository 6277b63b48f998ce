// Releasing: the backend forgets a connection and leaves it open.
#include "tests/conformance/harness.h"
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

/// All bytes that the kernel holds of a connection that the backend does not know.
Bytes waiting(Harness& harness, int fd) {
    Bytes all;
    Bytes some(10'000);
    int32_t size = 0;
    while ((size = harness.read_directly(fd, some)) > 0)
        all.insert(all.end(), some.begin(), some.begin() + size);
    CHECK(size == -EAGAIN);
    return all;
}

/// Stops an armed receive; returns the bytes that it still brought.
Bytes stop(Harness& harness, const Link& link) {
    harness.submit(
        {.kind = OpKind::stop, .target = OpKind::receive, .token = link.token, .fd = link.fd});
    Bytes got;
    for (bool last = false; !last;) {
        const Event event = harness.expect(OpKind::receive, link.token);
        last = event.last;
        if (event.result > 0)
            std::ranges::copy(harness.take(event), std::back_inserter(got));
        else
            CHECK(event.result == -ECANCELED);
    }
    return got;
}

} // namespace

CONFORMANCE_CASE("a released connection stays open, and its bytes stay in the kernel") {
    const Link link = harness.link(harness.listen());
    harness.release_connection(link); // no operation was ever submitted for it
    harness.peer_send_all(link.peer, pattern(300));
    CHECK(harness.quiet());
    CHECK(waiting(harness, link.fd) == pattern(300));
}

CONFORMANCE_CASE(
    "right after a stopped receive, each byte is either in an event or in the kernel, once") {
    const int listener = harness.listen();
    for (const size_t early : {0U, 100U, 3000U}) {
        const Link link = harness.link(listener);
        const Bytes sent = pattern(5000);
        harness.receive(link, 100'000);
        harness.turn();
        harness.peer_send_all(link.peer, std::span(sent).first(early));
        Bytes got = stop(harness, link);
        harness.peer_send_all(link.peer, std::span(sent).subspan(early));
        harness.release_connection(link);
        CHECK(harness.quiet());
        std::ranges::copy(waiting(harness, link.fd), std::back_inserter(got));
        CHECK(got == sent);
    }
}

CONFORMANCE_CASE("bytes that were sent before a release reach the peer") {
    const Link link = harness.link(harness.listen());
    const BufferId buffer = harness.send(link, 1000);
    const Event event = harness.expect(OpKind::send, link.token);
    REQUIRE(event.result == 1000);
    harness.release(buffer);
    harness.release_connection(link);
    int32_t end = 0;
    CHECK(harness.peer_receive_all(link.peer, 1000, end) == pattern(1000));
}

CONFORMANCE_CASE("a reused descriptor number has nothing of the released connection") {
    const int listener = harness.listen();
    const Link old = harness.link(listener);
    harness.receive(old, 1000);
    harness.turn();
    REQUIRE(stop(harness, old).empty());
    harness.release_connection(old);
    harness.stop_accept(listener);
    Link next{.fd = -1, .token = {old.token.slot + 1, 1}, .peer = harness.connect(listener)};
    const int elsewhere = harness.pass_on(old.fd);
    next.fd = harness.accept(listener);
    REQUIRE(next.fd == old.fd);
    harness.receive(next, 1000);
    harness.turn();
    harness.peer_send_all(old.peer, pattern(100));
    CHECK(harness.quiet());
    harness.peer_send_all(next.peer, pattern(50));
    CHECK(harness.take(harness.expect(OpKind::receive, next.token)) == pattern(50));
    harness.peer_finish(old.peer);
    CHECK(harness.quiet());
    Bytes bytes(200);
    CHECK(harness.read_directly(elsewhere, bytes) == 100);
    CHECK(harness.read_directly(elsewhere, bytes) == 0);
}

CONFORMANCE_CASE("activity on a released connection does not end a turn's wait") {
    const Link link = harness.link(harness.listen());
    harness.receive(link, 1000);
    harness.turn();
    REQUIRE(stop(harness, link).empty());
    harness.release_connection(link);
    harness.pass_on(link.fd);
    harness.turn();
    // A ring that the previous case closed may interrupt a wait once; a connection that the backend
    // still knows would do so each time.
    bool slept = false;
    for (int tries = 0; tries < 5 && !slept; ++tries) {
        harness.peer_send_all(link.peer, pattern(100));
        const auto begin = steady_clock::now();
        CHECK(harness.turn(milliseconds(30)) == 0);
        slept = steady_clock::now() - begin >= milliseconds(30);
    }
    CHECK(slept);
}

CONFORMANCE_CASE("a released connection can come back as a new one") {
    Link link = harness.link(harness.listen());
    harness.receive(link, 1000);
    harness.turn();
    REQUIRE(stop(harness, link).empty());
    harness.release_connection(link);
    harness.peer_send_all(link.peer, pattern(100));
    link.fd = harness.pass_on(link.fd);
    link.token = {link.token.slot + 1000, 5};
    harness.bring_back(link.fd);
    int32_t end = 0;
    CHECK(harness.receive_all(link, 100, end) == pattern(100));
    const BufferId buffer = harness.send(link, 700);
    CHECK(harness.expect(OpKind::send, link.token).result == 700);
    harness.release(buffer);
    CHECK(harness.peer_receive_all(link.peer, 700, end) == pattern(700));
    harness.close(link);
    CHECK(harness.peer_end(link.peer) == 0);
}
