// HMAC-SHA-256, truncated to 16 bytes (RFC 8762, section 4.4; RFC 4868): of a base packet, and of
// the TLVs (RFC 8972, section 4.8).
//
// The computation is nettle's: it needs no memory of its own, has no global state, and makes no
// system call, so the sealed daemon may use it.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <expected>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <nettle/hmac.h>

namespace riposte::stamp {

inline constexpr size_t hmac_bytes = 16;
/// RFC 2104 advises against keys that are shorter than the hash; keys from 16 bytes on are in use.
inline constexpr size_t key_bytes_min = 16;
inline constexpr size_t key_bytes_max = 1024;

using Hmac = std::array<std::byte, hmac_bytes>;

/// A key, prepared: its state before the first byte is computed once.
class Key {
public:
    /// `bytes`: key_bytes_min to key_bytes_max.
    explicit Key(std::span<const std::byte> bytes);

    /// Of the two texts, one behind the other.
    Hmac sign(std::span<const std::byte> text, std::span<const std::byte> more = {}) const;
    /// Compares in a time that does not depend on the content. `hmac` has hmac_bytes.
    bool verify(
        std::span<const std::byte> hmac, std::span<const std::byte> text,
        std::span<const std::byte> more = {}) const;

private:
    hmac_sha256_ctx context_{};
};

/// A key as a file has it: hexadecimal digits, two a byte, or
/// else the bytes themselves. White space at the end is no part of it. The error says what is
/// wrong.
std::expected<std::vector<std::byte>, std::string> parse_key(std::string_view content);

} // namespace riposte::stamp
