// The turn itself: waiting, looking before that, and being woken.
#include "tests/conformance/bench.h"
#include "tests/support/patience.h"
#include "tests/support/skip.h"

#include <fstream>
#include <string>
#include <thread>

#include <fmt/format.h>
#include <unistd.h>

using namespace riposte;
using namespace riposte::test;
using std::chrono::milliseconds;
using std::chrono::seconds;
using std::chrono::steady_clock;

namespace {

/// Far longer than any case lasts in which the look ends as it should.
const milliseconds endless_look = patience(seconds(60));
const Wait look_only{milliseconds(-1), endless_look};

/// Waits until a thread of this process sleeps; false if it never does.
bool await_asleep(pid_t thread) {
    const std::string path = fmt::format("/proc/self/task/{}/stat", thread);
    const auto end = steady_clock::now() + patience();
    while (steady_clock::now() < end) {
        std::string stat;
        std::getline(std::ifstream(path), stat);
        const size_t name_end = stat.rfind(") ");
        if (name_end != std::string::npos && stat.substr(name_end + 2, 1) == "S")
            return true;
        std::this_thread::sleep_for(milliseconds(1));
    }
    return false;
}

} // namespace

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

CONFORMANCE_CASE("an event that comes while a turn looks is told at once") {
    const Link link = bench.link(bench.listen());
    bench.receive(link, 1000);
    for (int round = 0; round < 3; ++round) {
        std::thread peer;
        if (bench.peers_wake()) {
            bench.turn(); // the stream is armed, and all that is left is to look
            peer = std::thread([&] {
                std::this_thread::sleep_for(milliseconds(20));
                CHECK(bench.peer_send(link.peer, pattern(10)) == 10);
            });
        } else {
            bench.peer_give(link.peer, pattern(10));
        }
        const auto begin = steady_clock::now();
        while (bench.turn(look_only) == 0 && steady_clock::now() - begin < endless_look)
            continue;
        CHECK(steady_clock::now() - begin < endless_look);
        if (peer.joinable())
            peer.join();
        const Event event = bench.expect(OpKind::receive, link.token);
        CHECK(bench.take(event) == pattern(10));
        if (event.last)
            bench.receive(link, 1000);
    }
}

CONFORMANCE_CASE("wake from another thread ends a look") {
    for (int round = 0; round < 3; ++round) {
        std::thread waker([&] {
            std::this_thread::sleep_for(milliseconds(20));
            bench.backend().wake();
        });
        const auto begin = steady_clock::now();
        CHECK(bench.turn(look_only) == 0);
        CHECK(steady_clock::now() - begin < endless_look);
        waker.join();
    }
}

CONFORMANCE_CASE("a look that finds nothing ends in sleep, and an event ends that") {
    const Link link = bench.link(bench.listen());
    bench.receive(link, 1000);
    for (int round = 0; round < 3; ++round) {
        bench.turn();
        bool slept = false;
        std::thread peer([&, thread = ::gettid()] {
            slept = await_asleep(thread);
            if (bench.peers_wake())
                CHECK(bench.peer_send(link.peer, pattern(10)) == 10);
            else
                bench.backend().wake(); // all else of it is one thread's
        });
        bench.turn(Wait{milliseconds(-1), milliseconds(1)});
        peer.join();
        CHECK(slept);
        if (!bench.peers_wake())
            bench.peer_give(link.peer, pattern(10));
        const Event event = bench.expect(OpKind::receive, link.token);
        CHECK(bench.take(event) == pattern(10));
        if (event.last)
            bench.receive(link, 1000);
    }
}

CONFORMANCE_CASE("a turn that looks lasts until its deadline, whatever part of that is the look") {
    const Link link = bench.link(bench.listen());
    bench.receive(link, 1000);
    bench.turn();
    for (const milliseconds look : {milliseconds(0), milliseconds(5), milliseconds(20)}) {
        // The kernel may wake it for nothing once: of a connection that was accepted while another
        // CPU was still at work on its handshake, the end of that is told a little later.
        bool lasted = false;
        for (int i = 0; i < 10 && !lasted; ++i) {
            const auto begin = steady_clock::now();
            CHECK(bench.turn(Wait{milliseconds(20), look}) == 0);
            lasted = steady_clock::now() - begin >= milliseconds(20);
        }
        CHECK(lasted);
    }
}

CONFORMANCE_CASE("what is given to a turn that looks is done before it looks") {
    const Link link = bench.link(bench.listen());
    const BufferId buffer = bench.send(link, 100);
    const auto begin = steady_clock::now();
    CHECK(bench.turn(look_only) == 1);
    CHECK(steady_clock::now() - begin < endless_look);
    const Event event = bench.expect(OpKind::send, link.token);
    CHECK(event.result == 100);
    bench.release(buffer);
    int32_t end = 0;
    CHECK(bench.peer_take(link.peer, 100, end) == pattern(100));
}
