#include "daemon/tcp/connection_log.h"

#include "common/text.h"
#include "daemon/tcp/refusals.h"

#include <utility>

#include <fmt/format.h>

namespace riposte {
namespace {

std::string peer_of(const Connection& c) {
    return to_string(source_address(c.source, c.source_port));
}

} // namespace

void ConnectionLog::warn(
    log::Event event, std::string_view what, const SocketAddress& address,
    const ListenerSpec* listener, RefusalReason reason, uint64_t now_ms) {
    uint64_t suppressed = 0;
    if (!refused_limit_.allow(now_ms, suppressed))
        return;
    const std::string peer = to_string(address);
    log::write(
        LogLevel::warning, event,
        fmt::format("{} from {}: {}{}", what, peer, row_of(reason).why, log::left_out(suppressed)),
        {{"RIPOSTE_PEER", peer},
         {"RIPOSTE_LISTENER", listener != nullptr ? listener->label : "none"},
         {"RIPOSTE_REASON", std::string(token_of(reason))},
         {"RIPOSTE_LEFT_OUT", fmt::to_string(suppressed)}});
}

void ConnectionLog::warn(
    log::Event event, std::string_view what, const Connection& c, RefusalReason reason,
    uint64_t now_ms) {
    warn(event, what, source_address(c.source, c.source_port), listener_of(c), reason, now_ms);
}

void ConnectionLog::debug(
    const Connection& c, std::string_view what, std::string_view detail, uint64_t now_ms) {
    uint64_t suppressed = 0;
    if (!log::enabled(LogLevel::debug) || !debug_limit_.allow(now_ms, suppressed))
        return;
    const std::string_view blank = what.empty() ? "" : " ";
    write_debug(
        c, fmt::format("connection from {}{}{}{}", peer_of(c), blank, what, detail), suppressed);
}

void ConnectionLog::debug_received(const Connection& c, std::string_view bytes, uint64_t now_ms) {
    uint64_t suppressed = 0;
    if (!log::enabled(LogLevel::debug) || !debug_limit_.allow(now_ms, suppressed))
        return;
    write_debug(c, fmt::format("received from {}: \"{}\"", peer_of(c), escape(bytes)), suppressed);
}

void ConnectionLog::write_debug(const Connection& c, std::string line, uint64_t suppressed) {
    const ListenerSpec* listener = listener_of(c);
    log::write(
        LogLevel::debug, std::move(line) + log::left_out(suppressed),
        {{"RIPOSTE_PEER", peer_of(c)},
         {"RIPOSTE_LISTENER", listener != nullptr ? listener->label : "none"}});
}

void ConnectionLog::write_end(
    uint32_t slot, const Connection& c, std::string_view how, uint64_t now_ms) {
    const ListenerSpec* listener = listener_of(c);
    access_log_.ended(
        slot,
        {.address = source_address(c.source, c.source_port),
         .listener = listener != nullptr ? std::string_view(listener->label) : "none",
         .service = c.kind},
        how, now_ms);
}

} // namespace riposte
