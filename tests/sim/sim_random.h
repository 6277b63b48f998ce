// Every choice of a simulated run comes from here, so that a seed is a whole run. The engine's
// output is fixed by the standard; the distributions of the standard library are not, so they are
// not used: the same seed is the same run with every compiler.
//
// A fuzzer can pass choices of its own (tests/fuzz/fuzz_worker.cpp): they are taken first, one to
// four bytes each; the seed makes all later ones.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <random>
#include <span>

namespace riposte::sim {

class Random {
public:
    explicit Random(uint64_t seed, std::span<const uint8_t> choices = {})
        : engine_(seed * 0x9e3779b97f4a7c15ULL + 1), choices_(choices) {}

    /// 0 .. n-1; n is at least 1. The bias of the remainder does not matter here.
    uint32_t below(uint32_t n) { return static_cast<uint32_t>(next(n) % n); }
    /// low .. high, both possible.
    uint32_t between(uint32_t low, uint32_t high) { return low + below(high - low + 1); }
    bool chance(uint32_t percent) { return below(100) < percent; }

private:
    uint64_t next(uint32_t n) {
        if (choices_.empty())
            return engine_();
        uint64_t choice = 0;
        const size_t size = std::min<size_t>(n <= 256 ? 1 : n <= 65536 ? 2 : 4, choices_.size());
        for (const uint8_t byte : choices_.first(size))
            choice = choice << 8 | byte;
        choices_ = choices_.subspan(size);
        return choice;
    }

    std::mt19937_64 engine_;
    std::span<const uint8_t> choices_;
};

} // namespace riposte::sim
