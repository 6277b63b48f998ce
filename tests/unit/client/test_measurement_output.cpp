// The files of --hist and --plot: when they are written, their contents, and the errors.
#include "client/show/measurement_output.h"

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>

#include <doctest/doctest.h>
#include <fmt/format.h>
#include <unistd.h>

using namespace riposte;
using namespace riposte::client;

namespace {

/// A directory for one test, removed with this object.
class Directory {
public:
    Directory() {
        std::string name = (std::filesystem::temp_directory_path() / "riposte-XXXXXX").string();
        REQUIRE(::mkdtemp(name.data()) != nullptr);
        path_ = name;
    }
    ~Directory() { std::filesystem::remove_all(path_); }
    Directory(const Directory&) = delete;
    Directory& operator=(const Directory&) = delete;

    std::string file(const std::string& name) const { return (path_ / name).string(); }

private:
    std::filesystem::path path_;
};

std::string contents(const std::string& name) {
    std::ifstream file(name);
    std::ostringstream text;
    text << file.rdbuf();
    return text.str();
}

ReportOptions into(const std::string& histogram_file, const std::string& plot_file) {
    ReportOptions options;
    options.histogram_file = histogram_file;
    options.plot_file = plot_file;
    return options;
}

} // namespace

TEST_CASE("both files hold the figures and replace their old contents") {
    const Directory directory;
    const std::string table = directory.file("table.hgrm");
    const std::string plot = directory.file("plot.svg");
    std::ofstream(table) << std::string(100'000, '@');
    auto files = MeasurementFiles::open(into(table, plot));
    REQUIRE(files);
    CHECK(files->wants_series());
    CHECK(contents(table).size() == 100'000); // until there are figures

    Histogram one;
    Histogram other;
    one.record(1'000'000);
    other.record(2'000'000);
    const Series series(0);
    const std::vector<Plotted> curves{
        {.name = "one", .histogram = &one, .series = &series},
        {.name = "other", .histogram = &other, .series = &series}};
    REQUIRE(files->write({.title = "the title", .subtitle = "and more"}, curves));
    CHECK(contents(table).find('@') == std::string::npos);
    CHECK(contents(table).find("Total count    =              2") != std::string::npos);
    CHECK(contents(plot).find("<svg") != std::string::npos);
    CHECK(contents(plot).find("the title") != std::string::npos);
}

TEST_CASE("no file is opened or written unless requested") {
    auto files = MeasurementFiles::open(into("", ""));
    REQUIRE(files);
    CHECK(!files->wants_series());
    Histogram empty;
    const std::vector<Plotted> curves{{.name = "", .histogram = &empty, .series = nullptr}};
    CHECK(files->write({}, curves));
}

TEST_CASE("a file that cannot be written is named before the run") {
    const Directory directory;
    const std::string missing = directory.file("none/table");
    const auto table = MeasurementFiles::open(into(missing, ""));
    REQUIRE(!table);
    CHECK(table.error().exit == Exit::usage);
    CHECK(table.error().message == missing + ": no such file or directory");
    const auto plot = MeasurementFiles::open(into("", directory.file("")));
    REQUIRE(!plot);
    CHECK(plot.error().message == directory.file("") + ": is a directory");
}

TEST_CASE("one file for both is refused, however its name is spelled") {
    const Directory directory;
    const std::string name = directory.file("same");
    const std::string again = directory.file("./same");
    const auto files = MeasurementFiles::open(into(name, again));
    REQUIRE(!files);
    CHECK(files.error().message == fmt::format("--hist and --plot both write {}", again));
    CHECK(MeasurementFiles::open(into("/dev/null", "/dev/null")));
}

TEST_CASE("a full disk is reported with the file's name") {
    auto files = MeasurementFiles::open(into("/dev/full", ""));
    REQUIRE(files);
    Histogram histogram;
    histogram.record(1);
    const std::vector<Plotted> curves{{.name = "", .histogram = &histogram, .series = nullptr}};
    const auto written = files->write({}, curves);
    REQUIRE(!written);
    CHECK(written.error().exit == Exit::usage);
    CHECK(written.error().message == "/dev/full: no space left on device");
}

TEST_CASE("each endpoint has its chart, after an empty line") {
    Histogram histogram;
    histogram.record(1'000'000);
    const std::vector<Plotted> curves{
        {.name = "first", .histogram = &histogram, .series = nullptr},
        {.name = "second", .histogram = &histogram, .series = nullptr}};
    const std::string text = charts(curves, false);
    CHECK(text.starts_with("\nfirst"));
    CHECK(text.find("\n\nsecond") != std::string::npos);
}
