#include "client/stamp/stamp_account.h"

#include <algorithm>
#include <cassert>
#include <cstdlib>

namespace riposte::client {

namespace {

/// a - b, of moments far from the limits of their type.
int64_t signed_difference(uint64_t a, uint64_t b) {
    return static_cast<int64_t>(a - b);
}

void note_claims(ClockClaims& claims, const stamp::ErrorEstimate& estimate, bool denied) {
    claims.answers++;
    claims.synchronized += static_cast<uint64_t>(estimate.synchronized);
    claims.ptp += static_cast<uint64_t>(estimate.format == stamp::TimeFormat::ptp);
    claims.denied += static_cast<uint64_t>(denied);
    claims.error_min_ns = std::min(claims.error_min_ns, estimate.error_ns());
    claims.error_max_ns = std::max(claims.error_max_ns, estimate.error_ns());
}

/// The sum of both ends' errors, if both are synchronized.
std::optional<uint64_t> common_error(
    std::optional<uint64_t> own_ns, const stamp::ErrorEstimate& other) {
    if (!own_ns || !other.synchronized || other.error_ns() > UINT64_MAX - *own_ns)
        return std::nullopt;
    return *own_ns + other.error_ns();
}

} // namespace

StampAccount::StampAccount(const QuestionShape& shape, size_t window)
    : shape_(shape), result_(std::make_shared<StampResult>(shape, window)), packet_(shape.bytes),
      asked_(window) {}

uint64_t StampAccount::ask() {
    result_->books.sent(++last_);
    result_->closing += static_cast<uint64_t>(is_closing(last_));
    return last_;
}

std::span<const std::byte> StampAccount::write(
    uint64_t sequence, OwnTime now, const stamp::ErrorEstimate& own_error) {
    assert(sequence > 0 && sequence <= last_);
    const stamp::Question question{
        .sequence = static_cast<uint32_t>(sequence),
        .time = stamp::to_ntp(now.realtime_ns),
        .error_estimate = own_error.pack()};
    asked_[sequence & (asked_.size() - 1)] = {
        .sequence = sequence,
        .time = question.time,
        .sent = now,
        .error_ns = own_error.synchronized ? std::optional(own_error.error_ns()) : std::nullopt};
    write_question(packet_, shape_, question);
    return packet_;
}

void StampAccount::close() {
    last_probe_ = std::min(last_probe_, last_);
    result_->books.close();
}

/// The newest question with that number on the wire, if it is remembered.
const StampAccount::Asked* StampAccount::find(uint32_t question) const {
    const uint64_t ago = static_cast<uint32_t>(last_) - question;
    if (ago >= last_)
        return nullptr;
    const Asked& asked = asked_[(last_ - ago) & (asked_.size() - 1)];
    return asked.sequence == last_ - ago ? &asked : nullptr;
}

std::optional<StampAccount::Found> StampAccount::read(std::span<const std::byte> bytes) const {
    const auto reply = read_reply(bytes, shape_);
    if (!reply)
        return std::nullopt;
    const Asked* const asked = find(reply->question);
    if (asked == nullptr || asked->time != reply->question_time)
        return std::nullopt;
    Found found{
        .asked = *asked, .reply = *reply, .far = {}, .is_closing = is_closing(asked->sequence)};
    if (reply->fault == ReplyFault::none)
        found.far = far_times(reply->answer, asked->sent.realtime_ns);
    return found;
}

std::optional<uint64_t> StampAccount::quoted(std::span<const std::byte> bytes) const {
    const stamp::Layout& at = stamp::layout_of(shape_.mode());
    if (bytes.size() < at.ssid + 2)
        return std::nullopt;
    const stamp::Question question = stamp::read_question(bytes, shape_.mode());
    const Asked* const asked = find(question.sequence);
    if (asked == nullptr || asked->time != question.time)
        return std::nullopt;
    return asked->sequence;
}

void StampAccount::note_fault(ReplyFault fault) {
    switch (fault) {
    case ReplyFault::echo:
        result_->echoes++;
        break;
    case ReplyFault::too_short:
        result_->too_short++;
        break;
    case ReplyFault::unauthenticated:
        result_->unauthenticated++;
        break;
    case ReplyFault::other_session:
        result_->other_session++;
        break;
    case ReplyFault::no_multiplier:
        result_->no_multiplier++;
        break;
    case ReplyFault::none:
        break;
    }
}

void StampAccount::note_stray(std::span<const std::byte> bytes) {
    const stamp::Layout& at = stamp::open_layout;
    if (shape_.key == nullptr || bytes.size() < at.sender_error_estimate)
        return;
    if (stamp::read_64(bytes, at.sender_time) == 0 && // where signed questions have zeros
        find(stamp::read_32(bytes, at.sender_sequence)) != nullptr)
        note_fault(ReplyFault::unauthenticated);
}

OrderMarks StampAccount::note_order(const Found& found) {
    return result_->books.answered(
        {.question = found.asked.sequence,
         .number = found.reply.answer.sequence,
         .transmitted_ns = found.far.transmitted_ns});
}

uint64_t StampAccount::residence_ns(const Found& found, uint64_t received_ns) {
    const int64_t residence = signed_difference(found.far.transmitted_ns, found.far.received_ns);
    const int64_t elapsed = signed_difference(received_ns, found.asked.sent.monotonic_ns);
    return residence < 0 || residence > elapsed ? 0 : static_cast<uint64_t>(residence);
}

void StampAccount::note_first(const Found& found, uint64_t received_ns) {
    StampResult& result = *result_;
    const Reply& reply = found.reply;
    const auto estimate = stamp::ErrorEstimate::unpack(reply.answer.error_estimate);
    result.answers++;
    result.without_ssid += static_cast<uint64_t>(!reply.returns_ssid);
    result.short_ones += static_cast<uint64_t>(reply.is_short);
    result.tlvs_ignored += static_cast<uint64_t>(reply.tlvs_ignored);
    result.tlvs_failed += static_cast<uint64_t>(reply.tlvs_failed);
    result.there.note(
        {.ttl = reply.answer.sender_ttl,
         .traffic_class =
             reply.arrival ? std::optional(reply.arrival->traffic_class) : std::nullopt,
         .fragment = {}});
    result.class_refused += static_cast<uint64_t>(reply.arrival && reply.arrival->refused);
    note_claims(result.claims, estimate, found.far.denies_format);
    const int64_t residence = signed_difference(found.far.transmitted_ns, found.far.received_ns);
    const int64_t elapsed = signed_difference(received_ns, found.asked.sent.monotonic_ns);
    if (residence < 0 || residence > elapsed) { // a clock was stepped in between
        result.impossible_residence++;
        return;
    }
    result.residence.record(static_cast<uint64_t>(residence));
    const OwnTime& sent = found.asked.sent;
    const uint64_t received_realtime_ns = sent.realtime_ns + static_cast<uint64_t>(elapsed);
    result.clocks.take(
        {.sequence = found.asked.sequence,
         .sample =
             {.local_ns = sent.monotonic_ns,
              .elapsed_ns = static_cast<uint64_t>(elapsed),
              .there_ns = signed_difference(found.far.received_ns, sent.realtime_ns),
              .back_ns = signed_difference(received_realtime_ns, found.far.transmitted_ns)},
         .wall_ns = signed_difference(sent.realtime_ns, sent.monotonic_ns),
         .error_ns = common_error(found.asked.error_ns, estimate)});
}

} // namespace riposte::client
