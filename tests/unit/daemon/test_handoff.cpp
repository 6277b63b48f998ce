#include "daemon/tcp/handoff.h"
#include "tests/unit/daemon/tcp_support.h"

#include <utility>

#include <doctest/doctest.h>
#include <fcntl.h>

using namespace riposte;
using namespace riposte::test;

namespace {

Connection served_connection(ServiceKind kind) {
    Connection c = opened_connection();
    c.kind = kind;
    c.service = make_service(kind, {});
    return c;
}

bool is_open_descriptor(int fd) {
    return ::fcntl(fd, F_GETFD) >= 0;
}

} // namespace

TEST_CASE("another process can continue a connection that neither side has ended") {
    Connection c = served_connection(ServiceKind::echo);
    CHECK(handoff::is_possible(c));
    c.peer_finished = true;
    CHECK(!handoff::is_possible(c));
    c.peer_finished = false;
    c.finish_requested = true;
    CHECK(!handoff::is_possible(c));
    c.finish_requested = false;
    c.finish();
    CHECK(!handoff::is_possible(c));
}

TEST_CASE("a connection whose service is in the middle of a reply ends here") {
    CHECK(!handoff::is_possible(served_connection(ServiceKind::chargen)));
    CHECK(handoff::is_possible(served_connection(ServiceKind::discard)));
}

TEST_CASE("at most the quota of connections is handed off, each counted once") {
    handoff::Quota quota;
    Connection first = served_connection(ServiceKind::echo);
    Connection second = first;
    Connection third = first;
    CHECK(!quota.mark(first));
    quota.set(2);
    CHECK(quota.mark(first));
    CHECK(!quota.mark(first));
    CHECK(quota.left() == 1);
    CHECK(quota.mark(second));
    CHECK(!quota.mark(third));
    CHECK(!third.handing_off);
}

TEST_CASE("a connection that ends here after all frees its place for another one") {
    handoff::Quota quota;
    quota.set(1);
    Connection first = served_connection(ServiceKind::echo);
    Connection second = first;
    CHECK(quota.mark(first));
    CHECK(!quota.unmark(second));
    CHECK(quota.unmark(first));
    CHECK(!quota.unmark(first));
    CHECK(quota.mark(second));
}

TEST_CASE("a descriptor between two processes has one owner, which closes it") {
    const int fd = ::open("/dev/null", O_RDONLY | O_CLOEXEC);
    REQUIRE(fd >= 0);
    {
        handoff::Released released{Fd(fd), ServiceKind::echo};
        handoff::Stored stored{std::move(released.fd), released.kind};
        const handoff::Adopted adopted{std::move(stored.fd), stored.kind, 3};
        CHECK(adopted.fd.get() == fd);
        CHECK(is_open_descriptor(fd));
    }
    CHECK(!is_open_descriptor(fd));
}
