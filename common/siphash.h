// SipHash-1-3 (Aumasson, Bernstein: "SipHash: a fast short-input PRF"): a keyed hash for tables
// whose keys strangers choose: without the secret they cannot make keys collide.
#pragma once

#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>

#include <sys/random.h>

namespace riposte {

using HashSecret = std::array<uint64_t, 2>;

/// Without entropy the tables still work, but an attacker could predict which keys collide.
inline HashSecret random_secret() noexcept {
    HashSecret secret{};
    if (getrandom(secret.data(), sizeof secret, GRND_NONBLOCK) != sizeof secret)
        secret = {reinterpret_cast<uintptr_t>(&secret), 0};
    return secret;
}

/// Of a text whose length is a multiple of eight bytes.
template<size_t size>
uint64_t siphash(const HashSecret& secret, const std::array<uint8_t, size>& text) noexcept {
    static_assert(size % 8 == 0);
    uint64_t v0 = secret[0] ^ 0x736f6d6570736575;
    uint64_t v1 = secret[1] ^ 0x646f72616e646f6d;
    uint64_t v2 = secret[0] ^ 0x6c7967656e657261;
    uint64_t v3 = secret[1] ^ 0x7465646279746573;
    const auto round = [&] {
        v0 += v1;
        v2 += v3;
        v1 = std::rotl(v1, 13) ^ v0;
        v3 = std::rotl(v3, 16) ^ v2;
        v0 = std::rotl(v0, 32);
        v2 += v1;
        v0 += v3;
        v1 = std::rotl(v1, 17) ^ v2;
        v3 = std::rotl(v3, 21) ^ v0;
        v2 = std::rotl(v2, 32);
    };
    std::array<uint64_t, size / 8 + 1> words{};
    std::memcpy(words.data(), text.data(), size);
    words.back() = uint64_t{size} << 56;
    for (const uint64_t word : words) {
        v3 ^= word;
        round();
        v0 ^= word;
    }
    v2 ^= 0xff;
    for (int i = 0; i < 3; ++i)
        round();
    return v0 ^ v1 ^ v2 ^ v3;
}

} // namespace riposte
