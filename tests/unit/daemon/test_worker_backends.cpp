#include "daemon/worker/worker_backends.h"

#include <doctest/doctest.h>

using namespace riposte;

TEST_CASE("the report of the backends covers all workers, not only the first") {
    const WorkerBackends::Worker on_uring{BackendChoice::io_uring, {}, {}, 12, {}};
    const WorkerBackends::Worker fell_back{
        BackendChoice::epoll, {"ENOMEM", "no memory"}, {}, 0, {}};
    const WorkerBackends::Worker on_epoll{BackendChoice::epoll, {}, {}, 0, {}};
    WorkerBackends backends;
    backends.add(on_uring);
    CHECK(backends.name() == "io_uring");
    CHECK(backends.text() == "io_uring");
    CHECK(backends.reason().empty());
    CHECK(backends.ring_operations() == 12);

    SUBCASE("any one falls back") {
        backends.add(fell_back);
        backends.add(fell_back);
        CHECK(backends.name() == "mixed");
        CHECK(backends.text() == "mixed (io_uring in 1 worker, epoll in 2)");
        CHECK(backends.reason() == "epoll in 2 of 3 workers: no memory");
        CHECK(backends.fallback_reason().token == "ENOMEM");
        CHECK(backends.on_uring() == 1);
        CHECK(backends.on_epoll() == 2);
        CHECK(backends.ring_operations() == 12);
    }
    SUBCASE("one unlimited ring is reported") {
        backends.add({BackendChoice::io_uring, {}, {}, 0, {"EINVAL", "an old kernel"}});
        CHECK(backends.ring_operations() == 0);
        CHECK(backends.ring_unlimited().text == "an old kernel");
    }
    SUBCASE("a lack in the kernel is a reason, too") {
        backends.add({BackendChoice::io_uring, {}, {"send_zc", "send_zc"}, 12, {}});
        CHECK(backends.reason() == "lacks send_zc");
    }
    WorkerBackends all_fell_back;
    all_fell_back.add(fell_back);
    CHECK(all_fell_back.text() == "epoll");
    CHECK(all_fell_back.reason() == "no memory");
    WorkerBackends told_to;
    told_to.add(on_epoll);
    CHECK(told_to.text() == "epoll");
    CHECK(told_to.reason().empty());
    CHECK(told_to.ring_operations() == 0);
}
