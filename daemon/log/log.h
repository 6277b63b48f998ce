// The daemon's log. Only callers that know the consequence log; libraries return errors.
//
// Three sinks, chosen once by open(): the journal with structured fields when standard error is
// connected to it (JOURNAL_STREAM names stderr's device and inode, see systemd.exec(5)); standard
// error with sd-daemon(3) `<N>` prefixes under a service manager; plain text otherwise. Without a
// standard error that can be written to, there is no log. A line is written with one system call,
// so that threads do not mix theirs. Logging never blocks: lines that a sink does not accept at
// once are dropped and counted, and the next line says how many. The caller escapes what a peer
// sent (text.h), and a line that a peer can trigger goes through a Limit.
//
// A line that an operator may want explained has an Event (log_events.h), under which the journal
// finds it and its catalog explains it, and fields with what the line says. All but those at the
// level debug are such.
#pragma once

#include "daemon/log/log_events.h"

#include <atomic>
#include <cstdint>
#include <initializer_list>
#include <optional>
#include <string>
#include <string_view>

#include <fmt/format.h>

namespace riposte {

/// syslog(3) priorities.
enum class LogLevel : int { error = 3, warning = 4, info = 6, debug = 7 };

std::string_view to_string(LogLevel level);
std::optional<LogLevel> parse_log_level(std::string_view text);

} // namespace riposte

namespace riposte::log {

enum class Sink : uint8_t { none, plain, prefixed, journal };

/// A journal field: NAME in capitals, digits and underscores; see systemd.journal-fields(7).
struct Field {
    std::string_view name;
    std::string value;
};

/// Chooses the sink from the environment. Call once, before threads start.
void open();
void open(Sink sink);
Sink sink() noexcept;

void set_level(LogLevel level) noexcept;
bool enabled(LogLevel level) noexcept;

using Fields = std::initializer_list<Field>;

/// One line. Event and fields are for the journal only.
void write(LogLevel level, Event event, std::string_view message, Fields fields = {});
void write(LogLevel level, std::string_view message, Fields fields = {});

template<class... Args>
void error(Event event, Fields fields, fmt::format_string<Args...> format, Args&&... args) {
    write(LogLevel::error, event, fmt::format(format, std::forward<Args>(args)...), fields);
}
template<class... Args>
void warning(Event event, Fields fields, fmt::format_string<Args...> format, Args&&... args) {
    if (enabled(LogLevel::warning))
        write(LogLevel::warning, event, fmt::format(format, std::forward<Args>(args)...), fields);
}
template<class... Args>
void info(Event event, Fields fields, fmt::format_string<Args...> format, Args&&... args) {
    if (enabled(LogLevel::info))
        write(LogLevel::info, event, fmt::format(format, std::forward<Args>(args)...), fields);
}

template<class... Args>
void debug(fmt::format_string<Args...> format, Args&&... args) {
    if (enabled(LogLevel::debug))
        write(LogLevel::debug, fmt::format(format, std::forward<Args>(args)...));
}

/// Counts one that there was no memory to write.
void lose_line() noexcept;

/// There is no memory, and no way to go on: says so without any, and ends the process with
/// Exit::os.
[[noreturn]] void end_without_memory() noexcept;

/// What to append to a line for those that a Limit held back: "" or " (7 lines left out)".
std::string left_out(uint64_t suppressed);

/// Lets `burst` lines through in each `interval_ms`, and counts those that it holds back. One
/// thread's, no clock of its own.
class Limit {
public:
    Limit(uint32_t burst, uint32_t interval_ms) : burst_(burst), interval_ms_(interval_ms) {}

    /// May a line be written now? Then `suppressed` is how many were held back since the last one.
    bool allow(uint64_t now_ms, uint64_t& suppressed) noexcept;

private:
    uint32_t burst_;
    uint32_t interval_ms_;
    uint64_t window_start_ms_ = 0;
    uint32_t written_ = 0;
    uint64_t suppressed_ = 0;
};

} // namespace riposte::log
