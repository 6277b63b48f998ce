// Replies whose times of transmission are asked for, and the error queue that these come through.
#include "common/clock.h"
#include "tests/conformance/harness.h"
#include "tests/support/skip.h"

using namespace riposte;
using namespace riposte::test;

namespace {

/// A datagram socket with a stream, and a requester.
struct Timed {
    static constexpr Token token{8, 3};

    explicit Timed(Harness& its_harness) : harness(its_harness) {
        fd = harness.datagram_socket(Bound::any_ipv4);
        requester = harness.requester(fd, "127.0.0.1");
        arm();
    }

    void arm() const {
        harness.submit({.kind = OpKind::receive_from, .token = token, .fd = fd, .size = 1});
    }

    DatagramInfo& info(const Event& event) const { return harness.datagrams().info(event.buffer); }

    Event request() const {
        REQUIRE(harness.request(requester, pattern(60)));
        const Event event = harness.expect(OpKind::receive_from, token);
        REQUIRE(event.result == 60);
        if (event.last)
            arm();
        return event;
    }

    void reply(const Event& event, bool timed) const {
        info(event).measured = true;
        info(event).timed = timed;
        harness.datagrams().buffers().move(event.buffer, Owner::worker, Owner::backend);
        harness.submit(
            {.kind = OpKind::send_to,
             .token = token,
             .fd = fd,
             .buffer = event.buffer,
             .size = 60});
    }

    /// The id of a reply that was sent; nothing if it has none.
    std::optional<uint32_t> sent(int32_t result = 60) const {
        const Event event = harness.expect(OpKind::send_to, token);
        CHECK((result < 0 ? event.result < 0 : event.result == result));
        std::optional<uint32_t> id;
        if (info(event).timed)
            id = info(event).transmit_id;
        harness.datagrams().buffers().move(event.buffer, Owner::worker, Owner::pool);
        return id;
    }

    Event transmitted() const { return harness.expect(OpKind::transmitted, token); }

    Harness& harness;
    int fd = -1;
    int requester = -1;
};

} // namespace

CONFORMANCE_CASE("the time at which a reply left follows the event of its sending") {
    const Timed timed(harness);
    for (int i = 0; i < 3; ++i) {
        CAPTURE(i);
        const Event event = timed.request();
        const uint64_t before = realtime_ns();
        timed.reply(event, true);
        const auto id = timed.sent();
        REQUIRE(id.has_value());
        const Event transmitted = timed.transmitted();
        CHECK(static_cast<uint32_t>(transmitted.result) == id);
        CHECK(transmitted.time_ns >= before);
        CHECK(transmitted.time_ns <= realtime_ns() + 1'000'000); // the simulated one may be ahead
        CHECK(!transmitted.last);
        CHECK(transmitted.buffer == no_buffer);
    }
    CHECK(harness.quiet());
    CHECK(!harness.has_errors(timed.fd));
}

CONFORMANCE_CASE("of replies that are sent together, those have times that asked for them") {
    const Timed timed(harness);
    std::vector<Event> events;
    for (int i = 0; i < 8; ++i)
        events.push_back(timed.request());
    for (size_t i = 0; i < events.size(); ++i)
        timed.reply(events[i], i % 2 == 0);
    std::vector<uint32_t> ids;
    for (size_t i = 0; i < events.size(); ++i) {
        const auto id = timed.sent();
        CHECK(id.has_value() == (i % 2 == 0));
        if (id)
            ids.push_back(*id);
    }
    for (const uint32_t id : ids)
        CHECK(static_cast<uint32_t>(timed.transmitted().result) == id);
    CHECK(harness.quiet());
}

CONFORMANCE_CASE("a reply that is not sent has no time, and those after it have their own") {
    const Timed timed(harness);
    timed.reply(timed.request(), true);
    const auto first = timed.sent();
    CHECK(static_cast<uint32_t>(timed.transmitted().result) == first);

    const Event event = timed.request();
    harness.block_reply(event.buffer);
    timed.reply(event, true);
    CHECK(!timed.sent(-1).has_value());
    CHECK(harness.quiet());

    harness.permit_replies();
    timed.reply(timed.request(), true);
    const auto next = timed.sent();
    REQUIRE(next.has_value());
    CHECK(next != first);
    CHECK(static_cast<uint32_t>(timed.transmitted().result) == next);
    CHECK(harness.quiet());
}

CONFORMANCE_CASE("times may come when the stream has ended, and the next stream goes on") {
    const Timed timed(harness);
    const Event event = timed.request();
    harness.submit(
        {.kind = OpKind::stop,
         .target = OpKind::receive_from,
         .token = Timed::token,
         .fd = timed.fd});
    CHECK(harness.expect(OpKind::receive_from, Timed::token).last);
    timed.reply(event, true);
    const auto id = timed.sent();
    CHECK(static_cast<uint32_t>(timed.transmitted().result) == id);
    timed.arm();
    timed.reply(timed.request(), true);
    const auto next = timed.sent();
    CHECK(static_cast<uint32_t>(timed.transmitted().result) == next);
    CHECK(harness.quiet());
}

CONFORMANCE_CASE("errors in the queue are read and forgotten, and neither end nor delay a stream") {
    const Timed timed(harness);
    CHECK(harness.quiet());
    if (!harness.provoke_error(timed.fd))
        SKIP("the simulated backend has no error queue");
    for (int turns = 0; harness.has_errors(timed.fd) && turns < 500; ++turns)
        harness.turn(std::chrono::milliseconds(5));
    CHECK(!harness.has_errors(timed.fd)); // else it would end every wait
    CHECK(harness.quiet());
    timed.reply(timed.request(), true);
    const auto id = timed.sent();
    CHECK(static_cast<uint32_t>(timed.transmitted().result) == id);
    harness.provoke_error(timed.fd);
    timed.reply(timed.request(), true);
    const auto next = timed.sent();
    CHECK(static_cast<uint32_t>(timed.transmitted().result) == next);
}
