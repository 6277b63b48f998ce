// How DatagramBatch calls sendmmsg(2) and handles its results, and what arrives.
#include "daemon/io/datagram_socket.h"
#include "daemon/listen/listen_socket.h"
#include "tests/support/has_trains.h"
#include "tests/support/skip.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <string>
#include <vector>

#include <doctest/doctest.h>
#include <fmt/format.h>
#include <netinet/udp.h>

using namespace riposte;

namespace {

uint32_t segment_of(msghdr& message) {
    for (cmsghdr* c = CMSG_FIRSTHDR(&message); c != nullptr; c = CMSG_NXTHDR(&message, c)) {
        if (c->cmsg_level != SOL_UDP)
            continue;
        uint16_t segment = 0;
        std::memcpy(&segment, CMSG_DATA(c), sizeof segment);
        return segment;
    }
    return 0;
}

/// A kernel that records each message, as "bytes" or "bytes/segment", and refuses on request.
struct Kernel {
    int segments_error = 0;  ///< for each message that asks for segmentation
    std::string refused{};   ///< a message with these bytes is dropped: -EAGAIN
    unsigned at_once = 1000; ///< how many messages a call takes
    std::vector<std::string> sent{};
    unsigned calls = 0;

    static inline Kernel* now = nullptr;

    int refuse(const std::string& bytes, uint32_t segment) const {
        return segment != 0 && segments_error != 0    ? segments_error
               : !refused.empty() && bytes == refused ? EAGAIN
                                                      : 0;
    }

    static int send(int, mmsghdr* messages, unsigned count, int flags) {
        CHECK((flags & MSG_DONTWAIT) != 0);
        ++now->calls;
        unsigned done = 0;
        for (; done < std::min(count, now->at_once); ++done) {
            msghdr& message = messages[done].msg_hdr;
            std::string bytes;
            for (size_t i = 0; i < message.msg_iovlen; ++i)
                bytes.append(
                    static_cast<const char*>(message.msg_iov[i].iov_base),
                    message.msg_iov[i].iov_len);
            const uint32_t segment = segment_of(message);
            if (const int error = now->refuse(bytes, segment); error != 0) {
                errno = error;
                return done > 0 ? static_cast<int>(done) : -1;
            }
            now->sent.push_back(segment == 0 ? bytes : fmt::format("{}/{}", bytes, segment));
        }
        return static_cast<int>(done);
    }
};

/// Replies to one peer, in a batch that sends into `kernel`.
struct Subject {
    Subject() { Kernel::now = &kernel; }

    void add(std::string_view text, uint16_t segment = 0, uint32_t generation = 1) {
        BufferPool& buffers = pool.buffers();
        const BufferId buffer = buffers.take(Owner::backend);
        std::ranges::copy(std::as_bytes(std::span(text)), buffers.bytes(buffer).begin());
        DatagramInfo& arrival = pool.info(buffer);
        arrival.peer.v4 = {};
        arrival.peer.v4.sin_family = AF_INET;
        arrival.peer_size = sizeof arrival.peer.v4;
        arrival.local_family = AF_UNSPEC;
        ops.push_back(
            {.kind = OpKind::send_to,
             .segment_bytes = segment,
             .token = {1, generation},
             .fd = 7,
             .buffer = buffer,
             .size = static_cast<uint32_t>(text.size())});
    }

    /// Sends them all; returns the results of their events.
    std::vector<int32_t> send() {
        kernel.sent.clear();
        Outbox outbox;
        CHECK(batch.send(ops, outbox) == ops.size());
        std::vector<Event> events(ops.size(), Event{OpKind::stop, {}, 0});
        CHECK(outbox.deliver(events) == ops.size());
        CHECK(outbox.empty());
        std::vector<int32_t> results;
        for (size_t i = 0; i < ops.size(); ++i) {
            CHECK(events[i].kind == OpKind::send_to);
            CHECK(events[i].token == ops[i].token);
            CHECK(events[i].buffer == ops[i].buffer);
            CHECK(events[i].last);
            pool.buffers().move(events[i].buffer, Owner::worker, Owner::pool);
            results.push_back(events[i].result);
        }
        ops.clear();
        return results;
    }

