// The journal's socket: one datagram a line, in its native protocol (systemd's
// docs/JOURNAL_NATIVE_PROTOCOL.md), of fields that have no line break in them.
//
// Not by sd_journal_sendv(3): that waits when the journal does not read, for as long as it takes,
// and the threads that answer peers must not. A line that cannot be sent at once is refused here.
#pragma once

#include <cstdint>
#include <string_view>

namespace riposte::journal {

/// Before threads start; once more does nothing. The socket is kept: afterwards nothing is opened.
void open() noexcept;

enum class Taken : uint8_t {
    yes,
    full,   ///< it does not keep up: the line is lost
    absent, ///< no journal listens, or the line is too long for it: use another sink
};

/// `fields` are lines "NAME=value\n". From any thread.
Taken send(std::string_view fields) noexcept;

} // namespace riposte::journal
