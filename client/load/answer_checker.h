// What comes back on one connection, cut into answers and compared as it arrives. Sans-I/O.
//
// Answers have no frames: they are so many bytes each. Of an echo every byte is compared with what
// was sent at the same place of the stream (load_pattern.h). A damaged byte makes one answer wrong
// and leaves the next ones right; bytes that were left out or put in make everything after them
// wrong: then more than half of an answer's bytes differ, and the stream is out of step.
#pragma once

#include "client/load/load_pattern.h"
#include "client/measure/probe.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>

namespace riposte::client {

enum class AnswerCheck : uint8_t { correct, damaged, out_of_step };

/// What answers look like on every connection of a run.
struct AnswerShape {
    const LoadPattern* pattern = nullptr; ///< none: bytes are counted, not compared
    uint32_t bytes = 0;                   ///< of an answer
};

class AnswerChecker {
public:
    /// Nothing came yet, and the next byte is that at `position` of the pattern.
    void restart(size_t position) {
        position_ = static_cast<uint32_t>(position);
        received_ = wrong_ = 0;
    }

    /// How many bytes of the answer under way have come.
    uint32_t received() const { return received_; }
    /// How many bytes are missing from `answers` answers, the one under way being the first.
    uint64_t missing(const AnswerShape& shape, uint64_t answers) const {
        return answers * shape.bytes - received_;
    }

    /// Takes `piece`, which belongs to answers of `shape` (its data is not looked at if they are
    /// not compared), at most LoadPattern::piece_bytes_max of it if they are. Calls
    /// on_answer(AnswerCheck) for each answer that it completes.
    template<class OnAnswer>
    void take(const AnswerShape& shape, std::span<const std::byte> piece, OnAnswer&& on_answer) {
        const bool compared = shape.pattern != nullptr;
        if (compared && (wrong_ > 0 || !shape.pattern->matches(position_, piece))) {
            take_wrong(shape, piece, on_answer);
            return;
        }
        if (compared)
            position_ = static_cast<uint32_t>(shape.pattern->advance(position_, piece.size()));
        size_t bytes = received_ + piece.size();
        for (; bytes >= shape.bytes; bytes -= shape.bytes)
            on_answer(AnswerCheck::correct);
        received_ = static_cast<uint32_t>(bytes);
    }

private:
    /// Answer by answer, counting what is wrong in each.
    template<class OnAnswer>
    void take_wrong(
        const AnswerShape& shape, std::span<const std::byte> piece, OnAnswer&& on_answer) {
        while (!piece.empty()) {
            const size_t size = std::min<size_t>(piece.size(), shape.bytes - received_);
            const auto expected = shape.pattern->at(position_, size);
            wrong_ += static_cast<uint32_t>(size - matching_bytes(piece.first(size), expected));
            position_ = static_cast<uint32_t>(shape.pattern->advance(position_, size));
            received_ += static_cast<uint32_t>(size);
            piece = piece.subspan(size);
            if (received_ < shape.bytes)
                continue;
            const uint32_t wrong = wrong_;
            received_ = wrong_ = 0;
            on_answer(
                wrong == 0                 ? AnswerCheck::correct
                : wrong <= shape.bytes / 2 ? AnswerCheck::damaged
                                           : AnswerCheck::out_of_step);
        }
    }

    uint32_t position_ = 0; ///< of the next byte in the pattern
    uint32_t received_ = 0;
    uint32_t wrong_ = 0; ///< bytes of the answer under way
};

} // namespace riposte::client
