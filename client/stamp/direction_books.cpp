#include "client/stamp/direction_books.h"

#include <algorithm>
#include <cassert>
#include <utility>

namespace riposte::client {

namespace {

/// By so much the numbers of answers may rise beyond those of the questions, by duplicates.
constexpr int64_t jump_play = 64;

} // namespace

void DirectionBooks::sent(uint64_t question) {
    assert(question == last_ + 1);
    last_ = question;
}

void DirectionBooks::failed(uint64_t question) {
    failed_.add(question);
    failed_regular_ += static_cast<uint64_t>(question < closing_from_);
    if (before_)
        before_->note_failed(question);
    if (now_)
        now_->note_failed(question);
}

OrderMarks DirectionBooks::answered(const Answered& answer) {
    any_ = true;
    differs_ = differs_ || answer.number != static_cast<uint32_t>(answer.question);
    if (!now_)
        begin(answer);
    else if (is_restart(in(*now_, answer)))
        restart(answer);
    Stretch* const life = life_of(answer);
    if (life == nullptr)
        return {.duplicated_back = true};
    return life->note(in(*life, answer), failed_, answer.question < closing_from_);
}

/// The answer's number is the one nearest to the highest of that life.
AnswerNumbers DirectionBooks::in(const Stretch& life, const Answered& answer) {
    const int64_t newest = life.newest_answer();
    return {
        .question = answer.question,
        .answer = newest + static_cast<int32_t>(answer.number - static_cast<uint32_t>(newest)),
        .transmitted_ns = answer.transmitted_ns};
}

/// A session that the reflector knows from before has counted more than was asked.
void DirectionBooks::begin(const Answered& answer) {
    const uint64_t asked = answer.question - failed_.count(1, answer.question);
    const bool is_new = answer.number < asked;
    now_ = std::make_unique<Stretch>(
        is_new ? 1 : answer.question, is_new ? 0 : static_cast<int64_t>(answer.number), window_);
}

/// Only an answer to a question that is newer than all before can be the first of a new life.
bool DirectionBooks::is_restart(const AnswerNumbers& numbers) const {
    if (numbers.question <= now_->newest_question())
        return false;
    const int64_t newest = now_->newest_answer();
    const auto asked = static_cast<int64_t>(numbers.question - now_->newest_question());
    if (numbers.answer > newest)
        return numbers.answer - newest > 2 * asked + jump_play;
    return now_->is_taken(numbers) || now_->is_forgotten(numbers.answer) ||
           numbers.transmitted_ns > now_->newest_transmitted_ns();
}

/// What the new life has counted before this answer are the questions that were sent last.
void DirectionBooks::restart(const Answered& answer) {
    uint64_t first = answer.question;
    uint64_t missing = answer.number;
    while (missing > 0 && first - 1 > now_->newest_question()) {
        first--;
        missing -= 1 - failed_.count(first, first);
    }
    const int64_t base = missing == 0 ? 0 : answer.number; // else it counts from somewhere
    if (missing > 0)
        first = answer.question;
    if (before_) {
        const LifeCounts life = counts_of(*before_, now_->first() - 1);
        ended_.add(life.counts);
        if (ended_lives_.size() < lives_max)
            ended_lives_.push_back(life);
    }
    before_ = std::move(now_);
    now_ = std::make_unique<Stretch>(first, base, window_);
    failed_.forget_before(before_->first());
    restarts_++;
}

/// Null: in no life the answer could have that number.
Stretch* DirectionBooks::life_of(const Answered& answer) {
    if (answer.question >= now_->first())
        return now_.get();
    if (before_ && !before_->is_taken(in(*before_, answer)))
        return before_.get();
    const AnswerNumbers numbers = in(*now_, answer);
    if (now_->is_taken(numbers) || (before_ && answer.question <= before_->newest_question()))
        return nullptr;
    now_->extend(answer.question, numbers.answer, failed_);
    return now_.get();
}

uint64_t DirectionBooks::last_regular() const {
    return std::min(last_, closing_from_ - 1);
}

LifeCounts DirectionBooks::counts_of(const Stretch& life, uint64_t last) const {
    return {
        .first = life.first(),
        .last = std::min(last, last_regular()),
        .counts = life.counts(std::min(last, last_regular()), failed_)};
}

bool DirectionBooks::has_tail() const {
    if (!now_)
        return false;
    const uint64_t tail = last_regular() - std::min(last_regular(), now_->newest_question());
    return tail > failed_.count(now_->newest_question() + 1, last_regular());
}

DirectionCounts DirectionBooks::counts() const {
    DirectionCounts all = ended_;
    if (before_)
        all.add(counts_of(*before_, now_->first() - 1).counts);
    if (now_)
        all.add(counts_of(*now_, last_regular()).counts);
    // Before a life that was found in its middle, nothing is known.
    const uint64_t sent = last_regular() - failed_regular_;
    all.undecided += sent - std::min(all.sent, sent);
    all.sent = sent;
    return all;
}

std::vector<LifeCounts> DirectionBooks::lives() const {
    std::vector<LifeCounts> all = ended_lives_;
    if (before_)
        all.push_back(counts_of(*before_, now_->first() - 1));
    if (now_)
        all.push_back(counts_of(*now_, last_regular()));
    return all;
}

} // namespace riposte::client
