#include "daemon/tcp/send_queue.h"

#include <algorithm>
#include <random>
#include <string>

#include <doctest/doctest.h>

using namespace riposte;

namespace {

constexpr uint32_t buffer_bytes = 64;

struct Fixture {
    BufferPool pool = *BufferPool::create(8, buffer_bytes);
    SendQueues queues{pool};
    SendQueue queue;

    /// Appends as the worker does.
    void append(std::string_view bytes) {
        BufferId buffer = pool.take(Owner::worker);
        REQUIRE(buffer != no_buffer);
        std::ranges::copy(std::as_bytes(std::span(bytes)), pool.bytes(buffer).begin());
        if (!queues.append(queue, buffer, static_cast<uint32_t>(bytes.size())))
            pool.move(buffer, Owner::worker, Owner::pool);
    }

    /// "Sends" up to `size` bytes of the first chunk.
    std::string send(uint32_t size) {
        const auto& chunk = queues.front(queue);
        size = std::min(size, chunk.end - chunk.begin);
        auto bytes = pool.bytes(queue.head).subspan(chunk.begin, size);
        std::string sent(reinterpret_cast<const char*>(bytes.data()), bytes.size());
        if (BufferId done = queues.consume(queue, size); done != no_buffer)
            pool.move(done, Owner::worker, Owner::pool);
        return sent;
    }
};

} // namespace

TEST_CASE_FIXTURE(Fixture, "a small arrival is copied after the last chunk") {
    append("abc");
    append("def");
    CHECK(pool.held(Owner::worker) == 1);
    CHECK(queue.bytes == 6);
    CHECK(send(100) == "abcdef");
    CHECK(queue.head == no_buffer);
    CHECK(pool.held(Owner::worker) == 0);
}

TEST_CASE_FIXTURE(Fixture, "an arrival that does not fit keeps its own buffer") {
    append(std::string(buffer_bytes - 2, 'a'));
    append("bc"); // just fits
    CHECK(pool.held(Owner::worker) == 1);
    append("d");
    CHECK(pool.held(Owner::worker) == 2);
    CHECK(send(100) == std::string(buffer_bytes - 2, 'a') + "bc");
    CHECK(send(100) == "d");
}

TEST_CASE_FIXTURE(Fixture, "a chunk in flight outlives the rest of its queue") {
    append(std::string(buffer_bytes, 'a'));
    append(std::string(buffer_bytes, 'b'));
    append(std::string(buffer_bytes, 'c'));
    BufferId in_flight = queue.head;
    for (BufferId id = no_buffer; (id = queues.drop(queue, true)) != no_buffer;) {
        CHECK(id != in_flight);
        pool.move(id, Owner::worker, Owner::pool);
    }
    CHECK(queue.head == in_flight);
    CHECK(queue.tail == in_flight);
    CHECK(queue.bytes == buffer_bytes);
    CHECK(queues.drop(queue, false) == in_flight);
    CHECK(queue.head == no_buffer);
    CHECK(queue.tail == no_buffer);
    CHECK(queue.bytes == 0);
}

TEST_CASE_FIXTURE(Fixture, "any mix of appends and short sends keeps the bytes and their order") {
    std::mt19937 random(11);
    std::string in;
    std::string out;
    for (int step = 0; step < 20'000; ++step) {
        bool room = pool.held(Owner::worker) + 1 < pool.count();
        if (room && random() % 2 == 0) {
            std::string bytes(1 + random() % buffer_bytes, static_cast<char>('a' + step % 26));
            append(bytes);
            in += bytes;
        } else if (queue.head != no_buffer) {
            out += send(static_cast<uint32_t>(1 + random() % buffer_bytes));
        }
        REQUIRE(queue.bytes == in.size() - out.size());
        REQUIRE(in.compare(0, out.size(), out) == 0);
        // The bound: of two neighbours, one is at least half full (not counting sent bytes of the
        // first).
        REQUIRE(pool.held(Owner::worker) <= 2 * (queue.bytes / buffer_bytes + 1) + 1);
    }
    CHECK(out.size() > 100'000);
}
