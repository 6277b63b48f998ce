// The probes of the fleet: which target a datagram or an error is of, and what it decides.
//
// A right answer names its target and its probe in its header. A damaged one may not: it is held
// against the waiting probes of the targets at the address that it came from. What comes from
// elsewhere is a stray, whatever it says.
#include "client/measure/probe.h"
#include "client/probe/fleet.h"

#include <algorithm>
#include <cassert>
#include <utility>

namespace riposte::client {

namespace {

constexpr uint64_t low_bits = UINT32_MAX;

/// The number whose low bits were on the wire: the latest that is not after `last`.
uint64_t whole_sequence(uint64_t on_wire, uint64_t last) {
    const uint64_t near = (last & ~low_bits) | (on_wire & low_bits);
    return near > last && near > low_bits ? near - low_bits - 1 : near;
}

} // namespace

void Fleet::write(const Record& record, uint64_t sequence, std::span<std::byte> out) const {
    write_probe(
        out, {.session = record.session,
              .sequence = uint64_t{run_} << 32 | (sequence & low_bits),
              .sent_ns = record.books.sent_ns(sequence)});
}

uint64_t Fleet::send(Slot slot, uint64_t now_ns, std::span<std::byte> out) {
    Record& record = *records_[slot];
    if (const auto displaced = record.books.displaced())
        decide(record, *displaced, Outcome::lost);
    const uint64_t sequence = record.books.send(now_ns);
    waiting_++;
    if (Group* const group = group_of(record, sequence))
        group->counts.sent++;
    expiries_.push_back({.sent_ns = now_ns, .sequence = sequence, .session = record.session});
    write(record, sequence, out);
    return sequence;
}

void Fleet::decide(Slot slot, uint64_t sequence, Outcome outcome) {
    decide(*records_[slot], sequence, outcome);
}

void Fleet::decide(Record& record, uint64_t sequence, Outcome outcome) {
    if (!record.books.decide(sequence, outcome))
        return;
    waiting_--;
    if (Group* const group = group_of(record, sequence))
        group->counts.add(outcome);
}

/// The target of that session, if it is here.
Fleet::Record* Fleet::find(uint32_t session) {
    const size_t slot = session & (slots_max - 1);
    Record* const record = slot < records_.size() ? records_[slot].get() : nullptr;
    return record != nullptr && record->session == session ? record : nullptr;
}

bool Fleet::is_from(const Record& record, const AddressKey& key) const {
    return key == record.key || key == record.previous;
}

void Fleet::arrived(
    const SocketAddress& from, std::span<const std::byte> bytes, uint64_t received_ns) {
    const AddressKey key(from);
    if (!book_by_header(key, bytes, received_ns) && !book_by_likeness(key, bytes, received_ns))
        stray_++;
}

bool Fleet::book_by_header(
    const AddressKey& from, std::span<const std::byte> bytes, uint64_t received_ns) {
    const auto header = read_probe_header(bytes);
    if (!header || header->sequence >> 32 != run_)
        return false;
    Record* const record = find(header->session);
    if (record == nullptr || !is_from(*record, from))
        return false;
    const uint64_t sequence = whole_sequence(header->sequence, record->books.last());
    if (!record->books.remembers(sequence))
        return false;
    write(*record, sequence, scratch_);
    // Else the header itself is damaged, and the answer is to another probe.
    if (!resembles(bytes, scratch_))
        return false;
    book(*record, sequence, bytes, received_ns);
    return true;
}

bool Fleet::book_by_likeness(
    const AddressKey& from, std::span<const std::byte> bytes, uint64_t received_ns) {
    const auto found = by_address_.find(from);
    if (found == by_address_.end())
        return false;
    const size_t common = std::min(bytes.size(), scratch_.size());
    for (const Slot slot : found->second) {
        Record& record = *records_[slot];
        MostAlike most(bytes.first(common));
        for (uint64_t sequence = record.books.first_remembered(); sequence <= record.books.last();
             sequence++) {
            if (!record.books.waits(sequence))
                continue;
            write(record, sequence, scratch_);
            if (most.is_unmistakable(sequence, std::span(scratch_).first(common)))
                break;
        }
        if (most.best() == 0)
            continue;
        write(record, most.best(), scratch_);
        book(record, most.best(), bytes, received_ns);
        return true;
    }
    return false;
}

/// `scratch_` has the bytes of the probe that was sent.
void Fleet::book(
    Record& record, uint64_t sequence, std::span<const std::byte> bytes, uint64_t received_ns) {
    Outcome outcome = Outcome::answered;
    if (bytes.size() != scratch_.size())
        outcome = Outcome::wrong_size;
    else if (!std::ranges::equal(bytes, scratch_))
        outcome = Outcome::corrupted;
    const TargetBooks::Arrival arrival = record.books.answer(sequence, outcome, received_ns);
    Group* const group = group_of(record, sequence);
    if (group != nullptr) {
        group->counts.duplicated += arrival.duplicate ? 1U : 0U;
        group->counts.reordered += arrival.reordered ? 1U : 0U;
        group->counts.late += arrival.late ? 1U : 0U;
    }
    if (arrival.outcome == Outcome::pending)
        return;
    waiting_--;
    if (group == nullptr)
        return;
    group->counts.add(arrival.outcome);
    if (arrival.outcome == Outcome::answered)
        group->rtt.record(arrival.rtt_ns);
}

void Fleet::failed(const SocketAddress& to, std::span<const std::byte> quoted, Outcome outcome) {
    const AddressKey key(to);
    if (const auto header = read_probe_header(quoted)) {
        Record* const record = header->sequence >> 32 == run_ ? find(header->session) : nullptr;
        if (record != nullptr && is_from(*record, key))
            decide(*record, whole_sequence(header->sequence, record->books.last()), outcome);
        return;
    }
    // A router may quote as little as the UDP header.
    const auto found = by_address_.find(key);
    if (found == by_address_.end() || quoted.size() >= probe_header_bytes)
        return;
    Record* oldest = nullptr;
    uint64_t sequence = 0;
    for (const Slot slot : found->second) {
        Record& record = *records_[slot];
        const auto waiting = record.books.oldest_waiting();
        if (waiting && (oldest == nullptr ||
                        record.books.sent_ns(*waiting) < oldest->books.sent_ns(sequence))) {
            oldest = &record;
            sequence = *waiting;
        }
    }
    if (oldest != nullptr)
        decide(*oldest, sequence, outcome);
}

std::optional<uint64_t> Fleet::next_expiry_ns() const {
    if (expiries_.empty())
        return std::nullopt;
    return expiries_.front().sent_ns + settings_.timeout_ns;
}

/// So that the first of `expiries_` waits, if there is any.
void Fleet::drop_decided() {
    while (!expiries_.empty()) {
        const Expiry& first = expiries_.front();
        const Record* const record = find(first.session);
        if (record != nullptr && record->books.waits(first.sequence))
            return;
        expiries_.pop_front();
    }
}

bool Fleet::has_expired(uint64_t now_ns) {
    drop_decided();
    const auto next = next_expiry_ns();
    return next && *next <= now_ns;
}

void Fleet::expire(uint64_t now_ns) {
    while (has_expired(now_ns)) {
        const Expiry first = expiries_.front();
        expiries_.pop_front();
        decide(*find(first.session), first.sequence, Outcome::lost);
    }
}

} // namespace riposte::client
