// A terminal as a screen of lines: its alternate screen, without echo, cursor and line wrap, and
// all of it as it was before on every way out.
//
// The terminal is opened anew: O_NONBLOCK must not affect the shell and others that have it open,
// and keys come from it whatever standard input is. Nothing here waits for it: a frame of which it
// has not taken all holds back the next one, which is dropped; only what changed since the last
// frame is written, a line at a time.
//
// Ways out: leave() and the destructor; a signal that ends the process in this file's handlers
// (SIGHUP, and the faults of a program: SIGABRT, which an assertion raises, SIGSEGV, SIGBUS,
// SIGFPE, SIGILL); restore_terminal() from another handler, as before the exit of EventLoop after
// an interrupt too many. What cannot be caught (SIGKILL) leaves the terminal as it is: reset(1).
#pragma once

#include "client/show/live_screen.h"
#include "common/error.h"
#include "common/fd.h"

#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace riposte::client {

/// Why there can be no screen on standard output: Exit::usage, with what there is instead.
Result<void> check_screen(std::string_view command);

class TerminalScreen {
public:
    /// The terminal on standard output. There is one screen at a time.
    static Result<TerminalScreen> open(std::string_view command);
    TerminalScreen(TerminalScreen&& other) noexcept;
    TerminalScreen& operator=(TerminalScreen&&) = delete;
    ~TerminalScreen();

    /// From now on, and again after leave(): all of it is drawn anew.
    void enter();
    /// The terminal as it was. Waits a little for one that takes nothing, and then gives up.
    void leave();
    bool is_entered() const { return is_entered_; }

    ScreenSize size() const;
    /// Does this process own the terminal? In the background it must not touch it.
    bool is_foreground() const;
    /// What was typed since the last call.
    std::string read();

    /// Shows these lines, or nothing if the last frame is still on its way. 0, or the errno of a
    /// terminal that is gone.
    int draw(std::span<const std::string> lines);
    /// The next frame is written whole: something else may have written there.
    void forget() { shown_.clear(); }

private:
    explicit TerminalScreen(Fd fd) : fd_(std::move(fd)) {}
    int flush();

    Fd fd_; ///< none: moved from
    bool is_entered_ = false;
    std::vector<std::string> shown_; ///< what the terminal shows, or will when it has taken `rest_`
    std::string rest_;
    ScreenSize shown_size_{0, 0};
};

/// Restores the terminal of the screen that is entered, if one is. Safe in a signal handler.
void restore_terminal();

/// The bytes that turn a screen with `before` into one with `after`; an empty `before`: all of it
/// is unknown.
std::string frame_difference(
    std::span<const std::string> before, std::span<const std::string> after);

} // namespace riposte::client
