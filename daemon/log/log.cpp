// Three sinks behind one write(). The sink and the level are plain atomics: open() runs before the
// threads, set_level() may run at any time (a reload), and a line in flight takes the old or the
// new one. A line is one write(2) or one journal datagram, and the kernel keeps those apart.
//
// Logging never blocks and never fails the daemon. A line that a sink does not accept at once,
// because the reader of the pipe is slow or the journal is busy, is dropped and counted; the next
// line that succeeds is preceded by one that says how many were dropped. This is what the lock is
// for: between the check that standard error accepts a line and the line itself, no other thread
// may fill it. No thread waits while it holds the lock. (Another process with the same pipe could
// still fill it. Standard error is shared with the process that started us, so its flags are not
// ours to change.)

#include "daemon/log/log.h"

#include "build_features.h"
#include "common/error.h"
#include "common/standard_streams.h"
#include "daemon/log/journal.h"

#include <algorithm>
#include <array>
#include <cassert>
#include <cerrno>
#include <cstdlib>
#include <mutex>
#include <new>
#include <utility>

#include <climits>
#include <poll.h>
#include <sys/stat.h>
#include <unistd.h>

namespace riposte {

namespace {

constexpr std::array<std::pair<std::string_view, LogLevel>, 4> level_names{{
    {"error", LogLevel::error},
    {"warning", LogLevel::warning},
    {"info", LogLevel::info},
    {"debug", LogLevel::debug},
}};

} // namespace

std::string_view to_string(LogLevel level) {
    for (const auto& [name, value] : level_names) {
        if (value == level)
            return name;
    }
    return "unknown";
}

std::optional<LogLevel> parse_log_level(std::string_view text) {
    for (const auto& [name, value] : level_names) {
        if (name == text)
            return value;
    }
    return std::nullopt;
}

} // namespace riposte

