#include "client/send/answer.h"

#include "common/text.h"

#include <algorithm>
#include <utility>

#include <fmt/format.h>

namespace riposte::client {

namespace {

constexpr size_t head_bytes_max = 100; ///< of an answer in a line about it

} // namespace

AnswerWatch::AnswerWatch(AnswerRules rules) : rules_(std::move(rules)) {
    if (rules_.until)
        until_.emplace(*rules_.until);
    if (rules_.expect)
        expect_.emplace(*rules_.expect);
}

/// Where the answer ends, if it ends in `piece` whatever it must contain.
std::optional<size_t> AnswerWatch::end_of(std::string_view piece) {
    if (rules_.first)
        return piece.size();
    if (until_)
        return until_->feed(piece);
    if (rules_.until_bytes && piece.size() >= *rules_.until_bytes - bytes_)
        return static_cast<size_t>(*rules_.until_bytes - bytes_);
    return std::nullopt;
}

size_t AnswerWatch::take(std::string_view piece) {
    taken_ = true;
    const std::optional<size_t> end = end_of(piece);
    const std::string_view answer = piece.substr(0, end.value_or(piece.size()));
    bytes_ += answer.size();
    head_ += answer.substr(0, head_bytes_max - std::min(head_.size(), head_bytes_max));
    over_ = end.has_value();
    if (expect_ && !met_) {
        met_ = expect_->feed(answer).has_value() || (over_ && expect_->finish());
        over_ = over_ || (ends_with_content() && met_);
    }
    return answer.size();
}

void AnswerWatch::finish() {
    if (until_ && !over_)
        over_ = until_->finish();
    if (expect_ && !met_)
        met_ = expect_->finish();
    over_ = over_ || (ends_with_content() && met_);
}

/// What the answer must contain ends it if nothing else does.
bool AnswerWatch::ends_with_content() const {
    return rules_.expect && !rules_.first && !rules_.until && !rules_.until_bytes;
}

bool AnswerWatch::is_out_of_memory() const {
    return (until_ && until_->is_out_of_memory()) || (expect_ && expect_->is_out_of_memory());
}

std::string AnswerWatch::missing_end() const {
    if (over_)
        return "";
    if (rules_.until_bytes)
        return byte_count(*rules_.until_bytes);
    return rules_.until ? rules_.until->written : "";
}

std::string AnswerWatch::missing_content() const {
    return rules_.expect && !met_ ? rules_.expect->written : "";
}

std::string AnswerWatch::shown() const {
    return fmt::format(
        "{}: \"{}\"{}", byte_count(bytes_), escape(head_), bytes_ > head_.size() ? "..." : "");
}

} // namespace riposte::client
