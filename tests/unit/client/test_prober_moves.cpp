// A name gets another address while probes are under way (Prober::move_to), and probes that only
// connect.
#include "tests/unit/client/prober_engine.h"

using namespace riposte;
using namespace riposte::client;
using namespace riposte::test;

namespace {

/// The datagram that waits at the peer, sent back.
void echo_one(const Peer& peer) {
    Buffer buffer{};
    SocketAddress from;
    from.size = sizeof(from.storage);
    REQUIRE(
        ::recvfrom(peer.fd.get(), buffer.data(), buffer.size(), 0, from.get(), &from.size) ==
        probe_bytes);
    REQUIRE(
        ::sendto(peer.fd.get(), buffer.data(), buffer.size(), 0, from.get(), from.size) ==
        probe_bytes);
}

} // namespace

TEST_CASE("UDP: a probe under way is answered by the address that the name had then") {
    const Peer first(SOCK_DGRAM);
    const Peer other(SOCK_DGRAM);
    Engine engine(first, Transport::udp, long_ns);
    engine.send();
    REQUIRE(engine.prober->move_to(other.address));
    engine.send();
    echo_one(other);
    engine.until([&] { return engine.counts().answered == 1; });
    engine.send();
    echo_one(other);
    echo_one(first);
    engine.until_known();
    CHECK(engine.counts().answered == 3);
    CHECK(engine.prober->result().address == to_string(other.address));
    CHECK(engine.prober->result().earlier_addresses.size() == 1);
    // Moved again: nothing of the first is under way any more.
    engine.send();
    echo_one(other);
    engine.until_known();
    CHECK(engine.counts().answered == 4);
}

TEST_CASE("TCP: a probe under way is answered on its connection, the next one goes elsewhere") {
    const Peer first(SOCK_STREAM);
    const Peer other(SOCK_STREAM);
    Engine engine(first, Transport::tcp, long_ns);
    engine.send();
    const Fd before = first.accept();
    engine.until([&] { return engine.counts().sent == 1; });
    const Buffer one = receive(before);
    REQUIRE(engine.prober->move_to(other.address));
    engine.send();
    const Fd after = other.accept();
    engine.until([&] { return engine.counts().sent == 2; });
    answer(before, view(one));
    answer(after, view(receive(after)));
    engine.until_known();
    CHECK(engine.counts().answered == 2);
    CHECK(engine.prober->result().connections == 2);
}

TEST_CASE("TCP: what waits for a connection goes to the new address") {
    const Peer first(SOCK_STREAM);
    const Peer other(SOCK_STREAM);
    Engine engine(first, Transport::tcp, long_ns);
    engine.send(); // connecting has begun, and is not known to have succeeded
    REQUIRE(engine.prober->move_to(other.address));
    const Fd after = other.accept();
    engine.until([&] { return engine.counts().sent == 1; });
    answer(after, view(receive(after)));
    engine.until_known();
    CHECK(engine.counts().answered == 1);
    CHECK(engine.prober->result().connections == 1);
}

TEST_CASE("without an address probes are not sent, and said so, until there is one") {
    for (const Engine::Make make : {make_udp_prober, make_tcp_prober, make_connect_prober}) {
        const Transport transport = make == make_udp_prober ? Transport::udp : Transport::tcp;
        const Peer peer(transport == Transport::udp ? SOCK_DGRAM : SOCK_STREAM);
        Peer nowhere(SOCK_DGRAM);
        nowhere.address = {};
        Engine engine(nowhere, transport, long_ns, false, make);
        engine.send();
        engine.until_known();
        CHECK(engine.counts().local == 1);
        REQUIRE(engine.log.told.size() == 1);
        CHECK(engine.log.told.front().cause.kind == CauseKind::no_address);
        CHECK(engine.log.troubles.empty()); // the lookup has been reported
        REQUIRE(engine.prober->move_to(peer.address));
        engine.send();
        if (transport == Transport::udp)
            echo_one(peer);
        if (make == make_tcp_prober) {
            const Fd connection = peer.accept();
            engine.until([&] { return engine.counts().sent == 2; });
            answer(connection, view(receive(connection)));
        }
        engine.until_known();
        CHECK(engine.counts().answered == 1);
        CHECK(engine.prober->result().earlier_addresses.empty());
    }
}

TEST_CASE("a connection alone is a probe, on which nothing is sent") {
    const Peer open(SOCK_STREAM);
    Engine engine(open, Transport::tcp, long_ns, false, make_connect_prober);
    for (int i = 0; i < 3; i++)
        engine.send();
    engine.until_known();
    CHECK(engine.counts().answered == 3);
    CHECK(engine.prober->result().rtt.count() == 3);
    CHECK(engine.prober->result().connect.count() == 3);
    for (int i = 0; i < 3; i++) {
        const Fd connection = open.accept();
        char byte = 0;
        CHECK(::recv(connection.get(), &byte, 1, 0) == 0); // it ends without a byte
    }
}

TEST_CASE("a connection that is refused is an answer of the host, with its time") {
    const Peer closed(SOCK_STREAM, false);
    Engine refused(closed, Transport::tcp, long_ns, false, make_connect_prober);
    refused.send();
    refused.until_known();
    CHECK(refused.counts().refused == 1);
    CHECK(refused.prober->result().refusal.count() == 1);
    CHECK(refused.prober->result().connections == 0);
}

TEST_CASE("a connection that was made in time is an answer, however late that is seen") {
    const Peer open(SOCK_STREAM);
    Engine engine(open, Transport::tcp, long_ns, false, make_connect_prober);
    engine.send();
    engine.give_up(); // as if the loop had stalled until the timeout was over
    CHECK(engine.counts().answered == 1);
    CHECK(engine.counts().lost == 0);
}
