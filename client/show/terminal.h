// The terminal: how wide, whether it shows Unicode, and a line at its bottom that changes in place.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace riposte::client {

/// Columns of the terminal at `fd`; else COLUMNS from the environment; else 80.
size_t terminal_width(int fd);

/// Columns for text on standard output: the terminal's, 40 to 80; 80 where there is none.
size_t output_columns();

/// Is the locale's character set UTF-8 (LC_ALL, LC_CTYPE, LANG)?
bool shows_unicode();

/// A line on standard error that is drawn over; nothing at all where that is no terminal.
class LiveLine {
public:
    LiveLine();
    ~LiveLine(); ///< erases it
    LiveLine(const LiveLine&) = delete;
    LiveLine& operator=(const LiveLine&) = delete;

    bool is_shown() const { return shown_; } ///< is there a terminal?
    size_t width() const;
    /// `text` in place of what stood there, without a newline.
    void draw(std::string_view text);
    void erase();

private:
    bool shown_;
    bool drawn_ = false;
};

} // namespace riposte::client
