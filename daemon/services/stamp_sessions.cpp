#include "daemon/services/stamp_sessions.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <utility>

#include <netinet/in.h>

namespace riposte {

namespace {

constexpr uint32_t window = 64; ///< bits of StampSession::seen_window

/// Two addresses of 16 bytes, two zones, two ports and the SSID; the rest is zero.
using Identity = std::array<uint8_t, 48>;

/// An IPv4 address is mapped into IPv6, so that a session is the same on a dual-stack socket. A
/// link-local address means something with its zone only.
void write_host(uint8_t* to, uint8_t* zone, const SocketAddress& address) {
    if (address.family() == AF_INET) {
        sockaddr_in ipv4{};
        std::memcpy(&ipv4, &address.storage, sizeof(ipv4));
        to[10] = to[11] = 0xff;
        std::memcpy(to + 12, &ipv4.sin_addr, sizeof(ipv4.sin_addr));
    } else if (address.family() == AF_INET6) {
        sockaddr_in6 ipv6{};
        std::memcpy(&ipv6, &address.storage, sizeof(ipv6));
        std::memcpy(to, &ipv6.sin6_addr, sizeof(ipv6.sin6_addr));
        std::memcpy(zone, &ipv6.sin6_scope_id, sizeof(ipv6.sin6_scope_id));
    }
}

Identity identity_of(const StampSessionId& id) {
    Identity identity{};
    write_host(identity.data(), identity.data() + 32, id.peer);
    write_host(identity.data() + 16, identity.data() + 36, id.local);
    const std::array<uint16_t, 3> numbers{id.peer.port(), id.local.port(), id.ssid};
    std::memcpy(identity.data() + 40, numbers.data(), sizeof(numbers));
    return identity;
}

/// How long a session may be idle until another one takes its place.
uint32_t kept_ms(const StampSession& session, bool is_quick) {
    if (is_quick)
        return session.confirmed ? StampSessions::newcomer_ms : StampSessions::quick_newcomer_ms;
    return session.confirmed ? StampSessions::idle_ms : StampSessions::newcomer_ms;
}

/// A place for a new session: a free one, else the one that was idle for longest of those that may
/// be taken; null if there is none.
StampSession* take_place(std::span<StampSession, StampSessions::ways> set, uint32_t now_ms) {
    constexpr uint32_t slow_ways = StampSessions::ways - StampSessions::quick_ways;
    StampSession* taken = nullptr;
    uint32_t taken_idle_ms = 0;
    for (uint32_t way = 0; way < StampSessions::ways; ++way) {
        StampSession& place = set[way];
        const uint32_t idle_ms = now_ms - place.seen_ms;
        if (place.tag == 0 || idle_ms > StampSessions::idle_ms)
            return &place;
        if (idle_ms > std::max(kept_ms(place, way >= slow_ways), taken_idle_ms)) {
            taken = &place;
            taken_idle_ms = idle_ms;
        }
    }
    return taken;
}

} // namespace

bool StampSession::is_new(uint32_t sequence, uint64_t sender_ns) noexcept {
    const uint32_t ahead = sequence - newest_sequence;
    const bool runs_on = ahead != 0 && ahead < uint32_t{1} << 31;
    if (!has_questions || sender_ns > newest_ns) {
        const bool begins = !has_questions || !runs_on;
        seen_window = begins || ahead >= window ? 1 : seen_window << ahead | 1;
        began_ns = begins ? sender_ns : began_ns;
        newest_sequence = sequence;
        newest_ns = sender_ns;
        has_questions = true;
        return true;
    }
    const uint32_t behind = newest_sequence - sequence;
    if (behind == 0 || behind >= window || sender_ns < began_ns || (seen_window >> behind & 1) != 0)
        return false;
    seen_window |= uint64_t{1} << behind;
    return true;
}

StampSessions::StampSessions(
    uint32_t sessions, const HashSecret& secret, std::shared_ptr<StampSessionCount> in_use)
    : in_use_(std::move(in_use)), count_(std::bit_ceil(std::max(sessions, ways))), secret_(secret) {
    sessions_ = std::make_unique<StampSession[]>(count_);
}

uint64_t StampSessions::memory_bytes(uint32_t sessions) noexcept {
    return uint64_t{std::bit_ceil(std::max(sessions, ways))} * sizeof(StampSession);
}

std::span<StampSession, StampSessions::ways> StampSessions::set_of(uint64_t tag) const noexcept {
    return std::span<StampSession, ways>(&sessions_[(tag & (count_ / ways - 1)) * ways], ways);
}

const StampSession* StampSessions::find_tag(uint64_t tag) const noexcept {
    const auto set = set_of(tag);
    const auto found = std::ranges::find(set, tag, &StampSession::tag);
    return found == set.end() ? nullptr : &*found;
}

void StampSessions::transmitted(uint64_t tag, uint32_t sequence, uint64_t time) noexcept {
    const auto set = set_of(tag);
    const auto found = std::ranges::find(set, tag, &StampSession::tag);
    if (found != set.end() && found->sent > 0 && found->last_sequence == sequence)
        found->last_sent = time;
}

bool StampSessions::adopt(const StampSession& session) noexcept {
    if (session.tag == 0)
        return false;
    for (StampSession& place : set_of(session.tag))
        if (place.tag == 0 || place.tag == session.tag) {
            place = session;
            place.adopted = true;
            return true;
        }
    return false;
}

StampSession* StampSessions::find(const StampSessionId& id, uint64_t now_ms) noexcept {
    const auto now = static_cast<uint32_t>(now_ms);
    const uint64_t tag = std::max<uint64_t>(siphash(secret_, identity_of(id)), 1);
    const auto set = set_of(tag);
    const auto own = std::ranges::find(set, tag, &StampSession::tag);
    StampSession* const session = own != set.end() ? &*own : take_place(set, now);
    if (session == nullptr)
        return nullptr;
    if (session->tag == tag && now - session->seen_ms <= idle_ms) {
        in_use_->move(session->seen_ms, now);
    } else {
        if (session->tag != 0 && !session->adopted)
            in_use_->remove(session->seen_ms);
        in_use_->add(now);
        *session = {.tag = tag, .seen_ms = now, .began_ms = now};
    }
    session->confirmed |= now - session->began_ms >= confirm_ms;
    session->adopted = false;
    session->seen_ms = now;
    return session;
}

} // namespace riposte
