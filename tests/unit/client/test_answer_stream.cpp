// Which bytes of a connection answer which probe: by hand for each rule, then with streams cut at
// random places, from fixed seeds.
#include "client/ping/answer_stream.h"

#include <algorithm>
#include <cstdint>
#include <random>
#include <string_view>
#include <vector>

#include <doctest/doctest.h>

using namespace riposte::client;

namespace {

using Bytes = std::vector<std::byte>;

constexpr size_t stream_probe_bytes = 56;
const PingSettings stream_settings{
    .session = 0xbeef,
    .payload_bytes = stream_probe_bytes,
    .timeout_ns = 1'000'000'000,
    .window = 1024};

Bytes text(std::string_view words) {
    const auto bytes = std::as_bytes(std::span(words));
    return {bytes.begin(), bytes.end()};
}

/// One connection and its account.
class Connection {
public:
    explicit Connection(uint64_t stride = 1)
        : stream(stream_probe_bytes, stream_settings.session, stride) {
        stream.open(false);
    }

    /// The bytes of the probe that is sent.
    Bytes send() {
        now_ns += 1000;
        const uint64_t sequence = account.send(now_ns, now_ns);
        stream.expect(sequence);
        const auto payload = account.payload(sequence);
        return {payload.begin(), payload.end()};
    }
    bool take(std::span<const std::byte> bytes) {
        now_ns += 1000;
        return stream.take(
            bytes, {.ns = now_ns, .clock = ReceiveClock::kernel}, account, listener_);
    }
    void end() { stream.end_partial(account, listener_); }
    const OutcomeCounts& counts() const { return account.result().counts; }

    PingAccount account{stream_settings};
    AnswerStream stream;
    std::vector<ProbeOutcome> arrivals;
    uint64_t now_ns = 1'000'000;

private:
    AnswerStream::Listener listener_ = [this](const ProbeOutcome& arrival, ReceiveClock) {
        arrivals.push_back(arrival);
    };
};

Bytes operator+(Bytes a, const Bytes& b) {
    a.insert(a.end(), b.begin(), b.end());
    return a;
}

Bytes first(const Bytes& bytes, size_t count) {
    return {bytes.begin(), bytes.begin() + static_cast<std::ptrdiff_t>(count)};
}

Bytes last(const Bytes& bytes, size_t count) {
    return {bytes.end() - static_cast<std::ptrdiff_t>(count), bytes.end()};
}

} // namespace

TEST_CASE("an answer is complete when its last byte arrives, and has that byte's time") {
    Connection connection;
    const Bytes probe = connection.send();
    CHECK(connection.take(first(probe, 10)));
    CHECK(connection.arrivals.empty());
    CHECK(connection.stream.has_partial());
    CHECK(connection.take(last(probe, stream_probe_bytes - 10)));
    REQUIRE(connection.arrivals.size() == 1);
    CHECK(connection.arrivals[0].outcome == Outcome::answered);
    CHECK(connection.arrivals[0].rtt_ns == 2000);
    CHECK(connection.stream.idle());
}

TEST_CASE("a connection that has every third probe finds the probe of each answer") {
    Connection connection{3};
    const auto send_turn = [&] {
        const Bytes ours = connection.send();
        connection.account.send(connection.now_ns, connection.now_ns); // on other connections
        connection.account.send(connection.now_ns, connection.now_ns);
        return ours;
    };
    const Bytes one = send_turn();
    const Bytes four = send_turn();
    const Bytes seven = send_turn();
    CHECK(connection.take(one + first(four, 20)));
    CHECK(connection.stream.front() == 4);
    CHECK(connection.take(seven)); // the rest of 4 never comes
    REQUIRE(connection.arrivals.size() == 3);
    CHECK(connection.arrivals[0].sequence == 1);
    CHECK(connection.arrivals[1].sequence == 4);
    CHECK(connection.arrivals[1].outcome == Outcome::wrong_size);
    CHECK(connection.arrivals[2].sequence == 7);
    CHECK(connection.arrivals[2].outcome == Outcome::answered);
    CHECK(connection.stream.idle());
    CHECK(connection.counts().undecided() == 6);
}

