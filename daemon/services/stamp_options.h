// The configuration of the service stamp.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace riposte {

/// The sequence numbers of answers: counted for each session, or copied from the question.
enum class StampSequence : uint8_t { session, copy };
/// Which addresses and ports the answer to a Location TLV contains.
enum class StampLocation : uint8_t { none, source, all };

/// What answers say of the clock that they are stamped with: nothing, or what the kernel knows.
enum class StampClock : uint8_t { unknown, system };

std::string_view to_string(StampSequence sequence);
std::optional<StampSequence> parse_stamp_sequence(std::string_view text);
std::span<const std::string_view> stamp_sequence_names();
std::string_view to_string(StampLocation location);
std::optional<StampLocation> parse_stamp_location(std::string_view text);
std::span<const std::string_view> stamp_location_names();

std::string_view to_string(StampClock clock);
std::optional<StampClock> parse_stamp_clock(std::string_view text);
std::span<const std::string_view> stamp_clock_names();

/// Whether questions without a valid HMAC are answered as open ones.
enum class StampAuthentication : uint8_t { required, accepted };

std::string_view to_string(StampAuthentication authentication);
std::optional<StampAuthentication> parse_stamp_authentication(std::string_view text);
std::span<const std::string_view> stamp_authentication_names();

/// Where a key is, and for which SSID; without one, for those that have no key of their own.
struct StampKeyFile {
    std::optional<uint16_t> ssid{};
    std::string file{}; ///< an absolute path, or the name of a credential

    bool operator==(const StampKeyFile&) const = default;
};

struct StampSecret {
    std::optional<uint16_t> ssid{};
    std::vector<std::byte> key{};

    bool operator==(const StampSecret&) const = default;
};

inline constexpr uint32_t stamp_keys_max = 64;
inline constexpr uint32_t stamp_key_file_bytes_max = 4095; ///< of a path
inline constexpr uint8_t dscp_max = 63;
inline constexpr uint32_t stamp_sessions_max = 1'000'000;

struct StampOptions {
    StampSequence sequence = StampSequence::session;
    uint32_t sessions_max = 4096;     ///< of all workers together
    std::optional<uint8_t> dscp = {}; ///< of answers; absent: that of the question
    std::vector<uint8_t> cos = {};    ///< the DSCPs that a Class of Service TLV may ask for
    StampLocation location = StampLocation::none;
    StampClock clock = StampClock::unknown;
    std::string key_file{};
    std::vector<StampKeyFile> keys{};
    StampAuthentication authenticated = StampAuthentication::required; ///< if there are keys
    std::vector<StampSecret> secrets{}; ///< the content of the key files

    bool operator==(const StampOptions&) const = default;
};

} // namespace riposte
