#include "daemon/supervisor/reload_progress.h"

#include <cstdint>
#include <optional>

#include <doctest/doctest.h>

using namespace riposte;

TEST_CASE("a reload reads, prepares, applies and settles") {
    ReloadProgress reload;
    CHECK((reload.phase() == ReloadProgress::Phase::idle));
    REQUIRE(reload.request());
    CHECK(reload.prepare() == 1);
    CHECK((reload.phase() == ReloadProgress::Phase::preparing));
    CHECK_FALSE(reload.is_settling());
    CHECK(reload.apply() == 1);
    CHECK(reload.is_settling());
    reload.end();
    CHECK((reload.phase() == ReloadProgress::Phase::idle));
    CHECK_FALSE(reload.take_next());
}

TEST_CASE("sequences differ from one reload to the next, and a refused one sends no plans") {
    ReloadProgress reload;
    REQUIRE(reload.request());
    CHECK(reload.prepare() == 1);
    reload.end(); // no memory
    CHECK(reload.plan_sequence() == 0);
    REQUIRE(reload.request());
    CHECK(reload.prepare() == 2);
    CHECK(reload.apply() == 1);
}

TEST_CASE("requests while the workers prepare or apply are one more reload") {
    ReloadProgress reload;
    REQUIRE(reload.request());
    reload.prepare();
    CHECK_FALSE(reload.request());
    reload.apply();
    CHECK_FALSE(reload.request());
    CHECK_FALSE(reload.request());
    reload.end();
    CHECK(reload.take_next());
    CHECK_FALSE(reload.take_next());
    CHECK(reload.request());
}

TEST_CASE("a file that was just written is read again after a pause, a limited number of times") {
    ReloadProgress reload;
    uint64_t now_us = 1000;
    REQUIRE(reload.request());
    for (uint32_t i = 0; i < ReloadProgress::rereads_max; ++i) {
        REQUIRE(reload.reread(now_us));
        CHECK((reload.phase() == ReloadProgress::Phase::rereading));
        CHECK(reload.deadline_us() == now_us + ReloadProgress::reread_pause_us);
        now_us += ReloadProgress::reread_pause_us;
        CHECK_FALSE(reload.is_due(now_us - 1));
        CHECK(reload.is_due(now_us));
        REQUIRE(reload.request());
        CHECK(reload.deadline_us() == std::nullopt);
    }
    CHECK_FALSE(reload.reread(now_us));
    SUBCASE("it is taken") {
        reload.prepare();
    }
    SUBCASE("it is refused") {}
    reload.end();
    REQUIRE(reload.request());
    CHECK(reload.reread(now_us)); // the next reload counts anew
}

TEST_CASE("a request during the pause before a reread reads at once") {
    ReloadProgress reload;
    REQUIRE(reload.request());
    REQUIRE(reload.reread(0));
    CHECK(reload.request());
    CHECK(reload.deadline_us() == std::nullopt);
    reload.prepare();
    reload.end();
    CHECK_FALSE(reload.take_next());
}

TEST_CASE("plans without memory wait, and settle when they were sent") {
    ReloadProgress reload;
    REQUIRE(reload.request());
    reload.prepare();
    reload.apply();
    reload.resend(500);
    CHECK(reload.deadline_us() == 500 + ReloadProgress::resend_pause_us);
    CHECK_FALSE(reload.is_settling());
    reload.sent();
    CHECK(reload.deadline_us() == std::nullopt);
    CHECK(reload.is_settling());
}

TEST_CASE("a stop drops a reload that is not applied yet, and its deadline") {
    ReloadProgress reload;
    REQUIRE(reload.request());
    SUBCASE("to be read again") {
        REQUIRE(reload.reread(0));
    }
    SUBCASE("preparing") {
        reload.prepare();
    }
    reload.stop();
    CHECK((reload.phase() == ReloadProgress::Phase::idle));
    CHECK(reload.deadline_us() == std::nullopt);
    CHECK_FALSE(reload.request());
}

TEST_CASE("a stop lets plans that hold settle, and begins no further reload") {
    ReloadProgress reload;
    REQUIRE(reload.request());
    reload.prepare();
    reload.apply();
    CHECK_FALSE(reload.request());
    reload.stop();
    CHECK(reload.is_settling());
    reload.end();
    CHECK_FALSE(reload.take_next());
}
