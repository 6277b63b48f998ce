// --fail-if: the grammar, every fault with its position and message, and whether a condition is
// met.
#include "client/measure/fail_if.h"

#include <map>
#include <string>
#include <utility>
#include <vector>

#include <doctest/doctest.h>

using namespace riposte::client;

namespace {

Condition only(std::string_view text) {
    const auto conditions = parse_fail_if(text);
    REQUIRE_MESSAGE(conditions.has_value(), conditions.error().message);
    REQUIRE(conditions->size() == 1);
    return conditions->front();
}

/// "OFFSET: MESSAGE" of a text that must be refused.
std::string refusal(std::string_view text) {
    const auto conditions = parse_fail_if(text);
    if (conditions)
        return "accepted";
    CHECK(conditions.error().offset <= text.size());
    return std::to_string(conditions.error().offset) + ": " + conditions.error().message;
}

Metric percentile(double percent, Since since = Since::intended) {
    return {.kind = MetricKind::percentile, .since = since, .percentile = percent};
}

/// The text of the only condition in `text` if its metric has this value.
std::string described(std::string_view text, std::optional<double> value, uint64_t maximum_of = 0) {
    const auto conditions = parse_fail_if(text);
    REQUIRE_MESSAGE(conditions.has_value(), conditions.error().message);
    const auto checks = check(*conditions, [&](const Metric&) { return value; });
    REQUIRE(checks.size() == 1);
    CHECK(checks.front().met);
    return describe(checks.front(), maximum_of);
}

bool is_met(std::string_view text, std::optional<double> value) {
    const auto conditions = parse_fail_if(text);
    REQUIRE_MESSAGE(conditions.has_value(), conditions.error().message);
    return check(*conditions, [&](const Metric&) { return value; }).front().met;
}

constexpr std::string_view all_metrics =
    "the metrics are min, mean, median, max, stddev, p50, p99.9 and the like (rtt., connect., "
    "lateness., wait., ipdv., pdv., idle. or working. may stand in front of these), jitter, "
    "rfc3550_jitter, loss, errors, sent, answered, lost, duplicated, reordered, late, corrupted, "
    "wrong_size, refused, undecided, too_big, retransmits, rate, mbits (upload. or download. may "
    "stand in front of it), rpm, and of stamp:// loss, lost, duplicated and reordered with there. "
    "or back. in front";

} // namespace

TEST_CASE("a condition is a metric, a comparison and a value, kept as written") {
    CHECK(
        only("p99>2ms") == Condition{
                               .text = "p99>2ms",
                               .name = "p99",
                               .metric = percentile(99),
                               .comparison = Comparison::above,
                               .value = 0.002});
    CHECK(
        only("  rate \t<=  1000.5 ") == Condition{
                                            .text = "rate \t<=  1000.5",
                                            .name = "rate",
                                            .metric = {.kind = MetricKind::rate},
                                            .comparison = Comparison::at_most,
                                            .value = 1000.5});
}

TEST_CASE("conditions are separated by commas, and blanks may surround every part") {
    const auto conditions = parse_fail_if(" p99 > 2ms , loss>=0.1% ,errors> 0");
    REQUIRE(conditions.has_value());
    REQUIRE(conditions->size() == 3);
    CHECK(conditions->at(0).text == "p99 > 2ms");
    CHECK(conditions->at(1).text == "loss>=0.1%");
    CHECK(conditions->at(1).comparison == Comparison::at_least);
    CHECK(conditions->at(2).text == "errors> 0");
    CHECK(conditions->at(2).value == 0);
}