namespace riposte::log {

namespace {

constexpr std::string_view identifier = "riposted";

std::atomic<Sink> current_sink{Sink::plain};
std::atomic<LogLevel> current_level{LogLevel::info};

/// Control characters would break the line, or a terminal; text in UTF-8 passes.
std::string one_line(std::string_view message) {
    std::string line;
    line.reserve(message.size() + 32);
    for (const char c : message) {
        const auto byte = static_cast<unsigned char>(c);
        if (c == '\n')
            line += "\\n";
        else if (c == '\r')
            line += "\\r";
        else if (c == '\t')
            line += "\\t";
        else if (byte < 0x20 || byte == 0x7f)
            line += fmt::format("\\x{:02x}", byte);
        else
            line += c;
    }
    return line;
}

std::mutex sink_mutex;
uint64_t lost_lines = 0;     // since the last one that went through
bool is_line_broken = false; // standard error took the beginning of a line only

bool takes_bytes(int fd) {
    pollfd look{.fd = fd, .events = POLLOUT, .revents = 0};
    return ::poll(&look, 1, 0) == 1;
}

/// A pipe that takes anything takes PIPE_BUF bytes without a wait (pipe(7)). False if some are
/// lost.
bool write_stderr(std::string_view line) {
    while (!line.empty()) {
        if (!takes_bytes(STDERR_FILENO))
            return false;
        const ssize_t written =
            ::write(STDERR_FILENO, line.data(), std::min(line.size(), size_t{PIPE_BUF}));
        if (written < 0 && errno == EINTR)
            continue;
        if (written <= 0) // EAGAIN, too, if another process made it non-blocking
            return false;
        is_line_broken = true;
        line.remove_prefix(static_cast<size_t>(written));
    }
    is_line_broken = false;
    return true;
}

bool write_line(std::string line) {
    if (is_line_broken)
        line.insert(line.begin(), '\n');
    return write_stderr(line);
}

bool write_prefixed(LogLevel level, std::string_view message) {
    return write_line(fmt::format("<{}>{}\n", static_cast<int>(level), message));
}

bool write_plain(LogLevel level, std::string_view message) {
    const bool marked = level == LogLevel::error || level == LogLevel::warning;
    return write_line(fmt::format(
        "{}: {}{}{}\n", identifier, marked ? to_string(level) : "", marked ? ": " : "", message));
}

bool valid_field_name(std::string_view name) {
    // A leading underscore marks the fields that only journald may set; it drops ours.
    if (name.empty() || name.size() > 64 || name.front() < 'A' || name.front() > 'Z')
        return false;
    return name.find_first_not_of("ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_") == name.npos;
}

/// What one write() is about.
struct Line {
    LogLevel level;
    std::optional<Event> event;
    std::string_view message; ///< without line breaks
    Fields fields;
};

void add_field(std::string& fields, std::string_view name, std::string_view value) {
    fields += fmt::format("{}={}\n", name, value);
}

bool write_journal(const Line& line) {
    std::string fields;
    add_field(fields, "MESSAGE", line.message);
    add_field(fields, "PRIORITY", fmt::to_string(static_cast<int>(line.level)));
    add_field(fields, "SYSLOG_IDENTIFIER", identifier);
    if (line.event) {
        const EventName& event = name_of(*line.event);
        add_field(fields, "MESSAGE_ID", event.id);
        add_field(fields, "RIPOSTE_EVENT", event.name);
    }
    for (const Field& field : line.fields) {
        assert(valid_field_name(field.name));
        if (valid_field_name(field.name))
            add_field(fields, field.name, one_line(field.value));
    }
    const journal::Taken taken = journal::send(fields);
    // Standard error leads to the journal too, only without the fields.
    return taken == journal::Taken::absent ? write_prefixed(line.level, line.message)
                                           : taken == journal::Taken::yes;
}

/// To the sink as it is now. False if it is lost.
bool write_to_sink(const Line& line) {
    switch (sink()) {
    case Sink::none:
        return true;
    case Sink::plain:
        return write_plain(line.level, line.message);
    case Sink::prefixed:
        return write_prefixed(line.level, line.message);
    case Sink::journal:
        return write_journal(line);
    }
    return true;
}

/// False if this is lost, too.
bool tell_lost(uint64_t count) {
    const std::string message = fmt::format(
        "{} of the log {} lost: not read in time",
        count == 1 ? "1 line" : fmt::format("{} lines", count), count == 1 ? "was" : "were");
    return write_to_sink(
        {.level = LogLevel::warning,
         .event = Event::log_lines_lost,
         .message = message,
         .fields = {{"RIPOSTE_LOST", fmt::to_string(count)}}});
}

void write_line_of(
    LogLevel level, std::optional<Event> event, std::string_view message, Fields fields) {
    if (!enabled(level))
        return;
    const std::lock_guard lock(sink_mutex);
    bool written = false;
    try {
        const std::string line = one_line(message);
        if (lost_lines > 0 && enabled(LogLevel::warning) && tell_lost(lost_lines))
            lost_lines = 0;
        written =
            write_to_sink({.level = level, .event = event, .message = line, .fields = fields});
    } catch (const std::bad_alloc&) { // without memory a line is lost, and not the daemon
        written = false;
    }
    if (!written)
        ++lost_lines;
}

/// Is `stream`, the "device:inode" of JOURNAL_STREAM, what stderr is connected to?
bool is_stderr(std::string_view stream) {
    struct stat status{};
    if (::fstat(STDERR_FILENO, &status) != 0)
        return false;
    return stream == fmt::format("{}:{}", status.st_dev, status.st_ino);
}

Sink choose_sink() {
    // Before threads start, as the header demands: nothing changes the environment meanwhile.
    // NOLINTBEGIN(concurrency-mt-unsafe)
    const char* journal_stream = std::getenv("JOURNAL_STREAM");
    const bool under_manager = journal_stream != nullptr ||
                               std::getenv("INVOCATION_ID") != nullptr ||
                               std::getenv("NOTIFY_SOCKET") != nullptr;
    // NOLINTEND(concurrency-mt-unsafe)
    if (!is_writable_stream(
            STDERR_FILENO)) // closed by the parent process; its number belongs to another file
        return Sink::none;
    if (RIPOSTE_HAVE_SYSTEMD && journal_stream != nullptr && is_stderr(journal_stream))
        return Sink::journal;
    // A desktop's terminals inherit the variables of the service that they run in.
    if (::isatty(STDERR_FILENO) == 1)
        return Sink::plain;
    return under_manager ? Sink::prefixed : Sink::plain;
}

} // namespace

void open() {
    open(choose_sink());
}

void open(Sink sink) {
    if (sink == Sink::journal)
        journal::open();
    current_sink.store(sink, std::memory_order_relaxed);
}

Sink sink() noexcept {
    return current_sink.load(std::memory_order_relaxed);
}

void set_level(LogLevel level) noexcept {
    current_level.store(level, std::memory_order_relaxed);
}

bool enabled(LogLevel level) noexcept {
    return level <= current_level.load(std::memory_order_relaxed) && sink() != Sink::none;
}

void write(LogLevel level, Event event, std::string_view message, Fields fields) {
    write_line_of(level, event, message, fields);
}

void write(LogLevel level, std::string_view message, Fields fields) {
    write_line_of(level, std::nullopt, message, fields);
}

void lose_line() noexcept {
    const std::lock_guard lock(sink_mutex);
    ++lost_lines;
}

void end_without_memory() noexcept {
    const std::string_view line = sink() == Sink::plain
                                      ? "riposted: error: out of memory: it ends\n"
                                      : "<3>out of memory: it ends\n";
    if (sink() != Sink::none)
        write_stderr(line);
    ::_exit(static_cast<int>(Exit::os));
}

std::string left_out(uint64_t suppressed) {
    return suppressed == 0 ? "" : fmt::format(" ({} lines left out)", suppressed);
}

bool Limit::allow(uint64_t now_ms, uint64_t& suppressed) noexcept {
    suppressed = 0;
    if (now_ms - window_start_ms_ >= interval_ms_) {
        window_start_ms_ = now_ms;
        written_ = 0;
    }
    if (written_ >= burst_) {
        ++suppressed_;
        return false;
    }
    ++written_;
    suppressed = std::exchange(suppressed_, 0);
    return true;
}

} // namespace riposte::log
