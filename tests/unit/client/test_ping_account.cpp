// The account of one endpoint, rule by rule.
#include "client/ping/ping_account.h"
#include "tests/support/nanoseconds.h"

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <new>
#include <span>
#include <string_view>
#include <vector>

#include <doctest/doctest.h>

using namespace riposte::client;

namespace {

uint64_t allocations = 0;

} // namespace

// Counts allocations: an endless run must allocate nothing.
void* operator new(size_t size) {
    ++allocations;
    void* const memory = std::malloc(size > 0 ? size : 1);
    if (memory == nullptr)
        std::abort();
    return memory;
}
void operator delete(void* memory) noexcept {
    std::free(memory);
}
void operator delete(void* memory, size_t) noexcept {
    std::free(memory);
}

namespace {

using Bytes = std::vector<std::byte>;

using riposte::test::ms;
constexpr uint64_t timeout = 1000 * ms;
const PingSettings settings{
    .session = 0xc0ffee, .payload_bytes = 56, .timeout_ns = timeout, .window = 1024};

const PingSettings patient{
    .session = 0xc0ffee, .payload_bytes = 56, .timeout_ns = 5000 * ms, .window = 1024};

PingSettings of_size(uint32_t payload_bytes) {
    PingSettings sized = settings;
    sized.payload_bytes = payload_bytes;
    return sized;
}

Bytes copy(std::span<const std::byte> bytes) {
    return {bytes.begin(), bytes.end()};
}

Bytes text(std::string_view words) {
    return copy(std::as_bytes(std::span(words)));
}

Bytes damaged(Bytes bytes, size_t at) {
    bytes.at(at) ^= std::byte{0x10};
    return bytes;
}

Bytes cut(Bytes bytes, size_t size) {
    bytes.resize(size);
    return bytes;
}

/// Sends a probe on schedule at this many milliseconds; returns its bytes.
Bytes send_at(PingAccount& account, uint64_t at_ms) {
    return copy(account.payload(account.send(at_ms * ms, at_ms * ms)));
}

/// Sends this many, this many milliseconds apart.
std::vector<Bytes> send_all(PingAccount& account, uint64_t count, uint64_t apart_ms = 1) {
    std::vector<Bytes> probes;
    probes.reserve(count);
    for (uint64_t at = 0; at < count; ++at)
        probes.push_back(send_at(account, at * apart_ms));
    return probes;
}

void check_identity(const PingAccount& account) {
    const OutcomeCounts& counts = account.result().counts;
    CHECK(
        counts.sent == counts.answered + counts.lost + counts.corrupted + counts.wrong_size +
                           counts.refused + counts.unreachable + counts.closed + counts.too_big +
                           counts.local + counts.undecided());
}

/// The counts that a case expects; all others are 0.
void check_counts(const PingAccount& account, const OutcomeCounts& counts) {
    const OutcomeCounts& booked = account.result().counts;
    CHECK(booked.sent == counts.sent);
    CHECK(booked.answered == counts.answered);
    CHECK(booked.lost == counts.lost);
    CHECK(booked.corrupted == counts.corrupted);
    CHECK(booked.wrong_size == counts.wrong_size);
    CHECK(booked.refused == counts.refused);
    CHECK(booked.unreachable == counts.unreachable);
    CHECK(booked.closed == counts.closed);
    CHECK(booked.duplicated == counts.duplicated);
    CHECK(booked.reordered == counts.reordered);
    CHECK(booked.late == counts.late);
    CHECK(booked.stray == counts.stray);
}

} // namespace

