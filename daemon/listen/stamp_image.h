// The sessions of every stamp listener as bytes: how they outlive the process.
//
//     magic (8) | version (4) | size of a session (4) | secret (16)
//     for each listener: size of its key (4) | key | number of sessions (4) | sessions
//
// Numbers have the byte order of the host: only another process of this machine reads them. The
// secret is part of the image, because a session's identity is known by its hash alone.
#pragma once

#include "common/siphash.h"
#include "daemon/services/stamp_sessions.h"

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

namespace riposte {

struct StampImage {
    struct Listener {
        std::string key; ///< ListenerEntry::key
        std::vector<StampSession> sessions{};
    };

    HashSecret secret{};
    std::vector<Listener> listeners{};

    size_t count() const noexcept;
};

/// Changes with every change of StampSession or of the format.
inline constexpr uint32_t stamp_image_version = 2;

std::vector<std::byte> write_stamp_image(const StampImage& image);
/// Nothing if the bytes are not a whole image of this version.
std::optional<StampImage> read_stamp_image(std::span<const std::byte> bytes);

} // namespace riposte
