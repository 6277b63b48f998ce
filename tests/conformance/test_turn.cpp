// The turn itself: sleeping, spinning before it sleeps, and waking up.
#include "tests/conformance/harness.h"
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

/// Far longer than any case in which the spin ends as it should.
const milliseconds endless_spin = patience(seconds(60));
const Wait spin_only{milliseconds(-1), endless_spin};

/// Waits until a thread of this process sleeps; false if it does not in time.
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
    const Link link = harness.link(harness.listen());
    harness.receive(link, 1000);
    CHECK(harness.turn(milliseconds(0)) == 0);
    CHECK(harness.turn(milliseconds(10)) == 0);
    CHECK(harness.turn(milliseconds(0)) == 0);
}

CONFORMANCE_CASE("wake from another thread ends an endless wait") {
    for (int round = 0; round < 3; ++round) {
        std::thread waker([&] {
            std::this_thread::sleep_for(milliseconds(20));
            harness.backend().wake();
        });
        CHECK(harness.turn(milliseconds(-1)) == 0);
        waker.join();
    }
}

CONFORMANCE_CASE("a wake before the turn is not lost") {
    for (int round = 0; round < 3; ++round) {
        harness.backend().wake();
        harness.backend().wake();
        CHECK(harness.turn(milliseconds(-1)) == 0);
    }
}

CONFORMANCE_CASE("a wake does not hide events") {
    const Link link = harness.link(harness.listen());
    harness.receive(link, 1000);
    harness.turn();
    harness.peer_send_all(link.peer, pattern(10));
    harness.backend().wake();
    const Event event = harness.expect(OpKind::receive, link.token);
    CHECK(harness.take(event) == pattern(10));
}

CONFORMANCE_CASE("an event that comes while a turn spins ends the turn at once") {
    const Link link = harness.link(harness.listen());
    harness.receive(link, 1000);
    for (int round = 0; round < 3; ++round) {
        std::thread peer;
        if (harness.peers_wake()) {
            harness.turn(); // arms the stream, so that the next turn only spins
            peer = std::thread([&] {
                std::this_thread::sleep_for(milliseconds(20));
                CHECK(harness.peer_send(link.peer, pattern(10)) == 10);
            });
        } else {
            harness.peer_send_all(link.peer, pattern(10));
        }
        const auto begin = steady_clock::now();
        while (harness.turn(spin_only) == 0 && steady_clock::now() - begin < endless_spin)
            continue;
        CHECK(steady_clock::now() - begin < endless_spin);
        if (peer.joinable())
            peer.join();
        const Event event = harness.expect(OpKind::receive, link.token);
        CHECK(harness.take(event) == pattern(10));
        if (event.last)
            harness.receive(link, 1000);
    }
}

CONFORMANCE_CASE("wake from another thread ends a spin") {
    for (int round = 0; round < 3; ++round) {
        std::thread waker([&] {
            std::this_thread::sleep_for(milliseconds(20));
            harness.backend().wake();
        });
        const auto begin = steady_clock::now();
        CHECK(harness.turn(spin_only) == 0);
        CHECK(steady_clock::now() - begin < endless_spin);
        waker.join();
    }
}

CONFORMANCE_CASE("a turn sleeps after a spin without events, and an event ends the sleep") {
    const Link link = harness.link(harness.listen());
    harness.receive(link, 1000);
    for (int round = 0; round < 3; ++round) {
        harness.turn();
        bool slept = false;
        std::thread peer([&, thread = ::gettid()] {
            slept = await_asleep(thread);
            if (harness.peers_wake())
                CHECK(harness.peer_send(link.peer, pattern(10)) == 10);
            else
                harness.backend().wake(); // no other function may be called from another thread
        });
        harness.turn(Wait{milliseconds(-1), milliseconds(1)});
        peer.join();
        CHECK(slept);
        if (!harness.peers_wake())
            harness.peer_send_all(link.peer, pattern(10));
        const Event event = harness.expect(OpKind::receive, link.token);
        CHECK(harness.take(event) == pattern(10));
        if (event.last)
            harness.receive(link, 1000);
    }
}

CONFORMANCE_CASE("a turn lasts until its deadline, whatever part of it is the spin") {
    const Link link = harness.link(harness.listen());
    harness.receive(link, 1000);
    harness.turn();
    for (const milliseconds spin : {milliseconds(0), milliseconds(5), milliseconds(20)}) {
        // The kernel may wake the turn needlessly once: if a connection is accepted while another
        // CPU still completes its handshake, that completion wakes the turn a little later.
        bool lasted = false;
        for (int i = 0; i < 10 && !lasted; ++i) {
            const auto begin = steady_clock::now();
            CHECK(harness.turn(Wait{milliseconds(20), spin}) == 0);
            lasted = steady_clock::now() - begin >= milliseconds(20);
        }
        CHECK(lasted);
    }
}

CONFORMANCE_CASE("a turn starts its operations before it spins") {
    const Link link = harness.link(harness.listen());
    const BufferId buffer = harness.send(link, 100);
    const auto begin = steady_clock::now();
    CHECK(harness.turn(spin_only) == 1);
    CHECK(steady_clock::now() - begin < endless_spin);
    const Event event = harness.expect(OpKind::send, link.token);
    CHECK(event.result == 100);
    harness.release(buffer);
    int32_t end = 0;
    CHECK(harness.peer_receive_all(link.peer, 100, end) == pattern(100));
}