    Kernel kernel{};
    DatagramPool pool{*DatagramPool::create(300, 200)};
    DatagramBatch batch{pool, Kernel::send};
    std::vector<Op> ops{};
};

using Results = std::vector<int32_t>;
using Sent = std::vector<std::string>;

} // namespace

TEST_CASE("replies to one peer are sent as one message, and each has its own event") {
    Subject subject;
    subject.add("aaaa");
    subject.add("bbbbcccc", 4);
    subject.add("dd");
    subject.add("");
    CHECK(subject.send() == Results{4, 8, 2, 0});
    CHECK(subject.kernel.sent == Sent{"aaaabbbbccccdd/4", ""});
    CHECK(subject.kernel.calls == 1);
}

TEST_CASE("more replies than fit a batch are sent in several, in order") {
    Subject subject;
    subject.kernel.at_once = 5;
    Sent expected;
    Results results;
    for (int i = 0; i < 150; ++i) { // sizes that cannot be joined: 1, 2, ... 150
        expected.push_back(
            std::string(static_cast<size_t>(i) + 1, static_cast<char>('a' + i % 26)));
        results.push_back(i + 1);
        subject.add(expected.back());
    }
    CHECK(subject.send() == results);
    CHECK(subject.kernel.sent == expected);
}

TEST_CASE("many datagrams of one size are sent as messages of 64, in order") {
    Subject subject;
    std::string all;
    for (int i = 0; i < 290; ++i) {
        const std::string bytes(3, static_cast<char>('a' + i % 26));
        all += bytes;
        subject.add(bytes);
    }
    CHECK(subject.send() == Results(290, 3));
    std::string sent;
    REQUIRE(subject.kernel.sent.size() == 5);
    for (const std::string& message : subject.kernel.sent) {
        CHECK(message.ends_with("/3"));
        sent += message.substr(0, message.size() - 2);
    }
    CHECK(sent == all);
}

TEST_CASE("after EIO this socket sends one by one, and another one still joins") {
    Subject subject;
    subject.kernel.segments_error = EIO;
    subject.add("aaaabb", 4);
    subject.add("cccc");
    subject.add("dddd");
    CHECK(subject.send() == Results{6, 4, 4});
    CHECK(subject.kernel.sent == Sent{"aaaa", "bb", "cccc", "dddd"});

    subject.kernel.segments_error = 0;
    subject.kernel.calls = 0;
    subject.add("aaaabb", 4);
    subject.add("cc");
    CHECK(subject.send() == Results{6, 2});
    CHECK(subject.kernel.sent == Sent{"aaaa", "bb", "cc"});
    CHECK(subject.kernel.calls == 1);

    subject.add("aaaabb", 4, 2); // a later listener reuses the descriptor
    CHECK(subject.send() == Results{6});
    CHECK(subject.kernel.sent == Sent{"aaaabb/4"});
}

TEST_CASE("a message with datagrams larger than the path MTU is sent one by one, no other is") {
    for (const int error : {EINVAL, EMSGSIZE}) {
        Subject subject;
        subject.kernel.segments_error = error;
        subject.add("aaaabb", 4);
        subject.add("cc");
        subject.add("ddd");
        CHECK(subject.send() == Results{6, 2, 3});
        CHECK(subject.kernel.sent == Sent{"aaaa", "bb", "cc", "ddd"});
        subject.kernel.segments_error = 0;
        subject.add("aaaabb", 4);
        CHECK(subject.send() == Results{6});
        CHECK(subject.kernel.sent == Sent{"aaaabb/4"});
    }
}

TEST_CASE("of a train sent one by one, the sent datagrams are reported even if others failed") {
    for (const std::string refused : {"aaaa", "bbbb", "cc"}) {
        Subject subject;
        subject.kernel.segments_error = EIO;
        subject.kernel.refused = refused;
        subject.add("aaaabbbbcc", 4);
        subject.add("dddd");
        CHECK(subject.send() == Results{10 - static_cast<int32_t>(refused.size()), 4});
    }
}

