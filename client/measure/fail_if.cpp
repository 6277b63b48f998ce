// Conditions held against what was measured; fail_if_parse.cpp reads them.
#include "client/measure/fail_if.h"

#include "common/text.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include <fmt/format.h>

namespace riposte::client {

namespace {

bool holds(Comparison comparison, double value, double limit) {
    switch (comparison) {
    case Comparison::above:
        return value > limit;
    case Comparison::at_least:
        return value >= limit;
    case Comparison::below:
        return value < limit;
    case Comparison::at_most:
        return value <= limit;
    }
    std::unreachable();
}

struct Scale {
    double factor;
    std::string_view unit;
};

/// How a value of the metric reads best.
Scale scale_for(MetricKind metric, double value) {
    const std::string_view unit = metric == MetricKind::mbits ? " Mbit/s"
                                  : metric == MetricKind::rpm ? " RPM"
                                                              : "/s";
    switch (value_kind(metric)) {
    case ValueKind::duration:
        if (value < 1e-6)
            return {1e9, " ns"};
        return value < 1e-3 ? Scale{1e6, " us"} : value < 1 ? Scale{1e3, " ms"} : Scale{1, " s"};
    case ValueKind::percentage:
        return {1, "%"};
    case ValueKind::whole_number:
        return {1, ""};
    case ValueKind::number:
        return {1, unit};
    }
    std::unreachable();
}

/// Three significant digits, or as many more as it takes to show that the condition is met or not:
/// "p99 is 2 ms (--fail-if p99>2ms)" would not help.
std::string value_text(const Condition& condition, double value) {
    const bool met = holds(condition.comparison, value, condition.value);
    const Scale scale = scale_for(condition.metric.kind, value);
    const double scaled = value * scale.factor;
    constexpr int decimals_enough = 9;
    int decimals = scaled < 9.995 ? 2 : scaled < 99.95 ? 1 : 0;
    for (; decimals < decimals_enough; decimals++) {
        const double unit = std::pow(10.0, decimals);
        const double shown = std::round(scaled * unit) / unit / scale.factor;
        const bool apart = std::abs(shown - condition.value) > 1e-12 * condition.value;
        if (value == condition.value ||
            (apart && holds(condition.comparison, shown, condition.value) == met))
            break;
    }
    std::string text = fmt::format("{:.{}f}", scaled, decimals);
    if (decimals > 0) {
        text.erase(text.find_last_not_of('0') + 1);
        if (text.ends_with('.'))
            text.pop_back();
    }
    return fmt::format("{}{}", text, scale.unit);
}

/// One of the values of which a duration is a figure.
std::string_view sample_noun(Since since) {
    switch (since) {
    case Since::intended:
    case Since::send:
    case Since::pdv:
    case Since::idle:
    case Since::working:
        return "answer";
    case Since::connect:
        return "connection";
    case Since::lateness:
    case Since::wait:
        return "request";
    case Since::ipdv:
        return "difference";
    case Since::upload:
    case Since::download:
    case Since::there:
    case Since::back:
        break;
    }
    return "";
}

} // namespace

ValueKind value_kind(MetricKind kind) {
    switch (kind) {
    case MetricKind::min:
    case MetricKind::mean:
    case MetricKind::max:
    case MetricKind::stddev:
    case MetricKind::percentile:
    case MetricKind::rfc3550_jitter:
        return ValueKind::duration;
    case MetricKind::loss:
        return ValueKind::percentage;
    case MetricKind::rate:
    case MetricKind::mbits:
    case MetricKind::rpm:
        return ValueKind::number;
    case MetricKind::errors:
    case MetricKind::sent:
    case MetricKind::answered:
    case MetricKind::lost:
    case MetricKind::duplicated:
    case MetricKind::reordered:
    case MetricKind::late:
    case MetricKind::corrupted:
    case MetricKind::wrong_size:
    case MetricKind::refused:
    case MetricKind::undecided:
    case MetricKind::too_big:
    case MetricKind::retransmits:
        return ValueKind::whole_number;
    }
    std::unreachable();
}

bool is_of_working(const Metric& metric) {
    return metric.kind == MetricKind::rpm || metric.since == Since::idle ||
           metric.since == Since::working;
}

std::vector<Check> check(
    const FailIf& conditions, const std::function<std::optional<double>(const Metric&)>& measured) {
    std::vector<Check> checks;
    checks.reserve(conditions.size());
    for (const Condition& condition : conditions) {
        const std::optional<double> value = measured(condition.metric);
        const bool met = !value || holds(condition.comparison, *value, condition.value);
        checks.push_back({.condition = &condition, .value = value, .met = met});
    }
    return checks;
}

std::string describe(const Check& check, uint64_t maximum_of) {
    const Condition& condition = *check.condition;
    std::string what = check.value ? fmt::format("is {}", value_text(condition, *check.value))
                                   : "was not measured";
    if (check.value && maximum_of > 0)
        what += ", the maximum of " + plural(maximum_of, sample_noun(condition.metric.since));
    return fmt::format("{} {} (--fail-if {})", condition.name, what, condition.text);
}

bool mentions(const FailIf& conditions, MetricKind kind) {
    return std::ranges::any_of(conditions, [kind](const Condition& condition) {
        return condition.metric.kind == kind && !is_of_way(condition.metric);
    });
}

bool judges_losses(const FailIf& conditions, Since way) {
    return std::ranges::any_of(conditions, [way](const Condition& condition) {
        const Metric& metric = condition.metric;
        return metric.since == way &&
               (metric.kind == MetricKind::loss || metric.kind == MetricKind::lost);
    });
}

} // namespace riposte::client
