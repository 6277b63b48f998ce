// A recursive-descent reader of one line: words, comparisons and commas. It stops at the first
// fault, which it can point at: each message says what was found there and what would be right.
// Values are read exactly as they are elsewhere on the command line (units.h), but never without
// their unit: what decides whether a run has failed should not be guessed.
#include "client/measure/fail_if.h"
#include "common/text.h"
#include "common/units.h"

#include <algorithm>
#include <array>
#include <iterator>
#include <utility>

#include <fmt/format.h>

namespace riposte::client {

namespace {

struct NamedMetric {
    std::string_view name;
    MetricKind kind;
};

/// Those that also stand behind a prefix. The median is a percentile.
constexpr std::array<NamedMetric, 5> duration_metrics{
    {{"min", MetricKind::min},
     {"mean", MetricKind::mean},
     {"median", MetricKind::percentile},
     {"max", MetricKind::max},
     {"stddev", MetricKind::stddev}}};
constexpr std::array<NamedMetric, 18> other_metrics{
    {{"rfc3550_jitter", MetricKind::rfc3550_jitter},
     {"loss", MetricKind::loss},
     {"errors", MetricKind::errors},
     {"sent", MetricKind::sent},
     {"answered", MetricKind::answered},
     {"lost", MetricKind::lost},
     {"duplicated", MetricKind::duplicated},
     {"reordered", MetricKind::reordered},
     {"late", MetricKind::late},
     {"corrupted", MetricKind::corrupted},
     {"wrong_size", MetricKind::wrong_size},
     {"refused", MetricKind::refused},
     {"undecided", MetricKind::undecided},
     {"too_big", MetricKind::too_big},
     {"retransmits", MetricKind::retransmits},
     {"rate", MetricKind::rate},
     {"mbits", MetricKind::mbits},
     {"rpm", MetricKind::rpm}}};
constexpr std::string_view jitter_name = "jitter"; ///< of ipdv.mean
constexpr std::array<std::pair<std::string_view, Since>, 8> prefixes{
    {{"rtt.", Since::send},
     {"connect.", Since::connect},
     {"lateness.", Since::lateness},
     {"wait.", Since::wait},
     {"ipdv.", Since::ipdv},
     {"pdv.", Since::pdv},
     {"idle.", Since::idle},
     {"working.", Since::working}}};
/// Of one direction, or of one way.
constexpr std::array<std::pair<std::string_view, Metric>, 10> directed{
    {{"upload.mbits", {.kind = MetricKind::mbits, .since = Since::upload}},
     {"download.mbits", {.kind = MetricKind::mbits, .since = Since::download}},
     {"there.loss", {.kind = MetricKind::loss, .since = Since::there}},
     {"there.lost", {.kind = MetricKind::lost, .since = Since::there}},
     {"there.duplicated", {.kind = MetricKind::duplicated, .since = Since::there}},
     {"there.reordered", {.kind = MetricKind::reordered, .since = Since::there}},
     {"back.loss", {.kind = MetricKind::loss, .since = Since::back}},
     {"back.lost", {.kind = MetricKind::lost, .since = Since::back}},
     {"back.duplicated", {.kind = MetricKind::duplicated, .since = Since::back}},
     {"back.reordered", {.kind = MetricKind::reordered, .since = Since::back}}}};
constexpr std::array<std::pair<std::string_view, Comparison>, 4> comparisons{
    {{">", Comparison::above},
     {">=", Comparison::at_least},
     {"<", Comparison::below},
     {"<=", Comparison::at_most}}};

/// The percentiles that a mistyped one may be meant for, the likeliest first.
constexpr std::array<std::string_view, 6> usual_percentiles{"p99",   "p50",    "p95",
                                                            "p99.9", "p99.99", "p90"};

constexpr std::string_view blanks = " \t";
constexpr std::string_view metric_names =
    "min, mean, median, max, stddev, p50, p99.9 and the like (rtt., connect., lateness., wait., "
    "ipdv., pdv., idle. or working. may stand in front of these), jitter, rfc3550_jitter, loss, "
    "errors, sent, answered, lost, duplicated, reordered, late, corrupted, wrong_size, refused, "
    "undecided, too_big, retransmits, rate, mbits (upload. or download. may stand in front of it), "
    "rpm, and of stamp:// loss, lost, duplicated and reordered with there. or back. in front";
constexpr size_t decimals_max = 3; ///< of a percentile

/// "2ms": what a value of the kind looks like.
std::string_view example(ValueKind kind) {
    switch (kind) {
    case ValueKind::duration:
        return "a duration like 2ms";
    case ValueKind::percentage:
        return "a percentage like 0.1%";
    case ValueKind::whole_number:
        return "a whole number like 10";
    case ValueKind::number:
        return "a number like 1000";
    }
    std::unreachable();
}

bool is_word(char c) {
    return is_digit(c) || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || c == '.';
}

bool is_comparison(char c) {
    return c == '<' || c == '>' || c == '=' || c == '!';
}

bool is_value(char c) {
    return blanks.find(c) == std::string_view::npos && c != ',' && !is_comparison(c);
}

template<class T>
using Parsed = std::expected<T, FailIfError>;

std::unexpected<FailIfError> refuse(size_t offset, std::string message) {
    return std::unexpected(FailIfError{offset, std::move(message)});
}

class Reader {
public:
    explicit Reader(std::string_view text) : text_(text) {}

