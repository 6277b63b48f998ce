// The documents of --json-lines while load runs, a line each. Their keys are a contract:
// packaging/schema/riposte-load-interval-1.schema.json.
#include "client/load/load_intervals.h"
#include "client/show/json.h"

namespace riposte::client {

std::string load_interval_json(const LoadResult& result, const LoadIntervalFigures& interval) {
    const IntervalFigures& figures = *interval.figures;
    Json document;
    document["schema"] = "riposte/load-interval/1";
    document["name"] = result.name;
    document["began_at"] = utc_time(interval.began_at);
    document["duration"] = to_seconds(interval.duration_ns);
    document["counts"] = counts_json(figures.counts);
    document["counts"]["pending"] = figures.counts.undecided();
    document["counts"]["unsent"] = interval.unsent;
    document["errors"] = figures.counts.decided() - figures.counts.answered;
    document["answer_rate"] = interval.rate();
    set_number(document, "loss_percent", loss_percent(figures.counts));
    set_figures(document, "latency", figures.durations.histogram());
    return dump(document);
}

} // namespace riposte::client
