// What the words of `riposte ping` mean that are for stamp:// alone, and the size of its packets.
#include "client/options/options_values.h"
#include "client/options/raw_options.h"
#include "client/stamp/stamp_packet.h"
#include "common/small_file.h"
#include "common/stamp/hmac.h"
#include "common/text.h"

#include <algorithm>
#include <string>
#include <string_view>
#include <utility>

#include <fmt/format.h>

namespace riposte::client {

namespace {

constexpr size_t key_file_bytes_max = 4096;

Result<void> read_key(const RawValue& word, std::vector<std::byte>& target) {
    if (!word)
        return {};
    const auto content = read_small_file(
        *word, {.bytes_max = key_file_bytes_max,
                .advice = "name a file with a key of 16 bytes or more",
                .secret = true,
                .reader = "your user"});
    if (!content)
        return usage(fmt::format("--key-file: {}", content.error().message));
    auto key = stamp::parse_key(*content);
    if (!key)
        return usage(fmt::format("--key-file {}: {}", escape(*word, 4096), key.error()));
    target = std::move(*key);
    return {};
}

/// Padding takes the header of its TLV at least.
Result<void> read_size(const RawPing& words, const PathOptions& path, PingOptions& ping) {
    if (!words.size)
        return {};
    QuestionShape shape{.dscp = path.dscp};
    if (!ping.stamp.key.empty())
        shape.key = std::make_shared<const stamp::Key>(ping.stamp.key);
    const size_t base = base_bytes(shape);
    const size_t bytes = ping.payload_bytes;
    if (bytes != base && bytes < base + padding_bytes_min)
        return usage(fmt::format(
            "--size {}: a question of STAMP has {} bytes{}, or {} and more", bytes, base,
            path.dscp ? " with --dscp" : "", base + padding_bytes_min));
    ping.stamp.bytes = ping.payload_bytes;
    return {};
}

} // namespace

Result<void> read_stamp(const RawPing& words, const PathOptions& path, PingOptions& ping) {
    const auto endpoint = std::ranges::find(ping.endpoints, true, &Endpoint::stamp);
    if (endpoint == ping.endpoints.end()) {
        if (words.key_file || words.ssid)
            return usage(fmt::format(
                "{} is for endpoints that begin with stamp://, and there is none",
                words.key_file ? "--key-file" : "--ssid"));
        return {};
    }
    if (ping.mtu || ping.flows > 0)
        return usage(fmt::format(
            "{} is for udp://, not for {}", ping.mtu ? "--mtu" : "--flows", to_string(*endpoint)));
    uint16_t ssid = 0;
    if (auto read = read_number("--ssid", words.ssid, 0, UINT16_MAX, ssid); !read)
        return read;
    if (words.ssid)
        ping.stamp.ssid = ssid;
    if (auto read = read_key(words.key_file, ping.stamp.key); !read)
        return read;
    return read_size(words, path, ping);
}

} // namespace riposte::client