TEST_CASE("every metric has a name") {
    const std::vector<std::pair<std::string, MetricKind>> plain{
        {"rfc3550_jitter>1ms", MetricKind::rfc3550_jitter},
        {"loss>1%", MetricKind::loss},
        {"errors>1", MetricKind::errors},
        {"sent<1", MetricKind::sent},
        {"answered<1", MetricKind::answered},
        {"lost>1", MetricKind::lost},
        {"duplicated>1", MetricKind::duplicated},
        {"reordered>1", MetricKind::reordered},
        {"late>1", MetricKind::late},
        {"corrupted>1", MetricKind::corrupted},
        {"wrong_size>1", MetricKind::wrong_size},
        {"refused>1", MetricKind::refused},
        {"undecided>1", MetricKind::undecided},
        {"too_big>1", MetricKind::too_big},
        {"retransmits>1", MetricKind::retransmits},
        {"rate<1", MetricKind::rate}};
    for (const auto& [text, kind] : plain)
        CHECK(only(text).metric == Metric{.kind = kind});
    const std::vector<std::pair<std::string, Since>> prefixes{
        {"", Since::intended},        {"rtt.", Since::send},
        {"connect.", Since::connect}, {"lateness.", Since::lateness},
        {"wait.", Since::wait},       {"ipdv.", Since::ipdv},
        {"pdv.", Since::pdv}};
    const std::vector<std::pair<std::string, MetricKind>> durations{
        {"min", MetricKind::min},
        {"mean", MetricKind::mean},
        {"max", MetricKind::max},
        {"stddev", MetricKind::stddev}};
    for (const auto& [prefix, since] : prefixes) {
        for (const auto& [name, kind] : durations)
            CHECK(only(prefix + name + ">1s").metric == Metric{.kind = kind, .since = since});
        CHECK(only(prefix + "median>1s").metric == percentile(50, since));
        CHECK(only(prefix + "p99.9>1s").metric == percentile(99.9, since));
    }
}

TEST_CASE("losses and the like may be of one way") {
    const std::vector<std::pair<std::string, MetricKind>> counts{
        {"lost>1", MetricKind::lost},
        {"duplicated>1", MetricKind::duplicated},
        {"reordered>1", MetricKind::reordered},
        {"loss>1%", MetricKind::loss}};
    for (const auto& [text, kind] : counts) {
        CHECK(only("there." + text).metric == Metric{.kind = kind, .since = Since::there});
        CHECK(only("back." + text).metric == Metric{.kind = kind, .since = Since::back});
    }
    CHECK(refusal("there.los>1") == "0: unknown metric 'there.los'; did you mean there.loss?");
    CHECK(refusal("there.loss>1") == "11: '1' has no %; write there.loss>1%");
    CHECK(refusal("back.lost>1%").starts_with("10: '1%' is not a number; back.lost counts"));
    CHECK(refusal("there.p99>1ms").contains("unknown metric 'there.p99'"));
}

TEST_CASE("jitter is the mean of the inter-packet delay variation, under its own name") {
    const Condition jitter = only("jitter>1ms");
    CHECK(jitter.metric == only("ipdv.mean>1ms").metric);
    CHECK(jitter.name == "jitter");
}

TEST_CASE("percentiles go from 0 to 100 with up to three decimals") {
    const std::vector<std::pair<std::string, double>> cases{
        {"p0", 0},           {"p1", 1},          {"p50", 50}, {"p99.9", 99.9},
        {"p99.999", 99.999}, {"p100.000", 100.}, {"p007", 7}, {"p0.001", 0.001}};
    for (const auto& [name, percent] : cases)
        CHECK(only(name + ">1s").metric == percentile(percent));
}

TEST_CASE("values are durations to the microsecond, percentages and numbers") {
    const std::vector<std::pair<std::string_view, double>> cases{
        {"p99>500ns", 5e-7}, {"p99>0.5us", 5e-7}, {"p99>150us", 0.00015}, {"p99>1.5ms", 0.0015},
        {"p99>2s", 2},       {"p99>1m", 60},      {"p99>1h", 3600},       {"p99>0s", 0},
        {"loss>0.1%", 0.1},  {"loss<=100%", 100}, {"loss>0%", 0},         {"lost>12", 12},
        {"rate<0.5", 0.5}};
    for (const auto& [text, value] : cases)
        CHECK(only(text).value == value);
}

TEST_CASE("an unknown metric is refused with the nearest known one") {
    CHECK(refusal("p9x>2ms") == "0: unknown metric 'p9x'; did you mean p99?");
    CHECK(refusal("P99>2ms") == "0: unknown metric 'P99'; did you mean p99?");
    CHECK(refusal("p99.>2ms") == "0: unknown metric 'p99.'; did you mean p99?");
    CHECK(refusal("loss>1%, medain>1s") == "9: unknown metric 'medain'; did you mean median?");
    CHECK(refusal("wrong-size>1") == "0: unknown metric 'wrong'; " + std::string(all_metrics));
    CHECK(refusal("wrongsize>1") == "0: unknown metric 'wrongsize'; did you mean wrong_size?");
    CHECK(refusal("rtt.meen>1s") == "0: unknown metric 'rtt.meen'; did you mean rtt.mean?");
    CHECK(refusal("frobnicate>1") == "0: unknown metric 'frobnicate'; " + std::string(all_metrics));
    CHECK(refusal("p>1s") == "0: unknown metric 'p'; " + std::string(all_metrics));
    CHECK(
        refusal("rtt.errors>1") ==
        "0: unknown metric 'rtt.errors'; rtt. stands in front of min, mean, median, max, stddev, "
        "p50, p99.9 and the like");
    CHECK(
        refusal("connect.>1") ==
        "0: unknown metric 'connect.'; connect. stands in front of min, mean, median, max, stddev, "
        "p50, p99.9 and the like");
}

