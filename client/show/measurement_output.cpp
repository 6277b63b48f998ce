#include "client/show/measurement_output.h"

#include "client/measure/histogram.h"
#include "client/show/chart.h"
#include "client/show/terminal.h"
#include "common/text.h"

#include <cerrno>
#include <cstdlib>
#include <utility>
#include <vector>

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

namespace riposte::client {

namespace {

std::unexpected<Error> file_error(std::string_view name, int error) {
    return fail(Exit::usage, fmt::format("{}: {}", escape(name), reason(error)));
}

/// No descriptor for no name.
Result<Fd> open_file(const std::string& name) {
    if (name.empty())
        return Fd();
    Fd fd(::open(name.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC | O_NOCTTY, 0666));
    if (!fd)
        return file_error(name, errno);
    return fd;
}

bool is_same_file(const Fd& a, const Fd& b) {
    struct stat first{};
    struct stat second{};
    return a && b && ::fstat(a.get(), &first) == 0 && ::fstat(b.get(), &second) == 0 &&
           S_ISREG(first.st_mode) && first.st_dev == second.st_dev && first.st_ino == second.st_ino;
}

Result<void> replace_contents(Fd& fd, std::string_view name, std::string_view text) {
    // Only a regular file has a length to cut; a pipe, for example, does not.
    if (::ftruncate(fd.get(), 0) < 0 && errno != EINVAL)
        return file_error(name, errno);
    if (const int error = write_all(fd.get(), text); error != 0)
        return file_error(name, error);
    // A file that lies elsewhere (NFS) may say only now that there is no room.
    if (::close(fd.release()) < 0 && errno != EINTR)
        return file_error(name, errno);
    return {};
}

} // namespace

Result<MeasurementFiles> MeasurementFiles::open(const ReportOptions& options) {
    MeasurementFiles files;
    files.distribution_name_ = options.histogram_file;
    files.plot_name_ = options.plot_file;
    auto distribution = open_file(options.histogram_file);
    if (!distribution)
        return std::unexpected(distribution.error());
    auto plot = open_file(options.plot_file);
    if (!plot)
        return std::unexpected(plot.error());
    if (is_same_file(*distribution, *plot))
        return fail(
            Exit::usage, fmt::format("--hist and --plot both write {}", escape(options.plot_file)));
    files.distribution_ = std::move(*distribution);
    files.plot_ = std::move(*plot);
    return files;
}

Result<void> MeasurementFiles::write(const PlotHead& head, std::span<const Plotted> curves) {
    return write(curves, plot_ ? render_svg(head, curves) : std::string());
}

Result<void> MeasurementFiles::write(std::span<const Plotted> curves, std::string_view plot) {
    if (distribution_) {
        Histogram all;
        for (const Plotted& curve : curves)
            all.merge(*curve.histogram);
        const auto written = replace_contents(distribution_, distribution_name_, render_hgrm(all));
        if (!written)
            return written;
    }
    if (plot_)
        return replace_contents(plot_, plot_name_, plot);
    return {};
}

std::string charts(std::span<const Plotted> curves, bool color) {
    const ChartStyle style{
        .width = terminal_width(STDOUT_FILENO), .unicode = shows_unicode(), .color = color};
    std::vector<Charted> charted;
    for (const Plotted& curve : curves)
        charted.push_back({curve.name, curve.histogram});
    std::string text;
    for (const std::string& chart : render_charts(charted, style))
        text += '\n' + chart;
    return text;
}

void report_met(
    const Report& report, std::string_view name, const FailIf& conditions,
    const std::function<std::optional<double>(const Metric&)>& measured,
    const std::function<uint64_t(const Metric&)>& maximum_of) {
    for (const Check& each : check(conditions, measured))
        if (each.met)
            report.error(
                fmt::format("{}: {}", name, describe(each, maximum_of(each.condition->metric))));
}

bool colors_output(Color choice) {
    return wants_color(
        choice, isatty(STDOUT_FILENO) == 1, secure_getenv("NO_COLOR"), secure_getenv("TERM"));
}

Result<void> print(std::string_view text) {
    if (const int error = write_all(STDOUT_FILENO, text); error != 0)
        return output_error(error);
    return {};
}

} // namespace riposte::client
