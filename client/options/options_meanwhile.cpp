// What the words mean that say what ping and load show while they run.
#include "client/options/options_values.h"

#include <string_view>

#include <fmt/format.h>

namespace riposte::client {

Result<void> read_meanwhile(const RawReport& words, ReportOptions& report) {
    report.json_lines = words.json_lines;
    report.live = words.live;
    if (auto read = read_duration_ms("--every", words.every, false, report.every_ms); !read)
        return read;
    if (report.every_ms && *report.every_ms < every_ms_min)
        return usage(fmt::format("--every: must be at least {}", format_duration(every_ms_min)));
    if (report.json && report.json_lines)
        return usage(
            "-j and --json-lines exclude each other; the last line of --json-lines is what -j "
            "prints");
    if (report.json && report.every_ms)
        return usage(
            "-j and --every exclude each other; --json-lines prints intervals as JSON, too");
    if (report.json_lines && report.histogram)
        return usage(
            "--json-lines and --histogram exclude each other; --json-lines prints nothing but "
            "JSON");
    const std::string_view other = report.json         ? "-j"
                                   : report.json_lines ? "--json-lines"
                                   : report.every_ms   ? "--every"
                                                       : "";
    if (report.live && !other.empty())
        return usage(
            fmt::format("--live and {} exclude each other; both need standard output", other));
    return {};
}

} // namespace riposte::client
