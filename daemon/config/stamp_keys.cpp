#include "daemon/config/stamp_keys.h"

#include "common/small_file.h"
#include "common/stamp/hmac.h"
#include "common/text.h"

#include <cstdlib>

#include <fmt/format.h>

namespace riposte {
namespace {

constexpr size_t key_file_bytes_max = 4096;

/// The file's path, or an error.
Result<std::string> path_of(const std::string& file) {
    if (file.starts_with('/'))
        return file;
    // The environment never changes once threads run.
    const char* const directory =
        std::getenv("CREDENTIALS_DIRECTORY"); // NOLINT(concurrency-mt-unsafe)
    if (directory == nullptr || *directory == '\0')
        return fail(
            Exit::config,
            fmt::format(
                "key file '{}': systemd passed no credentials; write LoadCredential={} "
                "into the unit, or an absolute path",
                escape(file), escape(file)));
    return fmt::format("{}/{}", directory, file);
}

Result<StampSecret> read_secret(const StampKeyFile& key) {
    const auto path = path_of(key.file);
    if (!path)
        return std::unexpected(path.error());
    const auto content = read_small_file(
        *path, {.bytes_max = key_file_bytes_max,
                .advice = "name a file with a key of 16 bytes or more",
                .secret = true});
    if (!content)
        return std::unexpected(content.error());
    auto bytes = stamp::parse_key(*content);
    if (!bytes)
        return fail(
            Exit::config, fmt::format("key file {}: {}", escape(*path, 4096), bytes.error()));
    return StampSecret{.ssid = key.ssid, .key = std::move(*bytes)};
}

} // namespace

Result<void> load_stamp_keys(Config& config) {
    for (ListenerConfig& listen : config.listen) {
        StampOptions& options = listen.options.stamp;
        std::vector<StampKeyFile> files = options.keys;
        if (!options.key_file.empty())
            files.push_back({.ssid = {}, .file = options.key_file});
        options.secrets.clear();
        for (const StampKeyFile& file : files) {
            auto secret = read_secret(file);
            if (!secret)
                return fail(
                    secret.error().exit,
                    fmt::format("{}: {}", listen.origin, secret.error().message));
            options.secrets.push_back(std::move(*secret));
        }
    }
    return {};
}

} // namespace riposte
