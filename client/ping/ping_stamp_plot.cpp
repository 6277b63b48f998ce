#include "client/ping/ping_stamp_plot.h"

namespace riposte::client {

namespace {

PlottedCounts counts_of(const DirectionCounts& counts, uint64_t lost) {
    return {.sent = counts.sent, .answered = counts.sent - lost, .lost = lost, .failed = 0};
}

} // namespace

WayCurves::WayCurves(std::span<const PingResult* const> results) {
    figures_.reserve(results.size()); // the curves point into it
    for (const PingResult* result : results) {
        if (result->stamp == nullptr || result->stamp->answers == 0)
            continue;
        const StampResult& stamp = *result->stamp;
        const ClockFigures& figures = figures_.emplace_back(stamp.clocks.figures());
        if (!figures.there || !figures.back)
            continue;
        const DirectionCounts counts = stamp.books.counting() == Counting::session
                                           ? stamp.books.counts()
                                           : DirectionCounts{.sent = result->counts.answered};
        curves_.push_back(
            {.name = "pdv there, " + result->name,
             .histogram = &figures.pdv_there,
             .series = &*figures.there,
             .counts = counts_of(counts, counts.lost_there)});
        curves_.push_back(
            {.name = "pdv back, " + result->name,
             .histogram = &figures.pdv_back,
             .series = &*figures.back,
             .counts = counts_of(counts, counts.lost_back)});
    }
}

} // namespace riposte::client
