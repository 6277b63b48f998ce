#include "daemon/tcp/admission.h"
#include "daemon/tcp/connection_table.h"
#include "daemon/tcp/refusals.h"

#include <utility>

#include <arpa/inet.h>
#include <doctest/doctest.h>

using namespace riposte;

namespace {

/// 127.0.0.`last`
SourceKey source_number(uint8_t last) {
    return ipv4_key({.s_addr = htonl(0x7f000000u + last)});
}

struct Gate {
    Gate() { set(limits); }
    void set(const TcpLimits& wanted) {
        limits = wanted;
        admission.set(limits);
    }

    TcpLimits limits{.connections_max = 4, .connections_per_source_max = 2};
    Admission admission{limits};
    ListenerSpec listener{};
};

} // namespace

TEST_CASE_FIXTURE(Gate, "an admission that does not complete undoes its counts") {
    for (int i = 0; i < 10; ++i) {
        const auto ticket = admission.ask(source_number(1), listener);
        REQUIRE(ticket.has_value());
        CHECK(listener.load->open() == 1);
    }
    CHECK(listener.load->open() == 0);
}

TEST_CASE_FIXTURE(Gate, "a ticket that was moved is undone once") {
    {
        auto ticket = admission.ask(source_number(1), listener);
        REQUIRE(ticket.has_value());
        const AdmissionTicket moved = std::move(*ticket);
        CHECK(listener.load->open() == 1);
    }
    CHECK(listener.load->open() == 0);
}

TEST_CASE_FIXTURE(Gate, "a completed admission keeps its places until the connection leaves") {
    for (int i = 0; i < 2; ++i)
        admission.ask(source_number(1), listener)->complete();
    CHECK(listener.load->open() == 2);
    const auto third = admission.ask(source_number(1), listener);
    REQUIRE(!third.has_value());
    CHECK((third.error() == RefusalReason::over_source));
    CHECK(admission.ask(source_number(2), listener).has_value());
    admission.leave(source_number(1), listener.load.get());
    CHECK(admission.ask(source_number(1), listener).has_value());
    CHECK(listener.load->open() == 1);
}

TEST_CASE_FIXTURE(Gate, "a full listener refuses, and the source is not counted for it") {
    listener.connections_max = 0;
    for (int i = 0; i < 10; ++i) {
        const auto ticket = admission.ask(source_number(1), listener);
        REQUIRE(!ticket.has_value());
        CHECK((ticket.error() == RefusalReason::over_listener));
    }
    listener.connections_max = 10;
    CHECK(admission.ask(source_number(1), listener).has_value());
}

TEST_CASE_FIXTURE(Gate, "a connection over its limits is counted until it has ended") {
    listener.connections_max = 0;
    for (int i = 0; i < 3; ++i)
        admission.count_over_limits(source_number(1), listener.load.get());
    admission.count_over_limits(source_number(1), nullptr);
    CHECK(listener.load->open() == 3);
    for (int i = 0; i < 3; ++i)
        admission.leave(source_number(1), listener.load.get());
    admission.leave(source_number(1), nullptr);
    CHECK(listener.load->open() == 0);
}

TEST_CASE_FIXTURE(
    Gate, "a reload may change the prefix of a source, and sources are then recounted") {
    ConnectionTable table;
    table.grow(4);
    for (const uint8_t last : {uint8_t{1}, uint8_t{2}}) {
        table.take(10, source_number(last), 1000);
        admission.ask(source_number(last), listener)->complete();
    }
    CHECK(!admission.must_recount());
    CHECK(admission.ask(source_number(1), listener).has_value());
    limits.source_prefix_ipv4_bits = 24;
    set(limits);
    REQUIRE(admission.must_recount());
    admission.recount(table);
    CHECK(!admission.must_recount());
    CHECK(!admission.ask(source_number(3), listener).has_value()); // two of its prefix are open
}

TEST_CASE_FIXTURE(Gate, "'allow' and 'deny' decide by source") {
    CHECK(!Admission::denial(source_number(1), listener).has_value()); // no lists
    listener.acl = make_acl({.allow = {{source_number(1), 128}}, .deny = {}});
    CHECK(!Admission::denial(source_number(1), listener).has_value());
    CHECK((Admission::denial(source_number(2), listener) == RefusalReason::denied));
}

TEST_CASE("each reason of a refusal has a counter of dropped connections, and its token") {
    for (const RefusalRow& row : refusal_rows) {
        CAPTURE(row.why);
        const CounterRow& counter = row_of(row.counter);
        CHECK((counter.family == CounterFamily::dropped));
        CHECK((counter.transport == Transport::tcp));
        CHECK(token_of(row.reason) == counter.token);
    }
    CHECK(token_of(RefusalReason::over_source) == "over_source");
    CHECK(token_of(RefusalReason::stalled) == "buffers");
}

TEST_CASE("the number of connections is bounded by the width of a token") {
    CHECK(Admission::connections_max({.connections_max = 7}) == 7);
    CHECK(Admission::connections_max({.connections_max = UINT32_MAX}) == Token::max - 1);
}

TEST_CASE("a slot is taken, named by its generation, and reused after its release") {
    ConnectionTable table;
    table.grow(2);
    const uint32_t first = table.take(10, {}, 1);
    CHECK(first == 0);
    CHECK(table.take(11, {}, 2) == 1);
    CHECK(table.free() == 0);
    CHECK(table.used() == 2);
    const uint32_t generation = table[first].generation;
    table[first].leave();
    table[first].begin_close();
    table[first].end_close();
    table.give_back(first);
    CHECK(table.free() == 1);
    CHECK(table.take(12, {}, 3) == first);
    CHECK(table[first].generation == generation + 1);
    CHECK(table[first].fd == 12);
}

TEST_CASE("a table that grows keeps its connections, and offers the lowest new slot first") {
    ConnectionTable table;
    table.grow(1);
    table.take(10, {}, 1);
    table.reserve(100);
    table.grow(3);
    CHECK(table.size() == 3);
    CHECK(table[0].fd == 10);
    CHECK(table.take(11, {}, 2) == 1);
    CHECK(table.take(12, {}, 3) == 2);
    table.reserve(10);
    table.give_up();
    CHECK(table.size() == 3);
}
