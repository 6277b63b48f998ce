// The documents of --json-lines while ping runs, a line each. Their keys are a contract:
// packaging/schema/riposte-ping-probe-1.schema.json and riposte-ping-interval-1.schema.json.
#include "client/ping/ping_intervals.h"
#include "client/show/json.h"

namespace riposte::client {

std::string ping_probe_json(const PingResult& result, const ProbeFate& fate) {
    Json document;
    document["schema"] = "riposte/ping-probe/1";
    document["name"] = result.name;
    document["seq"] = fate.sequence;
    document["due_at"] = utc_time_fine(result.wall_seconds(fate.due_ns));
    document["outcome"] = to_key(fate.outcome);
    if (fate.rtt_ns > 0)
        document["rtt"] = to_seconds(fate.rtt_ns);
    const uint64_t ready_ns = fate.due_ns + fate.connect_ns;
    if (fate.outcome != Outcome::local)
        document["lateness"] = to_seconds(fate.sent_ns > ready_ns ? fate.sent_ns - ready_ns : 0);
    if (fate.connect_ns > 0)
        document["connect"] = to_seconds(fate.connect_ns);
    if (fate.cause != nullptr)
        document["error"] = describe(*fate.cause);
    return dump(document);
}

std::string ping_interval_json(
    const PingResult& result, const Interval& interval, const IntervalFigures& figures) {
    Json document;
    document["schema"] = "riposte/ping-interval/1";
    document["name"] = result.name;
    document["began_at"] = utc_time(result.wall_seconds(interval.from_ns));
    document["duration"] = to_seconds(interval.to_ns - interval.from_ns);
    document["counts"] = counts_json(figures.counts);
    document["counts"]["pending"] = figures.counts.undecided();
    set_number(document, "loss_percent", loss_percent(figures.counts));
    set_figures(document, "rtt", figures.durations.histogram());
    return dump(document);
}

} // namespace riposte::client
