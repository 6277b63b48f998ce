// Which way a question or its answer was lost, over a whole run: the lives of a reflector one
// after the other (stretch.h), and whether it counts at all.
//
// Reflectors that copy the question's number into the answer tell nothing about the ways. The
// first question has the number 1, as if one had been lost before it: a reflector that counts
// answers it with 0, one that copies with 1. (RFC 8762 lets numbers begin with 0; to a reflector
// the difference is that of a lost packet.)
//
// A reflector that was restarted counts from 0 again: a question that is newer than all before gets
// a number that is lower than one before, and not because an older answer was overtaken on its way
// (its time of sending is later, or the number was another question's). Questions between the two
// lives that got no answer stay undecided, except for those that the new one has counted.
#pragma once

#include "client/stamp/stretch.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

namespace riposte::client {

enum class Counting : uint8_t {
    unknown, ///< nothing was answered
    session, ///< "stateful"
    copy     ///< "stateless"
};

/// A life of the reflector, and its questions.
struct LifeCounts {
    uint64_t first = 0; ///< question
    uint64_t last = 0;
    DirectionCounts counts;
};

class DirectionBooks {
public:
    /// The answers to `window` questions are remembered, a power of two; as many are under way at
    /// most.
    explicit DirectionBooks(size_t window) : window_(window) {}

    /// The question was sent; numbers are consecutive from 1.
    void sent(uint64_t question);
    /// It has another outcome than an answer or a loss: refused, not sent, and so on. Once.
    void failed(uint64_t question);
    /// Questions from the next one on belong to no figure; they only show what became of those
    /// before.
    void close() { closing_from_ = std::min(closing_from_, last_ + 1); }

    struct Answered {
        uint64_t question = 0;
        uint32_t number = 0; ///< of the answer, as it is on the wire
        uint64_t transmitted_ns = 0;
    };
    OrderMarks answered(const Answered& answer);

    Counting counting() const {
        return !any_ ? Counting::unknown : differs_ ? Counting::session : Counting::copy;
    }
    /// Of all lives. Only with Counting::session it says something about the ways.
    DirectionCounts counts() const;
    /// Are there questions behind the newest answered one?
    bool has_tail() const;
    /// Has the reflector been restarted?
    uint64_t restarts() const { return restarts_; }
    /// Of each life, as long as they are not too many: at most lives_max, and the last one.
    std::vector<LifeCounts> lives() const;

    static constexpr size_t lives_max = 64;

private:
    uint64_t last_regular() const;
    static AnswerNumbers in(const Stretch& life, const Answered& answer);
    void begin(const Answered& answer);
    bool is_restart(const AnswerNumbers& numbers) const;
    Stretch* life_of(const Answered& answer);
    void restart(const Answered& answer);
    LifeCounts counts_of(const Stretch& life, uint64_t last) const;

    size_t window_;
    uint64_t last_ = 0; ///< question that was sent
    uint64_t closing_from_ = UINT64_MAX;
    SequenceSet failed_; ///< those that a life may still ask for
    uint64_t failed_regular_ = 0;
    std::unique_ptr<Stretch> before_;
    std::unique_ptr<Stretch> now_; ///< null: nothing was answered
    DirectionCounts ended_;        ///< of the lives before these
    std::vector<LifeCounts> ended_lives_;
    uint64_t restarts_ = 0;
    bool any_ = false;
    bool differs_ = false; ///< an answer had another number than its question
};

} // namespace riposte::client