TEST_CASE("a dropped message is an error of each reply in it, and of no other") {
    Subject subject;
    subject.kernel.refused = "aaaabbbb";
    subject.add("aaaa");
    subject.add("bbbb");
    subject.add("ccccc");
    CHECK(subject.send() == Results{-EAGAIN, -EAGAIN, 5});
    CHECK(subject.kernel.sent == Sent{"ccccc"});
}

TEST_CASE("on a real socket: joined if possible, one by one if segmentation is refused") {
    SocketAddress any = with_port(any_ipv4(0), 0);
    auto* v4 = reinterpret_cast<sockaddr_in*>(any.get());
    v4->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    const auto server = bind_socket({Transport::udp, any}, false);
    const auto client = bind_socket({Transport::udp, any}, false);
    REQUIRE((server && client));
    if (!test::has_trains())
        SKIP("this kernel has no trains of datagrams on the loopback interface");
    DatagramPool pool = *DatagramPool::create(64);
    DatagramBatch batch(pool);
    const SocketAddress peer = local_address(client->get());
    // The kernel does not segment for a socket without checksums: EINVAL.
    for (const int no_checksum : {0, 1}) {
        CAPTURE(no_checksum);
        REQUIRE(
            ::setsockopt(
                server->get(), SOL_SOCKET, SO_NO_CHECK, &no_checksum, sizeof no_checksum) == 0);
        std::vector<Op> ops;
        for (uint32_t i = 0; i < 4; ++i) {
            const BufferId buffer = pool.buffers().take(Owner::backend);
            std::ranges::fill(pool.buffers().bytes(buffer).first(100), static_cast<std::byte>(i));
            pool.info(buffer).peer.any = peer.storage;
            pool.info(buffer).peer_size = peer.size;
            pool.info(buffer).local_family = AF_UNSPEC;
            ops.push_back(
                {.kind = OpKind::send_to, .fd = server->get(), .buffer = buffer, .size = 100});
        }
        Outbox outbox;
        batch.send(ops, outbox);
        std::vector<Event> events(4, Event{OpKind::stop, {}, 0});
        REQUIRE(outbox.deliver(events) == 4);
        for (const Event& event : events) {
            CHECK(event.result == 100);
            pool.buffers().move(event.buffer, Owner::worker, Owner::pool);
        }
        std::vector<DatagramBatch::Datagram> arrived(8);
        const auto received = batch.receive(client->get(), arrived);
        CHECK(received.result == (no_checksum != 0 ? 4 : 1));
        arrived.resize(static_cast<size_t>(std::max(received.result, 0)));
        uint32_t bytes = 0;
        for (const auto& [buffer, count] : arrived) {
            CHECK(pool.info(buffer).segment_bytes == (no_checksum != 0 ? 0 : 100));
            for (const std::byte byte : pool.buffers().bytes(buffer).first(count))
                REQUIRE(byte == static_cast<std::byte>(bytes++ / 100));
            pool.buffers().move(buffer, Owner::backend, Owner::pool);
        }
        CHECK(bytes == 400);
    }
}

TEST_CASE("buffers for the next batch are kept, and reused if nothing arrived") {
    SocketAddress any = any_ipv4(0);
    const auto fd = bind_socket({Transport::udp, any}, false);
    REQUIRE(fd);
    DatagramPool pool = *DatagramPool::create(40, 100);
    {
        DatagramBatch batch(pool);
        std::vector<DatagramBatch::Datagram> arrived(32);
        for (int i = 0; i < 3; ++i) {
            CHECK(batch.receive(fd->get(), arrived).result == -EAGAIN);
            CHECK(pool.buffers().held(Owner::backend) == DatagramBatch::batch_max);
        }
    }
    pool.buffers().reclaim(Owner::backend);
    CHECK(pool.buffers().held(Owner::pool) == 40);
}
