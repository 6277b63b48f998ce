#include "daemon/services/stamp_reflector.h"

#include <algorithm>
#include <array>
#include <cassert>

namespace riposte {

using namespace stamp;

struct StampReflector::Checked {
    Mode mode = Mode::open;
    const Key* key = nullptr; ///< of the SSID; may be there in open mode, too, for the TLVs
    Question question{};
    ErrorEstimate clock = unknown_error; ///< what is said of ours
};

namespace {

/// Is the question's time near that of its arrival?
bool is_fresh(const Question& question, const ErrorEstimate& clock, uint64_t received_ns) {
    constexpr uint64_t apart_max_ns = StampReflector::freshness_ns;
    const auto estimate = ErrorEstimate::unpack(question.error_estimate);
    if (!estimate.synchronized || !clock.synchronized)
        return true; // nothing is known of the difference
    const uint64_t sent_ns = from_timestamp(question.time, estimate.format, received_ns);
    const uint64_t apart_ns = sent_ns > received_ns ? sent_ns - received_ns : received_ns - sent_ns;
    const uint64_t errors_ns =
        std::min(estimate.error_ns(), apart_max_ns) + std::min(clock.error_ns(), apart_max_ns);
    return apart_ns <= apart_max_ns + errors_ns;
}

/// A question that waited for long, or the clock was set since it came: with these times other
/// reflectors would not know the answer as one, and reply to it.
bool may_answer_at(uint64_t now_ns, uint64_t received_ns) {
    constexpr uint64_t apart_max_ns = residence_seconds_max * 1'000'000'000;
    return now_ns - received_ns <= apart_max_ns || received_ns - now_ns <= apart_max_ns;
}

} // namespace

const Key* StampReflector::find_key(uint16_t ssid) const noexcept {
    const StampKey* found = nullptr;
    for (const StampKey& each : policy_.keys)
        if (each.ssid == ssid || (found == nullptr && !each.ssid))
            found = &each;
    return found == nullptr ? nullptr : &found->key;
}

/// Why there is no answer; nothing: `checked` is set, and there may be one.
std::optional<StampOutcome> StampReflector::check(
    const Request& request, Checked& checked, const WallClock& clock) const noexcept {
    const auto packet = std::span<const std::byte>(request.buffer.first(request.size));
    if (packet.size() < twamp_question_bytes_min)
        return StampOutcome::too_short;
    if (is_answer(packet, Mode::open))
        return StampOutcome::reflected;
    if (packet.size() >= authenticated_layout.bytes && !policy_.keys.empty()) {
        const Key* const key = find_key(read_16(packet, authenticated_layout.ssid));
        const auto hmac = packet.subspan(authenticated_layout.hmac, hmac_bytes);
        if (key != nullptr && key->verify(hmac, packet.first(authenticated_layout.hmac)))
            checked = {.mode = Mode::authenticated, .key = key};
    }
    if (checked.mode == Mode::open && policy_.authenticated_only)
        return StampOutcome::unauthenticated;
    if (checked.mode == Mode::authenticated && is_answer(packet, Mode::authenticated))
        return StampOutcome::reflected;
    checked.question = read_question(packet, checked.mode);
    if (checked.mode == Mode::open)
        checked.key = find_key(checked.question.ssid);
    if (ErrorEstimate::unpack(checked.question.error_estimate).multiplier == 0)
        return StampOutcome::no_multiplier;
    if (packet.size() < twamp_answer_bytes && request.buffer.size() < open_layout.bytes)
        return StampOutcome::too_short;
    if (policy_.clock == StampClock::system)
        checked.clock = clock.error_estimate();
    if (checked.mode == Mode::authenticated &&
        !is_fresh(checked.question, checked.clock, request.arrival.received_ns))
        return StampOutcome::stale;
    return std::nullopt;
}

StampReply StampReflector::reflect(
    const Request& request, StampSessions& sessions, const WallClock& clock) const noexcept {
    assert(request.buffer.size() >= request.size);
    Checked checked;
    if (const auto refused = check(request, checked, clock))
        return {.outcome = *refused};
    StampSession* session = nullptr;
    // Whether an authenticated question is new is known by its session, also to a reflector that
    // copies the sender's numbers.
    if (policy_.stateful || checked.mode == Mode::authenticated) {
        session = sessions.find(
            {.peer = request.arrival.peer,
             .local = request.arrival.local,
             .ssid = checked.question.ssid},
            request.now_ms);
        if (session == nullptr)
            return {.outcome = StampOutcome::no_session};
    }
    if (checked.mode == Mode::authenticated) {
        const auto format = ErrorEstimate::unpack(checked.question.error_estimate).format;
        const uint64_t sent_ns =
            from_timestamp(checked.question.time, format, request.arrival.received_ns);
        if (!session->is_new(checked.question.sequence, sent_ns))
            return {.outcome = StampOutcome::stale};
    }
    if (session != nullptr)
        ++session->received;
    return request.size < open_layout.bytes ? answer_short(request, checked, session, clock)
                                            : answer(request, checked, session, clock);
}

/// A question of TWAMP that ends before the answer's base packet does: the answer ends there, too,
/// with its last field intact, or it has the whole base packet where it may grow.
StampReply StampReflector::answer_short(
    const Request& request, const Checked& checked, StampSession* session,
    const WallClock& clock) const noexcept {
    std::array<std::byte, open_layout.bytes> whole{};
    std::ranges::copy(request.buffer.first(request.size), whole.begin());
    const Request longer{
        .buffer = whole,
        .size = whole.size(),
        .arrival = request.arrival,
        .now_ms = request.now_ms};
    StampReply reply = answer(longer, checked, session, clock);
    const size_t size = std::min(request.buffer.size(), whole.size());
    std::ranges::copy(std::span(whole).first(size), request.buffer.begin());
    reply.size = static_cast<uint32_t>(size);
    return reply;
}

StampReply StampReflector::answer(
    const Request& request, const Checked& checked, StampSession* session,
    const WallClock& clock) const noexcept {
    const Layout& at = layout_of(checked.mode);
    const std::span packet = request.buffer.first(request.size);
    const bool counts = policy_.stateful && session != nullptr;
    const StampCounts counted =
        counts ? StampCounts{
                     .received = session->received,
                     .sent = session->sent + 1,
                     .last_sequence = session->last_sequence,
                     .last_sent = session->last_sent}
               : StampCounts{};
    const StampTlvReply tlvs = answer_tlvs(
        {.policy = policy_.tlvs,
         .arrival = request.arrival,
         .counts = counts ? &counted : nullptr,
         .key = checked.key,
         .mode = checked.mode,
         .sequence = checked.question.sequence,
         .synchronized = checked.clock.synchronized},
        packet.subspan(at.bytes));
    if (tlvs.suppress)
        return {.outcome = StampOutcome::not_wanted};
    const uint32_t sequence = counts ? session->sent : checked.question.sequence;
    const uint64_t sent_ns = clock.now_ns();
    if (!may_answer_at(sent_ns, request.arrival.received_ns))
        return {.outcome = StampOutcome::stale};
    write_answer(
        packet, checked.mode,
        {.sequence = sequence,
         .time = to_ntp(sent_ns),
         .receive_time = to_ntp(request.arrival.received_ns),
         .error_estimate = checked.clock.pack(),
         .sender_ttl = request.arrival.ttl,
         .question = checked.question});
    if (checked.mode == Mode::authenticated)
        std::ranges::copy(
            checked.key->sign(packet.first(at.hmac)), packet.subspan(at.hmac).begin());
    if (!tlvs.hmac.empty())
        std::ranges::copy(
            checked.key->sign(packet.first(sizeof(sequence)), tlvs.hmac_text), tlvs.hmac.begin());
    if (session != nullptr) {
        ++session->sent;
        session->last_sequence = sequence;
        session->last_sent = 0;
    }
    const auto arrived = static_cast<uint8_t>(request.arrival.traffic_class >> 2);
    const uint8_t dscp = tlvs.dscp.value_or(policy_.dscp.value_or(arrived));
    return {
        .outcome = StampOutcome::answered,
        .size = static_cast<uint32_t>(packet.size()),
        .dscp = dscp,
        .session = tlvs.follows_up ? session->tag : 0,
        .sequence = sequence,
        .sent_ns = sent_ns};
}

} // namespace riposte
