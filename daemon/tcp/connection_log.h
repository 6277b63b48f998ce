// What is logged of single connections: each at debug, refusals and other ends that an operator may
// have to explain (limited in number), and the end of each in the access log.
//
// One worker's. It decides nothing; the engine says what happened.
#pragma once

#include "common/address.h"
#include "daemon/listen/listener_slot.h"
#include "daemon/log/log.h"
#include "daemon/tcp/connection.h"
#include "daemon/tcp/refusal_reason.h"
#include "daemon/telemetry/access_log.h"

#include <cstdint>
#include <string>
#include <string_view>

namespace riposte {

/// Null: adopted, and no listener of its service is left.
inline const ListenerSpec* listener_of(const Connection& c) noexcept {
    return c.listener != nullptr ? &c.listener->socket : nullptr;
}

class ConnectionLog {
public:
    explicit ConnectionLog(AccessLog& access_log) : access_log_(access_log) {}

    /// A warning: what was done to a peer, and why (refusals.h).
    void warn(
        log::Event event, std::string_view what, const SocketAddress& peer,
        const ListenerSpec* listener, RefusalReason reason, uint64_t now_ms);
    /// The same, of a connection that has a slot.
    void warn(
        log::Event event, std::string_view what, const Connection& c, RefusalReason reason,
        uint64_t now_ms);

    /// At debug: "connection from PEER WHAT DETAIL".
    void debug(
        const Connection& c, std::string_view what, std::string_view detail, uint64_t now_ms);
    /// At debug: what came from the peer.
    void debug_received(const Connection& c, std::string_view bytes, uint64_t now_ms);

    /// To the access log, when it is known how the connection ended. Only the first call counts:
    /// what comes after it adds nothing.
    void end(uint32_t slot, const Connection& c, std::string_view how, uint64_t now_ms) {
        if (access_log_.told_of(slot)) [[unlikely]]
            write_end(slot, c, how, now_ms);
    }

private:
    void write_debug(const Connection& c, std::string line, uint64_t suppressed);
    void write_end(uint32_t slot, const Connection& c, std::string_view how, uint64_t now_ms);

    AccessLog& access_log_;
    log::Limit debug_limit_{1000, 1000};
    log::Limit refused_limit_{1, 10'000};
};

} // namespace riposte
