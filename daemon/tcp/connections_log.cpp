// What is told of connections: at debug, at a refusal (limited in number), and to the access log.

#include "common/text.h"
#include "daemon/tcp/connections.h"

#include <fmt/format.h>

namespace riposte {

void Connections::log_refused(
    log::Event event, std::string_view what, const SocketAddress& address,
    const ListenerSpec* listener, Counter reason, std::string_view why) {
    uint64_t suppressed = 0;
    if (!refused_limit_.allow(turn_.now_ms, suppressed))
        return;
    std::string peer = to_string(address);
    log::write(
        LogLevel::warning, event,
        fmt::format("{} from {}: {}{}", what, peer, why, log::left_out(suppressed)),
        {{"RIPOSTE_PEER", peer},
         {"RIPOSTE_LISTENER", listener != nullptr ? listener->label : "none"},
         {"RIPOSTE_REASON", std::string(row_of(reason).token)},
         {"RIPOSTE_LEFT_OUT", fmt::to_string(suppressed)}});
}

void Connections::log_peer(uint32_t slot, std::string_view what, std::string_view detail) {
    uint64_t suppressed = 0;
    if (!log::enabled(LogLevel::debug) || !debug_limit_.allow(turn_.now_ms, suppressed))
        return;
    const Connection& c = table_[slot];
    std::string peer = to_string(source_address(c.source, c.source_port));
    std::string line;
    if (what == "received")
        line = fmt::format("received from {}{}", peer, detail);
    else
        line = fmt::format("connection from {}{}{}{}", peer, what.empty() ? "" : " ", what, detail);
    log::write(
        LogLevel::debug, line + log::left_out(suppressed),
        {{"RIPOSTE_PEER", peer},
         {"RIPOSTE_LISTENER", c.listener != nullptr ? c.listener->socket.label : "none"}});
}

/// To the access log, when it is known how it ended. Once: what comes after that tells nothing.
void Connections::tell_end(uint32_t slot, std::string_view how) {
    if (!telemetry_.access_log.told_of(slot)) [[likely]]
        return;
    const Connection& c = table_[slot];
    const ListenerSpec* listener = listener_of(c);
    telemetry_.access_log.ended(
        slot,
        {.address = source_address(c.source, c.source_port),
         .listener = listener != nullptr ? std::string_view(listener->label) : "none",
         .service = c.kind},
        how, turn_.now_ms);
}

} // namespace riposte
