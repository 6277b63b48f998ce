#include "client/load/load_datagrams.h"

#include <algorithm>
#include <bit>
#include <cassert>
#include <cstring>

namespace riposte::client {

namespace {

constexpr size_t lost_max = 1024; ///< remembered

/// Are the bytes the probe of that header? It is written into `probe`.
bool is_probe(
    std::span<const std::byte> bytes, const ProbeHeader& header, std::span<std::byte> probe) {
    write_probe(probe, header);
    return std::ranges::equal(bytes, probe);
}

} // namespace

DatagramBook::DatagramBook(uint32_t session, uint32_t depth)
    : session_(session), place_bits_(static_cast<unsigned>(std::bit_width(depth - 1))),
      places_(depth) {
    assert(depth > 0);
    for (uint32_t place = depth; place-- > 0;)
        free_.push_back(place);
}

ProbeHeader DatagramBook::send(const Stamp& stamp) {
    assert(!free_.empty());
    if (outstanding() == 0)
        oldest_ns_ = stamp.sent_ns;
    const uint32_t place = free_.back();
    free_.pop_back();
    places_[place] = {.number = ++last_number_, .stamp = stamp};
    return header_of(place);
}

Stamp DatagramBook::release(uint32_t place) {
    assert(places_[place].number != 0);
    places_[place].number = 0;
    free_.push_back(place);
    return places_[place].stamp;
}

void DatagramBook::remember_lost(uint64_t number) {
    if (lost_.size() < lost_max) {
        lost_.push_back(number);
        return;
    }
    lost_[lost_at_] = number;
    lost_at_ = (lost_at_ + 1) % lost_max;
}

/// Was there ever a request of that number and place?
bool DatagramBook::is_ours(const ProbeHeader& header) const {
    const uint64_t number = header.sequence >> place_bits_;
    const uint64_t place = header.sequence - (number << place_bits_);
    return header.session == session_ && number > 0 && number <= last_number_ &&
           place < places_.size();
}

/// The place where that very request waits.
std::optional<uint32_t> DatagramBook::place_of(const ProbeHeader& header) const {
    if (!is_ours(header))
        return std::nullopt;
    const uint64_t number = header.sequence >> place_bits_;
    const auto place = static_cast<uint32_t>(header.sequence - (number << place_bits_));
    return places_[place].number == number ? std::optional(place) : std::nullopt;
}

std::optional<uint32_t> DatagramBook::oldest_place() const {
    std::optional<uint32_t> oldest;
    for (uint32_t place = 0; place < places_.size(); place++)
        if (places_[place].number != 0 &&
            (!oldest || places_[place].number < places_[*oldest].number))
            oldest = place;
    return oldest;
}

/// The place of the request whose answer `bytes` are, damaged as they may be.
std::optional<uint32_t> DatagramBook::resembling_place(
    std::span<const std::byte> bytes, std::span<std::byte> probe) const {
    for (uint32_t place = 0; place < places_.size(); place++) {
        if (places_[place].number == 0)
            continue;
        write_probe(probe, header_of(place));
        if (resembles(bytes, probe))
            return place;
    }
    return std::nullopt;
}

DatagramArrival DatagramBook::answered(uint32_t place, DatagramKind kind) {
    const uint64_t number = places_[place].number;
    const bool reordered = number < greatest_answered_;
    greatest_answered_ = std::max(greatest_answered_, number);
    return {.kind = kind, .reordered = reordered, .stamp = release(place)};
}

DatagramArrival DatagramBook::arrive(
    const DatagramShape& shape, std::span<const std::byte> bytes, std::span<std::byte> scratch) {
    const bool right_size = bytes.size() == shape.answer_bytes;
    const auto kind = right_size ? DatagramKind::answer : DatagramKind::wrong_size;
    if (!shape.echo) {
        // Nothing in it says which request it answers: the oldest.
        const auto place = oldest_place();
        return place ? answered(*place, kind) : DatagramArrival{};
    }
    const auto probe = scratch.first(shape.request_bytes);
    const auto header = read_probe_header(bytes);
    if (const auto place = header ? place_of(*header) : std::nullopt) {
        if (!right_size || !shape.compare)
            return answered(*place, kind);
        write_probe(probe, header_of(*place));
        const bool same = std::memcmp(bytes.data(), probe.data(), probe.size()) == 0;
        return answered(*place, same ? kind : DatagramKind::corrupted);
    }
    // A whole echo of a request that does not wait any more is not a damaged one of another,
    // however alike the two are (of the shortest probes, all but a few bytes of the header).
    const bool is_whole = header && is_ours(*header) && is_probe(bytes, *header, probe);
    // Damaged in its very header?
    if (const auto place = is_whole ? std::nullopt : resembling_place(bytes, probe))
        return answered(*place, right_size ? DatagramKind::corrupted : kind);
    if (!header || !is_ours(*header))
        return {};
    const bool was_lost = std::ranges::find(lost_, header->sequence >> place_bits_) != lost_.end();
    return {.kind = was_lost ? DatagramKind::stray : DatagramKind::duplicate, .stamp = {}};
}

std::optional<Stamp> DatagramBook::fail(const ProbeHeader& header) {
    const auto place = place_of(header);
    return place ? std::optional(release(*place)) : std::nullopt;
}

std::optional<Stamp> DatagramBook::fail_oldest() {
    const auto place = oldest_place();
    return place ? std::optional(release(*place)) : std::nullopt;
}

} // namespace riposte::client