TEST_CASE("the window holds twice as many probes as can wait, within its bounds") {
    CHECK(window_for(3600'000 * ms, 1000 * ms) == 64);
    CHECK(window_for(1000 * ms, 1000 * ms) == 64); // a minute's
    CHECK(window_for(100 * ms, 5000 * ms) == 1024);
    CHECK(window_for(1000 * ms, 100'000 * ms) == 256); // 101 may wait
    CHECK(window_for(1 * ms, 511 * ms) == 1024);       // 512 may wait
    CHECK(window_for(1 * ms, 512 * ms) == 2048);       // 513
    CHECK(window_for(ms / 10, 5000 * ms) == 131072);
    CHECK(window_for(ms / 10, 3'600'000 * ms) == 1 << 20);
    CHECK(window_for(0, UINT64_MAX) == 1 << 20);
}

TEST_CASE("flows take the probes in turn, and each has its own outcomes and round trips") {
    PingAccount account(settings);
    account.set_flows(std::array<uint16_t, 3>{41000, 41002, 41003});
    account.begin(0, 0, std::make_unique<Series>(0));
    for (uint64_t i = 1; i <= 7; i++)
        account.send(i * ms, i * ms);
    account.datagram(copy(account.payload(1)), 11 * ms);
    account.datagram(copy(account.payload(4)), 44 * ms);
    account.fail(2, Outcome::refused);
    account.fail(3, Outcome::local);
    CHECK(account.oldest_waiting(1, 3) == 5);
    CHECK(account.oldest_waiting(2, 3) == 6);
    CHECK(account.oldest_waiting(0, 3) == 7);
    while (account.expire(2 * timeout)) {
    }
    CHECK_FALSE(account.oldest_waiting(1, 3).has_value());
    const std::vector<FlowResult>& flows = account.result().flows;
    REQUIRE(flows.size() == 3);
    CHECK(flows[0].port == 41000);
    CHECK(flows[2].port == 41003);
    CHECK(flows[0].counts == OutcomeCounts{.sent = 3, .answered = 2, .lost = 1});
    CHECK(flows[1].counts == OutcomeCounts{.sent = 2, .lost = 1, .refused = 1});
    CHECK(flows[2].counts == OutcomeCounts{.sent = 2, .lost = 1, .local = 1});
    CHECK(flows[0].rtt.min_ns() == 10 * ms);
    CHECK(flows[0].rtt.max_ns() == 40 * ms);
    CHECK(flows[1].rtt.empty());
    REQUIRE(flows[0].fates.has_value());
    const auto columns = flows[0].fates->columns();
    REQUIRE(columns.size() == 1);
    CHECK(columns[0].answers == 2);
    CHECK(columns[0].failures == 1);
    check_identity(account);
}

TEST_CASE("a payload is the probe's wire format, with the actual send time") {
    PingAccount account(of_size(100));
    CHECK(account.send(5 * ms, 7 * ms) == 1);
    CHECK(account.send(6 * ms, 8 * ms) == 2);
    Bytes wire(100);
    write_probe(wire, {.session = 0xc0ffee, .sequence = 1, .sent_ns = 7 * ms});
    CHECK((copy(account.payload(1)) == wire));
    write_probe(wire, {.session = 0xc0ffee, .sequence = 2, .sent_ns = 8 * ms});
    CHECK((copy(account.payload(2)) == wire));
}

TEST_CASE(
    "a round trip counts from the sending; the lateness is separate and excludes the connecting") {
    PingAccount account(settings);
    const uint64_t sequence = account.send(100 * ms, 130 * ms, 20 * ms);
    const ProbeOutcome arrival = account.datagram(copy(account.payload(sequence)), 135 * ms);
    CHECK(arrival.outcome == Outcome::answered);
    CHECK(arrival.sequence == 1);
    CHECK(arrival.rtt_ns == 5 * ms);
    CHECK(arrival.late_by_ns == 10 * ms);
    CHECK(arrival.connect_ns == 20 * ms);
    CHECK(arrival.bytes == 56);
    CHECK_FALSE(arrival.duplicate);
    CHECK_FALSE(arrival.reordered);
    CHECK_FALSE(arrival.late);
    CHECK_FALSE(arrival.first_of_other_service);
    const PingResult& result = account.result();
    CHECK(result.rtt.count() == 1);
    CHECK(result.rtt.max_ns() == 5 * ms);
    CHECK(result.lateness.max_ns() == 10 * ms);
    CHECK(result.connect.empty()); // the prober records them
    check_counts(account, {.sent = 1, .answered = 1});
}

TEST_CASE("negative times become zero") {
    PingAccount account(settings);
    const uint64_t sequence = account.send(100 * ms, 90 * ms, 20 * ms);
    const ProbeOutcome arrival = account.datagram(copy(account.payload(sequence)), 80 * ms);
    CHECK(arrival.outcome == Outcome::answered);
    CHECK(arrival.rtt_ns == 0);
    CHECK(arrival.late_by_ns == 0);
    CHECK(account.result().lateness.count() == 1);
    CHECK(account.result().lateness.max_ns() == 0);
}

TEST_CASE("the first answer decides, further ones are duplicates") {
    PingAccount account(settings);
    const Bytes probe = send_at(account, 0);
    CHECK(account.datagram(probe, 1 * ms).outcome == Outcome::answered);
    const ProbeOutcome again = account.datagram(probe, 2 * ms);
    CHECK(again.outcome == Outcome::pending);
    CHECK(again.duplicate);
    CHECK(again.sequence == 1);
    CHECK(again.rtt_ns == 2 * ms);
    CHECK(account.datagram(damaged(probe, 30), 3 * ms).duplicate);
    CHECK(account.datagram(cut(probe, 20), 3 * ms).duplicate);
    CHECK(account.result().rtt.count() == 1);
    check_counts(account, {.sent = 1, .answered = 1, .duplicated = 3});
}

TEST_CASE("an answer after the timeout is late, once, and the probe stays lost") {
    PingAccount account(settings);
    const Bytes probe = send_at(account, 0);
    REQUIRE(account.expire(timeout) == 1);
    const ProbeOutcome late = account.datagram(probe, timeout + 5 * ms);
    CHECK(late.outcome == Outcome::pending);
    CHECK(late.late);
    CHECK_FALSE(late.duplicate);
    CHECK(late.rtt_ns == timeout + 5 * ms);
    const ProbeOutcome again = account.datagram(probe, timeout + 6 * ms);
    CHECK(again.duplicate);
    CHECK_FALSE(again.late);
    CHECK(account.result().rtt.empty());
    check_counts(account, {.sent = 1, .lost = 1, .duplicated = 1, .late = 1});
}

TEST_CASE("an answer is judged by its time of arrival, not of reading") {
    PingAccount account(settings);
    const Bytes late = send_at(account, 0);
    const Bytes in_time = send_at(account, 0);
    // Both are read before the expired probes are looked for.
    CHECK(account.datagram(late, timeout).late);
    CHECK(account.result().counts.lost == 1);
    CHECK(account.datagram(in_time, timeout - 1).outcome == Outcome::answered);
    CHECK(account.result().counts.late == 1);
    CHECK(account.result().rtt.count() == 1);
    CHECK_FALSE(account.expire(2 * timeout));
}

TEST_CASE("an answer that arrived before its probe left is not a round trip") {
    PingAccount account(settings);
    account.send(10 * ms, 10 * ms);
    CHECK(account.answer(1, text("Sun Nov 22"), 10 * ms).outcome == Outcome::answered);
    CHECK(account.result().counts.answered == 1);
    CHECK(account.result().rtt.empty());
    CHECK(account.result().ipdv.empty());
}

TEST_CASE("the first answer after the probe was given up is late, intact or damaged") {
    for (const Outcome outcome :
         {Outcome::lost, Outcome::refused, Outcome::unreachable, Outcome::closed}) {
        PingAccount account(settings);
        const Bytes whole = send_at(account, 0);
        const Bytes other = send_at(account, 1);
        REQUIRE(account.fail(1, outcome));
        REQUIRE(account.fail(2, outcome));
        CHECK(account.datagram(whole, 10 * ms).late);
        CHECK(account.datagram(damaged(other, 40), 10 * ms).late);
        CHECK(account.datagram(other, 10 * ms).duplicate);
        CHECK(account.result().counts.late == 2);
        CHECK(account.result().counts.duplicated == 1);
        check_identity(account);
    }
}

TEST_CASE("an answer is reordered if one to a later probe arrived before it") {
    PingAccount account(settings);
    const auto probes = send_all(account, 5);
    const auto reordered = [&](size_t sequence) {
        return account.datagram(probes[sequence - 1], 10 * ms).reordered;
    };
    CHECK_FALSE(reordered(1));
    CHECK_FALSE(reordered(4));
    CHECK(reordered(2));
    CHECK(reordered(3));
    CHECK_FALSE(reordered(2)); // a duplicate
    CHECK_FALSE(reordered(5));
    check_counts(account, {.sent = 5, .answered = 5, .duplicated = 1, .reordered = 2});
}

TEST_CASE("damaged and late answers can be reordered as well") {
    PingAccount account(settings);
    const auto probes = send_all(account, 4);
    REQUIRE(account.expire(timeout) == 1);
    CHECK_FALSE(account.datagram(damaged(probes[2], 50), timeout).reordered);
    CHECK(account.datagram(cut(probes[1], 50), timeout).reordered);
    const ProbeOutcome late = account.datagram(probes[0], timeout);
    CHECK(late.late);
    CHECK(late.reordered);
    CHECK_FALSE(account.datagram(probes[3], timeout).reordered);
    check_counts(
        account, {.sent = 4,
                  .answered = 1,
                  .lost = 1,
                  .corrupted = 1,
                  .wrong_size = 1,
                  .reordered = 2,
                  .late = 1});
}

TEST_CASE("RFC 3550's jitter is smoothed over the round trips, in order of arrival") {
    PingAccount account(settings);
    const uint64_t rtts[] = {10, 26, 26, 10};
    for (uint64_t at = 0; at < 4; ++at) {
        const uint64_t sequence = account.send(at * 100 * ms, (at * 100 + at) * ms);
        const uint64_t received = (at * 100 + at + rtts[at]) * ms;
        REQUIRE(
            account.datagram(copy(account.payload(sequence)), received).outcome ==
            Outcome::answered);
    }
    // |D| = 16, 0, 16: 1, 15/16, 15/16 + (16 - 15/16) / 16
    CHECK(account.result().rfc3550_jitter_ns == doctest::Approx((0.9375 + 15.0625 / 16) * 1e6));
}

TEST_CASE("ipdv compares neighbours by number, whatever the order of arrival") {
    // The round trips in ms are 10, 50, 20, 60, 30; the probes leave every 10 ms, so the answers
    // arrive in the order 1, 3, 2, 5, 4.
    constexpr std::array<uint64_t, 5> rtts{10, 50, 20, 60, 30};
    for (const bool in_order : {true, false}) {
        CAPTURE(in_order);
        PingAccount account(settings);
        const auto probes = send_all(account, rtts.size(), 10);
        for (const size_t at :
             in_order ? std::array<size_t, 5>{0, 1, 2, 3, 4} : std::array<size_t, 5>{0, 2, 1, 4, 3})
            account.datagram(probes[at], (at * 10 + rtts.at(at)) * ms);
        const Histogram& ipdv = account.result().ipdv;
        CHECK(ipdv.count() == 4);
        CHECK(ipdv.min_ns() == 30 * ms); // 40, 30, 40, 30: never 10, 30, 40 of the arrivals
        CHECK(ipdv.max_ns() == 40 * ms);
        CHECK(ipdv.mean_ns() == doctest::Approx(35e6));
    }
}

TEST_CASE("ipdv has no pair across a probe that was not answered in time") {
    PingAccount account(settings);
    const auto probes = send_all(account, 6, 0);
    account.datagram(probes[0], 10 * ms);
    account.datagram(damaged(probes[1], 30), 20 * ms);
    account.datagram(probes[2], 30 * ms);
    account.datagram(probes[3], timeout + 1); // late
    account.datagram(probes[4], 40 * ms);
    account.datagram(probes[4], 90 * ms); // a duplicate
    CHECK(account.result().ipdv.empty());
    account.datagram(probes[5], 45 * ms);
    CHECK(account.result().ipdv.count() == 1);
    CHECK(account.result().ipdv.max_ns() == 5 * ms);
}

TEST_CASE("pdv is each round trip minus the least one") {
    PingAccount account(settings);
    CHECK(account.result().pdv().empty());
    const auto probes = send_all(account, 5, 0);
    account.datagram(probes[0], 30 * ms);
    CHECK(account.result().pdv().empty()); // one answer has no variation
    account.datagram(probes[3], 20 * ms);
    account.datagram(probes[1], 25 * ms);
    account.datagram(probes[2], 60 * ms);
    account.datagram(probes[4], timeout); // late: does not count
    const Histogram pdv = account.result().pdv();
    CHECK(pdv.count() == 4);
    CHECK(pdv.min_ns() == 0);
    CHECK(pdv.max_ns() == 40 * ms);
    CHECK(pdv.mean_ns() == doctest::Approx((10 + 0 + 5 + 40) / 4.0 * 1e6));
    CHECK(pdv.stddev_ns() == doctest::Approx(account.result().rtt.stddev_ns()));
    CHECK(static_cast<double>(pdv.percentile_ns(50)) == doctest::Approx(5e6).epsilon(0.004));
}

TEST_CASE(
    "one wrong byte anywhere is a corrupted answer of its probe, and its offset is reported") {
    for (const uint32_t size : {24U, 25U, 32U, 56U, 1400U}) {
        for (size_t at = 0; at < std::min(size, 64U); ++at) {
            PingAccount account(of_size(size));
            for (uint64_t before = 0; before < 300; ++before)
                send_at(account, before);
            const Bytes probe = send_at(account, 300);
            for (uint64_t after = 301; after < 310; ++after)
                send_at(account, after);
            const ProbeOutcome arrival = account.datagram(damaged(probe, at), 320 * ms);
            REQUIRE(arrival.sequence == 301);
            REQUIRE(arrival.outcome == Outcome::corrupted);
            REQUIRE(arrival.wrong_byte == at);
            REQUIRE_FALSE(account.waits(301));
            REQUIRE(account.result().rtt.empty());
        }
    }
}

TEST_CASE("an answer with its whole header wiped is still recognised by its pattern") {
    PingAccount account(of_size(100));
    const auto probes = send_all(account, 20);
    Bytes wiped = probes[7];
    std::fill_n(wiped.begin(), probe_header_bytes, std::byte{0});
    const ProbeOutcome arrival = account.datagram(wiped, 30 * ms);
    CHECK(arrival.sequence == 8);
    CHECK(arrival.outcome == Outcome::corrupted);
    CHECK(arrival.wrong_byte == 0);
    CHECK(account.datagram(wiped, 31 * ms).duplicate);
    check_counts(account, {.sent = 20, .corrupted = 1, .duplicated = 1});
}

TEST_CASE("an answer of another length has the wrong size, whatever its bytes") {
    PingAccount account(settings);
    const auto probes = send_all(account, 4);
    const ProbeOutcome shorter = account.datagram(cut(probes[1], 55), 10 * ms);
    CHECK(shorter.outcome == Outcome::wrong_size);
    CHECK(shorter.sequence == 2);
    CHECK(shorter.bytes == 55);
    const ProbeOutcome longer = account.datagram(cut(probes[0], 57), 10 * ms);
    CHECK(longer.outcome == Outcome::wrong_size);
    CHECK(longer.sequence == 1);
    CHECK(account.datagram(cut(damaged(probes[2], 3), 40), 10 * ms).sequence == 3);
    // An answer that ends before its sequence number could be any probe's: it counts for the
    // latest.
    const ProbeOutcome beginning = account.datagram(cut(probes[3], 5), 10 * ms);
    CHECK(beginning.sequence == 4);
    CHECK(beginning.outcome == Outcome::wrong_size);
    check_counts(account, {.sent = 4, .wrong_size = 4, .reordered = 1});
}

TEST_CASE("a service that is not an echo is measured, and reported once") {
    PingAccount account(settings);
    send_at(account, 0);
    send_at(account, 1);
    const ProbeOutcome first = account.datagram(text("Hello, i'm server!"), 5 * ms);
    CHECK(first.outcome == Outcome::answered);
    CHECK(first.sequence == 2); // unknown: the latest
    CHECK(first.rtt_ns == 4 * ms);
    CHECK(first.bytes == 18);
    CHECK(first.first_of_other_service);
    CHECK(account.result().other_service);
    const ProbeOutcome next = account.datagram({}, 6 * ms);
    CHECK(next.outcome == Outcome::answered);
    CHECK(next.sequence == 1);
    CHECK_FALSE(next.first_of_other_service);
    CHECK_FALSE(next.reordered); // the order cannot be known
    CHECK(account.result().rtt.count() == 2);
    check_counts(account, {.sent = 2, .answered = 2});
}

TEST_CASE("another service's answer that no probe waits for is a stray") {
    PingAccount account(settings);
    const ProbeOutcome early = account.datagram(text("Welcome!"), 5 * ms);
    CHECK(early.sequence == 0);
    CHECK(early.outcome == Outcome::pending);
    CHECK(early.first_of_other_service);
    send_at(account, 10);
    CHECK(account.datagram(text("Welcome!"), 15 * ms).outcome == Outcome::answered);
    CHECK(account.datagram(text("Welcome!"), 16 * ms).sequence == 0);
    check_counts(account, {.sent = 1, .answered = 1, .stray = 2});
}

TEST_CASE("an answer of an echo that resembles no probe is a stray") {
    PingAccount account(settings);
    REQUIRE(account.datagram(send_at(account, 0), 1 * ms).outcome == Outcome::answered);
    const Bytes waiting = send_at(account, 10);
    Bytes foreign(56);
    write_probe(foreign, {.session = 1, .sequence = 2, .sent_ns = 3});
    for (const Bytes& bytes : {foreign, text("Hello"), Bytes{}}) {
        const ProbeOutcome arrival = account.datagram(bytes, 11 * ms);
        CHECK(arrival.sequence == 0);
        CHECK(arrival.outcome == Outcome::pending);
        CHECK(arrival.bytes == bytes.size());
        CHECK_FALSE(arrival.first_of_other_service);
    }
    CHECK_FALSE(account.result().other_service);
    CHECK(account.waits(2));
    CHECK(account.datagram(waiting, 12 * ms).outcome == Outcome::answered);
    check_counts(account, {.sent = 2, .answered = 2, .stray = 3});
}

TEST_CASE("a stream's answer is verified against the probe that it answers") {
    PingAccount account(settings);
    const auto probes = send_all(account, 6);
    CHECK(account.answer(1, probes[0], 10 * ms).outcome == Outcome::answered);
    const ProbeOutcome corrupted = account.answer(2, damaged(probes[1], 17), 10 * ms);
    CHECK(corrupted.outcome == Outcome::corrupted);
    CHECK(corrupted.wrong_byte == 17);
    CHECK(account.answer(3, cut(probes[2], 5), 10 * ms).outcome == Outcome::wrong_size);
    // After a verified answer the service is an echo, whatever else it sends.
    CHECK(account.answer(4, text("Hello"), 10 * ms).outcome == Outcome::wrong_size);
    const ProbeOutcome another = account.answer(5, probes[5], 10 * ms);
    CHECK(another.outcome == Outcome::corrupted);
    CHECK(another.wrong_byte == 15);
    CHECK(account.answer(1, probes[0], 10 * ms).duplicate);
    CHECK(account.answer(7, probes[5], 10 * ms).sequence == 0);
    CHECK_FALSE(account.result().other_service);
    check_counts(
        account,
        {.sent = 6, .answered = 1, .corrupted = 2, .wrong_size = 2, .duplicated = 1, .stray = 1});
}

TEST_CASE("a stream's service that never echoed is measured, and reported once") {
    PingAccount account(settings);
    send_all(account, 4);
    const Bytes short_echo = cut(copy(account.payload(3)), 5);
    const ProbeOutcome first = account.answer(1, text("Hello, i'm server!"), 10 * ms);
    CHECK(first.outcome == Outcome::answered);
    CHECK(first.first_of_other_service);
    const ProbeOutcome next = account.answer(2, text("Hello, i'm server!"), 10 * ms);
    CHECK(next.outcome == Outcome::answered);
    CHECK_FALSE(next.first_of_other_service);
    CHECK(account.answer(3, short_echo, 10 * ms).outcome == Outcome::wrong_size);
    CHECK(account.answer(4, text("Hello, i'm server!"), 10 * ms).outcome == Outcome::answered);
    CHECK(account.result().other_service);
    check_counts(account, {.sent = 4, .answered = 3, .wrong_size = 1});
}

TEST_CASE("a service once reported as not an echo is still measured, even if it echoes once") {
    PingAccount account(settings);
    send_all(account, 3);
    CHECK(account.answer(1, text("Hello"), 10 * ms).first_of_other_service);
    CHECK(account.answer(2, copy(account.payload(2)), 10 * ms).outcome == Outcome::answered);
    CHECK(account.answer(3, text("Hello"), 10 * ms).outcome == Outcome::answered);
    check_counts(account, {.sent = 3, .answered = 3});
}

TEST_CASE("another service's answers are compared with waiting probes only") {
    PingAccount account(settings);
    const Bytes first = send_at(account, 0);
    CHECK(account.datagram(text("Hello"), 1 * ms).outcome == Outcome::answered);
    CHECK(account.datagram(cut(first, 20), 2 * ms).sequence == 0);
    const Bytes next = send_at(account, 10);
    CHECK(account.datagram(cut(next, 20), 11 * ms).outcome == Outcome::wrong_size);
    check_counts(account, {.sent = 2, .answered = 1, .wrong_size = 1, .stray = 1});
}

TEST_CASE("a part of a probe has the wrong size even before the first echo") {
    PingAccount account(settings);
    const Bytes probe = send_at(account, 0);
    CHECK(account.answer(1, cut(probe, 5), 10 * ms).outcome == Outcome::wrong_size);
    CHECK_FALSE(account.result().other_service);
}

TEST_CASE("a probe fails once, and only while it waits") {
    PingAccount account(settings);
    send_all(account, 4);
    CHECK(account.fail(1, Outcome::refused));
    CHECK_FALSE(account.fail(1, Outcome::refused));
    CHECK_FALSE(account.fail(1, Outcome::closed));
    CHECK(account.fail(2, Outcome::unreachable));
    CHECK(account.fail(3, Outcome::closed));
    CHECK(account.fail(4, Outcome::lost));
    CHECK_FALSE(account.fail(0, Outcome::lost));
    CHECK_FALSE(account.fail(5, Outcome::lost));
    CHECK(account.fail(account.send(5 * ms, 5 * ms), Outcome::refused));
    CHECK_FALSE(account.expire(UINT64_MAX).has_value());
    check_counts(account, {.sent = 5, .lost = 1, .refused = 2, .unreachable = 1, .closed = 1});
}

TEST_CASE("a probe that fell out of the window cannot fail") {
    PingSettings small = settings;
    small.window = 4;
    PingAccount account(small);
    send_all(account, 5);
    CHECK_FALSE(account.fail(1, Outcome::refused));
    CHECK_FALSE(account.waits(1));
    CHECK(account.fail(2, Outcome::refused));
    check_counts(account, {.sent = 5, .lost = 1, .refused = 1});
}

TEST_CASE("probes expire in the order in which they were sent, each at its own time") {
    PingAccount account(settings);
    CHECK_FALSE(account.next_expiry_ns().has_value());
    CHECK_FALSE(account.expire(UINT64_MAX).has_value());
    CHECK_FALSE(account.oldest_waiting().has_value());
    CHECK_FALSE(account.latest_waiting().has_value());
    const auto probes = send_all(account, 5, 10);
    CHECK(account.next_expiry_ns() == timeout);
    CHECK(account.oldest_waiting() == 1);
    CHECK(account.latest_waiting() == 5);
    CHECK_FALSE(account.expire(timeout - 1).has_value());
    CHECK(account.expire(timeout) == 1);
    CHECK_FALSE(account.expire(timeout).has_value());
    CHECK_FALSE(account.waits(1));
    REQUIRE(account.datagram(probes[1], 50 * ms).outcome == Outcome::answered);
    REQUIRE(account.datagram(probes[4], 50 * ms).outcome == Outcome::answered);
    CHECK(account.oldest_waiting() == 3);
    CHECK(account.latest_waiting() == 4);
    CHECK(account.next_expiry_ns() == timeout + 20 * ms);
    CHECK(account.expire(UINT64_MAX) == 3);
    CHECK(account.expire(UINT64_MAX) == 4);
    CHECK_FALSE(account.expire(UINT64_MAX).has_value());
    CHECK_FALSE(account.latest_waiting().has_value());
    check_counts(account, {.sent = 5, .answered = 2, .lost = 3});
}

TEST_CASE("the timeout counts from the actual sending") {
    PingAccount account(settings);
    account.send(0, 300 * ms);
    CHECK(account.next_expiry_ns() == 300 * ms + timeout);
}

TEST_CASE("after the last probe, the run waits for each one a second from its own sending") {
    PingAccount account(patient);
    const auto probes = send_all(account, 4, 400); // at 0, 400, 800, 1,200 ms
    account.datagram(probes[0], 100 * ms);         // four round trips are less than a second
    CHECK(account.next_expiry_ns() == 400 * ms + patient.timeout_ns);
    account.linger(1200 * ms, true);
    CHECK(account.result().wait_ns == 1000 * ms);
    CHECK(account.next_expiry_ns() == 1400 * ms);
    CHECK_FALSE(account.expire(1400 * ms - 1).has_value());
    CHECK(account.expire(1400 * ms) == 2);
    // An answer that arrived in time and is read late is not lost.
    CHECK(account.datagram(probes[2], 1800 * ms - 1).outcome == Outcome::answered);
    CHECK(account.next_expiry_ns() == 1200 * ms + 4 * (1000 * ms - 1));
    CHECK_FALSE(account.expire(2200 * ms).has_value()); // that round trip was longer
    CHECK(account.expire(UINT64_MAX) == 4);
    CHECK(account.datagram(probes[1], 6000 * ms).late);
    check_counts(account, {.sent = 4, .answered = 2, .lost = 2, .reordered = 1, .late = 1});
}

TEST_CASE("a probe that has waited longer is given up when the last one is sent") {
    PingAccount account(patient);
    const auto probes = send_all(account, 3, 1500); // at 0, 1,500, 3,000 ms
    account.datagram(probes[1], 1600 * ms);
    account.linger(3000 * ms, true);
    CHECK(account.give_up_ns(0) == 3000 * ms);
    // The answer arrived before that, but is read only now.
    CHECK(account.datagram(probes[0], 3000 * ms - 1).outcome == Outcome::answered);
    CHECK(account.result().counts.lost == 0);
}

TEST_CASE("without any answer a run waits for the whole timeout, unless it is interrupted") {
    PingAccount silent(patient);
    const auto probes = send_all(silent, 2, 10);
    silent.linger(10 * ms, false);
    CHECK(silent.next_expiry_ns() == patient.timeout_ns);
    silent.datagram(probes[1], 30 * ms); // then the round trip is known
    CHECK(silent.next_expiry_ns() == 1000 * ms);
    PingAccount cut_short(patient);
    send_all(cut_short, 2, 10);
    cut_short.linger(10 * ms, true);
    CHECK(cut_short.next_expiry_ns() == 1000 * ms);
    PingAccount interrupted(patient);
    send_all(interrupted, 2, 10);
    interrupted.linger(10 * ms, false);
    interrupted.linger(500 * ms, true); // while lingering
    CHECK(interrupted.next_expiry_ns() == 1000 * ms);
}

TEST_CASE("lingering never lasts longer than the timeout") {
    PingAccount slow(patient);
    const auto probes = send_all(slow, 2, 3000);
    slow.datagram(probes[0], 2000 * ms);
    slow.linger(3000 * ms, true);
    CHECK(slow.next_expiry_ns() == 3000 * ms + patient.timeout_ns);
    PingAccount hasty(settings);
    const auto others = send_all(hasty, 2, 10);
    hasty.datagram(others[0], 20 * ms);
    hasty.linger(30 * ms, true);
    CHECK(hasty.next_expiry_ns() == 10 * ms + timeout);
    hasty.linger(90 * ms, true); // it still lingers
    CHECK(hasty.next_expiry_ns() == 10 * ms + timeout);
}

TEST_CASE(
    "the datagram that an ICMP error quotes identifies the probe, if it has the whole header") {
    PingAccount account(settings);
    send_at(account, 0);
    const Bytes probe = send_at(account, 1);
    CHECK(account.quoted(probe) == 2);
    CHECK(account.quoted(cut(probe, 24)) == 2);
    CHECK(account.quoted(cut(probe, 200)) == 2);
    CHECK_FALSE(account.quoted(cut(probe, 23)).has_value());
    CHECK_FALSE(account.quoted({}).has_value());
    for (size_t at = 0; at < 24; ++at)
        CHECK_FALSE(account.quoted(damaged(probe, at)).has_value());
    CHECK(account.quoted(damaged(probe, 24)) == 2);
    CHECK(account.waits(2)); // only a query
    REQUIRE(account.fail(2, Outcome::refused));
    CHECK(account.quoted(probe) == 2);
}

TEST_CASE("the series holds the answers and the failures by the time of sending") {
    PingAccount account(settings);
    account.begin(0, 0, std::make_unique<Series>(0, 10 * ms));
    std::vector<Bytes> probes;
    probes.reserve(6);
    for (uint64_t at = 0; at < 6; ++at) {
        account.send(at * 10 * ms, (at * 10 + 5) * ms);
        probes.push_back(copy(account.payload(at + 1)));
    }
    account.datagram(probes[0], 17 * ms);
    account.datagram(damaged(probes[1], 30), 60 * ms);
    account.datagram(cut(probes[2], 30), 60 * ms);
    account.fail(4, Outcome::refused);
    account.expire(UINT64_MAX);
    account.datagram(probes[4], 2 * timeout); // late: recorded already
    const auto columns = account.result().series->columns();
    REQUIRE(columns.size() == 5);
    CHECK(columns[0].count == 1);
    CHECK(columns[0].max_ns == 12 * ms);
    CHECK(columns[0].failures == 0);
    for (size_t at = 1; at < 5; ++at) {
        CHECK(columns[at].count == 0);
        CHECK(columns[at].failures == 1);
    }
}

TEST_CASE("unanswered probes of a flow in a row are one run, and one more for each second") {
    PingAccount account(settings);
    account.set_flows(std::array<uint16_t, 1>{41000});
    const auto runs = [&] { return account.result().flows[0].failure_runs; };
    for (uint64_t due = 0; due < 12; ++due)
        account.send(due * 100 * ms, due * 100 * ms);
    for (const uint64_t lost : {1U, 2U, 3U})
        account.fail(lost, Outcome::refused);
    CHECK(runs() == 1);
    account.connected(6, 700 * ms);    // on the next connection
    account.fail(4, Outcome::refused); // of the one before
    account.fail(5, Outcome::refused);
    CHECK(runs() == 1);
    account.fail(7, Outcome::refused);
    CHECK(runs() == 2);
    account.fail(12, Outcome::local);
    account.send(1700 * ms, 1700 * ms);
    account.fail(13, Outcome::refused); // more than a second after the run began
    CHECK(runs() == 3);
}

TEST_CASE("a million probes need no more memory than the first hundred thousand") {
    PingSettings small = settings;
    small.window = 64;
    PingAccount account(small);
    Bytes bytes(56);
    uint64_t before = 0;
    uint64_t expired = 0;
    for (uint64_t at = 1; at <= 1'000'000; ++at) {
        if (at == 100'000) // every octave there is, and more than a bucket counts by itself
            before = allocations;
        const uint64_t now = at * ms;
        while (account.expire(now))
            ++expired;
        std::ranges::copy(account.payload(account.send(now, now)), bytes.begin());
        if (at % 10 == 0)
            bytes[at % 56] ^= std::byte{1};
        if (at % 1000 != 0) // lost ones fall out of the window
            account.datagram(bytes, now + ms / 2);
        if (at % 7 == 0)
            account.datagram(bytes, now + ms / 2);
    }
    CHECK(allocations == before);
    CHECK(expired == 0);
    check_counts(
        account, {.sent = 1'000'000,
                  .answered = 900'000,
                  .lost = 857,         // the last one still waits
                  .corrupted = 99'142, // every tenth; of every thousandth only the seventh's
                  .duplicated = 142'715});
}
