#include "daemon/io/buffer_pool.h"

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

TEST_CASE("a pool that memory can not hold is an error that says what to do") {
    auto pool = BufferPool::create(1u << 20, 1u << 31);
    REQUIRE_FALSE(pool);
    CHECK(pool.error().exit == Exit::os);
    CHECK(
        pool.error().message ==
        "no memory for 1048576 buffers of 2147483648 bytes: Cannot allocate memory; lower "
        "'connections' or raise the memory limit");
}