TEST_CASE("a percentile out of range is refused at its digits") {
    CHECK(refusal("p101>1s") == "1: there is no percentile 101; write p0 to p100");
    CHECK(refusal(" rtt.p100.1>1s") == "6: there is no percentile 100.1; write p0 to p100");
    CHECK(
        refusal("p99.9999>1s") ==
        "1: '99.9999' has too many decimals; a percentile has up to three");
    CHECK(refusal("p" + std::string(400, '9') + ">1s").starts_with("0: unknown metric 'p999"));
}

TEST_CASE("a missing condition is refused where it should be") {
    CHECK(refusal("") == "0: no condition; write one like p99>2ms or loss>0.1%");
    CHECK(refusal("  ") == "2: no condition; write one like p99>2ms or loss>0.1%");
    CHECK(refusal("p99>2ms,") == "8: no condition after the comma");
    CHECK(refusal("p99>2ms, ") == "9: no condition after the comma");
    CHECK(refusal(",p99>2ms") == "0: no condition before the comma");
    CHECK(refusal("p99>2ms,,loss>1%") == "8: no condition before the comma");
    CHECK(
        refusal(">2ms") ==
        "0: a condition begins with a metric, not with '>'; write one like p99>2ms");
    CHECK(
        refusal("p99>2ms,\n") ==
        "8: a condition begins with a metric, not with '\\n'; write one like p99>2ms");
}

TEST_CASE("a missing or unknown comparison is refused at its position") {
    CHECK(refusal("p99") == "3: no comparison after p99; write >, >=, < or <= and a value");
    CHECK(refusal("p99 ,") == "4: no comparison after p99; write >, >=, < or <= and a value");
    CHECK(refusal("p99 2ms") == "4: '2' is not a comparison; write >, >=, < or <= after p99");
    CHECK(refusal("loss-1%") == "4: '-' is not a comparison; write >, >=, < or <= after loss");
    CHECK(refusal("p99=2ms") == "3: unknown comparison '='; write >, >=, < or <=");
    CHECK(refusal("p99 => 2ms") == "4: unknown comparison '=>'; write >, >=, < or <=");
    CHECK(refusal("p99>>2ms") == "3: unknown comparison '>>'; write >, >=, < or <=");
    CHECK(refusal("p99!=2ms") == "3: unknown comparison '!='; write >, >=, < or <=");
}

TEST_CASE("a missing value is refused with an example") {
    CHECK(refusal("p99>") == "4: no value after p99>; write a duration like 2ms");
    CHECK(refusal("p99 >= ,") == "7: no value after p99>=; write a duration like 2ms");
    CHECK(refusal("loss>") == "5: no value after loss>; write a percentage like 0.1%");
    CHECK(refusal("lost>") == "5: no value after lost>; write a whole number like 10");
    CHECK(refusal("rate<") == "5: no value after rate<; write a number like 1000");
    CHECK(refusal("p99> >2ms") == "5: no value after p99>; write a duration like 2ms");
}

TEST_CASE("a duration needs its unit") {
    CHECK(refusal("p99>2") == "4: '2' has no unit; write p99>2ms or p99>2s");
    CHECK(refusal("jitter >= 0.5") == "10: '0.5' has no unit; write jitter>=0.5ms or jitter>=0.5s");
    CHECK(refusal("p99>2 ms") == "4: '2' has no unit; write p99>2ms or p99>2s");
}

