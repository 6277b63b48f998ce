// The configuration of `riposte probe`, in TOML: what is probed, how, and from where. Only keys
// that have an effect are accepted; each fault is one line with file, line, key and what to do.
#pragma once

#include "client/probe/figures.h"
#include "client/probe/selection.h"
#include "common/error.h"

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace riposte::client {

inline constexpr uint32_t probe_interval_ms_min = 10;
inline constexpr uint32_t probe_interval_ms_max = 3'600'000;
/// A round trip within it has a bucket of its own (compact_histogram.h).
inline constexpr uint32_t probe_timeout_ms_max = 10'000;
/// Of fewer bytes a damaged answer might look like that to another probe.
inline constexpr uint32_t probe_payload_bytes_min = 48;
inline constexpr size_t probe_source_ports_max = 64;
inline constexpr size_t neighbours_max = 100'000;
inline constexpr size_t series_max_max = 100'000'000;

struct ProbeConfig {
    uint32_t interval_ms = 1000; ///< of each target
    uint32_t timeout_ms = 2000;
    uint32_t payload_bytes = 64;
    std::optional<uint8_t> dscp = {};
    uint32_t resolve_every_ms = 60'000; ///< names are looked up again after that time
    uint32_t grace_ms = 600'000;
    SelectionRules selection = {};

    std::vector<uint16_t> source_ports = {}; ///< empty: the kernel chooses
    bool rotate = true;                      ///< a probe takes the next port; false: all of them

    std::vector<std::string> files = {}; ///< of [[discover]]: patterns
    std::vector<std::string> group = {}; ///< of [export]
    PairDetail pair = PairDetail::histogram;
    size_t series_max = 20'000; ///< of all targets; beyond, less of each is exported
    bool created = true;        ///< ProbeMetricsOptions
};

/// `name` is how messages call the text.
Result<ProbeConfig> parse_probe_config(std::string_view text, std::string_view name);
Result<ProbeConfig> load_probe_config(const std::string& path);

/// The keys whose new values take effect at a restart only, as "[probe] interval"; they keep the
/// running values.
std::vector<std::string> keep_until_restart(const ProbeConfig& running, ProbeConfig& wanted);

} // namespace riposte::client
