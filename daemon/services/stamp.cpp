// RFC 8762, Simple Two-Way Active Measurement Protocol: the reflector, over UDP alone. A datagram
// is answered by StampReflector, by when and how it arrived.
#include "daemon/services/services.h"
#include "daemon/services/stamp_reflector.h"

#include <algorithm>
#include <array>

namespace riposte {
namespace {

class Stamp final : public Service {
public:
    explicit Stamp(StampPolicy policy) : reflector_(std::move(policy)) {}

    const StampReflector* reflector() const noexcept override { return &reflector_; }

    /// Without a time of arrival there is nothing to answer.
    DatagramReply datagram(const ServiceContext&, std::span<std::byte>) const noexcept override {
        return {DatagramReply::Verdict::drop, 0};
    }

private:
    StampReflector reflector_;
};

constexpr std::array<std::string_view, 2> sequence_names = {"session", "copy"};
constexpr std::array<std::string_view, 2> authentication_names = {"required", "accepted"};
constexpr std::array<std::string_view, 2> clock_names = {"unknown", "system"};
constexpr std::array<std::string_view, 3> location_names = {"none", "source", "all"};

template<class Word>
std::optional<Word> word_of(std::span<const std::string_view> names, std::string_view text) {
    const auto found = std::ranges::find(names, text);
    if (found == names.end())
        return std::nullopt;
    return static_cast<Word>(found - names.begin());
}

} // namespace

std::string_view to_string(StampSequence sequence) {
    return sequence_names[static_cast<size_t>(sequence)];
}

std::optional<StampSequence> parse_stamp_sequence(std::string_view text) {
    return word_of<StampSequence>(sequence_names, text);
}

std::span<const std::string_view> stamp_sequence_names() {
    return sequence_names;
}

std::string_view to_string(StampLocation location) {
    return location_names[static_cast<size_t>(location)];
}

std::optional<StampLocation> parse_stamp_location(std::string_view text) {
    return word_of<StampLocation>(location_names, text);
}

std::span<const std::string_view> stamp_location_names() {
    return location_names;
}

std::string_view to_string(StampClock clock) {
    return clock_names[static_cast<size_t>(clock)];
}

std::optional<StampClock> parse_stamp_clock(std::string_view text) {
    return word_of<StampClock>(clock_names, text);
}

std::span<const std::string_view> stamp_clock_names() {
    return clock_names;
}

std::string_view to_string(StampAuthentication authentication) {
    return authentication_names[static_cast<size_t>(authentication)];
}

std::optional<StampAuthentication> parse_stamp_authentication(std::string_view text) {
    return word_of<StampAuthentication>(authentication_names, text);
}

std::span<const std::string_view> stamp_authentication_names() {
    return authentication_names;
}

std::shared_ptr<const Service> make_stamp(const StampOptions& options) {
    uint64_t dscps = 0;
    for (const uint8_t dscp : options.cos)
        dscps |= uint64_t{1} << dscp;
    std::vector<StampKey> keys;
    keys.reserve(options.secrets.size());
    for (const StampSecret& secret : options.secrets)
        keys.push_back({.ssid = secret.ssid, .key = stamp::Key(secret.key)});
    const bool required = options.authenticated == StampAuthentication::required;
    return std::make_shared<Stamp>(StampPolicy{
        .stateful = options.sequence == StampSequence::session,
        .authenticated_only = !keys.empty() && required,
        .keys = std::move(keys),
        .dscp = options.dscp,
        .clock = options.clock,
        .tlvs = {.location = options.location, .dscps = dscps}});
}

} // namespace riposte
