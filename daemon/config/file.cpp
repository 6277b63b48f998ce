#include "common/clock.h"
#include "common/small_file.h"
#include "daemon/config/config.h"

#include <sys/stat.h>

namespace riposte {

Result<Config> load_config(const std::string& path) {
    const auto text = read_small_file(
        path, {.bytes_max = size_t{1024} * 1024, .advice = "name a TOML file with -c"});
    if (!text)
        return std::unexpected(text.error());
    return parse_config(*text, path);
}

bool is_just_written(int64_t modified_ns, int64_t now_ns) {
    constexpr int64_t settled_ns = 250'000'000;
    constexpr int64_t skew_ns = 2'000'000'000;
    return modified_ns > now_ns - settled_ns && modified_ns < now_ns + skew_ns;
}

bool is_just_written(const std::string& path) {
    struct stat status{};
    return ::stat(path.c_str(), &status) == 0 &&
           is_just_written(
               int64_t{status.st_mtim.tv_sec} * 1'000'000'000 + status.st_mtim.tv_nsec,
               static_cast<int64_t>(realtime_ns()));
}

} // namespace riposte
