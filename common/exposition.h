// The text of metrics: Prometheus's text format 0.0.4, and OpenMetrics 1.0.
// https://prometheus.io/docs/instrumenting/exposition_formats/
//
// The two differ in little: OpenMetrics names a family of counters without its `_total`, has a UNIT
// where the name ends in one, the time since when a counter counts (`_created`), and ends with
// `# EOF`. Labels, values and bounds are written alike, so that Prometheus has the same series from
// both.
#pragma once

#include "common/http/body.h"

#include <cstdint>
#include <initializer_list>
#include <iterator>
#include <string>
#include <string_view>
#include <utility>

#include <fmt/format.h>

namespace riposte {

enum class ExpositionFormat : uint8_t { prometheus, openmetrics };

enum class MetricType : uint8_t { counter, gauge, histogram };

struct MetricFamily {
    std::string_view name; ///< without "_total"
    MetricType type;
    std::string_view help;
};

/// The labels of a sample, already written: `service="echo",transport="tcp"`. Values are escaped.
class MetricLabels {
public:
    MetricLabels() = default;
    MetricLabels(std::initializer_list<std::pair<std::string_view, std::string_view>> labels);

    void add(std::string_view name, std::string_view value);
    MetricLabels with(std::string_view name, std::string_view value) const;

    std::string_view text() const { return text_; }

private:
    std::string text_;
};

/// A bound of a bucket as OpenMetrics requires a number in a label: "0.5", "16.0", "+Inf".
std::string bound_text(double bound);

/// Writes families one after the other, each with its samples.
class ExpositionWriter {
public:
    explicit ExpositionWriter(ExpositionFormat format) : format_(format) {}

    /// HELP, TYPE and UNIT; the samples that follow are this family's. The texts of `family` are
    /// constants.
    void begin(const MetricFamily& family);

    template<class Value>
    void sample(const MetricLabels& labels, Value value) {
        sample(family_.type == MetricType::counter ? "_total" : "", labels, value);
    }
    /// The suffix is "_bucket", "_sum" or "_count" of a histogram.
    template<class Value>
    void sample(std::string_view suffix, const MetricLabels& labels, Value value) {
        const bool bare = labels.text().empty();
        fmt::format_to(
            std::back_inserter(line_), "{}{}{}{}{} {}\n", family_.name, suffix, bare ? "" : "{",
            labels.text(), bare ? "" : "}", value);
        flush();
    }
    /// Since when the counter or histogram counts, in seconds since 1970; only OpenMetrics has it.
    /// It follows the other samples with these labels.
    void created(const MetricLabels& labels, double seconds);

    template<class Value>
    void single(const MetricFamily& family, Value value) {
        begin(family);
        sample(MetricLabels{}, value);
    }

    HttpBody finish() &&;

private:
    void flush();

    ExpositionFormat format_;
    MetricFamily family_{};
    std::string line_; ///< its memory is used again
    HttpBody body_;
};

} // namespace riposte
