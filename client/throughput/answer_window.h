// Which datagrams of a socket have been answered: counts, without a memory of each. Sans-I/O.
//
// Datagrams are numbered from 1. A bit stands for each of the last `size` numbers up to the highest
// that was answered, so that a further answer differs from a first one; an answer that is older
// than all of them counts as a first one.
#pragma once

#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace riposte::client {

enum class AnswerOrder : uint8_t { in_order, reordered, duplicate };

class AnswerWindow {
public:
    /// Rounded up to a power of two, at least 64.
    explicit AnswerWindow(size_t size) : bits_(std::bit_ceil(std::max<size_t>(size, 64)) / 64) {}

    AnswerOrder take(uint64_t number) {
        if (number > highest_) {
            for (uint64_t gone = highest_ + 1; gone < number && gone < highest_ + 1 + size();
                 gone++)
                clear(gone);
            highest_ = number;
            set(number);
            return AnswerOrder::in_order;
        }
        if (highest_ - number >= size())
            return AnswerOrder::reordered;
        if (is_set(number))
            return AnswerOrder::duplicate;
        set(number);
        return AnswerOrder::reordered;
    }

private:
    uint64_t size() const { return bits_.size() * 64; }
    uint64_t& word(uint64_t number) { return bits_[number / 64 % bits_.size()]; }
    static uint64_t bit(uint64_t number) { return uint64_t{1} << number % 64; }
    void set(uint64_t number) { word(number) |= bit(number); }
    void clear(uint64_t number) { word(number) &= ~bit(number); }
    bool is_set(uint64_t number) { return (word(number) & bit(number)) != 0; }

    std::vector<uint64_t> bits_;
    uint64_t highest_ = 0;
};

} // namespace riposte::client
