#include "client/ping/answer_stream.h"

#include <algorithm>
#include <cassert>

namespace riposte::client {

void AnswerStream::open(bool echo_seen) {
    front_ = 0;
    end_ = 0;
    answered_ = 0;
    echo_seen_ = echo_seen;
    unasked_bytes_ = 0;
    answer_.clear();
}

void AnswerStream::expect(uint64_t sequence) {
    if (idle())
        front_ = sequence;
    else
        assert(sequence == end_ && "one stride lies between the probes of a connection");
    end_ = sequence + stride_;
}

size_t AnswerStream::wanted(const PingResult& result) const {
    const bool is_only = front_ + stride_ >= end_;
    if (is_only || !echo_seen_ || result.other_service)
        return chunk_bytes;
    return std::min(payload_bytes_ - answer_.size(), chunk_bytes);
}

bool AnswerStream::take(
    std::span<const std::byte> bytes, ReceiveTime received, PingAccount& account,
    const Listener& listener) {
    if (idle()) {
        unasked_bytes_ += bytes.size();
        return unasked_bytes_ <= unasked_bytes_max;
    }
    // It expired before the rest came: what had come by then was all (end_partial).
    if (has_partial() && account.waits(front_) && received.ns >= account.expiry_ns(front_))
        return false;
    if (answer_.empty())
        first_ = received;
    last_ = received;
    answer_.insert(answer_.end(), bytes.begin(), bytes.end());
    if (is_other_service(account)) {
        resolve(answer_.size(), first_, account, listener);
        return true;
    }
    while (!idle() && answer_.size() >= payload_bytes_)
        if (!take_whole(account, listener))
            return false;
    if (idle()) {
        unasked_bytes_ += answer_.size();
        answer_.clear();
    }
    return unasked_bytes_ <= unasked_bytes_max;
}

void AnswerStream::end_partial(PingAccount& account, const Listener& listener) {
    if (!idle() && has_partial())
        resolve(answer_.size(), last_, account, listener);
}

/// Is the answer so far not an echo? After a verified echo it counts as a damaged one.
bool AnswerStream::is_other_service(PingAccount& account) const {
    if (account.result().other_service)
        return true;
    if (echo_seen_)
        return false;
    if (const auto header = read_probe_header(answer_); header && header->session == session_)
        return false;
    const uint64_t known = account.waits(front_) ? front_ : end_ - stride_;
    return !account.waits(known) || !resembles(answer_, account.payload(known));
}

/// The first payload_bytes of the answer find their probe. False: they find none.
bool AnswerStream::take_whole(PingAccount& account, const Listener& listener) {
    const bool waits = account.waits(front_);
    if (waits && std::ranges::equal(whole(), account.payload(front_))) {
        echo_seen_ = true;
        // With no other probe under way, all that came with it belongs to it: it is too long.
        const bool is_only = front_ + stride_ == end_;
        resolve(is_only ? answer_.size() : payload_bytes_, last_, account, listener);
        return true;
    }
    auto place = find_probe();
    if (!place && waits)
        place = find_cut_probe(account);
    if (!place || (place->offset == 0 && is_like(account, front_, place->sequence))) {
        const bool is_ours =
            is_echo(whole()) || (waits && resembles(whole(), account.payload(front_)));
        echo_seen_ = echo_seen_ || is_ours;
        resolve(payload_bytes_, last_, account, listener);
        return is_ours || !waits;
    }
    echo_seen_ = true;
    if (place->offset == 0) { // the answers before it never come: their probes will be lost
        front_ = place->sequence;
    } else if (place->sequence == front_) { // too much came before it
        unasked_bytes_ += place->offset;
        drop(place->offset);
    } else {
        resolve(place->offset, last_, account, listener);
        front_ = place->sequence;
    }
    return true;
}

/// Is the whole more like the probe `sequence` than like the one that its header names, so that
/// the header must be damaged?
bool AnswerStream::is_like(PingAccount& account, uint64_t sequence, uint64_t other) const {
    if (!account.waits(sequence) || !account.waits(other))
        return false;
    return matching_bytes(whole(), account.payload(sequence)) >=
           matching_bytes(whole(), account.payload(other));
}

/// Do the bytes begin as the front's answer does?
bool AnswerStream::is_echo(std::span<const std::byte> bytes) const {
    const auto header = read_probe_header(bytes);
    return header && header->session == session_ && header->sequence == front_;
}

/// Is it one of the probes from the front on?
bool AnswerStream::is_on_connection(uint64_t sequence) const {
    return sequence >= front_ && sequence < end_ && (sequence - front_) % stride_ == 0;
}

/// A header of a probe of this connection in the whole, and where it stands, other than the one
/// that is expected there.
std::optional<AnswerStream::Place> AnswerStream::find_probe() const {
    for (size_t offset = is_echo(whole()) ? 1 : 0; offset + probe_header_bytes <= payload_bytes_;
         offset++) {
        const auto header = read_probe_header(whole().subspan(offset));
        if (header && header->session == session_ && is_on_connection(header->sequence))
            return Place{.offset = offset, .sequence = header->sequence};
    }
    return std::nullopt;
}

/// The same where the whole ends in the middle of the header: right up to some byte, and from there
/// on like the beginning of the next probe.
std::optional<AnswerStream::Place> AnswerStream::find_cut_probe(PingAccount& account) const {
    const auto differs = std::ranges::mismatch(whole(), account.payload(front_)).in1;
    const auto right = static_cast<size_t>(differs - whole().begin());
    const uint64_t next = front_ + stride_;
    if (right == 0 || next >= end_ || !account.waits(next))
        return std::nullopt;
    const std::span<const std::byte> rest = whole().subspan(right);
    if (!std::ranges::equal(rest, account.payload(next).first(rest.size())))
        return std::nullopt;
    return Place{.offset = right, .sequence = next};
}

/// The front's answer is these bytes, if it still waits for one.
void AnswerStream::resolve(
    size_t bytes, ReceiveTime received, PingAccount& account, const Listener& listener) {
    if (account.waits(front_)) {
        const std::span<const std::byte> answer = std::span(answer_).first(bytes);
        listener(account.answer(front_, answer, received.ns), received.clock);
    }
    front_ += stride_;
    answered_++;
    drop(bytes);
}

void AnswerStream::drop(size_t bytes) {
    answer_.erase(answer_.begin(), answer_.begin() + static_cast<std::ptrdiff_t>(bytes));
}

} // namespace riposte::client
