#include "client/load/load_pattern.h"

#include <cassert>
#include <cstring>
#include <random>

namespace riposte::client {

namespace {

/// Two primes, since no request may be a multiple of the one that is used. Small enough for the
/// first cache, next to what else is touched for each request.
constexpr size_t usual_period = 8191;
constexpr size_t other_period = 8179;

} // namespace

LoadPattern::LoadPattern(uint64_t seed, size_t request_bytes)
    : period_(request_bytes % usual_period != 0 ? usual_period : other_period),
      bytes_(period_ + piece_bytes_max) {
    std::mt19937_64 random(seed);
    for (size_t i = 0; i < period_; i++)
        bytes_[i] = static_cast<std::byte>(random() >> 32U);
    for (size_t i = period_; i < bytes_.size(); i++)
        bytes_[i] = bytes_[i - period_];
}

bool LoadPattern::matches(size_t position, std::span<const std::byte> piece) const {
    assert(position < period_ && piece.size() <= piece_bytes_max);
    return std::memcmp(bytes_.data() + position, piece.data(), piece.size()) == 0;
}

} // namespace riposte::client
