// A service's replies to the datagrams in one buffer, and their counters.
#include "daemon/udp/responder.h"

#include <algorithm>
#include <cerrno>
#include <memory>
#include <string>
#include <string_view>

#include <doctest/doctest.h>

using namespace riposte;

namespace {

class StandingClock final : public Host {
public:
    uint64_t now_ns() noexcept override { return 1'000'000; }
    int64_t wall_seconds() noexcept override { return 1; }
    uint64_t wall_ns() noexcept override { return 1'000'000'000; }
    SocketAddress peer_address(int) override { return {}; }
    uint32_t unacknowledged_bytes(int) noexcept override { return 0; }
};

/// Replies with as many bytes of a datagram as its first byte says; 'd' drops, 'l' is too long.
class Asked final : public Service {
public:
    DatagramReply datagram(
        const ServiceContext&, std::span<std::byte> datagram) const noexcept override {
        if (datagram.empty())
            return {DatagramReply::Verdict::send, 0};
        const auto first = static_cast<char>(datagram[0]);
        if (first == 'd')
            return {DatagramReply::Verdict::drop, 0};
        if (first == 'l')
            return {DatagramReply::Verdict::too_long, 0};
        return {DatagramReply::Verdict::send, static_cast<uint32_t>(first - '0')};
    }

    uint32_t longer_reply(
        const ServiceContext&, const LongerReplyBuffer& room) const noexcept override {
        constexpr std::string_view text = "a long answer";
        std::ranges::copy(std::as_bytes(std::span(text)), room.bytes().begin());
        return text.size();
    }
};

/// A worker's datagram half with `buffers` of 64 bytes, and one listener.
struct DatagramsSubject {
    explicit DatagramsSubject(uint32_t buffers)
        : datagram_pool(*DatagramPool::create(buffers, 64)) {
        at.socket.service = std::make_shared<Asked>();
        at.socket.fd = 9;
    }

    BufferId arrive(std::string_view text, uint16_t segment) {
        BufferPool& pool = datagram_pool.buffers();
        const BufferId buffer = pool.take(Owner::worker);
        std::ranges::copy(std::as_bytes(std::span(text)), pool.bytes(buffer).begin());
        DatagramInfo& arrival = datagram_pool.info(buffer);
        arrival = {};
        arrival.peer = {.v4 = peer};
        arrival.peer_size = sizeof peer;
        arrival.segment_bytes = segment;
        datagrams.arrived(at, buffer, static_cast<uint32_t>(text.size()));
        CHECK(pool.held(Owner::worker) == 0);
        return buffer;
    }

    /// The bytes of operation `index`, and for a train "/segment".
    std::string op(size_t index) {
        const Op& op = turn.ops.at(index);
        const auto bytes = datagram_pool.buffers().bytes(op.buffer).first(op.size);
        CHECK(datagram_pool.buffers().owner(op.buffer) == Owner::backend);
        CHECK(datagram_pool.info(op.buffer).peer.v4.sin_port == peer.sin_port);
        std::string text(reinterpret_cast<const char*>(bytes.data()), bytes.size());
        return op.segment_bytes == 0 ? text : text + "/" + std::to_string(op.segment_bytes);
    }

    /// Completes operation `index` with this result.
    void sent(size_t index, int32_t result) {
        const BufferId buffer = turn.ops.at(index).buffer;
        datagram_pool.buffers().move(buffer, Owner::backend, Owner::worker);
        datagrams.sent(at, {OpKind::send_to, {}, result, buffer});
    }

    uint64_t count(Counter which) const { return telemetry.metrics.get(which); }

