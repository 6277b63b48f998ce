#include "daemon/telemetry/counters.h"

#include <cerrno>
#include <string>

#include <doctest/doctest.h>

using namespace riposte;

TEST_CASE("totals are the sum over workers") {
    Counters a;
    Counters b;
    a.add(ServiceKind::echo, Counter::connections_accepted, 5);
    a.add(ServiceKind::echo, Counter::connections_closed, 2);
    b.add(ServiceKind::echo, Counter::connections_accepted);
    Totals totals;
    totals.add(a);
    totals.add(b);
    CHECK(totals[Counter::connections_accepted] == 6);
    CHECK(totals.connections_open() == 4);
}

TEST_CASE("connections from the previous process are open, and those for the next one are not") {
    Counters metrics;
    metrics.add(ServiceKind::echo, Counter::connections_accepted, 4);
    metrics.add(ServiceKind::echo, Counter::connections_adopted, 20);
    metrics.add(ServiceKind::echo, Counter::connections_closed, 3);
    metrics.add(ServiceKind::echo, Counter::connections_handed_over, 15);
    Totals totals;
    totals.add(metrics);
    CHECK(totals.connections_open() == 6);
    CHECK(totals.describe().ends_with("; 20 adopted; 15 handed over"));
}

TEST_CASE("a reader that sees a close before its accept counts none, not a huge number") {
    Counters metrics;
    metrics.add(ServiceKind::echo, Counter::connections_closed);
    Totals totals;
    totals.add(metrics);
    CHECK(totals.connections_open() == 0);
}

TEST_CASE("the statistics line names exceptions only if they happened") {
    Counters metrics;
    metrics.add(ServiceKind::echo, Counter::connections_accepted, 3);
    metrics.add(ServiceKind::echo, Counter::connections_closed, 1);
    metrics.add(ServiceKind::echo, Counter::stream_received_bytes, 18);
    metrics.add(ServiceKind::echo, Counter::stream_sent_bytes, 19);
    metrics.add(ServiceKind::echo, Counter::datagrams_received, 8);
    metrics.add(ServiceKind::echo, Counter::datagrams_sent, 7);
    Totals everyday;
    everyday.add(metrics);
    CHECK(
        everyday.describe() == "connections 2 open, 3 accepted; bytes 18 received, 19 sent; "
                               "datagrams 8 received, 7 answered");
    metrics.add(ServiceKind::echo, Counter::connections_refused, 4);
    metrics.add(ServiceKind::echo, Counter::connections_over_source, 2);
    metrics.add(ServiceKind::echo, Counter::datagrams_too_long);
    Totals eventful;
    eventful.add(metrics);
    CHECK(
        eventful.describe() ==
        everyday.describe() + "; 4 refused; 2 refused over their source's limit; 1 answers longer "
                              "than the question dropped");
    CHECK(eventful.connections_over_limits() == 6);
}

TEST_CASE("an exception is in the statistics line with its number and its text") {
    for (const CounterRow& row : counter_rows()) {
        Counters metrics;
        metrics.add(ServiceKind::echo, row.counter, 987);
        Totals totals;
        totals.add(metrics);
        CAPTURE(row.token);
        const std::string end = "; 987 " + std::string(row.text);
        CHECK(totals.describe().ends_with(end) == !row.text.empty());
    }
}

TEST_CASE("only datagrams that no service saw count as refused") {
    const auto refused = [](Counter counter) {
        Counters metrics;
        metrics.add(ServiceKind::echo, counter);
        Totals totals;
        totals.add(metrics);
        return totals.datagrams_refused() == 1;
    };
    CHECK(refused(Counter::datagrams_denied));
    CHECK(refused(Counter::datagrams_over_rate));
    CHECK_FALSE(refused(Counter::datagrams_too_long));
    CHECK_FALSE(refused(Counter::datagrams_send_failed)); // the last one of the table
    CHECK_FALSE(refused(Counter::connections_denied));
}

TEST_CASE("each error of accept has its counter, and unknown ones share one") {
    CHECK(accept_error(EMFILE) == Counter::accept_emfile);
    CHECK(accept_error(ENOMEM) == Counter::accept_enomem);
    CHECK(accept_error(EPROTO) == Counter::accept_other);
    CHECK(accept_error(0) == Counter::accept_other);
}
