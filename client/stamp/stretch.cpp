#include "client/stamp/stretch.h"

#include <algorithm>
#include <bit>
#include <cassert>

namespace riposte::client {

namespace {

uint64_t not_negative(int64_t number) {
    return static_cast<uint64_t>(std::max<int64_t>(number, 0));
}

} // namespace

void DirectionCounts::add(const DirectionCounts& other) {
    sent += other.sent;
    lost_there += other.lost_there;
    lost_back += other.lost_back;
    undecided += other.undecided;
    duplicated_there += other.duplicated_there;
    duplicated_back += other.duplicated_back;
    reordered_there += other.reordered_there;
    reordered_back += other.reordered_back;
}

Stretch::Stretch(uint64_t first, int64_t base, size_t window)
    : first_(first), base_(base), mask_(window - 1), answers_(window), questions_(window),
      regular_{.newest = first - 1, .end = base}, all_(regular_), order_{.next = base} {
    assert(std::has_single_bit(window) && first > 0);
}

bool Stretch::is_forgotten(int64_t answer) const {
    return answer < base_ || answer + static_cast<int64_t>(mask_) < all_.end;
}

bool Stretch::is_taken(const AnswerNumbers& numbers) const {
    if (is_forgotten(numbers.answer))
        return false;
    const Answer& known = slot(numbers.answer);
    return known.number == numbers.answer && known.question != numbers.question;
}

void Stretch::extend(uint64_t first, int64_t base, const SequenceSet& failed) {
    assert(first < first_);
    for (Tally* const tally : {&regular_, &all_})
        tally->failed += failed.count(first, first_ - 1);
    first_ = first;
    base_ = std::min(base_, base);
    order_.next = std::min(order_.next, base_);
    if (regular_.answers == 0) // a closing question was the first one
        regular_ = {.newest = first_ - 1, .end = base_};
}

/// What is forgotten counts as a duplicate: it is a copy that was under way for very long.
OrderMarks Stretch::note(const AnswerNumbers& numbers, const SequenceSet& failed, bool is_regular) {
    if (is_forgotten(numbers.answer) || slot(numbers.answer).number == numbers.answer) {
        duplicated_back_++;
        return {.duplicated_back = true};
    }
    // What leaves the window takes its place in the order for good.
    look_before(order_, numbers.answer - static_cast<int64_t>(mask_));
    slot(numbers.answer) = {.number = numbers.answer, .question = numbers.question};
    Question& question = questions_[numbers.question & mask_];
    const bool is_duplicate = question.number == numbers.question;
    question = {
        .number = numbers.question,
        .first_answer =
            is_duplicate ? std::min(question.first_answer, numbers.answer) : numbers.answer};
    const bool is_reordered = numbers.answer < all_.end - 1;
    reordered_back_ += static_cast<uint64_t>(is_reordered);
    if (!is_reordered)
        newest_transmitted_ns_ = numbers.transmitted_ns;
    if (is_regular)
        count(regular_, numbers, is_duplicate, failed);
    count(all_, numbers, is_duplicate, failed);
    return {
        .duplicated_there = is_duplicate, .duplicated_back = false, .reordered_back = is_reordered};
}

void Stretch::count(
    Tally& tally, const AnswerNumbers& numbers, bool is_duplicate, const SequenceSet& failed) {
    tally.answers++;
    tally.duplicated += static_cast<uint64_t>(is_duplicate);
    tally.end = std::max(tally.end, numbers.answer + 1);
    if (numbers.question > tally.newest) {
        tally.failed += failed.count(tally.newest + 1, numbers.question);
        tally.newest = numbers.question;
    }
}

void Stretch::note_failed(uint64_t question) {
    if (question < first_)
        return;
    regular_.failed += static_cast<uint64_t>(question <= regular_.newest);
    all_.failed += static_cast<uint64_t>(question <= all_.newest);
}

/// The next answer in the order in which the questions arrived.
void Stretch::look(Order& order) const {
    const Answer& answer = slot(order.next);
    if (answer.number == order.next) {
        const Question& question = questions_[answer.question & mask_];
        const bool is_copy =
            question.number == answer.question && question.first_answer < answer.number;
        if (!is_copy) {
            order.reordered += static_cast<uint64_t>(answer.question < order.highest_question);
            order.highest_question = std::max(order.highest_question, answer.question);
        }
    }
    order.next++;
}

/// All answers before `end`. A reflector may leave out any number of them: those that are
/// remembered are in the window that ends with the newest one.
void Stretch::look_before(Order& order, int64_t end) const {
    order.next = std::max(order.next, all_.end - 1 - static_cast<int64_t>(mask_));
    while (order.next < std::min(end, all_.end))
        look(order);
    order.next = std::max(order.next, end);
}

Stretch::Losses Stretch::losses_of(const Tally& tally) const {
    const auto questions = static_cast<int64_t>(tally.newest + 1 - first_ - tally.failed);
    const int64_t answers = tally.end - base_;
    return {
        .there = questions - (answers - static_cast<int64_t>(tally.duplicated)),
        .back = answers - static_cast<int64_t>(tally.answers)};
}

DirectionCounts Stretch::counts(uint64_t last, const SequenceSet& failed) const {
    Losses losses = losses_of(regular_);
    const uint64_t tail_first = regular_.newest + 1;
    const auto tail = static_cast<int64_t>(
        last < tail_first ? 0 : last + 1 - tail_first - failed.count(tail_first, last));
    int64_t undecided = tail;
    if (all_.newest > last && tail > 0) {
        // Closing questions that got no answer themselves may be what is missing.
        const Losses with_closing = losses_of(all_);
        const auto closing_answered = static_cast<int64_t>(
            all_.answers - all_.duplicated - (regular_.answers - regular_.duplicated));
        const int64_t silent = static_cast<int64_t>(all_.newest - last) - closing_answered -
                               static_cast<int64_t>(failed.count(last + 1, all_.newest));
        const int64_t there =
            std::clamp<int64_t>(with_closing.there - losses.there - silent, 0, tail);
        const int64_t back =
            std::clamp<int64_t>(with_closing.back - losses.back - silent, 0, tail - there);
        losses.there += there;
        losses.back += back;
        undecided = tail - there - back;
    }
    // One answer more than there were questions: a question arrived twice, unseen.
    const int64_t unseen = std::max<int64_t>(-losses.there, 0);
    Order order = order_;
    look_before(order, all_.end);
    const uint64_t answered = regular_.answers - regular_.duplicated;
    return {
        .sent = answered + not_negative(losses.there) + not_negative(losses.back - unseen) +
                static_cast<uint64_t>(undecided),
        .lost_there = not_negative(losses.there),
        .lost_back = not_negative(losses.back - unseen),
        .undecided = static_cast<uint64_t>(undecided),
        .duplicated_there = regular_.duplicated + static_cast<uint64_t>(unseen),
        .duplicated_back = duplicated_back_,
        .reordered_there = order.reordered,
        .reordered_back = reordered_back_};
}

} // namespace riposte::client