TEST_CASE("answers to several probes in one read are separated") {
    Connection connection;
    const Bytes one = connection.send();
    const Bytes two = connection.send();
    const Bytes three = connection.send();
    CHECK(connection.take(one + two + three));
    CHECK(connection.counts().answered == 3);
    CHECK(connection.counts().reordered == 0);
}

TEST_CASE("once an echo was seen, no read takes in more than one of several answers") {
    Connection connection;
    CHECK(connection.take(connection.send()));
    const Bytes second = connection.send();
    CHECK(connection.stream.wanted(connection.account.result()) == AnswerStream::chunk_bytes);
    const Bytes third = connection.send();
    CHECK(connection.stream.wanted(connection.account.result()) == stream_probe_bytes);
    CHECK(connection.take(first(second, 20)));
    CHECK(connection.stream.wanted(connection.account.result()) == stream_probe_bytes - 20);
}

TEST_CASE("a damaged answer is corrupted, and the stream goes on") {
    Connection connection;
    Bytes probe = connection.send();
    probe[30] ^= std::byte{1};
    CHECK(connection.take(probe));
    CHECK(connection.take(connection.send()));
    CHECK(connection.counts().corrupted == 1);
    CHECK(connection.counts().answered == 1);
    CHECK(connection.arrivals[0].wrong_byte == 30);
}

TEST_CASE("a damaged sequence number does not make it another probe's answer") {
    Connection connection;
    Bytes one = connection.send();
    const Bytes two = connection.send();
    one[15] = two[15];
    CHECK(connection.take(one + two));
    CHECK(connection.arrivals.at(0).sequence == 1);
    CHECK(connection.counts().corrupted == 1);
    CHECK(connection.counts().answered == 1);
}

TEST_CASE("a missing answer leaves its probe waiting, and the next answer is correct") {
    Connection connection;
    connection.send();
    connection.send();
    const Bytes third = connection.send();
    CHECK(connection.take(third));
    CHECK(connection.counts().answered == 1);
    CHECK(connection.arrivals.at(0).sequence == 3);
    CHECK(connection.account.waits(1));
    CHECK(connection.account.waits(2));
    CHECK(connection.stream.idle());
}

TEST_CASE("a short answer ends where the next one begins, wherever reads cut it") {
    for (size_t kept = 1; kept < stream_probe_bytes; kept++) {
        CAPTURE(kept);
        Connection connection;
        CHECK(connection.take(connection.send())); // an echo, plainly
        const Bytes one = connection.send();
        const Bytes two = connection.send();
        const Bytes three = connection.send();
        CHECK(connection.take(first(one, kept) + two + three));
        CHECK(connection.counts().wrong_size == 1);
        CHECK(connection.counts().answered == 3);
        CHECK(connection.counts().corrupted == 0);
    }
}

TEST_CASE("an answer is too long if more comes with it and no other is expected") {
    Connection connection;
    CHECK(connection.take(connection.send() + text("\r\n")));
    CHECK(connection.counts().wrong_size == 1);
    CHECK(connection.arrivals.at(0).bytes == stream_probe_bytes + 2);
    CHECK(connection.stream.idle());
    CHECK(!connection.stream.has_partial());
}

TEST_CASE("bytes between two answers are skipped") {
    Connection connection;
    CHECK(connection.take(connection.send()));
    const Bytes one = connection.send();
    const Bytes two = connection.send();
    CHECK(connection.take(one + text("more\n") + two));
    CHECK(connection.counts().answered == 3);
    CHECK(connection.stream.idle());
}

