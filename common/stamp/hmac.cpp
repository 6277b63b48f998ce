#include "common/stamp/hmac.h"

#include <algorithm>
#include <cassert>

#include <fmt/format.h>
#include <nettle/memops.h>

namespace riposte::stamp {

namespace {

const uint8_t* octets(std::span<const std::byte> bytes) {
    return reinterpret_cast<const uint8_t*>(bytes.data());
}

int digit_of(char c) {
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

std::vector<std::byte> from_digits(std::string_view digits) {
    std::vector<std::byte> bytes;
    for (size_t i = 0; i + 1 < digits.size(); i += 2)
        bytes.push_back(static_cast<std::byte>(digit_of(digits[i]) << 4 | digit_of(digits[i + 1])));
    return bytes;
}

} // namespace

Key::Key(std::span<const std::byte> bytes) {
    assert(bytes.size() >= key_bytes_min && bytes.size() <= key_bytes_max);
    hmac_sha256_set_key(&context_, bytes.size(), octets(bytes));
}

Hmac Key::sign(std::span<const std::byte> text, std::span<const std::byte> more) const {
    hmac_sha256_ctx context = context_;
    hmac_sha256_update(&context, text.size(), octets(text));
    hmac_sha256_update(&context, more.size(), octets(more));
    Hmac hmac;
    hmac_sha256_digest(&context, hmac.size(), reinterpret_cast<uint8_t*>(hmac.data()));
    return hmac;
}

bool Key::verify(
    std::span<const std::byte> hmac, std::span<const std::byte> text,
    std::span<const std::byte> more) const {
    assert(hmac.size() == hmac_bytes);
    const Hmac right = sign(text, more);
    return memeql_sec(right.data(), hmac.data(), hmac_bytes) != 0;
}

std::expected<std::vector<std::byte>, std::string> parse_key(std::string_view content) {
    const size_t end = content.find_last_not_of(" \t\r\n");
    const std::string_view text = content.substr(0, end == content.npos ? 0 : end + 1);
    const bool is_hex =
        text.size() % 2 == 0 && std::ranges::all_of(text, [](char c) { return digit_of(c) >= 0; });
    const auto characters = std::as_bytes(std::span(text));
    std::vector<std::byte> key =
        is_hex ? from_digits(text) : std::vector<std::byte>(characters.begin(), characters.end());
    if (key.size() < key_bytes_min)
        return std::unexpected(fmt::format(
            "the key has {} bytes, and must have at least {}: `openssl rand -hex 32` makes one of "
            "32",
            key.size(), key_bytes_min));
    if (key.size() > key_bytes_max)
        return std::unexpected(fmt::format(
            "the key has {} bytes, and may have at most {}", key.size(), key_bytes_max));
    return key;
}

} // namespace riposte::stamp