TEST_CASE("a bad duration is refused as everywhere on the command line") {
    CHECK(
        refusal("p99>fast") ==
        "4: 'fast' is not a duration; write a number with a unit, like 200us, 10ms or 1s");
    CHECK(refusal("p99>-2ms") == "4: '-2ms' is negative; write a duration like 200us, 10ms or 1s");
    CHECK(refusal("p99>0.5ns") == "4: '0.5ns' is finer than a nanosecond; write whole nanoseconds");
    CHECK(
        refusal("p99>2%") ==
        "4: '2%' has the unknown unit '%'; the units are ns, us, ms, s, m or h");
}

TEST_CASE("a loss needs its percent sign, and is at most 100%") {
    CHECK(refusal("loss>0.1") == "5: '0.1' has no %; write loss>0.1%");
    CHECK(refusal("loss > 5, p99>1s") == "7: '5' has no %; write loss>5%");
    CHECK(refusal("loss>all") == "5: 'all' is not a percentage; write one like 0.1%");
    CHECK(refusal("loss>%") == "5: '%' is not a percentage; write one like 0.1%");
    CHECK(refusal("loss>-1%") == "5: '-1%' is not a percentage; write one like 0.1%");
    CHECK(refusal("loss>1e1%") == "5: '1e1%' is not a percentage; write one like 0.1%");
    CHECK(refusal("loss>100.1%") == "5: '100.1%' is more than 100%");
}

TEST_CASE("counts are whole numbers, a rate may have decimals") {
    CHECK(refusal("lost>1.5") == "5: '1.5' is not a whole number; write a whole number like 10");
    CHECK(refusal("lost>x") == "5: 'x' is not a whole number; write a whole number like 10");
    CHECK(refusal("lost>-1") == "5: '-1' is not a whole number; write a whole number like 10");
    CHECK(refusal("rate<1k") == "5: '1k' is not a number; write a number like 1000");
    CHECK(refusal("rate<1e3") == "5: '1e3' is not a number; write a number like 1000");
    CHECK(refusal("rate<inf") == "5: 'inf' is not a number; write a number like 1000");
    CHECK(refusal("rate<.5") == "5: '.5' is not a number; write a number like 1000");
    CHECK(
        refusal("errors>=1%") ==
        "8: '1%' is not a number; errors counts, and loss is a percentage");
    CHECK(refusal("rate<10%") == "5: '10%' is not a number; write a number like 1000");
}

TEST_CASE("text after a value is refused where it begins") {
    CHECK(refusal("p99>2ms loss>1%") == "8: 'loss' where a comma or the end should be");
    CHECK(refusal("lost>1 ;") == "7: ';' where a comma or the end should be");
    CHECK(refusal("p99>2ms>1ms") == "7: second comparison '>'; a condition has one");
    CHECK(refusal("p99>2ms <= 1ms") == "8: second comparison '<='; a condition has one");
    CHECK(refusal("lost>1 a\nb") == "7: 'a\\nb' where a comma or the end should be");
}

TEST_CASE("conditions are compared with the measurement, in their order") {
    const auto conditions = parse_fail_if("p99>2ms,rtt.p99>2ms,loss>=1%,lost<5,rate<=10");
    REQUIRE(conditions.has_value());
    const std::map<MetricKind, double> values{
        {MetricKind::loss, 1}, {MetricKind::lost, 5}, {MetricKind::rate, 10}};
    const auto measured = [&](const Metric& metric) -> std::optional<double> {
        if (metric == percentile(99))
            return 0.0021;
        if (metric == percentile(99, Since::send))
            return 0.002;
        return values.at(metric.kind);
    };
    const std::vector<Check> checks = check(*conditions, measured);
    REQUIRE(checks.size() == 5);
    const std::vector<bool> met{true, false, true, false, true};
    for (size_t i = 0; i < checks.size(); i++) {
        CHECK(checks[i].condition == &conditions->at(i));
        CHECK(checks[i].value.has_value());
        CHECK(checks[i].met == met[i]);
    }
}

TEST_CASE("each comparison is met on its side, and at the limit only where it says so") {
    const std::vector<std::pair<std::string_view, std::vector<bool>>> cases{
        {"lost>5", {false, false, true}},
        {"lost>=5", {false, true, true}},
        {"lost<5", {true, false, false}},
        {"lost<=5", {true, true, false}}};
    for (const auto& [text, met] : cases) {
        CAPTURE(text);
        CHECK(is_met(text, 4) == met[0]);
        CHECK(is_met(text, 5) == met[1]);
        CHECK(is_met(text, 6) == met[2]);
    }
}

