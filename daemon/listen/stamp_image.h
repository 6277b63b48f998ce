// The sessions of every stamp listener as a file: how they outlive the process.
//
//     magic (8) | version (4) | size of a session (4) | secret (16) | number of listeners (4)
//     for each listener: size of its key (4) | key | number of sessions (4) | sessions
//
// Numbers have the byte order of the host: only another process of this machine reads them. The
// secret is part of the image, because a session's identity is known by its hash alone.
//
// An image may be as large as all tables together, so it is never held in memory: it is written and
// read through a buffer of a fixed size. A reader has gone through the whole image before it gives
// anything of it: sessions continue all, or begin anew all. The file must not change meanwhile.
#pragma once

#include "common/siphash.h"
#include "daemon/services/stamp_sessions.h"

#include <array>
#include <cstddef>
#include <cstdint>
#include <expected>
#include <optional>
#include <string>
#include <string_view>

namespace riposte {

/// Changes with every change of StampSession or of the format.
inline constexpr uint32_t stamp_image_version = 3;
inline constexpr size_t stamp_image_buffer_bytes = 16384;

/// Writes an image from the beginning of a file. Errors are kept until finish().
class StampImageWriter {
public:
    /// Borrows `fd`. `listeners`: how often begin_listener() will be called.
    StampImageWriter(int fd, const HashSecret& secret, uint32_t listeners) noexcept;

    /// `sessions`: how often add() will be called for this listener.
    void begin_listener(std::string_view key, uint32_t sessions) noexcept;
    void add(const StampSession& session) noexcept;

    /// All was added. The errno of the first write that failed; 0: the image is complete.
    int finish() noexcept;

private:
    void put(const void* from, size_t size) noexcept;
    void put_number(uint32_t number) noexcept { put(&number, sizeof number); }
    void flush() noexcept;

    int fd_;
    int error_ = 0;
    uint32_t listeners_left_;
    uint32_t sessions_left_ = 0;
    size_t used_ = 0;
    std::array<std::byte, stamp_image_buffer_bytes> buffer_{};
};

enum class StampImageProblem : uint8_t { other_version, damaged };

class StampImageReader {
public:
    struct Listener {
        std::string key; ///< ListenerEntry::key
        uint32_t sessions = 0;
    };

    /// Borrows `fd`, which has a whole image of this version, or there is no reader.
    static std::expected<StampImageReader, StampImageProblem> open(int fd);

    const HashSecret& secret() const noexcept { return secret_; }
    /// The next listener, when all sessions of the one before were taken; nothing at the end.
    std::optional<Listener> next_listener();
    /// The next session of the listener; nothing after the last.
    std::optional<StampSession> next_session();

private:
    explicit StampImageReader(int fd) noexcept : fd_(fd) {}
    bool read_head();
    bool reads_to_its_end();
    bool take(void* to, size_t size);
    uint32_t take_number();
    bool refill();

    int fd_;
    bool failed_ = false; ///< something was missing, or invalid; so is all that follows
    HashSecret secret_{};
    uint32_t listeners_left_ = 0;
    uint32_t sessions_left_ = 0;
    uint64_t file_at_ = 0; ///< of the first byte behind the buffer
    size_t used_ = 0;      ///< of the buffer
    size_t filled_ = 0;
    std::array<std::byte, stamp_image_buffer_bytes> buffer_{};
};

} // namespace riposte
