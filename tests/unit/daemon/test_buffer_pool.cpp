#include "daemon/io/buffer_pool.h"

#include <algorithm>
#include <vector>

#include <doctest/doctest.h>

using namespace riposte;

TEST_CASE("a pool gives each buffer once, then none, and the last released one first") {
    auto pool = BufferPool::create(3, 128);
    REQUIRE(pool);
    BufferId a = pool->take(Owner::backend);
    BufferId b = pool->take(Owner::worker);
    BufferId c = pool->take(Owner::worker);
    CHECK(a != b);
    CHECK(b != c);
    CHECK(a != c);
    CHECK(pool->take(Owner::worker) == no_buffer);
    CHECK(pool->held(Owner::worker) == 2);
    CHECK(pool->held(Owner::backend) == 1);
    CHECK(pool->held(Owner::pool) == 0);
    pool->move(a, Owner::backend, Owner::worker);
    pool->move(a, Owner::worker, Owner::pool);
    CHECK(pool->take(Owner::backend) == a);
}

TEST_CASE("the buffers of a pool do not overlap") {
    auto pool = BufferPool::create(16, 64);
    REQUIRE(pool);
    for (BufferId id = 0; id < 16; ++id)
        for (std::byte& byte : pool->bytes(id))
            byte = static_cast<std::byte>(id);
    for (BufferId id = 0; id < 16; ++id)
        for (std::byte byte : pool->bytes(id))
            REQUIRE(byte == static_cast<std::byte>(id));
}

TEST_CASE("a pool too large for memory is an error that names the remedy") {
    auto pool = BufferPool::create(1u << 20, 1u << 31);
    REQUIRE_FALSE(pool);
    CHECK(pool.error().exit == Exit::os);
    CHECK(
        pool.error().message == "cannot reserve memory for 1048576 buffers of 2147483648 bytes: "
                                "Cannot allocate memory; lower "
                                "'buffer_memory' or raise the memory limit");
}

TEST_CASE("a trimmed pool releases the free buffers except the warm ones, and nothing else") {
    constexpr uint32_t bytes = 16'384;
    auto pool = BufferPool::create(8, bytes);
    REQUIRE(pool);
    CHECK_FALSE(pool->used_since_trim());
    std::vector<BufferId> taken;
    for (int i = 0; i < 6; ++i) {
        taken.push_back(pool->take(Owner::worker));
        std::ranges::fill(pool->bytes(taken.back()), std::byte{0x5a});
    }
    CHECK(pool->used_since_trim());
    // The last two stay in use; of the four that are released, the last one stays warm.
    for (int i = 0; i < 4; ++i)
        pool->move(taken[static_cast<size_t>(i)], Owner::worker, Owner::pool);
    pool->trim(1);
    CHECK_FALSE(pool->used_since_trim());
    for (size_t i = 0; i < taken.size(); ++i) {
        CAPTURE(i);
        // Memory that the system provides again is zero.
        const std::byte expected = i < 3 ? std::byte{0} : std::byte{0x5a};
        const auto all = pool->bytes(taken[i]);
        CHECK(std::ranges::count(all, expected) == bytes);
    }
    // All buffers can still be taken, the warm one first.
    CHECK(pool->take(Owner::backend) == taken[3]);
    CHECK(pool->held(Owner::pool) == 5);
    pool->move(taken[4], Owner::worker, Owner::pool);
    pool->trim(0);
    CHECK(pool->bytes(taken[4])[0] == std::byte{0});
    CHECK(pool->bytes(taken[5])[0] == std::byte{0x5a});
    pool->trim(100);
    CHECK(pool->bytes(taken[5])[0] == std::byte{0x5a});
}

TEST_CASE("buffers freed after a trim are released by the next one, even if none is taken again") {
    auto pool = BufferPool::create(8, 16'384);
    REQUIRE(pool);
    const BufferId buffer = pool->take(Owner::worker);
    pool->bytes(buffer)[0] = std::byte{0x5a};
    pool->trim(0);
    CHECK_FALSE(pool->used_since_trim());
    pool->move(buffer, Owner::worker, Owner::backend);
    CHECK_FALSE(pool->used_since_trim());
    pool->move(buffer, Owner::backend, Owner::pool);
    CHECK(pool->used_since_trim());
    pool->trim(0);
    CHECK(pool->bytes(buffer)[0] == std::byte{0});
}

TEST_CASE("trimming a pool of buffers that share pages keeps those in use") {
    for (const uint32_t bytes : {100u, 4096u + 100u, 3u * 4096u - 8u}) {
        CAPTURE(bytes);
        auto pool = BufferPool::create(16, bytes);
        REQUIRE(pool);
        std::vector<BufferId> kept;
        std::vector<BufferId> given_back;
        for (int i = 0; i < 16; ++i) {
            const BufferId id = pool->take(Owner::worker);
            std::ranges::fill(pool->bytes(id), std::byte{0x5a});
            (i % 2 == 0 ? given_back : kept).push_back(id);
        }
        for (const BufferId id : given_back)
            pool->move(id, Owner::worker, Owner::pool);
        pool->trim(0);
        for (const BufferId id : kept)
            CHECK(std::ranges::count(pool->bytes(id), std::byte{0x5a}) == bytes);
    }
}
