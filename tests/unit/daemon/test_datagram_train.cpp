// Which operations are joined into one message, as a function of the operations.
#include "daemon/io/datagram_train.h"

#include <cstring>
#include <string>
#include <vector>

#include <arpa/inet.h>
#include <doctest/doctest.h>
#include <fmt/format.h>

using namespace riposte;

namespace {

/// Replies that wait to be sent. Each takes the next buffer; peers are ports.
struct Answers {
    DatagramPool pool = std::move(*DatagramPool::create(300));
    std::vector<Op> ops{};

    DatagramInfo& add(uint32_t size, uint16_t segment = 0, uint16_t peer = 1) {
        const BufferId buffer = pool.buffers().take(Owner::backend);
        DatagramInfo& arrival = pool.info(buffer);
        arrival.peer.v4 = {
            .sin_family = AF_INET,
            .sin_port = htons(peer),
            .sin_addr = {htonl(INADDR_LOOPBACK)},
            .sin_zero = {}};
        arrival.peer_size = sizeof arrival.peer.v4;
        arrival.local_family = AF_UNSPEC;
        ops.push_back(
            {.kind = OpKind::send_to, .segment_bytes = segment, .buffer = buffer, .size = size});
        return arrival;
    }

    /// All messages: "from-to: bytes by segment"; "from" and "to" are operation.offset.
    std::string messages(uint32_t segments_max = TrainMessage::segments_max) {
        std::string text;
        for (TrainPosition at{}; at.op < ops.size();) {
            const TrainMessage message = next_message(ops, at, segments_max, pool);
            REQUIRE(message.begin == at);
            REQUIRE(message.end > at);
            uint32_t bytes = 0;
            message.for_each_piece(ops, [&](uint32_t, uint32_t, uint32_t size) { bytes += size; });
            REQUIRE(bytes == message.bytes);
            text += fmt::format(
                "{}{}.{}-{}.{}: {} by {}", text.empty() ? "" : ", ", at.op, at.offset,
                message.end.op, message.end.offset, message.bytes, message.segment_bytes);
            at = message.end;
        }
        return text;
    }
};

} // namespace

TEST_CASE("a single datagram is sent as it is, whatever its size") {
    for (const uint32_t size : {0U, 1U, 1472U, 65'401U, 65'527U}) {
        Answers answers;
        answers.add(size);
        CHECK(answers.messages() == fmt::format("0.0-1.0: {} by 0", size));
    }
}

TEST_CASE("neighbours of one size to one peer form one message, and a shorter one ends it") {
    Answers answers;
    for (const uint32_t size : {100U, 100U, 100U, 30U, 30U, 100U})
        answers.add(size);
    CHECK(answers.messages() == "0.0-4.0: 330 by 100, 4.0-5.0: 30 by 0, 5.0-6.0: 100 by 0");
}

TEST_CASE("a longer datagram begins another message") {
    Answers answers;
    for (const uint32_t size : {30U, 100U, 100U})
        answers.add(size);
    CHECK(answers.messages() == "0.0-1.0: 30 by 0, 1.0-3.0: 200 by 100");
}

TEST_CASE("an empty datagram is a message of its own") {
    Answers answers;
    for (const uint32_t size : {10U, 10U, 0U, 0U, 10U, 10U})
        answers.add(size);
    CHECK(
        answers.messages() ==
        "0.0-2.0: 20 by 10, 2.0-3.0: 0 by 0, 3.0-4.0: 0 by 0, 4.0-6.0: 20 by 10");
}

TEST_CASE("another peer, or another address of ours, begins another message") {
    Answers answers;
    answers.add(10);
    answers.add(10, 0, 2);
    answers.add(10, 0, 2);
    for (const char* local : {"127.0.0.1", "127.0.0.1", "127.0.0.2"}) {
        DatagramInfo& arrival = answers.add(10);
        arrival.local_family = AF_INET;
        arrival.local.v4 = {};
        arrival.local.v4.ipi_spec_dst.s_addr = inet_addr(local);
    }
    CHECK(
        answers.messages() ==
        "0.0-1.0: 10 by 0, 1.0-3.0: 20 by 10, 3.0-5.0: 20 by 10, 5.0-6.0: 10 by 0");
}

TEST_CASE("over IPv6 our address and its interface distinguish messages, too") {
    Answers answers;
    const auto add = [&](const char* local, unsigned interface) {
        DatagramInfo& arrival = answers.add(10);
        arrival.peer.v6 = {};
        arrival.peer.v6.sin6_family = AF_INET6;
        arrival.peer.v6.sin6_port = htons(1);
        arrival.peer_size = sizeof arrival.peer.v6;
        arrival.local_family = AF_INET6;
        arrival.local.v6.ipi6_ifindex = interface;
        inet_pton(AF_INET6, local, &arrival.local.v6.ipi6_addr);
    };
    add("fe80::1", 1);
    add("fe80::1", 1);
    add("fe80::1", 2);
    add("fe80::2", 2);
    CHECK(answers.messages() == "0.0-2.0: 20 by 10, 2.0-3.0: 10 by 0, 3.0-4.0: 10 by 0");
}

TEST_CASE("trains and datagrams of one size join, and a train's odd end ends the message") {
    Answers answers;
    answers.add(300, 100);
    answers.add(100);
    answers.add(250, 100);
    answers.add(200, 100);
    answers.add(60, 30);
    CHECK(answers.messages() == "0.0-3.0: 650 by 100, 3.0-4.0: 200 by 100, 4.0-5.0: 60 by 30");
}

TEST_CASE("a message has at most 64 datagrams; the rest of a train begins the next one") {
    Answers answers;
    answers.add(60);
    for (int i = 0; i < 2; ++i)
        answers.add(100 * 60 + 5, 60);
    CHECK(
        answers.messages() ==
        "0.0-1.3780: 3840 by 60, 1.3780-2.0: 2225 by 60, 2.0-2.3840: 3840 by 60, "
        "2.3840-3.0: 2165 by 60");
}

TEST_CASE("65 datagrams are 64 and one") {
    Answers answers;
    for (int i = 0; i < 65; ++i)
        answers.add(8);
    CHECK(answers.messages() == "0.0-64.0: 512 by 8, 64.0-65.0: 8 by 0");
}

TEST_CASE("a message stays below the largest packet") {
    Answers answers;
    answers.add(65'507, 9000);
    for (int i = 0; i < 3; ++i)
        answers.add(32'000);
    for (const uint32_t size : {40'000U, 25'400U, 40'000U, 25'401U})
        answers.add(size);
    answers.add(65'000, 9000);
    CHECK(
        answers.messages() ==
        "0.0-0.63000: 63000 by 9000, 0.63000-1.0: 2507 by 0, 1.0-3.0: 64000 by 32000, "
        "3.0-4.0: 32000 by 0, 4.0-6.0: 65400 by 40000, 6.0-7.0: 40000 by 0, "
        "7.0-8.0: 25401 by 0, 8.0-9.0: 65000 by 9000");
}

TEST_CASE("one by one, each datagram of a train is a message") {
    Answers answers;
    answers.add(25, 10);
    answers.add(10);
    answers.add(0);
    CHECK(
        answers.messages(1) ==
        "0.0-0.10: 10 by 0, 0.10-0.20: 10 by 0, 0.20-1.0: 5 by 0, 1.0-2.0: 10 by 0, "
        "2.0-3.0: 0 by 0");
}
