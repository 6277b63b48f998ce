// What ping and load make of their figures beside the summary: the chart in the terminal, the files
// of --hist and --plot, and the lines about --fail-if.
#pragma once

#include "client/measure/fail_if.h"
#include "client/options/options.h"
#include "client/show/plot.h"
#include "client/show/report.h"
#include "common/error.h"
#include "common/fd.h"

#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace riposte::client {

/// The files that the options name. They are opened before the run, so that a bad path does not
/// cost the measurement; their contents are replaced only when there are figures to write.
class MeasurementFiles {
public:
    /// Exit::usage with the file's name if one cannot be written.
    static Result<MeasurementFiles> open(const ReportOptions& options);

    /// Does anything need PingResult::series or LoadResult::series?
    bool wants_series() const { return static_cast<bool>(plot_); }

    /// The distribution of all curves together, and the plot of each, with `head` above it. Once.
    Result<void> write(const PlotHead& head, std::span<const Plotted> curves);
    /// The distribution of the curves, if there are any, and `plot` as the picture. Once.
    Result<void> write(std::span<const Plotted> curves, std::string_view plot);

private:
    std::string distribution_name_;
    std::string plot_name_;
    Fd distribution_; ///< none: not asked for
    Fd plot_;
};

/// --histogram: a chart for each curve, all of one scale, as wide as the terminal on standard
/// output, with an empty line in front of each. `color`: what wants_color() says of standard
/// output.
std::string charts(std::span<const Plotted> curves, bool color);

/// "riposte: NAME: p99 is 3.21 ms (--fail-if p99>2ms)" on standard error, for each condition met.
/// `maximum_of`: how many values a metric is the maximum of; 0: it is not a maximum.
void report_met(
    const Report& report, std::string_view name, const FailIf& conditions,
    const std::function<std::optional<double>(const Metric&)>& measured,
    const std::function<uint64_t(const Metric&)>& maximum_of);

/// Is standard output coloured?
bool colors_output(Color choice);

/// All of `text` on standard output; Exit::usage "standard output: ..." if it cannot be written.
Result<void> print(std::string_view text);

} // namespace riposte::client