    StandingClock clock{};
    BufferPool streams{*BufferPool::create(1, 1)};
    DatagramPool datagram_pool;
    Turn turn{.host = clock, .pools = {streams, datagram_pool}};
    WorkerTelemetry telemetry{};
    UdpResponder datagrams{turn, telemetry, ResponseRateLimit::ways};
    sockaddr_in peer{
        .sin_family = AF_INET,
        .sin_port = htons(5000),
        .sin_addr = {.s_addr = htonl(0xc0000201)}, // 192.0.2.1
        .sin_zero = {}};
    ListenerSlot at{};
};

} // namespace

TEST_CASE("a reply is sent from the buffer of its request") {
    DatagramsSubject subject(1);
    subject.arrive("4abcdef", 0);
    REQUIRE(subject.turn.ops.size() == 1);
    CHECK(subject.op(0) == "4abc");
    CHECK(subject.at.replies == 1);
    subject.at.socket.kind = ServiceKind::time; // a reload: the reply is still the first service's
    subject.turn.now_ns += 2'000'000;
    subject.sent(0, 4);
    CHECK(subject.at.replies == 0);
    CHECK(subject.count(Counter::datagrams_received) == 1);
    CHECK(subject.count(Counter::datagrams_sent) == 1);
    CHECK(subject.telemetry.metrics.get(ServiceKind::hello, Counter::datagram_received_bytes) == 7);
    CHECK(subject.telemetry.metrics.get(ServiceKind::hello, Counter::datagram_sent_bytes) == 4);
    CHECK(subject.at.socket.counts->received.load() == 1);
    CHECK(subject.at.socket.counts->answered.load() == 1);
    CHECK(subject.at.socket.counts->received_bytes.load() == 7);
    CHECK(subject.at.socket.counts->sent_bytes.load() == 4);
    LatencyTotals latency;
    latency.add(subject.telemetry.metrics.latency(ServiceKind::hello, Transport::udp));
    CHECK(latency.count() == 1);
    CHECK(latency.sum_ns == 2'000'000);
    CHECK(subject.datagram_pool.buffers().held(Owner::pool) == 1);
}

TEST_CASE("an empty datagram counts, and so does an empty reply") {
    DatagramsSubject subject(2);
    subject.arrive("", 0);
    subject.arrive("0abc", 0);
    REQUIRE(subject.turn.ops.size() == 2);
    CHECK(subject.op(0).empty());
    CHECK(subject.op(1).empty());
    subject.sent(0, 0);
    subject.sent(1, -EAGAIN);
    CHECK(subject.count(Counter::datagrams_received) == 2);
    CHECK(subject.count(Counter::datagrams_sent) == 1);
    CHECK(subject.count(Counter::datagrams_send_failed) == 1);
}

TEST_CASE("the replies to a train move together and are one train") {
    DatagramsSubject subject(1);
    SUBCASE("as long as their requests") {
        subject.arrive("3aa3bb2c", 3);
        CHECK(subject.op(0) == "3aa3bb2c/3");
    }
    SUBCASE("shorter ones") {
        subject.arrive("2aa2bb2cc1", 3);
        CHECK(subject.op(0) == "2a2b2c1/2");
    }
    SUBCASE("with a short one at the end") {
        subject.arrive("3aaa3bbb1ccc", 4);
        CHECK(subject.op(0) == "3aa3bb1/3");
    }
    SUBCASE("with gaps") {
        subject.arrive("dxxx2aaalxxx2bbb", 4);
        CHECK(subject.op(0) == "2a2b/2");
        CHECK(subject.count(Counter::datagrams_unanswered) == 1);
        CHECK(subject.count(Counter::datagrams_too_long) == 1);
        CHECK(subject.count(Counter::datagrams_received) == 4);
    }
    SUBCASE("a single one is no train") {
        subject.arrive("dxxx2aaadxxx", 4);
        CHECK(subject.op(0) == "2a");
    }
    CHECK(subject.turn.ops.size() == 1);
}

TEST_CASE("only peers that may be sent longer replies than their requests get one") {
    DatagramsSubject subject(3);
    UdpLimits config;
    SUBCASE("not by default") {
        subject.datagrams.set(config, nullptr);
        subject.arrive("lxx", 0);
        CHECK(subject.turn.ops.empty());
        CHECK(subject.count(Counter::datagrams_too_long) == 1);
        CHECK(subject.count(Counter::datagrams_longer) == 0);
    }
    config.longer_answers_to = {*parse_cidr("192.0.2.0/24")};
    SUBCASE("a single one") {
        subject.datagrams.set(config, nullptr);
        subject.arrive("lxx", 0);
        REQUIRE(subject.turn.ops.size() == 1);
        CHECK(subject.op(0) == "a long answer");
        CHECK(
            subject.datagram_pool.buffers().held(Owner::pool) == 2); // the request's is free again
        subject.sent(0, 13);
        CHECK(subject.count(Counter::datagrams_longer) == 1);
        CHECK(subject.count(Counter::datagrams_sent) == 1);
        CHECK(subject.count(Counter::datagrams_too_long) == 0);
        CHECK(subject.datagram_pool.buffers().held(Owner::pool) == 3);
    }
    SUBCASE("beside others of its train") {
        subject.datagrams.set(config, nullptr);
        subject.arrive("2aalxx2bb", 3);
        REQUIRE(subject.turn.ops.size() == 2);
        CHECK(subject.op(0) == "a long answer");
        CHECK(subject.op(1) == "2a2b/2");
        CHECK(subject.at.replies == 2);
    }
    SUBCASE("as many as there are buffers") {
        subject.datagrams.set(config, nullptr);
        subject.arrive("lxxlxxlxx", 3);
        CHECK(subject.turn.ops.size() == 2);
        CHECK(subject.count(Counter::datagrams_longer) == 2);
        CHECK(subject.count(Counter::datagrams_send_failed) == 1);
    }
}

TEST_CASE("a train without a reply releases its buffer") {
    DatagramsSubject subject(1);
    subject.arrive("dxxxdxxxlx", 4);
    CHECK(subject.turn.ops.empty());
    CHECK(subject.at.replies == 0);
    CHECK(subject.datagram_pool.buffers().held(Owner::pool) == 1);
    CHECK(subject.count(Counter::datagrams_unanswered) == 2);
    CHECK(subject.count(Counter::datagrams_too_long) == 1);
}

TEST_CASE("a reply of another size starts a train in a buffer of its own") {
    DatagramsSubject subject(4);
    SUBCASE("longer") {
        subject.arrive("2aaa2bbb3ccc3ddd", 4);
        REQUIRE(subject.turn.ops.size() == 2);
        CHECK(subject.op(0) == "2a2b/2");
        CHECK(subject.op(1) == "3cc3dd/3");
    }
    SUBCASE("after a shorter one") {
        subject.arrive("3aaa2bbb3ccc1ddd2eee", 4);
        REQUIRE(subject.turn.ops.size() == 3);
        CHECK(subject.op(0) == "3aa2b/3");
        CHECK(subject.op(1) == "3cc1/3");
        CHECK(subject.op(2) == "2e");
    }
    SUBCASE("an empty one, and those after it") {
        subject.arrive("2aaa0bbb2ccc", 4);
        REQUIRE(subject.turn.ops.size() == 3);
        CHECK(subject.op(0) == "2a");
        CHECK(subject.op(1).empty());
        CHECK(subject.op(2) == "2c");
    }
    CHECK(subject.at.replies == subject.turn.ops.size());
    CHECK(subject.datagram_pool.buffers().held(Owner::backend) == subject.turn.ops.size());
}

TEST_CASE("a reply that lacks a buffer is dropped and counted; the others are sent") {
    DatagramsSubject subject(1);
    subject.arrive("2aaa3bbb2ccc1ddd2eee", 4);
    REQUIRE(subject.turn.ops.size() == 1);
    CHECK(subject.op(0) == "2a2c1/2");
    CHECK(subject.count(Counter::datagrams_send_failed) == 2);
    subject.sent(0, 5);
    CHECK(subject.count(Counter::datagrams_received) == 5);
    CHECK(subject.count(Counter::datagrams_sent) == 3);
}

TEST_CASE("of a train, only the datagrams that were sent are counted") {
    struct Case {
        int32_t result;
        uint64_t went;
    };
    // Of 4, 4, 4 and 2 bytes.
    for (const auto [result, went] :
         {Case{14, 4}, Case{12, 3}, Case{10, 3}, Case{8, 2}, Case{6, 2}, Case{4, 1}, Case{2, 1},
          Case{-EAGAIN, 0}}) {
        CAPTURE(result);
        DatagramsSubject subject(1);
        subject.arrive("4aaa4bbb4ccc2d", 4);
        subject.sent(0, result);
        CHECK(subject.count(Counter::datagrams_sent) == went);
        CHECK(subject.count(Counter::datagrams_send_failed) == 4 - went);
        CHECK(subject.at.replies == 0);
    }
}

TEST_CASE("all buffers are in use if neither the pool nor the backend has a free one") {
    DatagramsSubject subject(2);
    CHECK_FALSE(subject.datagrams.all_buffers_in_use(0));
    subject.arrive("1", 0);
    CHECK_FALSE(subject.datagrams.all_buffers_in_use(1));
    const BufferId at_hand = subject.datagram_pool.buffers().take(Owner::backend);
    CHECK_FALSE(subject.datagrams.all_buffers_in_use(1));
    subject.datagram_pool.buffers().move(at_hand, Owner::backend, Owner::worker);
    CHECK(subject.datagrams.all_buffers_in_use(1));
}

TEST_CASE(
    "datagrams of denied peers are dropped before the service sees them, and each is counted") {
    DatagramsSubject subject(2);
    subject.at.socket.acl = make_acl({.allow = {}, .deny = {*parse_cidr("192.0.2.66")}});
    subject.peer.sin_addr.s_addr = htonl(0xc0000242U); // the denied one
    subject.arrive("4abcdef", 0);
    subject.arrive("", 0);
    subject.arrive("3abc3de3f", 4); // a train of three
    CHECK(subject.turn.ops.empty());
    CHECK(subject.datagram_pool.buffers().held(Owner::pool) == 2);
    CHECK(subject.count(Counter::datagrams_received) == 5);
    CHECK(subject.count(Counter::datagrams_denied) == 5);
    CHECK(subject.count(Counter::datagrams_sent) == 0);
    subject.peer.sin_addr.s_addr = htonl(0xc0000243U);
    subject.arrive("4abcdef", 0);
    CHECK(subject.op(0) == "4abc");
    CHECK(subject.count(Counter::datagrams_denied) == 5);
}
