// The object "stamp" of an endpoint in "riposte/ping/2".
#include "client/ping/ping_stamp_report.h"
#include "client/stamp/hops.h"

namespace riposte::client {

namespace {

double seconds_of(double nanoseconds) {
    return nanoseconds / 1e9;
}

std::string_view key_of(Counting counting) {
    switch (counting) {
    case Counting::session:
        return "session";
    case Counting::copy:
        return "copy";
    case Counting::unknown:
        break;
    }
    return "unknown";
}

void set_hops(Json& document, const std::optional<Hops>& hops) {
    if (hops)
        document["hops"] =
            Json{{"min", hops->least}, {"max", hops->most}, {"changes", hops->changes}};
}

void set_way(Json& document, uint64_t lost, uint64_t duplicated, uint64_t reordered) {
    document["lost"] = lost;
    document["duplicated"] = duplicated;
    document["reordered"] = reordered;
}

Json life_json(const LifeCounts& life) {
    Json each;
    each["first"] = life.first;
    each["last"] = life.last;
    each["sent"] = life.counts.sent;
    each["lost_there"] = life.counts.lost_there;
    each["lost_back"] = life.counts.lost_back;
    each["undecided"] = life.counts.undecided;
    return each;
}

Json figures_json(const OneWayFigures& figures) {
    Json each;
    each["min"] = seconds_of(figures.min_ns);
    each["mean"] = seconds_of(figures.mean_ns);
    each["median"] = seconds_of(figures.median_ns);
    if (figures.p95_ns)
        each["p95"] = seconds_of(*figures.p95_ns);
    if (figures.p99_ns)
        each["p99"] = seconds_of(*figures.p99_ns);
    each["max"] = seconds_of(figures.max_ns);
    return each;
}

Json piece_json(const ClockPiece& piece) {
    Json each;
    each["first"] = piece.first;
    each["last"] = piece.last;
    each["samples"] = piece.samples;
    each["basis"] = piece.basis == ClockBasis::synchronized ? "synchronized" : "round_trips";
    each["bound"] = seconds_of(piece.bound_ns);
    each["there"] = figures_json(piece.there);
    each["back"] = figures_json(piece.back);
    each["lead"] = Json{
        {"begin", seconds_of(piece.line.lead_begin_ns)},
        {"end", seconds_of(piece.line.lead_end_ns)},
        {"bound", seconds_of(piece.line.bound_ns)}};
    each["drift"] =
        Json{{"rate", seconds_of(piece.line.drift)}, {"bound", seconds_of(piece.line.drift_bound)}};
    each["contradicts"] = piece.contradicts;
    return each;
}

Json step_json(const ClockStep& step) {
    return Json{
        {"after", step.after},
        {"before", step.before},
        {"step", seconds_of(step.step_ns)},
        {"clock", step.is_ours ? "own" : "other"}};
}

Json claims_json(const ClockClaims& claims) {
    Json each;
    each["synchronized"] = claims.synchronized;
    each["ptp"] = claims.ptp;
    each["denied"] = claims.denied;
    each["error_min"] = to_seconds(claims.error_min_ns);
    each["error_max"] = to_seconds(claims.error_max_ns);
    return each;
}

void set_ways(Json& document, const PingResult& result, const ClockFigures& clocks) {
    const StampResult& stamp = *result.stamp;
    const DirectionCounts counts = stamp.books.counts();
    Json there;
    Json back;
    if (stamp.books.counting() == Counting::session) {
        set_way(there, counts.lost_there, counts.duplicated_there, counts.reordered_there);
        set_way(back, counts.lost_back, counts.duplicated_back, counts.reordered_back);
        document["undecided"] = counts.undecided;
        document["lives"] = Json::array();
        for (const LifeCounts& life : stamp.books.lives())
            document["lives"].push_back(life_json(life));
        document["restarts"] = stamp.books.restarts();
    }
    set_hops(there, hops_of(stamp.there, stamp.ttl));
    set_hops(back, hops_of(result.headers, {}));
    if (!stamp.there.dscps().empty()) {
        const auto& ecn = stamp.there.ecn();
        there["dscp"] = stamp.there.dscps();
        there["ecn"] =
            Json{{"not_ect", ecn[0]}, {"ect1", ecn[1]}, {"ect0", ecn[2]}, {"ce", ecn[3]}};
    }
    set_distribution(there, "pdv", clocks.pdv_there);
    set_distribution(back, "pdv", clocks.pdv_back);
    document["there"] = there;
    document["back"] = back;
}

Json faults_json(const StampResult& stamp) {
    Json each;
    each["echo"] = stamp.echoes;
    each["too_short"] = stamp.too_short;
    each["unauthenticated"] = stamp.unauthenticated;
    each["other_session"] = stamp.other_session;
    each["no_multiplier"] = stamp.no_multiplier;
    each["impossible_times"] = stamp.impossible_residence;
    each["tlvs_unauthenticated"] = stamp.tlvs_failed;
    return each;
}

} // namespace

Json stamp_json(const PingResult& result) {
    const StampResult& stamp = *result.stamp;
    Json document;
    document["authenticated"] = stamp.shape.key != nullptr;
    document["ssid"] = stamp.shape.ssid;
    document["closing"] = stamp.closing;
    document["faults"] = faults_json(stamp);
    if (stamp.answers == 0)
        return document;
    Json reflector;
    reflector["counting"] = key_of(stamp.books.counting());
    reflector["answers"] = stamp.answers;
    reflector["without_ssid"] = stamp.without_ssid;
    reflector["short"] = stamp.short_ones;
    if (stamp.shape.dscp) {
        reflector["without_class"] = stamp.tlvs_ignored;
        reflector["class_refused"] = stamp.class_refused;
    }
    reflector["clock"] = claims_json(stamp.claims);
    document["reflector"] = reflector;
    const ClockFigures clocks = stamp.clocks.figures();
    set_ways(document, result, clocks);
    set_distribution(document, "residence", stamp.residence);
    document["one_way"] = Json::array();
    for (const ClockPiece& piece : clocks.pieces)
        document["one_way"].push_back(piece_json(piece));
    document["steps"] = Json::array();
    for (const ClockStep& step : clocks.steps)
        document["steps"].push_back(step_json(step));
    return document;
}

} // namespace riposte::client
