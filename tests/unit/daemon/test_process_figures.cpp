#include "common/clock.h"
#include "daemon/telemetry/process_figures.h"

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include <doctest/doctest.h>
#include <fcntl.h>
#include <sys/resource.h>

using namespace riposte;

namespace {

uint64_t status_field(const std::string& name) {
    std::ifstream file("/proc/self/status");
    for (std::string line; std::getline(file, line);)
        if (line.starts_with(name + ":"))
            return std::strtoull(line.c_str() + name.size() + 1, nullptr, 10);
    return 0;
}

uint64_t descriptors() {
    uint64_t count = 0;
    for ([[maybe_unused]] const auto& entry : std::filesystem::directory_iterator("/proc/self/fd"))
        ++count;
    return count - 1; // the iterator's own
}

} // namespace

TEST_CASE("a process's figures agree with the kernel") {
    const ProcessFigureReader reader;
    std::vector<Fd> more;
    more.reserve(300);
    for (int i = 0; i < 300; ++i) // more than one buffer of names
        more.emplace_back(::open("/dev/null", O_RDONLY | O_CLOEXEC));
    const ProcessFigures figures = reader.read();
    REQUIRE(figures.open_descriptors.has_value());
    CHECK(*figures.open_descriptors == descriptors());
    more.clear();
    CHECK(reader.read().open_descriptors.value() == *figures.open_descriptors - 300);

    rlimit limit{};
    getrlimit(RLIMIT_NOFILE, &limit);
    CHECK(figures.descriptors_max.value() == limit.rlim_cur);
    CHECK(figures.threads.value() == status_field("Threads"));
    CHECK(figures.virtual_bytes.value() >= status_field("VmSize") * 1024 / 2);
    CHECK(figures.resident_bytes.value() >= status_field("VmRSS") * 1024 / 2);
    CHECK(*figures.resident_bytes <= *figures.virtual_bytes);
    CHECK(figures.start_time_seconds.value() > 1'000'000'000);
    CHECK(*figures.start_time_seconds <= wall_time_seconds() + 1);
}

TEST_CASE("time on the CPU grows with use") {
    const ProcessFigureReader reader;
    const double enough = reader.read().cpu_seconds.value() + 0.05;
    volatile uint64_t work = 0;
    for (int tries = 0; tries < 10'000 && reader.read().cpu_seconds.value() < enough; ++tries)
        for (int i = 0; i < 100'000; ++i)
            work = work + 1;
    CHECK(reader.read().cpu_seconds.value() >= enough);
}

TEST_CASE("without /proc an unknown figure is empty, not 0") {
    const ProcessFigures figures = ProcessFigureReader("/nonexistent").read();
    CHECK_FALSE(figures.cpu_seconds.has_value());
    CHECK_FALSE(figures.start_time_seconds.has_value());
    CHECK_FALSE(figures.resident_bytes.has_value());
    CHECK_FALSE(figures.virtual_bytes.has_value());
    CHECK_FALSE(figures.open_descriptors.has_value());
    CHECK_FALSE(figures.threads.has_value());
    CHECK(figures.descriptors_max.has_value()); // that one comes from a system call
}

TEST_CASE("the name of a process may look like other fields") {
    ProcessStat stat;
    CHECK(parse_process_stat(
        "12 (a) 9 (b) c)) S 1 2 3 4 5 6 7 8 9 10 100 20 0 0 20 0 3 0 5000 4096 7 rest\n", stat));
    CHECK(stat.cpu_ticks == 120);
    CHECK(stat.threads == 3);
    CHECK(stat.start_ticks == 5000);
    CHECK(stat.virtual_bytes == 4096);
    CHECK(stat.resident_pages == 7);
    CHECK_FALSE(parse_process_stat("", stat));
    CHECK_FALSE(parse_process_stat("12 (a) S 1 2", stat));
    CHECK_FALSE(parse_process_stat("12 a S 1 2 3 4 5 6 7 8 9 10 100 20 0 0 20 0 3 0 5 4 7", stat));
}
