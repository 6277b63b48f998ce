// Token buckets for each prefix: at their limits, with the test's own clock, and under floods.
#include "daemon/udp/responder.h"
#include "daemon/udp/response_rate_limit.h"

#include <algorithm>
#include <random>
#include <string>
#include <string_view>
#include <vector>

#include <doctest/doctest.h>

using namespace riposte;

namespace {

constexpr ResponseRateLimit::Secret secret{1, 2};

SourceKey ipv4(uint32_t address) {
    SourceKey key{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
    for (size_t i = 0; i < 4; ++i)
        key[12 + i] = static_cast<uint8_t>(address >> (24 - 8 * i));
    return key;
}

SourceKey address(const std::string& text) {
    return parse_cidr(text)->network;
}

constexpr uint32_t net_10 = 10U << 24; // 10.0.0.0

struct Limited {
    explicit Limited(const UdpLimits& config = {}, uint32_t entries = 65'536)
        : limit(entries, secret) {
        limit.set(config);
    }

    /// How many of `count` are answered.
    uint32_t ask(const SourceKey& source, uint32_t count = 1, uint32_t bytes = 0) {
        const ResponseRateLimit::Grant grant = limit.ask(source, count, bytes, now_ms);
        limit.charge(grant.datagrams, uint64_t{grant.datagrams} * bytes);
        refusal = grant.datagrams < count ? row_of(counter_of(grant.refusal)).text : "";
        return grant.datagrams;
    }
    uint32_t ask(const std::string& source, uint32_t count = 1, uint32_t bytes = 0) {
        return ask(address(source), count, bytes);
    }
    void establish(const SourceKey& source) {
        for (uint32_t i = 0; i < ResponseRateLimit::established_sightings; ++i, ++now_ms)
            CHECK(ask(source) == 1);
    }

    ResponseRateLimit limit;
    uint64_t now_ms = 1'000'000;
    std::string_view refusal{};
};

UdpLimits of(uint64_t rate_per_prefix, uint64_t rate) {
    UdpLimits config;
    config.rate_per_prefix = rate_per_prefix;
    config.rate = rate;
    return config;
}

const std::string over_prefix = "datagrams over their prefix's rate";
const std::string over_new_prefixes = "datagrams over the rate of new prefixes";
const std::string over_all = "datagrams over the rate of all";
const std::string crowd = "datagrams over the rate of the crowd";

} // namespace

TEST_CASE("a prefix gets a second's worth at once, and then its rate") {
    Limited subject;
    CHECK(subject.ask("192.0.2.1", 4'999) == 4'999);
    CHECK(subject.ask("192.0.2.1") == 1);
    CHECK(subject.ask("192.0.2.1") == 0);
    CHECK(subject.refusal == over_prefix);
    ++subject.now_ms; // five a millisecond
    CHECK(subject.ask("192.0.2.1", 4) == 4);
    CHECK(subject.ask("192.0.2.1", 2) == 1);
    subject.now_ms += 500;
    CHECK(subject.ask("192.0.2.1", 10'000) == 2'500);
    subject.now_ms += 10'000;
    CHECK(subject.ask("192.0.2.1", 10'000) == 5'000);
}

TEST_CASE("a rate that is not whole per millisecond is kept over time") {
    for (const uint64_t rate : {1U, 3U, 7U, 999U, 1'001U, 4'999U}) {
        CAPTURE(rate);
        Limited subject(of(rate, 1'000'000));
        uint64_t answered = 0;
        for (int i = 0; i < 100'000; ++i, ++subject.now_ms)
            answered += subject.ask("192.0.2.1", 6);
        CHECK(answered >= 100 * rate);
        CHECK(answered <= 101 * rate + 1);
    }
}

TEST_CASE("bytes are limited as well as answers") {
    UdpLimits config;
    config.bytes_per_prefix = 65'536;
    Limited subject(config);
    CHECK(subject.ask("192.0.2.1", 1, 65'507) == 1);
    CHECK(subject.ask("192.0.2.1", 1, 30) == 0);
    CHECK(subject.refusal == over_prefix);
    CHECK(subject.ask("192.0.2.1", 1, 29) == 1);
    CHECK(subject.ask("192.0.2.1", 1, 1) == 0);
    CHECK(subject.ask("192.0.2.1", 1, 0) == 1); // an empty one has none
    CHECK(subject.ask("198.51.100.1", 100, 1'000) == 65);
}

TEST_CASE("a datagram that was granted and not answered is not charged") {
    Limited subject(of(10, 1'000));
    for (int i = 0; i < 100; ++i) {
        CHECK(subject.limit.ask(address("192.0.2.1"), 10, 100, subject.now_ms).datagrams == 10);
        subject.limit.charge(0, 0);
    }
    CHECK(subject.ask("192.0.2.1", 11) == 10);
}

TEST_CASE("addresses of one prefix share a bucket, those of another do not") {
    Limited subject(of(100, 10'000));
    CHECK(subject.ask("192.0.2.1", 60) == 60);
    CHECK(subject.ask("192.0.2.255", 60) == 40);
    CHECK(subject.ask("192.0.3.0", 60) == 60);
    CHECK(subject.ask("192.0.1.255", 60) == 60);
    CHECK(subject.ask("2001:db8:0:0::1", 60) == 60);
    CHECK(subject.ask("2001:db8:0:ff::1", 60) == 40);
    CHECK(subject.ask("2001:db8:0:100::1", 60) == 60);
}

TEST_CASE("the configuration sets the lengths of prefixes") {
    UdpLimits config = of(100, 10'000);
    config.prefix_ipv4_bits = 32;
    config.prefix_ipv6_bits = 128;
    Limited subject(config);
    CHECK(subject.ask("192.0.2.1", 100) == 100);
    CHECK(subject.ask("192.0.2.2", 100) == 100);
    CHECK(subject.ask("2001:db8::1", 100) == 100);
    CHECK(subject.ask("2001:db8::2", 100) == 100);
    config.prefix_ipv4_bits = 0; // all of IPv4 is one
    subject.limit.set(config);
    CHECK(subject.ask("198.51.100.1", 100) == 100);
    CHECK(subject.ask("203.0.113.1", 100) == 0);
}

TEST_CASE("exempt peers have no rate limit, by default loopback") {
    Limited subject(of(1, 2));
    CHECK(subject.ask("127.0.0.1", 100'000, 65'507) == 100'000);
    CHECK(subject.ask("127.255.255.255", 100'000) == 100'000);
    CHECK(subject.ask("::1", 100'000) == 100'000);
    CHECK(subject.ask("128.0.0.1", 2) == 1);
    CHECK(subject.ask("126.255.255.255", 2) == 0); // new prefixes have half of 2, already used
    UdpLimits config = of(1, 2);
    config.rate_exempt = {*parse_cidr("128.0.0.0/8")};
    subject.limit.set(config);
    CHECK(subject.ask("128.0.0.1", 1'000) == 1'000);
    CHECK(subject.ask("127.0.0.1", 1'000) == 0);
}

TEST_CASE("a reload changes the rates and keeps each prefix's debt") {
    Limited subject(of(100, 10'000));
    CHECK(subject.ask("192.0.2.1", 200) == 100);
    subject.limit.set(of(200, 10'000));
    CHECK(subject.ask("192.0.2.1", 200) == 0);
    subject.now_ms += 500;
    CHECK(subject.ask("192.0.2.1", 200) == 100);
}

TEST_CASE("new prefixes have half of the total, established ones all of it") {
    Limited subject(of(5'000, 10'000));
    const SourceKey regular = address("192.0.2.1");
    subject.establish(regular);
    subject.now_ms += 1'000;
    uint32_t answered = 0;
    for (uint32_t i = 0; i < 20; ++i)
        answered += subject.ask(ipv4(net_10 + (i << 8)), 1'000);
    CHECK(answered == 5'000);
    CHECK(subject.refusal == over_new_prefixes);
    CHECK(subject.ask(regular, 2'500) == 2'500);
    // Beyond half of its own bucket it is treated like a new prefix.
    CHECK(subject.ask(regular, 1) == 1);
    CHECK(subject.ask(regular, 1) == 0);
    CHECK(subject.refusal == over_new_prefixes);
}

TEST_CASE("new prefixes get a tenth of a second's worth, or the burst of one prefix") {
    const auto answered_at_once = [](uint64_t of_one, uint64_t all) {
        Limited subject(of(of_one, all));
        const auto ask_many = [&] {
            uint32_t answered = 0;
            for (uint32_t i = 0; i < 20'000; ++i)
                answered += subject.ask(ipv4(net_10 + (i << 8)), 1);
            return answered;
        };
        const uint32_t at_once = ask_many();
        CHECK(subject.refusal == over_new_prefixes);
        CHECK(ask_many() == 0);
        subject.now_ms += 1; // it refills at the rate, whatever the depth
        CHECK(ask_many() == all / 2'000);
        subject.now_ms += 5'000;
        CHECK(ask_many() == at_once);
        return at_once;
    };
    CHECK(answered_at_once(5'000, 100'000) == 5'000);
    CHECK(answered_at_once(5'001, 100'000) == 5'001);
    CHECK(answered_at_once(10, 100'000) == 5'000);
    CHECK(answered_at_once(5'000, 10'000) == 5'000); // never more than a second's worth
    CHECK(answered_at_once(5'000, 2'000) == 1'000);
}

TEST_CASE("new prefixes get the same share of bytes") {
    const auto answered_at_once = [](uint64_t of_one, uint64_t all) {
        UdpLimits config;
        config.bytes_per_prefix = of_one;
        config.bytes = all;
        Limited subject(config);
        uint32_t answered = 0;
        for (uint32_t i = 0; i < 1'000; ++i)
            answered += subject.ask(ipv4(net_10 + (i << 8)), 1, 1'000);
        CHECK(subject.refusal == over_new_prefixes);
        return answered;
    };
    CHECK(answered_at_once(65'536, 2'000'000) == 100); // a tenth of half of it
    CHECK(answered_at_once(99'999, 2'000'000) == 100);
    CHECK(answered_at_once(101'000, 2'000'000) == 101);
    CHECK(answered_at_once(65'536, 131'072) == 65); // half of it, a second's worth
}

TEST_CASE("all prefixes together get at most the total") {
    Limited subject(of(5'000, 6'000));
    for (uint32_t i = 0; i < 4; ++i)
        subject.establish(ipv4(net_10 + (i << 8)));
    subject.now_ms += 1'000;
    uint32_t answered = 0;
    for (uint32_t i = 0; i < 4; ++i)
        answered += subject.ask(ipv4(net_10 + (i << 8)), 2'000);
    CHECK(answered == 6'000);
    CHECK(subject.refusal == over_all);
}

TEST_CASE("a table of live entries evicts none, and new prefixes share one rate") {
    Limited subject(of(100, 1'000'000), ResponseRateLimit::ways); // a single set
    for (int times = 0; times < 2; ++times, ++subject.now_ms)
        for (uint32_t i = 0; i < ResponseRateLimit::ways; ++i)
            CHECK(subject.ask(ipv4(net_10 + (i << 8)), 50) == 50);
    CHECK(subject.ask("192.0.2.1", 60) == 60);
    CHECK(subject.ask("198.51.100.1", 60) == 40);
    CHECK(subject.refusal == crowd);
    for (uint32_t i = 0; i < ResponseRateLimit::ways; ++i) {
        CHECK(subject.ask(ipv4(net_10 + (i << 8)), 1) == 0);
        CHECK(subject.refusal == over_prefix);
    }
    subject.now_ms += ResponseRateLimit::newcomer_idle_ms;
    CHECK(subject.ask(ipv4(net_10), 100) == 100); // still there, like all others
    CHECK(subject.ask("192.0.2.1", 101) == 100);
    ++subject.now_ms; // all others have been idle too long
    CHECK(subject.ask("192.0.2.1", 101) == 100);
    CHECK(subject.refusal == over_prefix);
}

TEST_CASE("a prefix that was seen once is evicted sooner, from some of the places") {
    Limited subject(of(5'000, 1'000'000), ResponseRateLimit::ways);
    for (uint32_t i = 0; i < ResponseRateLimit::ways; ++i)
        CHECK(subject.ask(ipv4(net_10 + (i << 8))) == 1);
    const auto places = [&] { // how many of ten others find a place
        uint32_t count = 0;
        for (uint32_t i = 100; i < 110; ++i) {
            subject.ask(ipv4(net_10 + (i << 8)), 5'001);
            count += subject.refusal == over_prefix;
        }
        return count;
    };
    subject.now_ms += ResponseRateLimit::once_idle_ms;
    CHECK(places() == 0);
    subject.now_ms += 1;
    CHECK(places() == ResponseRateLimit::quick_ways);
}

TEST_CASE("an entry is kept until its buckets are full") {
    Limited subject(of(5'000, 1'000'000), ResponseRateLimit::ways);
    for (uint32_t i = 0; i < ResponseRateLimit::ways; ++i)
        CHECK(subject.ask(ipv4(net_10 + (i << 8)), 5'000) == 5'000);
    subject.now_ms += 999;
    CHECK(subject.ask("192.0.2.1", 5'001) == 5'000);
    CHECK(subject.refusal == crowd);
    ++subject.now_ms;
    CHECK(subject.ask("192.0.2.1", 5'001) == 5'000);
    CHECK(subject.refusal == over_prefix);
}

TEST_CASE("an established entry outlives a new prefix's") {
    Limited subject(of(5'000, 1'000'000), ResponseRateLimit::ways);
    const SourceKey regular = address("192.0.2.1");
    subject.establish(regular);
    const auto crowd_out = [&] { // as long as there are places
        for (uint32_t i = 0; i < 100; ++i)
            subject.ask(ipv4(net_10 + (i << 8)), 5'000);
    };
    subject.now_ms += ResponseRateLimit::established_idle_ms - 1;
    crowd_out();
    CHECK(subject.ask(regular, 5'000) == 5'000);
    subject.now_ms += ResponseRateLimit::established_idle_ms + 1;
    crowd_out();
    CHECK(subject.ask(regular, 5'000) == 0);
    CHECK(subject.refusal == crowd);
}

TEST_CASE("in no flood does a prefix get more than twice its rate") {
    Limited subject(of(100, 1'000'000), 1'024);
    std::mt19937 random(7001);
    uint64_t answered = 0;
    for (uint32_t ms = 0; ms < 5'000; ++ms, ++subject.now_ms) {
        for (int i = 0; i < 200; ++i)
            subject.ask(ipv4(static_cast<uint32_t>(random())));
        answered += subject.ask("192.0.2.1", 50);
    }
    CHECK(answered <= 2 * (5 + 1) * 100);
}

namespace {

/// A million datagrams a second, each from a new spoofed address, for `seconds`; every 10 ms the
/// honest client asks. Returns which of its requests were answered.
std::vector<bool> flood(Limited& subject, const SourceKey& honest, uint32_t seconds) {
    uint32_t forged = 7001;
    std::vector<bool> answers;
    for (uint32_t ms = 0; ms < seconds * 1'000; ++ms, ++subject.now_ms) {
        for (int i = 0; i < 1'000; ++i) {
            forged = forged * 1'664'525 +
                     1'013'904'223; // each number once, in an order random enough here
            subject.ask(ipv4(forged >> 24 == 127 ? forged ^ 1U << 31 : forged), 1, 64);
            if (ms % 10 == 0 && i == 500)
                answers.push_back(subject.ask(honest, 1, 64) == 1);
        }
    }
    return answers;
}

} // namespace

TEST_CASE("a million random sources a second take nothing from an established prefix") {
    Limited subject;
    const SourceKey honest = address("192.0.2.1");
    subject.establish(honest);
    const auto answers = flood(subject, honest, 3);
    CHECK(answers.size() == 300);
    CHECK(std::ranges::count(answers, false) == 0);
}

TEST_CASE("a prefix that begins amid a million random sources a second is soon established") {
    constexpr uint32_t tries = 3; // two million datagrams each
    uint32_t latest = 0;
    uint64_t sum = 0;
    for (uint32_t i = 0; i < tries; ++i) {
        Limited subject;
        flood(subject, address("198.51.100.1"), 1);
        const auto answers = flood(subject, ipv4(net_10 + (i << 8)), 1);
        const auto last_lost = std::ranges::find(answers.rbegin(), answers.rend(), false);
        const auto lost = static_cast<uint32_t>(answers.rend() - last_lost);
        latest = std::max(latest, lost);
        sum += lost;
    }
    MESSAGE("no loss after ", sum * 10 / tries, " ms on average, ", latest * 10, " ms at most");
    CHECK(latest < 50); // half a second, and from then on none was lost
    CHECK(sum / tries < 25);
}

TEST_CASE("workers share the rates and the table") {
    const UdpLimits config = of(5'000, 100'001);
    const UdpLimits share = worker_share(config, 4);
    CHECK(share.rate_per_prefix == 1'250);
    CHECK(share.rate == 25'001);
    CHECK(share.bytes_per_prefix == 2 * 1024 * 1024);
    CHECK(
        worker_share(config, 256).bytes_per_prefix == 65'536); // the largest datagram still passes
    CHECK(worker_share(config, 1) == config);
    CHECK(ResponseRateLimit::entries_of_worker(1) == 65'536);
    CHECK(ResponseRateLimit::entries_of_worker(3) == 32'768);
    CHECK(ResponseRateLimit::entries_of_worker(256) == 256);
    CHECK(ResponseRateLimit::memory_bytes(65'536) == 1'572'864);
}
