#include "client/show/terminal.h"

#include "client/show/report.h"
#include "client/show/table.h"

#include <algorithm>
#include <charconv>
#include <cstdlib>
#include <cstring>
#include <string>

#include <sys/ioctl.h>
#include <unistd.h>

namespace riposte::client {

namespace {

constexpr size_t default_width = 80;
constexpr std::string_view to_line_start_and_erase = "\r\033[K";

/// The first of the variables that is set and not empty, as setlocale(3) looks at them.
std::string_view locale_name() {
    for (const char* name : {"LC_ALL", "LC_CTYPE", "LANG"})
        if (const char* value = secure_getenv(name); value != nullptr && *value != '\0')
            return value;
    return {};
}

} // namespace

size_t terminal_width(int fd) {
    winsize size{};
    if (::ioctl(fd, TIOCGWINSZ, &size) == 0 && size.ws_col > 0)
        return size.ws_col;
    if (const char* columns = secure_getenv("COLUMNS"); columns != nullptr) {
        size_t width = 0;
        const char* end = columns + std::strlen(columns);
        const auto parsed = std::from_chars(columns, end, width);
        if (parsed.ec == std::errc{} && parsed.ptr == end && width > 0 && width <= 1000)
            return width;
    }
    return default_width;
}

size_t output_columns() {
    if (isatty(STDOUT_FILENO) != 1)
        return text_columns;
    return std::clamp(terminal_width(STDOUT_FILENO), text_columns_min, text_columns);
}

bool shows_unicode() {
    const std::string_view name = locale_name();
    for (const std::string_view charset : {"UTF-8", "utf-8", "UTF8", "utf8"})
        if (name.find(charset) != std::string_view::npos)
            return true;
    return false;
}

LiveLine::LiveLine() : shown_(isatty(STDERR_FILENO) == 1) {
    const char* term = secure_getenv("TERM");
    if (term == nullptr || std::string_view(term) == "dumb")
        shown_ = false;
}

LiveLine::~LiveLine() {
    erase();
}

size_t LiveLine::width() const {
    return terminal_width(STDERR_FILENO);
}

void LiveLine::draw(std::string_view text) {
    if (!shown_)
        return;
    std::string line(to_line_start_and_erase);
    line += text;
    write_all(STDERR_FILENO, line);
    drawn_ = true;
}

void LiveLine::erase() {
    if (drawn_)
        write_all(STDERR_FILENO, to_line_start_and_erase);
    drawn_ = false;
}

} // namespace riposte::client