    Parsed<FailIf> read() {
        FailIf conditions;
        skip_blanks();
        if (at_end())
            return refuse(at_, "no condition; write one like p99>2ms or loss>0.1%");
        for (;;) {
            auto condition = read_condition();
            if (!condition)
                return std::unexpected(condition.error());
            conditions.push_back(std::move(*condition));
            if (at_end())
                return conditions;
            at_++; // the comma
            skip_blanks();
            if (at_end())
                return refuse(at_, "no condition after the comma");
        }
    }

private:
    bool at_end() const { return at_ == text_.size(); }

    void skip_blanks() {
        while (!at_end() && blanks.find(text_[at_]) != std::string_view::npos)
            at_++;
    }

    std::string_view take(bool (*belongs)(char)) {
        const size_t start = at_;
        while (!at_end() && belongs(text_[at_]))
            at_++;
        return text_.substr(start, at_ - start);
    }

    /// Up to a comma or the end, after which at_ is.
    Parsed<Condition> read_condition() {
        const size_t start = at_;
        const std::string_view name = take(is_word);
        if (name.empty())
            return refuse(
                start, text_[start] == ','
                           ? "no condition before the comma"
                           : fmt::format(
                                 "a condition begins with a metric, not with '{}'; write "
                                 "one like p99>2ms",
                                 escape(text_.substr(start, 1))));
        const auto metric = read_metric(start, name);
        if (!metric)
            return std::unexpected(metric.error());
        skip_blanks();
        const size_t comparison_at = at_;
        const std::string_view sign = take(is_comparison);
        const auto* known =
            std::ranges::find(comparisons, sign, [](auto each) { return each.first; });
        if (known == comparisons.end())
            return refuse(comparison_at, no_comparison(comparison_at, name, sign));
        skip_blanks();
        const std::string head = fmt::format("{}{}", name, sign);
        const auto value = read_value(head, value_kind(metric->kind));
        if (!value)
            return std::unexpected(value.error());
        const std::string_view written = text_.substr(start, at_ - start);
        if (auto end = read_end(); !end)
            return std::unexpected(end.error());
        return Condition{
            .text = std::string(written),
            .name = std::string(name),
            .metric = *metric,
            .comparison = known->second,
            .value = *value};
    }

    std::string no_comparison(size_t offset, std::string_view name, std::string_view sign) const {
        if (!sign.empty())
            return fmt::format("unknown comparison '{}'; write >, >=, < or <=", sign);
        if (offset == text_.size() || text_[offset] == ',')
            return fmt::format("no comparison after {}; write >, >=, < or <= and a value", name);
        return fmt::format(
            "'{}' is not a comparison; write >, >=, < or <= after {}",
            escape(text_.substr(offset, 1)), name);
    }

    static Parsed<Metric> read_metric(size_t offset, std::string_view name) {
        if (name == jitter_name)
            return Metric{.kind = MetricKind::mean, .since = Since::ipdv};
        for (const auto& [known, its_metric] : directed)
            if (name == known)
                return its_metric;
        Metric metric;
        std::string_view duration = name;
        for (const auto& [prefix, since] : prefixes)
            if (name.starts_with(prefix)) {
                metric.since = since;
                duration.remove_prefix(prefix.size());
            }
        for (const NamedMetric& known : duration_metrics)
            if (known.name == duration) {
                metric.kind = known.kind;
                metric.percentile = known.kind == MetricKind::percentile ? 50 : 0;
                return metric;
            }
        if (metric.since == Since::intended)
            for (const NamedMetric& known : other_metrics)
                if (known.name == name) {
                    metric.kind = known.kind;
                    return metric;
                }
        if (duration.size() > 1 && duration[0] == 'p' && parse_decimal(duration.substr(1))) {
            const size_t digits_at = offset + name.size() - duration.size() + 1;
            const auto percent = read_percentile(digits_at, duration.substr(1));
            if (!percent)
                return std::unexpected(percent.error());
            metric.kind = MetricKind::percentile;
            metric.percentile = *percent;
            return metric;
        }
        return refuse(offset, unknown_metric(name, duration));
    }

