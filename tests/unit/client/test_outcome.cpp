// The table of errors: what each means for a probe of ping, a request of load, and the exit status.
#include "client/load/load_account.h"
#include "client/measure/outcome.h"
#include "client/net/connect.h"
#include "client/ping/ping_account.h"

#include <cerrno>
#include <vector>

#include <doctest/doctest.h>

using namespace riposte;
using namespace riposte::client;

namespace {

Cause by_icmp(int error) {
    return {.kind = CauseKind::icmp, .type = 3, .code = 1, .error = error};
}

/// A probe of ping and a request of load that failed for the same cause.
struct Met {
    OutcomeCounts ping;
    OutcomeCounts load;
    CauseTally causes; ///< of load
    int local_error = 0;
};

Met meet(const Cause& cause) {
    PingAccount probes(
        {.session = 1, .payload_bytes = 64, .timeout_ns = 1'000'000'000, .window = 1024});
    probes.fail(probes.send(1, 1), outcome_of(cause));
    LoadResult result;
    LoadAccount requests(result, false);
    requests.measure_from(0);
    requests.sent({}, 1, 64);
    requests.failed({}, cause);
    const OutcomeCounts& counted = result.counts;
    return {probes.result().counts, counted, result.causes, requests.local_error()};
}

} // namespace

TEST_CASE("an error means the same to ping and to load") {
    struct Row {
        Cause cause;
        OutcomeCounts counts;
        Exit exit;
    };
    constexpr OutcomeCounts closed{.sent = 1, .closed = 1};
    constexpr OutcomeCounts refused{.sent = 1, .refused = 1};
    constexpr OutcomeCounts lost{.sent = 1, .lost = 1};
    constexpr OutcomeCounts unreachable{.sent = 1, .unreachable = 1};
    constexpr OutcomeCounts too_big{.sent = 1, .too_big = 1};
    constexpr OutcomeCounts local{.sent = 1, .local = 1};
    const std::vector<Row> rows{
        {cause_of(0), closed, Exit::failed},
        {cause_of(ECONNRESET), closed, Exit::failed},
        {cause_of(EPIPE), closed, Exit::failed},
        {cause_of(ECONNREFUSED), refused, Exit::failed},
        {by_icmp(ECONNREFUSED), refused, Exit::failed},
        {cause_of(ETIMEDOUT), lost, Exit::failed},
        {cause_of_end(ETIMEDOUT, {}), lost, Exit::failed},
        {cause_of_end(ECONNRESET, {}), closed, Exit::failed},
        // No route, wherever that is detected: here, on the link (an ICMP message of this machine
        // to itself), or on the way.
        {cause_of(ENETUNREACH), unreachable, Exit::failed},
        {cause_of(EHOSTUNREACH), unreachable, Exit::failed},
        {cause_of(EAFNOSUPPORT), unreachable, Exit::failed},
        {by_icmp(EHOSTUNREACH), unreachable, Exit::failed},
        {by_icmp(ENETUNREACH), unreachable, Exit::failed},
        {by_icmp(EPROTO), unreachable, Exit::failed},
        {by_icmp(4711), unreachable, Exit::failed},
        // A firewall on the way counts as the network's; a route or a firewall of this machine does
        // not.
        {by_icmp(EACCES), unreachable, Exit::failed},
        {cause_of(EACCES), local, Exit::usage},
        {cause_of(EPERM), local, Exit::usage},
        // Resources that this machine has run out of.
        {cause_of(EADDRNOTAVAIL), local, Exit::usage},
        {cause_of(EMFILE), local, Exit::usage},
        {cause_of(ENOBUFS), local, Exit::usage},
        {cause_of(EINVAL), local, Exit::usage},
        // The size is at fault, on any link.
        {cause_of(EMSGSIZE), too_big, Exit::usage},
        {by_icmp(EMSGSIZE), too_big, Exit::failed}};
    for (const Row& row : rows) {
        CAPTURE(row.cause.error);
        CAPTURE(static_cast<int>(row.cause.kind));
        const Met met = meet(row.cause);
        CHECK(met.ping == row.counts);
        CHECK(met.load == row.counts);
        CHECK(exit_of(row.cause) == row.exit);
        CHECK(met.local_error == (row.counts.local > 0 ? row.cause.error : 0));
    }
}

TEST_CASE("a cause is recorded, except for silence on a connection") {
    CHECK(meet(cause_of(EPERM)).causes.count(CauseKind::local) == 1);
    CHECK(meet(cause_of(ETIMEDOUT)).causes.count(CauseKind::no_connection) == 1);
    CHECK(meet(cause_of_end(ETIMEDOUT, {})).causes.empty());
}

TEST_CASE("the network's error on a connection is not an error of this machine") {
    const Failure here{.address = {}, .error = EACCES};
    CHECK(outcome_of(here) == Outcome::local);
    const Failure there{.address = {}, .error = EACCES, .heard = true};
    CHECK(outcome_of(there) == Outcome::unreachable);
    const Failure refused{
        .address = {}, .error = ECONNREFUSED, .heard = true, .cause = by_icmp(ECONNREFUSED)};
    CHECK(outcome_of(refused) == Outcome::refused);
    CHECK(cause_of(refused).kind == CauseKind::icmp);
}

TEST_CASE("only an error that ICMP can report may be about an earlier datagram") {
    for (const int error : {ECONNREFUSED, EHOSTUNREACH, EACCES, EMSGSIZE})
        CHECK(may_be_icmp(error));
    for (const int error : {EPERM, ENOBUFS, EADDRNOTAVAIL, EINVAL})
        CHECK_FALSE(may_be_icmp(error));
}

TEST_CASE("this machine runs out of ports, descriptors or buffers") {
    CHECK(shortage_of(EADDRNOTAVAIL) == Shortage::ports);
    CHECK(shortage_of(EMFILE) == Shortage::descriptors);
    CHECK(shortage_of(ENFILE) == Shortage::descriptors);
    CHECK(shortage_of(EAGAIN) == Shortage::buffers);
    CHECK(shortage_of(ENOBUFS) == Shortage::buffers);
    CHECK(shortage_of(ENETUNREACH) == Shortage::none);
    CHECK(shortage_of(EPERM) == Shortage::none);
}

TEST_CASE("an error of this machine reads as one") {
    CHECK(describe(cause_of(EADDRNOTAVAIL)) == "no free port or source address on this machine");
    CHECK(describe(cause_of(EACCES)) == "prohibited by a route of this machine");
    CHECK(describe(cause_of(EMFILE)) == "too many open files on this machine");
}
