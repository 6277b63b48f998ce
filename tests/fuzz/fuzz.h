// Functions that the fuzz targets share.
//
// A target is one source with LLVMFuzzerTestOneInput: it passes the bytes to one part of the
// program and requires properties that hold for any bytes. Linked with libFuzzer (./dev fuzz), a
// broken property is a crash whose input is kept; with replay.cpp, in every build, the inputs of
// corpus/NAME are an ordinary test.
//
// A target keeps no state from one input to the next, so that each input can be replayed by itself.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <span>
#include <string>
#include <string_view>

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size); // NOLINT(*-naming)

namespace riposte::fuzz {

/// The property `what` must hold for any input. `detail` helps to find out why it does not.
inline void require(bool holds, std::string_view what, std::string_view detail = "") {
    if (holds)
        return;
    std::fprintf(
        stderr, "\nbroken: %.*s\n%.*s\n", static_cast<int>(what.size()), what.data(),
        static_cast<int>(detail.size()), detail.data());
    std::abort();
}

/// An error message fits into one line of a log or terminal, and has no control characters.
inline void require_one_line(std::string_view message, size_t bytes_max = 1024) {
    require(!message.empty(), "a message says something");
    require(message.size() <= bytes_max, "a message is not as long as what it is about", message);
    const auto printable = [](char c) { return c >= ' ' && c <= '~'; };
    require(
        std::ranges::all_of(message, printable), "a message is one line of printable ASCII",
        message);
}

/// Reads the input from its front. Beyond its end come zeros and empty texts.
class Input {
public:
    Input(const uint8_t* data, size_t size) : rest_(data, size) {}

    bool empty() const { return rest_.empty(); }

    uint8_t byte() {
        if (rest_.empty())
            return 0;
        const uint8_t byte = rest_.front();
        rest_ = rest_.subspan(1);
        return byte;
    }
    bool flag() { return (byte() & 1) != 0; }

    /// Little-endian.
    uint64_t number(size_t bytes = sizeof(uint64_t)) {
        uint64_t number = 0;
        for (size_t i = 0; i < bytes; i++)
            number |= uint64_t{byte()} << (8 * i);
        return number;
    }
    /// 0 .. n-1; n is 1 to 65536.
    uint32_t below(uint32_t n) { return static_cast<uint32_t>(number(n > 256 ? 2 : 1)) % n; }
    /// low .. high, both possible.
    uint32_t between(uint32_t low, uint32_t high) { return low + below(high - low + 1); }

    std::span<const uint8_t> bytes(size_t max) {
        const auto taken = rest_.first(std::min(max, rest_.size()));
        rest_ = rest_.subspan(taken.size());
        return taken;
    }
    std::string text(size_t max) {
        const auto taken = bytes(max);
        return {taken.begin(), taken.end()};
    }
    std::string rest() { return text(rest_.size()); }

private:
    std::span<const uint8_t> rest_;
};

} // namespace riposte::fuzz
