// The bisection finds the MTU of any path, whatever the path says about it.
#include "client/measure/mtu_search.h"

#include <cstdint>
#include <functional>

#include <doctest/doctest.h>

using namespace riposte::client;

namespace {

constexpr uint32_t least = 52;
constexpr uint32_t most = 65535;

struct Found {
    uint32_t mtu;
    MtuLimit limit;
    int trials;
};

/// `answer` tells the search what becomes of a size.
Found search(const std::function<void(MtuSearch&, uint32_t)>& answer) {
    MtuSearch search(least, most);
    int trials = 0;
    while (const auto size = search.next()) {
        REQUIRE(++trials < 100);
        REQUIRE(*size >= least);
        REQUIRE(*size <= most);
        REQUIRE(*size > search.largest());
        REQUIRE(*size < search.least_failed());
        answer(search, *size);
    }
    return {.mtu = search.largest(), .limit = search.limit(), .trials = trials};
}

} // namespace

TEST_CASE("a black hole is found to the byte, wherever it begins") {
    for (const uint32_t mtu : {52U, 53U, 576U, 1280U, 1400U, 1492U, 1500U, 9000U, 65534U}) {
        const Found found = search([&](MtuSearch& search, uint32_t size) {
            size <= mtu ? search.passed(size) : search.silent(size);
        });
        CAPTURE(mtu);
        CHECK(found.mtu == mtu);
        CHECK(found.limit == MtuLimit::silence);
        CHECK(found.trials <= 19);
    }
}

TEST_CASE("a path that carries all has no limit, in two trials") {
    const Found found = search([](MtuSearch& search, uint32_t size) { search.passed(size); });
    CHECK(found.mtu == most);
    CHECK(found.limit == MtuLimit::none);
    CHECK(found.trials == 2);
}

TEST_CASE("an MTU that a router names is tried, and then believed") {
    const Found found = search([](MtuSearch& search, uint32_t size) {
        size <= 1400 ? search.passed(size) : search.too_big(size, 1400, false);
    });
    CHECK(found.mtu == 1400);
    CHECK(found.limit == MtuLimit::router);
    CHECK(found.trials == 3);
}

TEST_CASE("the link of this machine and routers behind it are followed one after the other") {
    const Found found = search([](MtuSearch& search, uint32_t size) {
        if (size > 9000)
            search.too_big(size, 9000, true);
        else if (size > 1500)
            search.too_big(size, 1500, false);
        else if (size > 1400)
            search.too_big(size, 1400, false);
        else
            search.passed(size);
    });
    CHECK(found.mtu == 1400);
    CHECK(found.limit == MtuLimit::router);
    CHECK(found.trials == 5);
}

TEST_CASE("behind the MTU that is named, a black hole may begin earlier") {
    const Found found = search([](MtuSearch& search, uint32_t size) {
        if (size > 1500)
            search.too_big(size, 1500, true);
        else
            size <= 1380 ? search.passed(size) : search.silent(size);
    });
    CHECK(found.mtu == 1380);
    CHECK(found.limit == MtuLimit::silence);
}

TEST_CASE("a router that names no MTU, or an impossible one, says only that this size fails") {
    for (const uint32_t named : {0U, 1U, 51U, 65535U}) {
        const Found found = search([&](MtuSearch& search, uint32_t size) {
            size <= 1400 ? search.passed(size) : search.too_big(size, named, false);
        });
        CAPTURE(named);
        CHECK(found.mtu == 1400);
        CHECK(found.limit == MtuLimit::router);
    }
}

TEST_CASE("a router that names less than what passed is not believed") {
    MtuSearch search(least, most);
    search.passed(1400);
    search.too_big(1500, 1300, false);
    CHECK(search.largest() == 1400);
    CHECK_FALSE(search.next().has_value());
}

TEST_CASE("if nothing passes, the search is over after one trial") {
    const Found found = search([](MtuSearch& search, uint32_t size) { search.silent(size); });
    CHECK(found.mtu == 0);
    CHECK(found.limit == MtuLimit::silence);
    CHECK(found.trials == 1);
}

TEST_CASE("a size that passes after all begins the search again from there") {
    MtuSearch search(least, 1500);
    search.passed(52);
    search.silent(1500);
    search.passed(776);
    search.silent(1138);
    search.passed(1200);
    CHECK(search.next() == 1500);
    search.passed(1500);
    CHECK_FALSE(search.next().has_value());
    CHECK(search.limit() == MtuLimit::none);
}
