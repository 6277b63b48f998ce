#include "daemon/supervisor/memory_bound.h"
#include "daemon/tcp/tcp_limits.h"
#include "daemon/udp/response_rate_limit.h"
#include "daemon/worker/worker_thread.h"

#include <doctest/doctest.h>

using namespace riposte;

namespace {

constexpr uint64_t mib = uint64_t{1} << 20;

Config config_with(uint32_t connections, uint64_t buffer_memory_bytes) {
    Config config = default_config();
    config.limits.connections_max = connections;
    config.limits.buffer_memory_bytes = buffer_memory_bytes;
    return config;
}

} // namespace

TEST_CASE("the bound is the sum of its parts, in whole MiB, rounded up") {
    CHECK(describe({.base = 3 * mib}) == "at most 3 MiB with this configuration");
    CHECK(describe({.base = 3 * mib, .listeners = 1}) == "at most 4 MiB with this configuration");
    const MemoryBound bound{1, 2, 4, 8, 16, 32, 64, 128, 256};
    CHECK(bound.total() == 511);
}

TEST_CASE("buffers count per process, whatever the number of workers") {
    const Config config = config_with(100, 64 * mib);
    const uint64_t one = memory_bound(config, 1).stream_buffers;
    CHECK(one > 64 * mib);
    CHECK(one < 65 * mib);
    CHECK(memory_bound(config, 4).stream_buffers == one);
}

TEST_CASE("a worker has at least a few buffers, and the bound includes them") {
    const Config config = config_with(100, mib);
    const TcpLimits share = worker_share(config.limits, 64);
    CHECK(WorkerThread::stream_buffers(share) == 16);
    CHECK(memory_bound(config, 64).stream_buffers > 64 * mib);
}

TEST_CASE("some parts grow with connections, and others do not") {
    const MemoryBound few = memory_bound(config_with(1000, mib), 1);
    const MemoryBound many = memory_bound(config_with(100'000, mib), 1);
    CHECK(many.connections > 50 * few.connections);
    CHECK(many.stream_buffers == few.stream_buffers);
    CHECK(many.datagram_buffers == few.datagram_buffers);
    CHECK(many.base == few.base);
}

TEST_CASE("the access log of connections has a record for each, and none while it is off") {
    Config config = config_with(100'000, mib);
    const uint64_t off = memory_bound(config, 1).connections;
    config.access_log.datagrams_every = 1;
    CHECK(memory_bound(config, 1).connections == off);
    config.access_log.connections = true;
    config.access_log.bytes = 256;
    CHECK(memory_bound(config, 1).connections > off + uint64_t{100'000} * 2 * 256);
}

TEST_CASE("the largest permitted backend is counted") {
    Config config = config_with(10'000, mib);
    const auto backends = [&](BackendChoice choice) {
        config.backend = choice;
        return memory_bound(config, 1).backends;
    };
    const uint64_t either = backends(BackendChoice::automatic);
    CHECK(either >= backends(BackendChoice::epoll));
    CHECK(either >= backends(BackendChoice::io_uring));
}

TEST_CASE("the table of datagram rates and the prefixes of lists are counted") {
    Config config = config_with(100, mib);
    const MemoryBound without = memory_bound(config, 2);
    CHECK(
        without.rates >=
        ResponseRateLimit::memory_bytes(ResponseRateLimit::entries_of_all_workers));
    config.listen[0].acl.deny.resize(10'000);
    CHECK(memory_bound(config, 2).listeners >= without.listeners + size_t{20'000} * sizeof(Cidr));
}
