// A probe that waits is in the list of those that wait, which runs through the ring by sequence
// number and so by time of sending: the next to expire is its head, the latest its tail, and
// neither needs a search. A probe leaves the list exactly once, when its outcome is decided
// (end_waiting).
//
// The usual answer costs a look into the ring and one payload made again and compared. Only a
// damaged one is searched for, and that is bounded in probes and in bytes.
#include "client/ping/ping_account.h"

#include "client/measure/linger.h"

#include <algorithm>
#include <bit>
#include <cassert>
#include <cstring>
#include <utility>

namespace riposte::client {

namespace {

/// How far back a damaged answer's probe is searched for: for about a millisecond, so that answers
/// that come meanwhile do not wait long.
constexpr size_t search_probes_max = 4096;
constexpr size_t search_bytes_max = size_t{2} << 20;

/// 0 if `end_ns` is earlier: clocks may differ, and no answer arrives before its probe.
uint64_t since(uint64_t start_ns, uint64_t end_ns) {
    return end_ns > start_ns ? end_ns - start_ns : 0;
}

} // namespace

PingAccount::PingAccount(const PingSettings& settings)
    : timeout_ns_(settings.timeout_ns), session_(settings.session), ring_(settings.window),
      buffer_(settings.payload_bytes) {
    assert(std::has_single_bit(settings.window));
    assert(settings.payload_bytes >= probe_header_bytes);
    result_.name = settings.name;
    result_.path = settings.path;
    result_.address = settings.address;
    result_.transport = settings.transport;
    result_.connects_only = settings.connects_only;
    result_.interval_ns = settings.interval_ns;
    result_.payload_bytes = settings.connects_only ? 0 : settings.payload_bytes;
    result_.timeout_ns = settings.timeout_ns;
    result_.wait_ns = settings.timeout_ns;
}

uint64_t PingAccount::send(uint64_t intended_ns, uint64_t now_ns, uint64_t connect_ns) {
    Probe& probe = slot(++last_);
    if (probe.sequence != 0 && probe.outcome == Outcome::pending)
        end_waiting(probe, Outcome::lost);
    probe = {
        .sequence = last_,
        .intended_ns = intended_ns,
        .sent_ns = now_ns,
        .connect_ns = connect_ns,
        .rtt_ns = 0,
        .older = 0,
        .newer = 0,
        .outcome = Outcome::pending,
        .late_seen = false};
    begin_waiting(probe);
    ++result_.counts.sent;
    if (FlowResult* const flow = flow_of(probe))
        ++flow->counts.sent;
    result_.lateness.record(since(intended_ns + connect_ns, now_ns));
    return last_;
}

void PingAccount::send_again(uint64_t sequence, uint64_t now_ns, uint64_t connect_ns) {
    Probe& probe = slot(sequence);
    assert(waits(sequence));
    leave_waiting(probe);
    probe.sent_ns = now_ns;
    probe.connect_ns = connect_ns;
    begin_waiting(probe);
}

std::span<const std::byte> PingAccount::payload(uint64_t sequence) {
    const Probe* const probe = find(sequence);
    assert(probe != nullptr);
    return expected(*probe, buffer_.size());
}

ProbeOutcome PingAccount::datagram(std::span<const std::byte> bytes, uint64_t received_ns) {
    if (const auto header = read_probe_header(bytes)) {
        Probe* const probe = find(header->sequence);
        if (probe != nullptr && header->session == session_ && is_echo_of(*probe, bytes))
            return settle_echo(*probe, describe(*probe, bytes.size(), received_ns));
    }
    if (Probe* const probe = most_alike(bytes))
        return settle_damaged(*probe, bytes, describe(*probe, bytes.size(), received_ns));
    if (echo_seen_)
        return count_stray({.bytes = bytes.size()});
    // Its bytes do not say which probe it answers, and so not whether it arrived in order.
    Probe* const latest = find(newest_waiting_);
    if (latest == nullptr)
        return settle_other(nullptr, false, {.bytes = bytes.size()});
    return settle_other(latest, false, describe(*latest, bytes.size(), received_ns));
}

ProbeOutcome PingAccount::answer(
    uint64_t sequence, std::span<const std::byte> bytes, uint64_t received_ns) {
    Probe* const probe = find(sequence);
    if (probe == nullptr)
        return count_stray({.bytes = bytes.size()});
    const ProbeOutcome arrival = describe(*probe, bytes.size(), received_ns);
    if (is_echo_of(*probe, bytes))
        return settle_echo(*probe, arrival);
    const bool other = !echo_seen_ || result_.other_service;
    if (other && !resembles(bytes, expected(*probe, buffer_.size())))
        return settle_other(probe, true, arrival);
    return settle_damaged(*probe, bytes, arrival);
}

bool PingAccount::fail(uint64_t sequence, Outcome outcome, const Cause* cause) {
    assert(is_unanswered(outcome));
    Probe* const probe = find(sequence);
    if (probe == nullptr || probe->outcome != Outcome::pending)
        return false;
    end_waiting(*probe, outcome, 0, cause);
    return true;
}

std::optional<uint64_t> PingAccount::quoted(std::span<const std::byte> bytes) const {
    const auto header = read_probe_header(bytes);
    if (!header || header->session != session_)
        return std::nullopt;
    const Probe* const probe = find(header->sequence);
    if (probe == nullptr || probe->sent_ns != header->sent_ns)
        return std::nullopt;
    return probe->sequence;
}

void PingAccount::linger(uint64_t now_ns, bool was_cut_short) {
    if (linger_from_ns_ == UINT64_MAX)
        linger_from_ns_ = now_ns;
    was_cut_short_ = was_cut_short;
    update_wait();
}

void PingAccount::update_wait() {
    if (linger_from_ns_ == UINT64_MAX || (result_.rtt.empty() && !was_cut_short_))
        return;
    result_.wait_ns = linger_ns(timeout_ns_, result_.rtt.max_ns());
}

/// A probe that had waited longer than that when the lingering began is lost from that moment on,
/// so that the time of this call does not matter.
uint64_t PingAccount::give_up_ns(uint64_t sent_ns) const {
    const uint64_t timed_out_ns = sent_ns + timeout_ns_;
    if (linger_from_ns_ == UINT64_MAX)
        return timed_out_ns;
    return std::min(timed_out_ns, std::max(linger_from_ns_, sent_ns + result_.wait_ns));
}

std::optional<uint64_t> PingAccount::expire(uint64_t now_ns) {
    const auto expiry_ns = next_expiry_ns();
    if (!expiry_ns || now_ns < *expiry_ns)
        return std::nullopt;
    const uint64_t sequence = oldest_waiting_;
    end_waiting(slot(sequence), Outcome::lost);
    return sequence;
}

std::optional<uint64_t> PingAccount::next_expiry_ns() const {
    if (oldest_waiting_ == 0)
        return std::nullopt;
    return give_up_ns(slot(oldest_waiting_).sent_ns);
}

std::optional<uint64_t> PingAccount::oldest_waiting() const {
    return oldest_waiting_ != 0 ? std::optional(oldest_waiting_) : std::nullopt;
}

std::optional<uint64_t> PingAccount::oldest_waiting(uint64_t flow, uint64_t flows) const {
    for (uint64_t sequence = oldest_waiting_; sequence != 0; sequence = slot(sequence).newer)
        if ((sequence - 1) % flows == flow)
            return sequence;
    return std::nullopt;
}

std::optional<uint64_t> PingAccount::latest_waiting() const {
    return newest_waiting_ != 0 ? std::optional(newest_waiting_) : std::nullopt;
}

bool PingAccount::waits(uint64_t sequence) const {
    const Probe* const probe = find(sequence);
    return probe != nullptr && probe->outcome == Outcome::pending;
}

uint64_t PingAccount::sent_ns(uint64_t sequence) const {
    const Probe* const probe = find(sequence);
    return probe != nullptr ? probe->sent_ns : 0;
}

uint64_t PingAccount::expiry_ns(uint64_t sequence) const {
    const Probe* const probe = find(sequence);
    return probe != nullptr ? give_up_ns(probe->sent_ns) : UINT64_MAX;
}

PingAccount::Probe& PingAccount::slot(uint64_t sequence) {
    return ring_[sequence & (ring_.size() - 1)];
}

const PingAccount::Probe& PingAccount::slot(uint64_t sequence) const {
    return ring_[sequence & (ring_.size() - 1)];
}

/// The probe, if it was sent and is still remembered.
PingAccount::Probe* PingAccount::find(uint64_t sequence) {
    return const_cast<Probe*>(std::as_const(*this).find(sequence));
}

const PingAccount::Probe* PingAccount::find(uint64_t sequence) const {
    const Probe& probe = slot(sequence);
    return sequence != 0 && probe.sequence == sequence ? &probe : nullptr;
}

/// The first `size` bytes of the probe as it was sent, in the buffer.
std::span<const std::byte> PingAccount::expected(const Probe& probe, size_t size) {
    const std::span<std::byte> room = std::span(buffer_).first(std::max(size, probe_header_bytes));
    write_probe(room, {.session = session_, .sequence = probe.sequence, .sent_ns = probe.sent_ns});
    return room.first(size);
}

bool PingAccount::is_echo_of(const Probe& probe, std::span<const std::byte> bytes) {
    return bytes.size() == buffer_.size() &&
           std::memcmp(bytes.data(), expected(probe, bytes.size()).data(), bytes.size()) == 0;
}

/// The probe that a damaged answer resembles (MostAlike): the one that its header names, or else
/// the waiting ones before the others, the recent ones before the older ones.
PingAccount::Probe* PingAccount::most_alike(std::span<const std::byte> bytes) {
    const auto common = bytes.first(std::min(bytes.size(), buffer_.size()));
    if (common.empty())
        return nullptr;
    const size_t search_max = std::min(search_probes_max, search_bytes_max / common.size());
    MostAlike search(common);
    const auto is_unmistakable = [&](const Probe& probe) {
        return search.is_unmistakable(probe.sequence, expected(probe, common.size()));
    };

    const auto header = read_probe_header(bytes);
    Probe* const named = header ? find(header->sequence) : nullptr;
    if (named != nullptr && is_unmistakable(*named))
        return find(search.best());
    Probe* waiting = find(newest_waiting_);
    for (size_t left = search_max; left > 0 && waiting != nullptr; --left) {
        if (is_unmistakable(*waiting))
            return find(search.best());
        waiting = find(waiting->older);
    }
    // A service that is not an echo sends nothing back that could be found here.
    if (result_.other_service && !echo_seen_)
        return find(search.best());
    uint64_t sequence = last_;
    for (size_t left = search_max; left > 0; --left, --sequence) {
        Probe* const probe = find(sequence);
        if (probe == nullptr)
            break;
        if (probe->outcome != Outcome::pending && is_unmistakable(*probe))
            return find(search.best());
    }
    return find(search.best());
}

ProbeOutcome PingAccount::describe(const Probe& probe, size_t bytes, uint64_t received_ns) const {
    const uint64_t due_ns = probe.intended_ns + probe.connect_ns;
    const uint64_t waited_ns = since(probe.sent_ns, received_ns);
    return {
        .sequence = probe.sequence,
        .rtt_ns = waited_ns,
        .waited_ns = waited_ns,
        .late_by_ns = since(due_ns, probe.sent_ns),
        .connect_ns = probe.connect_ns,
        .bytes = bytes};
}

/// The first answer decides, unless the probe was given up before; a further one is a duplicate. An
/// answer is judged by when it arrived, not by when it is read.
ProbeOutcome PingAccount::settle(Probe& probe, Outcome outcome, const ProbeOutcome& arrival) {
    ProbeOutcome settled = arrival;
    if (probe.outcome == Outcome::pending &&
        arrival.waited_ns >= give_up_ns(probe.sent_ns) - probe.sent_ns)
        end_waiting(probe, Outcome::lost);
    if (probe.outcome == Outcome::pending) {
        end_waiting(probe, outcome, outcome == Outcome::answered ? arrival.rtt_ns : 0);
        settled.outcome = outcome;
        if (outcome == Outcome::answered)
            record_rtt(probe, arrival.rtt_ns);
    } else if (is_unanswered(probe.outcome) && !probe.late_seen) {
        probe.late_seen = true;
        settled.late = true;
        ++result_.counts.late;
    } else {
        settled.duplicate = true;
        ++result_.counts.duplicated;
    }
    return settled;
}

ProbeOutcome PingAccount::settle_echo(Probe& probe, const ProbeOutcome& arrival) {
    echo_seen_ = true;
    ProbeOutcome settled = settle(probe, Outcome::answered, arrival);
    count_order(settled);
    return settled;
}

ProbeOutcome PingAccount::settle_damaged(
    Probe& probe, std::span<const std::byte> bytes, ProbeOutcome arrival) {
    Outcome outcome = Outcome::wrong_size;
    if (bytes.size() == buffer_.size()) {
        outcome = Outcome::corrupted;
        const auto right = expected(probe, bytes.size());
        const auto wrong = std::ranges::mismatch(bytes, right).in1;
        arrival.wrong_byte = static_cast<size_t>(wrong - bytes.begin());
    }
    ProbeOutcome settled = settle(probe, outcome, arrival);
    count_order(settled);
    return settled;
}

/// An answer that is not even a damaged echo: it is another service. No probe: none is pending.
ProbeOutcome PingAccount::settle_other(Probe* probe, bool order_known, ProbeOutcome arrival) {
    arrival.first_of_other_service = !std::exchange(result_.other_service, true);
    if (probe == nullptr)
        return count_stray(arrival);
    ProbeOutcome settled = settle(*probe, Outcome::answered, arrival);
    if (order_known)
        count_order(settled);
    return settled;
}

ProbeOutcome PingAccount::count_stray(ProbeOutcome arrival) {
    ++result_.counts.stray;
    return arrival;
}

void PingAccount::begin_waiting(Probe& probe) {
    probe.older = newest_waiting_;
    probe.newer = 0;
    (newest_waiting_ != 0 ? slot(newest_waiting_).newer : oldest_waiting_) = probe.sequence;
    newest_waiting_ = probe.sequence;
}

void PingAccount::leave_waiting(Probe& probe) {
    (probe.older != 0 ? slot(probe.older).newer : oldest_waiting_) = probe.newer;
    (probe.newer != 0 ? slot(probe.newer).older : newest_waiting_) = probe.older;
}

void PingAccount::end_waiting(Probe& probe, Outcome outcome, uint64_t rtt_ns, const Cause* cause) {
    assert(probe.outcome == Outcome::pending && outcome != Outcome::pending);
    leave_waiting(probe);
    probe.outcome = outcome;
    result_.counts.add(outcome);
    result_.outages.decide(probe.intended_ns, outcome);
    if (FlowResult* const flow = flow_of(probe)) {
        flow->counts.add(outcome);
        count_run(*flow, probe.intended_ns, outcome);
        if (flow->fates)
            flow->fates->record(probe.sent_ns, outcome == Outcome::answered);
    }
    if (outcome != Outcome::answered && result_.series)
        result_.series->record_failure(probe.sent_ns);
    if (fates_ != nullptr)
        fates_->on_fate(
            {.sequence = probe.sequence,
             .due_ns = probe.intended_ns,
             .sent_ns = probe.sent_ns,
             .connect_ns = probe.connect_ns,
             .outcome = outcome,
             .rtt_ns = rtt_ns,
             .cause = cause});
}

} // namespace riposte::client
