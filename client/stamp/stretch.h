// One life of a reflector that counts its answers itself (RFC 8762, section 4): what was lost,
// duplicated and reordered on either way, from the two numbers of each answer.
//
// A question has the sender's number s. Of everything that arrives, the reflector answers each and
// numbers the answers r = 0, 1, 2, ... in that order. So, of the questions up to the newest one
// whose answer came, and of the answers up to the newest one that came:
//
//     answers of the reflector  R = highest r + 1
//     duplicated there          two answers with the same s and different r
//     lost back                 R less the different r that came
//     lost there                questions less (R less those duplicated there)
//     reordered there           in the order of r, an s that is less than one before it
//     reordered back            an r that comes after a higher one
//
// Questions behind the newest answered one stay undecided until a later answer comes. A question
// that arrived twice, one of whose answers was lost, is seen only as one answer too many.
#pragma once

#include "client/stamp/sequence_set.h"

#include <cstddef>
#include <cstdint>
#include <vector>

namespace riposte::client {

/// Of the questions of one life, or of all.
struct DirectionCounts {
    uint64_t sent = 0; ///< without those that have another outcome than an answer or a loss
    uint64_t lost_there = 0;
    uint64_t lost_back = 0;
    uint64_t undecided = 0; ///< lost on either way
    uint64_t duplicated_there = 0;
    uint64_t duplicated_back = 0;
    uint64_t reordered_there = 0; ///< of those whose answers came
    uint64_t reordered_back = 0;

    void add(const DirectionCounts& other);
    bool operator==(const DirectionCounts&) const = default;
};

/// The numbers of an answer, both without end: they wrap on the wire alone.
struct AnswerNumbers {
    uint64_t question = 0;
    int64_t answer = 0;
    uint64_t transmitted_ns = 0; ///< T3, by the reflector's clock
};

/// What an answer is besides the first one to its question.
struct OrderMarks {
    bool duplicated_there = false;
    bool duplicated_back = false;
    bool reordered_back = false;
};

class Stretch {
public:
    /// The life begins with the question `first`, and its answers with the number `base`. Answers
    /// and questions are remembered for `window` numbers, a power of two.
    Stretch(uint64_t first, int64_t base, size_t window);

    OrderMarks note(const AnswerNumbers& numbers, const SequenceSet& failed, bool is_regular);
    /// A question has another outcome than an answer or a loss.
    void note_failed(uint64_t question);

    /// What is known if `last` is the last regular question of this life. `failed` are
    /// those of note_failed().
    DirectionCounts counts(uint64_t last, const SequenceSet& failed) const;

    /// Is the answer's number taken by another question's answer?
    bool is_taken(const AnswerNumbers& numbers) const;
    /// The answer's number lies before everything that is remembered.
    bool is_forgotten(int64_t answer) const;
    /// The life is longer than was thought, at its beginning.
    void extend(uint64_t first, int64_t base, const SequenceSet& failed);

    bool empty() const { return all_.answers == 0; }
    uint64_t first() const { return first_; }
    int64_t base() const { return base_; }
    /// The newest question that was answered, and the highest number of an answer; if not empty().
    uint64_t newest_question() const { return all_.newest; }
    int64_t newest_answer() const { return all_.end - 1; }
    /// T3 of that one.
    uint64_t newest_transmitted_ns() const { return newest_transmitted_ns_; }

private:
    /// Of the regular questions, or of these and the closing ones.
    struct Tally {
        uint64_t newest;         ///< question that was answered; before the first one: first - 1
        int64_t end;             ///< the highest number of an answer, and 1
        uint64_t answers = 0;    ///< different numbers
        uint64_t duplicated = 0; ///< answers to a question that has one already
        uint64_t failed = 0;     ///< questions up to the newest
    };
    struct Losses {
        int64_t there;
        int64_t back;
    };
    struct Answer {
        int64_t number = -1;
        uint64_t question = 0;
    };
    struct Question {
        uint64_t number = 0;
        int64_t first_answer = 0; ///< the lowest of its answers' numbers
    };
    /// The order of arrival over there, as far as it was looked at.
    struct Order {
        int64_t next; ///< answer to be looked at
        uint64_t highest_question = 0;
        uint64_t reordered = 0;
    };

    void count(
        Tally& tally, const AnswerNumbers& numbers, bool is_duplicate, const SequenceSet& failed);
    Losses losses_of(const Tally& tally) const;
    void look(Order& order) const;
    void look_before(Order& order, int64_t end) const;
    Answer& slot(int64_t answer) { return answers_[static_cast<uint64_t>(answer) & mask_]; }
    const Answer& slot(int64_t answer) const {
        return answers_[static_cast<uint64_t>(answer) & mask_];
    }

    uint64_t first_;
    int64_t base_;
    uint64_t mask_;
    std::vector<Answer> answers_;     ///< by their numbers
    std::vector<Question> questions_; ///< by their numbers, those that were answered
    Tally regular_;
    Tally all_;
    Order order_;
    uint64_t duplicated_back_ = 0;
    uint64_t reordered_back_ = 0;
    uint64_t newest_transmitted_ns_ = 0;
};

} // namespace riposte::client
