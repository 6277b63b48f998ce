#include "daemon/services/stamp_sessions.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>

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

bool is_free(const StampSession& session, uint32_t now_ms) {
    const bool established = session.sightings >= StampSessions::established_sightings;
    const uint32_t patience_ms =
        established ? StampSessions::idle_ms : StampSessions::newcomer_idle_ms;
    return session.tag == 0 || now_ms - session.seen_ms > patience_ms;
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

StampSessions::StampSessions(uint32_t sessions, const HashSecret& secret)
    : count_(std::bit_ceil(std::max(sessions, ways))), secret_(secret) {
    sessions_ = std::make_unique<StampSession[]>(count_);
}

uint64_t StampSessions::memory_bytes(uint32_t sessions) noexcept {
    return uint64_t{std::bit_ceil(std::max(sessions, ways))} * sizeof(StampSession);
}

std::span<StampSession> StampSessions::set_of(uint64_t tag) noexcept {
    return {&sessions_[(tag & (count_ / ways - 1)) * ways], ways};
}

bool StampSessions::adopt(const StampSession& session) noexcept {
    for (StampSession& place : set_of(session.tag))
        if (place.tag == 0 || place.tag == session.tag) {
            place = session;
            return true;
        }
    return false;
}

StampSession* StampSessions::find(const StampSessionId& id, uint64_t now_ms) noexcept {
    const auto now = static_cast<uint32_t>(now_ms);
    const uint64_t tag = std::max<uint64_t>(siphash(secret_, identity_of(id)), 1);
    StampSession* session = nullptr;
    for (StampSession& place : set_of(tag)) {
        const bool free = is_free(place, now);
        if (place.tag == tag && !free) {
            session = &place;
            break;
        }
        if (free && session == nullptr)
            session = &place;
    }
    if (session == nullptr)
        return nullptr;
    if (session->tag != tag || is_free(*session, now))
        *session = {.tag = tag, .seen_ms = now, .sightings = 1};
    else if (session->seen_ms != now)
        session->sightings = std::min(session->sightings + 1, established_sightings);
    session->seen_ms = now;
    return session;
}

} // namespace riposte
