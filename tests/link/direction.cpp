#include "direction.h"

#include <algorithm>
#include <cassert>
#include <cstdint>

namespace riposte::link {
namespace {

/// The maximum number of packets in flight in a direction.
constexpr size_t waiting_max = 1 << 16;
constexpr uint64_t nanoseconds = 1'000'000'000;

} // namespace

void Direction::set(const Faults& faults, const Router& router) {
    faults_ = faults;
    router_ = router;
}

Bytes Direction::arrive(Bytes packet, int64_t at_ns) {
    Record record;
    record.in_ns = at_ns;
    record.direction = number_;
    const std::optional<Layout> layout = look(packet, record);
    if (!layout)
        return {};
    const bool subject = layout->subject && (record.payload_length > 0 || !faults_.payload_only);
    if (subject)
        record.number = ++subjects_;
    const uint32_t index = log_.add(record);
    log_[index].packet = index;
    if (subject && dice_.chosen(faults_, Fault::loss, record.number)) {
        log_[index].fate = Fate::lost;
        return {};
    }
    if (faults_.mtu > 0 && packet.size() > faults_.mtu)
        return refuse_size(packet, record, index);
    pass(std::move(packet), *layout, index);
    return {};
}

/// Fragments the packet if that is allowed; else returns the ICMP error for its sender.
Bytes Direction::refuse_size(const Bytes& packet, const Record& record, uint32_t index) {
    std::vector<Bytes> fragments = fragments_of(packet, faults_.mtu);
    log_[index].fate = fragments.empty() ? Fate::too_big : Fate::replaced;
    for (Bytes& fragment : fragments) {
        Record part;
        part.in_ns = record.in_ns;
        part.direction = number_;
        part.flags = flag_fragment;
        part.packet = index;
        const std::optional<Layout> layout = look(fragment, part);
        if (log_.full() || !layout)
            return {};
        part.number = record.number;
        pass(std::move(fragment), *layout, log_.add(part));
    }
    const bool answered = fragments.empty() && record.number > 0;
    return answered ? too_big_answer(packet, router_, faults_.mtu) : Bytes{};
}

void Direction::pass(Bytes packet, const Layout& layout, uint32_t index) {
    Record& record = log_[index];
    const uint64_t number = record.number;
    const auto chosen = [&](Fault fault) {
        return number > 0 && dice_.chosen(faults_, fault, number);
    };
    int64_t due = record.in_ns;
    if (!queue_has_room(packet.size(), due)) {
        record.fate = Fate::queue_full;
        return;
    }
    if (chosen(Fault::resize) && resize_payload(packet, layout, record, faults_.resize_to))
        record.flags |= flag_resized;
    if (chosen(Fault::corrupt)) {
        const uint64_t bit = faults_.corrupt_at
                                 ? *faults_.corrupt_at * 8
                                 : dice_.bit(record.payload_length * uint64_t{8}, number);
        if (flip_bit(packet, layout, record, bit, faults_.corrupt_mend))
            record.flags |= static_cast<uint16_t>(
                flag_corrupted | (faults_.corrupt_mend ? 0 : flag_bad_checksum));
    }
    due += faults_.delay_ns + (number > 0 ? dice_.jitter_ns(faults_, number) : 0);
    due = std::max(due, record.in_ns);
    if (faults_.keep_order)
        due = last_due_ns_ = std::max(due, last_due_ns_);
    if (chosen(Fault::slow)) {
        due += faults_.slow_extra_ns;
        record.flags |= flag_slow;
    }
    const bool hold = chosen(Fault::hold) && faults_.hold_for > 0;
    const uint64_t copies = chosen(Fault::duplicate) ? faults_.copies : 0;
    record.due_ns = due;
    const Departure first{
        .due_ns = due,
        .record = index,
        .hold = hold,
        .later = faults_.hold_for,
        .bytes = std::move(packet)};
    enqueue(first);
    for (uint64_t copy = 1; copy <= copies && !log_.full(); ++copy) {
        Record again = record;
        again.copy = static_cast<uint8_t>(copy);
        again.flags |= flag_copy;
        Departure departure = first;
        departure.record = log_.add(again);
        enqueue(std::move(departure));
    }
}

void Direction::send_own(Bytes packet, int64_t at_ns) {
    Record record;
    record.in_ns = record.due_ns = at_ns;
    record.direction = number_;
    record.flags = flag_made_here;
    if (log_.full() || !look(packet, record))
        return;
    const uint32_t index = log_.add(record);
    log_[index].packet = index;
    enqueue({.due_ns = at_ns, .record = index, .bytes = std::move(packet)});
}

/// Sets `at_ns` to the time at which the packet will have been transmitted.
bool Direction::queue_has_room(size_t bytes, int64_t& at_ns) {
    if (faults_.rate_bits == 0)
        return true;
    while (!transmitted_.empty() && transmitted_.front() <= at_ns)
        transmitted_.pop_front();
    // One of them is no longer in the queue, but in transmission.
    if (transmitted_.size() > faults_.queue)
        return false;
    const int64_t begin = transmitted_.empty() ? at_ns : std::max(at_ns, transmitted_.back());
    at_ns = begin + static_cast<int64_t>(bytes * 8 * nanoseconds / faults_.rate_bits);
    transmitted_.push_back(at_ns);
    return true;
}

void Direction::enqueue(Departure departure) {
    if (waiting_.size() + held_.size() >= waiting_max) {
        log_[departure.record].fate = Fate::overrun;
        return;
    }
    const std::pair key{departure.due_ns, ++order_};
    waiting_.emplace(key, std::move(departure));
}

int64_t Direction::next_due() const {
    int64_t due = waiting_.empty() ? INT64_MAX : waiting_.begin()->first.first;
    for (const Departure& departure : held_)
        due = std::min(due, departure.due_ns);
    return due;
}

std::optional<Departure> Direction::leave(int64_t now_ns) {
    // Released packets first: they leave right behind the packet that released them.
    for (size_t i = 0; i < held_.size(); ++i) {
        if (held_[i].later > 0 && held_[i].due_ns > now_ns)
            continue;
        Departure departure = std::move(held_[i]);
        held_.erase(held_.begin() + static_cast<long>(i));
        if (departure.later > 0)
            log_[departure.record].flags |= flag_hold_ended;
        return departure;
    }
    while (!waiting_.empty() && waiting_.begin()->first.first <= now_ns) {
        Departure departure = std::move(waiting_.begin()->second);
        waiting_.erase(waiting_.begin());
        if (!departure.hold)
            return departure;
        // Held for at most hold_max from now on; then it leaves without having been overtaken.
        log_[departure.record].flags |= flag_held;
        departure.due_ns += faults_.hold_max_ns;
        held_.push_back(std::move(departure));
    }
    return std::nullopt;
}

void Direction::left(const Departure& departure, bool sent, int64_t before_ns, int64_t after_ns) {
    Record& record = log_[departure.record];
    record.out_before_ns = before_ns;
    record.out_after_ns = after_ns;
    record.fate = sent ? Fate::passed : Fate::send_failed;
    if (record.copy > 0 || record.number == 0)
        return;
    for (Departure& held : held_) {
        if (held.later == 0 || log_[held.record].number > record.number)
            continue;
        if (--held.later == 0)
            held.due_ns = before_ns;
    }
}

} // namespace riposte::link
