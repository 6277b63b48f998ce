// --fail-if: conditions that make a run fail, such as 'p99>2ms,loss>0.1%'.
//
//     conditions = condition *( "," condition )           blanks may stand between all of them
//     condition  = metric ( ">" | ">=" | "<" | "<=" ) value
//     metric     = [ prefix ] duration-metric | "jitter" | "rfc3550_jitter"
//                | "loss" | "errors" | count-metric | "rate" | [ direction ] "mbits" | "rpm"
//                | way ( "loss" | "lost" | "duplicated" | "reordered" )
//     prefix     = "rtt." | "connect." | "lateness." | "wait." | "ipdv." | "pdv." | "idle."
//                | "working."
//     direction  = "upload." | "download."
//     way        = "there." | "back."
//     duration-metric = "min" | "mean" | "median" | "max" | "stddev" | "p" PERCENT
//     count-metric    = "sent" | "answered" | "lost" | "duplicated" | "reordered" | "late"
//                     | "corrupted" | "wrong_size" | "refused" | "undecided" | "too_big"
//                     | "retransmits"
//
// PERCENT is 0 to 100 with up to three decimals (p50, p99.9). What a duration-metric is of, its
// prefix says; without one it is what the command shows first: the round trip of ping, the latency
// of load from the intended time of sending. `jitter` is another name of ipdv.mean. Values: a
// duration (units.h, and "us") for all of these; a percentage with its sign for loss ("0.1%"); a
// whole number for counts and `errors` (all probes or requests without a right answer), any number
// for `rate` (answers per second), `mbits` (Mbit/s) and `rpm` (round trips a minute).
//
// A metric that was not measured (no answer came) meets its condition: nothing shows that all is
// well.
#pragma once

#include <cstddef>
#include <cstdint>
#include <expected>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace riposte::client {

enum class MetricKind : uint8_t {
    min,
    mean,
    max,
    stddev,
    percentile, ///< durations; the median is the 50th percentile
    rfc3550_jitter,
    loss,
    errors,
    sent,
    answered,
    lost,
    duplicated,
    reordered,
    late,
    corrupted,
    wrong_size,
    refused,
    undecided,
    too_big,
    retransmits,
    rate,
    mbits, ///< 10^6 bits a second
    rpm,   ///< responsiveness, in round trips a minute
};

/// What a duration is of: the prefix of its metric.
enum class Since : uint8_t {
    intended, ///< no prefix. ping: the round trip; load: the latency, from the intended time
    send,     ///< "rtt.": of both from the sending
    connect,  ///< the time to connect
    lateness, ///< actual less intended time of sending
    wait,     ///< load over TCP: for a connection that takes one more
    ipdv,     ///< ping: the difference of neighbouring round trips (RFC 5481)
    pdv,      ///< ping: the round trip less the least one (RFC 5481)
    idle,     ///< load: the probes before it (--while-pinging)
    working,  ///< load: the probes beside it
    upload,   ///< mbits
    download, ///< mbits
    there,    ///< ping stamp://: losses and the like on the way to the reflector
    back,     ///< likewise, from it
};

struct Metric {
    MetricKind kind = MetricKind::max;
    Since since = Since::intended;
    double percentile = 0; ///< 0 to 100, with MetricKind::percentile

    bool operator==(const Metric&) const = default;
};

/// What a metric is compared with, and so its unit: seconds, percent, or none.
enum class ValueKind : uint8_t { duration, percentage, whole_number, number };

ValueKind value_kind(MetricKind kind);

/// Is it of one way of stamp://?
constexpr bool is_of_way(const Metric& metric) {
    return metric.since == Since::there || metric.since == Since::back;
}

/// Is it measured by the probes of --while-pinging?
bool is_of_working(const Metric& metric);

enum class Comparison : uint8_t { above, at_least, below, at_most };

struct Condition {
    std::string text; ///< as written, without blanks around it
    std::string name; ///< the metric as written
    Metric metric;
    Comparison comparison = Comparison::above;
    double value = 0; ///< seconds, percent, or a number

    bool operator==(const Condition&) const = default;
};

using FailIf = std::vector<Condition>;

struct FailIfError {
    size_t offset; ///< 0-based byte offset of the fault
    std::string message;
};

std::expected<FailIf, FailIfError> parse_fail_if(std::string_view text);

/// One condition held against what was measured.
struct Check {
    const Condition* condition;
    std::optional<double> value; ///< seconds, percent, or a number; empty: not measured
    bool met;                    ///< met: the run has failed
};

std::vector<Check> check(
    const FailIf& conditions, const std::function<std::optional<double>(const Metric&)>& measured);

/// Of one that is met: "p99 is 3.21 ms (--fail-if p99>2ms)", "p99 was not measured (...)".
/// `maximum_of`: the value is the maximum of so many, "p99 is 3.21 ms, the maximum of 10 answers
/// (...)"; 0: it is not.
std::string describe(const Check& check, uint64_t maximum_of = 0);

/// Does any condition speak of it, not of one way alone?
bool mentions(const FailIf& conditions, MetricKind kind);
/// Does any condition speak of the losses of this way?
bool judges_losses(const FailIf& conditions, Since way);

} // namespace riposte::client
