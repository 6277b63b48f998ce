#include "client/show/terminal_screen.h"

#include "common/text.h"

#include <algorithm>
#include <array>
#include <atomic>
#include <cassert>
#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <utility>

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

namespace riposte::client {

namespace {

/// Alternate screen, no cursor, no wrap; and the reverse, with colours off.
constexpr std::string_view enter_sequence = "\033[?1049h\033[?25l\033[?7l\033[H\033[2J";
constexpr std::string_view leave_sequence = "\033[0m\033[?7h\033[?25h\033[?1049l";
constexpr std::string_view erase_line_end = "\033[K";
constexpr int leave_wait_ms = 500;
constexpr std::array<int, 6> fatal{SIGHUP, SIGABRT, SIGSEGV, SIGBUS, SIGFPE, SIGILL};

// What the handlers need; written while they are not installed.
std::atomic<int> entered_fd{-1};
termios saved_modes;
std::array<struct sigaction, fatal.size()> saved_actions;

extern "C" void on_fatal(int number) {
    restore_terminal();
    std::signal(number, SIG_DFL);
    std::raise(number); // it is blocked here, and ends the process on return
}

void install_handlers() {
    for (size_t at = 0; at < fatal.size(); at++) {
        ::sigaction(fatal[at], nullptr, &saved_actions[at]);
        if (saved_actions[at].sa_handler == SIG_IGN)
            continue;
        struct sigaction action{};
        action.sa_handler = on_fatal;
        sigemptyset(&action.sa_mask);
        ::sigaction(fatal[at], &action, nullptr);
    }
}

void remove_handlers() {
    for (size_t at = 0; at < fatal.size(); at++)
        ::sigaction(fatal[at], &saved_actions[at], nullptr);
}

} // namespace

/// Only calls that a signal handler may make.
void restore_terminal() {
    const int fd = entered_fd.exchange(-1);
    if (fd < 0)
        return;
    std::string_view rest = leave_sequence;
    while (!rest.empty()) {
        const ssize_t size = ::write(fd, rest.data(), rest.size());
        if (size > 0) {
            rest.remove_prefix(static_cast<size_t>(size));
            continue;
        }
        pollfd wait{.fd = fd, .events = POLLOUT, .revents = 0};
        if (size < 0 && errno != EAGAIN && errno != EINTR)
            break;
        if (::poll(&wait, 1, leave_wait_ms) <= 0)
            break;
    }
    ::tcsetattr(fd, TCSANOW, &saved_modes);
}

Result<void> check_screen(std::string_view command) {
    const std::string instead =
        fmt::format("'riposte {} --every 10s' prints a line for each interval instead", command);
    if (isatty(STDOUT_FILENO) != 1)
        return fail(
            Exit::usage, fmt::format("--live: standard output is no terminal; {}", instead));
    const char* const term = secure_getenv("TERM");
    if (term == nullptr || *term == '\0' || std::string_view(term) == "dumb")
        return fail(
            Exit::usage, fmt::format(
                             "--live: the terminal cannot move its cursor (TERM is '{}'); {}",
                             term == nullptr ? "" : escape(term, 40), instead));
    return {};
}

Result<TerminalScreen> TerminalScreen::open(std::string_view command) {
    if (auto checked = check_screen(command); !checked)
        return std::unexpected(checked.error());
    constexpr int flags = O_RDWR | O_NONBLOCK | O_NOCTTY | O_CLOEXEC;
    Fd fd(::open(fmt::format("/proc/self/fd/{}", STDOUT_FILENO).c_str(), flags));
    if (!fd) // another user's terminal, after su(1)
        fd = Fd(::open("/dev/tty", flags));
    if (!fd)
        return fail(
            Exit::usage, fmt::format("--live: cannot open the terminal: {}", reason(errno)));
    return TerminalScreen(std::move(fd));
}

TerminalScreen::TerminalScreen(TerminalScreen&& other) noexcept
    : fd_(std::move(other.fd_)), is_entered_(std::exchange(other.is_entered_, false)),
      shown_(std::move(other.shown_)), rest_(std::move(other.rest_)),
      shown_size_(other.shown_size_) {}

TerminalScreen::~TerminalScreen() {
    leave();
}

void TerminalScreen::enter() {
    if (is_entered_)
        return;
    assert(entered_fd.load() < 0 && "one screen at a time");
    is_entered_ = true;
    ::tcgetattr(fd_.get(), &saved_modes);
    termios modes = saved_modes;
    modes.c_lflag &= ~static_cast<tcflag_t>(ICANON | ECHO); // Ctrl-C and Ctrl-Z stay signals
    modes.c_cc[VMIN] = 1; // of 0, a shell that takes over would see an end of file
    modes.c_cc[VTIME] = 0;
    install_handlers();
    entered_fd = fd_.get();
    ::tcsetattr(fd_.get(), TCSANOW, &modes);
    rest_ = enter_sequence;
    forget();
}

void TerminalScreen::leave() {
    if (!std::exchange(is_entered_, false))
        return;
    restore_terminal();
    remove_handlers();
    rest_.clear();
}

bool TerminalScreen::is_foreground() const {
    const pid_t group = ::tcgetpgrp(fd_.get());
    return group < 0 || group == ::getpgrp(); // no job control: there is no background
}

ScreenSize TerminalScreen::size() const {
    winsize size{};
    if (::ioctl(fd_.get(), TIOCGWINSZ, &size) < 0 || size.ws_col == 0 || size.ws_row == 0)
        return {};
    return {size.ws_col, size.ws_row};
}

std::string TerminalScreen::read() {
    std::array<char, 256> bytes{};
    const ssize_t size = ::read(fd_.get(), bytes.data(), bytes.size());
    return size > 0 ? std::string(bytes.data(), static_cast<size_t>(size)) : std::string();
}

/// Writes what the terminal takes now.
int TerminalScreen::flush() {
    while (!rest_.empty()) {
        const ssize_t size = ::write(fd_.get(), rest_.data(), rest_.size());
        if (size < 0)
            return errno == EAGAIN || errno == EINTR ? 0 : errno;
        rest_.erase(0, static_cast<size_t>(size));
    }
    return 0;
}

int TerminalScreen::draw(std::span<const std::string> lines) {
    if (!is_entered_)
        return 0;
    if (const int error = flush(); error != 0)
        return error;
    if (!rest_.empty() && !shown_.empty())
        return 0;
    if (const ScreenSize now = size(); now != shown_size_) {
        shown_size_ = now;
        forget();
    }
    rest_ += frame_difference(shown_, lines);
    shown_.assign(lines.begin(), lines.end());
    return flush();
}

std::string frame_difference(
    std::span<const std::string> before, std::span<const std::string> after) {
    std::string bytes = before.empty() ? "\033[0m\033[H\033[2J" : "";
    for (size_t at = 0; at < std::max(before.size(), after.size()); at++) {
        const std::string_view line = at < after.size() ? std::string_view(after[at]) : "";
        const std::string_view old = at < before.size() ? std::string_view(before[at]) : "";
        if (line == old)
            continue;
        // Erased first: behind a line that fills its row, the cursor stands on the last character.
        bytes += fmt::format("\033[{};1H{}{}", at + 1, erase_line_end, line);
    }
    return bytes;
}

} // namespace riposte::client
