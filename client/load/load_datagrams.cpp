#include "client/load/load_datagrams.h"

#include <algorithm>
#include <bit>
#include <cassert>
#include <cstring>
#include <limits>

namespace riposte::client {

namespace {

constexpr size_t ring_min = 16;

/// How far back a damaged answer's request is searched for: for about a millisecond, so that
/// answers that come meanwhile do not wait long.
constexpr size_t compared_requests_max = 4096;
constexpr size_t compared_bytes_max = size_t{2} << 20;
constexpr size_t visited_requests_max = size_t{1} << 16;

} // namespace

DatagramTracker::DatagramTracker(uint32_t session, uint64_t window)
    : session_(session), window_(window),
      ring_(std::bit_ceil(std::min(window, uint64_t{ring_min}))) {
    assert(window > 0);
}

ProbeHeader DatagramTracker::header_of(uint64_t number) const {
    return {.session = session_, .sequence = number, .sent_ns = at(number).times.sent_ns};
}

/// Was there ever a request of that number?
bool DatagramTracker::was_sent(const ProbeHeader& header) const {
    return header.session == session_ && header.sequence > 0 && header.sequence <= last_;
}

// ---- Requests come and go.

ProbeHeader DatagramTracker::send(const RequestTimes& times) {
    assert(!is_full());
    if (2 * (last_ + 2 - oldest_) > ring_.size() && ring_.size() < window_)
        grow();
    const uint64_t number = ++last_;
    at(number) = {.times = times, .fate = Fate::waiting, .keeps_place = true};
    waiting_++;
    kept_++;
    return header_of(number);
}

void DatagramTracker::grow() {
    std::vector<Request> larger(2 * ring_.size());
    const uint64_t known = std::min<uint64_t>(last_, ring_.size());
    for (uint64_t number = last_ + 1 - known; number <= last_; number++)
        larger[number & (larger.size() - 1)] = at(number);
    ring_ = std::move(larger);
}

void DatagramTracker::leave_place(uint64_t number) {
    assert(at(number).keeps_place);
    at(number).keeps_place = false;
    kept_--;
    while (oldest_kept_ <= last_ && !at(oldest_kept_).keeps_place)
        oldest_kept_++;
}

void DatagramTracker::end(uint64_t number, Fate fate) {
    assert(waits(number));
    if (at(number).keeps_place)
        leave_place(number);
    at(number).fate = fate;
    waiting_--;
    while (oldest_ <= last_ && at(oldest_).fate != Fate::waiting)
        oldest_++;
}

uint64_t DatagramTracker::give_up_places(uint64_t now_ns, uint64_t patience_ns) {
    uint64_t count = 0;
    while (kept_ > 0 && now_ns >= at(oldest_kept_).times.sent_ns + patience_ns) {
        Request& request = at(oldest_kept_);
        request.kept_us = static_cast<uint32_t>(std::min<uint64_t>(
            (now_ns - request.times.sent_ns) / 1000, std::numeric_limits<uint32_t>::max()));
        leave_place(oldest_kept_);
        count++;
    }
    return count;
}

std::optional<RequestTimes> DatagramTracker::fail(const ProbeHeader& header) {
    if (!was_sent(header) || !waits(header.sequence))
        return std::nullopt;
    end(header.sequence, Fate::given_up);
    return at(header.sequence).times;
}

std::optional<RequestTimes> DatagramTracker::fail_oldest() {
    if (waiting_ == 0)
        return std::nullopt;
    const RequestTimes times = at(oldest_).times;
    end(oldest_, Fate::given_up);
    return times;
}

// ---- Answers.

/// The likeliest request of an answer that names none: the oldest that is still expected, or, if
/// none is any more, the one that was sent last. 0: none waits.
uint64_t DatagramTracker::likeliest() const {
    if (kept_ > 0)
        return oldest_kept_;
    if (waiting_ == 0)
        return 0;
    uint64_t number = last_;
    while (at(number).fate != Fate::waiting)
        number--;
    return number;
}

/// The request that a damaged answer resembles (MostAlike): the one that its header names, or else
/// one of those that wait, the recent ones first. 0: none.
uint64_t DatagramTracker::most_alike(
    std::span<const std::byte> bytes, std::span<std::byte> probe) const {
    const auto common = bytes.first(std::min(bytes.size(), probe.size()));
    if (common.empty())
        return 0;
    MostAlike search(common);
    const auto is_unmistakable = [&](uint64_t number) {
        write_probe(probe, header_of(number));
        return search.is_unmistakable(number, probe);
    };
    const auto header = read_probe_header(bytes);
    if (header && was_sent(*header) && is_known(header->sequence) &&
        is_unmistakable(header->sequence))
        return search.best();
    size_t compared = std::min(compared_requests_max, compared_bytes_max / common.size() + 1);
    size_t visited = visited_requests_max;
    for (uint64_t number = last_; number >= oldest_ && compared > 0 && visited > 0; number--) {
        visited--;
        if (at(number).fate != Fate::waiting)
            continue;
        if (is_unmistakable(number))
            break;
        compared--;
    }
    return search.best();
}

/// An answer of that kind to a request that is remembered. The first one decides; RFC 4737, section
/// 3.3, is about first ones, too.
DatagramArrival DatagramTracker::settle(uint64_t number, DatagramKind kind) {
    DatagramArrival arrival{.kind = kind, .times = at(number).times};
    switch (at(number).fate) {
    case Fate::waiting:
        end(number, Fate::answered);
        break;
    case Fate::given_up:
        at(number).fate = Fate::late;
        arrival.kind = DatagramKind::late;
        break;
    case Fate::answered:
    case Fate::late:
        arrival.kind = DatagramKind::duplicate;
        return arrival;
    }
    arrival.reordered = number < greatest_answered_;
    greatest_answered_ = std::max(greatest_answered_, number);
    return arrival;
}

DatagramArrival DatagramTracker::arrive(
    const DatagramShape& shape, std::span<const std::byte> bytes, std::span<std::byte> scratch) {
    const bool right_size = bytes.size() == shape.answer_bytes;
    const auto kind = right_size ? DatagramKind::answer : DatagramKind::wrong_size;
    if (!shape.echo) {
        const uint64_t number = likeliest();
        return number > 0 ? settle(number, kind) : DatagramArrival{};
    }
    const auto probe = scratch.first(shape.request_bytes);
    const auto header = read_probe_header(bytes);
    const bool is_named = header && was_sent(*header);
    if (is_named && waits(header->sequence)) {
        if (!right_size || !shape.compare)
            return settle(header->sequence, kind);
        write_probe(probe, header_of(header->sequence));
        const bool same = std::memcmp(bytes.data(), probe.data(), probe.size()) == 0;
        return settle(header->sequence, same ? kind : DatagramKind::corrupted);
    }
    // A whole echo of a request that does not wait any more is not a damaged one of another,
    // however alike the two are (of the shortest probes, all but a few bytes of the header).
    bool is_whole = false;
    if (is_named) {
        write_probe(probe, *header);
        is_whole = std::ranges::equal(bytes, probe);
    }
    if (is_whole && is_known(header->sequence))
        return settle(header->sequence, kind);
    // Damaged in its very header?
    if (const uint64_t number = is_whole ? 0 : most_alike(bytes, probe); number > 0)
        return settle(number, right_size ? DatagramKind::corrupted : kind);
    return {.kind = is_named ? DatagramKind::duplicate : DatagramKind::stray};
}

} // namespace riposte::client
