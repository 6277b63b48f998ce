// Three sinks behind one write(). The sink and the level are plain atomics: open() runs before the
// threads, set_level() may run at any time (a reload), and a line in flight takes the old or the
// new one. There is no lock: a line is one write(2) or one journal datagram, and the kernel keeps
// those apart. A line that can not be written is lost: the log never makes the daemon wait or fail.

#include "daemon/log.h"

#include "build_features.h"

#include <array>
#include <cassert>
#include <cerrno>
#include <cstdlib>
#include <iterator>
#include <utility>
#include <vector>

#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#if RIPOSTE_HAVE_SYSTEMD
// The journal would otherwise be told that every line comes from this file.
#define SD_JOURNAL_SUPPRESS_LOCATION
#include <systemd/sd-journal.h>
#endif

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
            fmt::format_to(std::back_inserter(line), "\\x{:02x}", byte);
        else
            line += c;
    }
    return line;
}

/// One system call, but for a full pipe that takes a part of the line; what it then refuses (or
/// EAGAIN, where somebody made stderr non-blocking) is lost.
void write_stderr(std::string_view line) {
    while (!line.empty()) {
        const ssize_t written = ::write(STDERR_FILENO, line.data(), line.size());
        if (written < 0 && errno == EINTR)
            continue;
        if (written <= 0)
            return;
        line.remove_prefix(static_cast<size_t>(written));
    }
}

void write_prefixed(LogLevel level, std::string_view message) {
    write_stderr(fmt::format("<{}>{}\n", static_cast<int>(level), message));
}

void write_plain(LogLevel level, std::string_view message) {
    const bool marked = level == LogLevel::error || level == LogLevel::warning;
    write_stderr(fmt::format(
        "{}: {}{}{}\n", identifier, marked ? to_string(level) : "", marked ? ": " : "", message));
}

#if RIPOSTE_HAVE_SYSTEMD

bool valid_field_name(std::string_view name) {
    // A leading underscore marks the fields that only journald may set; it drops ours.
    if (name.empty() || name.size() > 64 || name.front() < 'A' || name.front() > 'Z')
        return false;
    return name.find_first_not_of("ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_") == name.npos;
}

/// False if the journal did not take the line.
bool write_journal(
    LogLevel level, std::string_view message, std::initializer_list<Field> extra_fields) {
    // sd_journal_sendv(3) reports success when there is no journal to send to (a chroot without its
    // socket), so that has to be asked for.
    if (::access("/run/systemd/journal/socket", W_OK) != 0)
        return false;
    std::vector<std::string> fields;
    fields.reserve(3 + extra_fields.size());
    fields.push_back(fmt::format("MESSAGE={}", message));
    fields.push_back(fmt::format("PRIORITY={}", static_cast<int>(level)));
    fields.push_back(fmt::format("SYSLOG_IDENTIFIER={}", identifier));
    for (const Field& field : extra_fields) {
        assert(valid_field_name(field.name));
        if (valid_field_name(field.name))
            fields.push_back(fmt::format("{}={}", field.name, field.value));
    }
    std::vector<iovec> parts;
    parts.reserve(fields.size());
    for (std::string& field : fields)
        parts.push_back({field.data(), field.size()});
    return sd_journal_sendv(parts.data(), static_cast<int>(parts.size())) == 0;
}

#else

bool write_journal(
    LogLevel /*level*/, std::string_view /*message*/,
    std::initializer_list<Field> /*extra_fields*/) {
    return false;
}

#endif

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

void write(LogLevel level, std::string_view message, std::initializer_list<Field> fields) {
    if (!enabled(level))
        return;
    const std::string line = one_line(message);
    switch (sink()) {
    case Sink::none:
        return;
    case Sink::plain:
        return write_plain(level, line);
    case Sink::prefixed:
        return write_prefixed(level, line);
    case Sink::journal:
        // Standard error leads to the journal too, only without the fields.
        if (!write_journal(level, line, fields))
            write_prefixed(level, line);
        return;
    }
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