    static Parsed<double> read_percentile(size_t offset, std::string_view digits) {
        const double percent = parse_decimal(digits).value_or(0);
        const size_t point = digits.find('.');
        if (percent > 100)
            return refuse(
                offset, fmt::format("there is no percentile {}; write p0 to p100", digits));
        if (point != std::string_view::npos && digits.size() - point - 1 > decimals_max)
            return refuse(
                offset,
                fmt::format("'{}' has too many decimals; a percentile has up to three", digits));
        return percent;
    }

    static std::string unknown_metric(std::string_view name, std::string_view duration) {
        const std::string_view prefix = name.substr(0, name.size() - duration.size());
        std::vector<std::string_view> known(usual_percentiles.begin(), usual_percentiles.end());
        std::ranges::transform(duration_metrics, std::back_inserter(known), &NamedMetric::name);
        if (prefix.empty()) {
            known.push_back(jitter_name);
            std::ranges::transform(other_metrics, std::back_inserter(known), &NamedMetric::name);
            for (const auto& each : directed)
                known.push_back(each.first);
        }
        const std::string_view near = nearest(duration, known);
        const std::string shown = escape(name, 40);
        if (!near.empty())
            return fmt::format("unknown metric '{}'; did you mean {}{}?", shown, prefix, near);
        if (!prefix.empty())
            return fmt::format(
                "unknown metric '{}'; {} stands in front of min, mean, median, max, stddev, p50, "
                "p99.9 and the like",
                shown, prefix);
        return fmt::format("unknown metric '{}'; the metrics are {}", shown, metric_names);
    }

    /// `head` is what stands before the value: "p99>".
    Parsed<double> read_value(std::string_view head, ValueKind kind) {
        const size_t offset = at_;
        const std::string_view text = take(is_value);
        if (text.empty())
            return refuse(offset, fmt::format("no value after {}; write {}", head, example(kind)));
        std::expected<double, std::string> value;
        switch (kind) {
        case ValueKind::duration:
            value = read_duration(head, text);
            break;
        case ValueKind::percentage:
            value = read_percentage(head, text);
            break;
        case ValueKind::whole_number:
        case ValueKind::number:
            value = read_number(head, text, kind);
            break;
        }
        if (!value)
            return refuse(offset, std::move(value.error()));
        return *value;
    }

    static std::expected<double, std::string> read_duration(
        std::string_view head, std::string_view text) {
        if (parse_decimal(text))
            return std::unexpected(
                fmt::format("'{0}' has no unit; write {1}{0}ms or {1}{0}s", text, head));
        const auto nanoseconds = parse_duration_ns(text);
        if (!nanoseconds)
            return std::unexpected(nanoseconds.error());
        return static_cast<double>(*nanoseconds) / 1e9;
    }

    static std::expected<double, std::string> read_percentage(
        std::string_view head, std::string_view text) {
        const bool has_sign = text.ends_with('%');
        const auto value = parse_decimal(text.substr(0, text.size() - (has_sign ? 1 : 0)));
        if (!value)
            return std::unexpected(
                fmt::format("'{}' is not a percentage; write one like 0.1%", escape(text, 40)));
        if (!has_sign)
            return std::unexpected(fmt::format("'{0}' has no %; write {1}{0}%", text, head));
        if (*value > 100)
            return std::unexpected(fmt::format("'{}' is more than 100%", text));
        return *value;
    }

    static std::expected<double, std::string> read_number(
        std::string_view head, std::string_view text, ValueKind kind) {
        const auto value = parse_decimal(text);
        const bool whole = text.find('.') == std::string_view::npos;
        if (value && (whole || kind == ValueKind::number))
            return *value;
        if (text.ends_with('%') && kind == ValueKind::whole_number)
            return std::unexpected(fmt::format(
                "'{}' is not a number; {} counts, and loss is a percentage", escape(text, 40),
                head.substr(0, head.find_first_of("<>"))));
        return std::unexpected(fmt::format(
            "'{}' is not a {}; write {}", escape(text, 40),
            kind == ValueKind::number ? "number" : "whole number", example(kind)));
    }

    /// A value is done: the comma or the end.
    Parsed<void> read_end() {
        skip_blanks();
        if (at_end() || text_[at_] == ',')
            return {};
        const size_t offset = at_;
        const bool second = is_comparison(text_[offset]);
        const std::string found = escape(take(second ? is_comparison : is_value), 40);
        return refuse(
            offset, second ? fmt::format("second comparison '{}'; a condition has one", found)
                           : fmt::format("'{}' where a comma or the end should be", found));
    }

    std::string_view text_;
    size_t at_ = 0;
};

} // namespace

std::expected<FailIf, FailIfError> parse_fail_if(std::string_view text) {
    return Reader(text).read();
}

} // namespace riposte::client