TEST_CASE("a condition on an unmeasured metric is always met") {
    for (const std::string_view text : {"p99>2ms", "p99<2ms", "connect.max>=0s", "loss<=100%"})
        CHECK(is_met(text, std::nullopt));
    CHECK(described("p99>2ms", std::nullopt) == "p99 was not measured (--fail-if p99>2ms)");
}

TEST_CASE("a met condition is reported with the value in its unit") {
    CHECK(described("p99>2ms", 0.00321) == "p99 is 3.21 ms (--fail-if p99>2ms)");
    CHECK(
        described("p99>2ms", 0.00321, 10) ==
        "p99 is 3.21 ms, the maximum of 10 answers (--fail-if p99>2ms)");
    CHECK(
        described("connect.max>2ms", 0.00321, 1) ==
        "connect.max is 3.21 ms, the maximum of 1 connection (--fail-if connect.max>2ms)");
    CHECK(described("rtt.min<=1ms", 62.1e-6) == "rtt.min is 62.1 us (--fail-if rtt.min<=1ms)");
    CHECK(described("max > 1s", 12.34) == "max is 12.3 s (--fail-if max > 1s)");
    CHECK(described("min<1us", 450e-9) == "min is 450 ns (--fail-if min<1us)");
    CHECK(described("loss>0.1%", 33.3333) == "loss is 33.3% (--fail-if loss>0.1%)");
    CHECK(described("loss>=100%", 100) == "loss is 100% (--fail-if loss>=100%)");
    CHECK(described("lost>0", 3) == "lost is 3 (--fail-if lost>0)");
    CHECK(
        described("answered<2000000", 1234567) ==
        "answered is 1234567 (--fail-if answered<2000000)");
    CHECK(described("rate<1000", 998.25) == "rate is 998/s (--fail-if rate<1000)");
    CHECK(described("errors<=0", 0) == "errors is 0 (--fail-if errors<=0)");
}

TEST_CASE("a value near its limit has enough digits to differ from it") {
    CHECK(described("p99>2ms", 0.002001) == "p99 is 2.001 ms (--fail-if p99>2ms)");
    CHECK(described("p99>2ms", 0.0020000004) == "p99 is 2.0000004 ms (--fail-if p99>2ms)");
    CHECK(described("p99<2ms", 0.0019999) == "p99 is 1.9999 ms (--fail-if p99<2ms)");
    CHECK(described("p99>=2ms", 0.002) == "p99 is 2 ms (--fail-if p99>=2ms)");
    CHECK(described("loss>33.3%", 33.33) == "loss is 33.33% (--fail-if loss>33.3%)");
    CHECK(described("rate<1000", 999.96) == "rate is 999.96/s (--fail-if rate<1000)");
}

TEST_CASE("mentions() finds whether any condition uses a metric") {
    const auto conditions = parse_fail_if("p99>2ms,loss>0.1%");
    REQUIRE(conditions.has_value());
    CHECK(mentions(*conditions, MetricKind::loss));
    CHECK(mentions(*conditions, MetricKind::percentile));
    CHECK_FALSE(mentions(*conditions, MetricKind::errors));
    CHECK_FALSE(mentions({}, MetricKind::loss));
}

TEST_CASE("metrics of streams and of the latency beside them") {
    const auto conditions =
        parse_fail_if("upload.mbits<900,download.mbits<1.5,mbits<2,rpm<300,working.p99>50ms");
    REQUIRE(conditions.has_value());
    const Metric up{.kind = MetricKind::mbits, .since = Since::upload};
    CHECK((*conditions)[0].metric == up);
    CHECK((*conditions)[1].metric.since == Since::download);
    CHECK((*conditions)[2].metric.since == Since::intended);
    CHECK(is_of_working((*conditions)[3].metric));
    CHECK(is_of_working((*conditions)[4].metric));
    CHECK_FALSE(is_of_working(up));
    const auto measured = [](const Metric&) { return std::optional(1.25); };
    CHECK(describe(check(*conditions, measured)[2]) == "mbits is 1.25 Mbit/s (--fail-if mbits<2)");
    CHECK(describe(check(*conditions, measured)[3]) == "rpm is 1.25 RPM (--fail-if rpm<300)");
    CHECK(parse_fail_if("uplaod.mbits<1").error().message.contains("did you mean upload.mbits?"));
}