TEST_CASE("bytes that are not an echo are one answer for each read") {
    Connection connection;
    connection.send();
    CHECK(connection.take(text("Hello, i'm server!")));
    REQUIRE(connection.arrivals.size() == 1);
    CHECK(connection.arrivals[0].first_of_other_service);
    CHECK(connection.arrivals[0].bytes == 18);
    CHECK(connection.counts().answered == 1);
    connection.send();
    CHECK(connection.take(text("Hello")));
    CHECK(connection.counts().answered == 2);
}

TEST_CASE("garbage after an echo counts as corrupted and breaks the stream") {
    Connection connection;
    CHECK(connection.take(connection.send()));
    connection.send();
    connection.send();
    CHECK(connection.take(Bytes(stream_probe_bytes - 1, std::byte{0xaa})));
    CHECK(!connection.take(Bytes(1, std::byte{0xaa})));
    CHECK(connection.counts().corrupted == 1);
    CHECK(connection.stream.front() == 3);
    CHECK(connection.stream.end() == 4);
}

TEST_CASE("a partial answer at the end of the stream has the wrong size") {
    Connection connection;
    CHECK(connection.take(first(connection.send(), 40)));
    connection.end();
    CHECK(connection.counts().wrong_size == 1);
    CHECK(connection.arrivals.at(0).bytes == 40);
    connection.end(); // nothing is left
    CHECK(connection.arrivals.size() == 1);
}

TEST_CASE("the answer to a probe that was given up is skipped") {
    Connection connection;
    const Bytes one = connection.send();
    connection.now_ns += 500'000'000;
    const Bytes two = connection.send();
    REQUIRE(connection.account.expire(connection.now_ns + 600'000'000) == 1);
    CHECK(connection.take(first(one, 30)));
    CHECK(connection.take(last(one, stream_probe_bytes - 30) + two));
    REQUIRE(connection.arrivals.size() == 1);
    CHECK(connection.arrivals[0].sequence == 2);
    CHECK(connection.counts().late == 0);
    CHECK(connection.counts().lost == 1);
}

TEST_CASE("unsolicited bytes are discarded, up to a limit") {
    Connection connection;
    const Bytes chunk(AnswerStream::chunk_bytes, std::byte{'x'});
    for (size_t i = 0; i < AnswerStream::unasked_bytes_max / chunk.size(); i++)
        CHECK(connection.take(chunk));
    CHECK(!connection.take(Bytes(1)));
    connection.stream.open(false);
    CHECK(connection.take(chunk));
}

TEST_CASE("each answer finds its probe, wherever reads cut the stream and whatever is missing") {
    for (uint32_t seed = 0; seed < 300; seed++) {
        CAPTURE(seed);
        std::mt19937 random(seed);
        const auto below = [&](size_t limit) { return random() % limit; };
        Connection connection;
        CHECK(connection.take(connection.send()));
        Bytes wire;
        uint64_t answered = 1;
        uint64_t damaged = 0;
        std::vector<uint64_t> left_out;
        const size_t count = 2 + below(40);
        for (size_t i = 0; i < count; i++) {
            Bytes probe = connection.send();
            const bool is_last = i + 1 == count; // the last answer is complete
            switch (is_last ? 9 : below(10)) {
            case 0:
                left_out.push_back(i + 2);
                continue;
            case 1:
                probe[24 + below(stream_probe_bytes - 24)] ^= std::byte{0x55};
                damaged++;
                break;
            default:
                answered++;
            }
            wire = wire + probe;
        }
        for (size_t at = 0; at < wire.size();) {
            const size_t wanted = connection.stream.wanted(connection.account.result());
            const size_t size = std::min(wire.size() - at, 1 + below(wanted));
            REQUIRE(connection.take(std::span(wire).subspan(at, size)));
            at += size;
        }
        CHECK(connection.counts().answered == answered);
        CHECK(connection.counts().corrupted == damaged);
        CHECK(connection.counts().undecided() == left_out.size());
        for (const uint64_t sequence : left_out)
            CHECK(connection.account.waits(sequence));
    }
}
