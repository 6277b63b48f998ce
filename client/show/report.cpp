#include "client/show/report.h"

#include "common/text.h"

#include <cerrno>
#include <csignal>
#include <cstdlib>

#include <fmt/format.h>
#include <poll.h>
#include <unistd.h>

namespace riposte::client {

namespace {

constexpr std::string_view red = "\033[1;31m";
constexpr std::string_view dim = "\033[2m";
constexpr std::string_view plain = "\033[0m";

/// Was SIGPIPE left to end this process, as it ends others, when it started?
bool ends_of_sigpipe = false;

/// One write(2) a line. A failure to write to standard error cannot be reported anywhere.
void write_line(std::string_view line) {
    write_all(STDERR_FILENO, line);
}

} // namespace

bool wants_color(Color choice, bool is_terminal, const char* no_color, const char* term) {
    if (choice != Color::automatic)
        return choice == Color::always;
    if (no_color != nullptr && *no_color != '\0')
        return false;
    return is_terminal && term != nullptr && std::string_view(term) != "dumb";
}

Report::Report(Color color, bool verbose)
    : color_(wants_color(
          color, isatty(STDERR_FILENO) == 1, secure_getenv("NO_COLOR"), secure_getenv("TERM"))),
      verbose_(verbose) {}

void Report::error(std::string_view line) const {
    if (color_)
        write_line(fmt::format("{}riposte:{} {}\n", red, plain, line));
    else
        write_line(fmt::format("riposte: {}\n", line));
}

void Report::note(std::string_view line) const {
    if (!verbose_)
        return;
    if (color_)
        write_line(fmt::format("{}{}{}\n", dim, line, plain));
    else
        write_line(fmt::format("{}\n", line));
}

int write_all(int fd, std::string_view bytes) {
    while (!bytes.empty()) {
        const ssize_t written = ::write(fd, bytes.data(), bytes.size());
        if (written >= 0) {
            bytes.remove_prefix(static_cast<size_t>(written));
        } else if (errno == EAGAIN) {
            pollfd wait{.fd = fd, .events = POLLOUT, .revents = 0};
            ::poll(&wait, 1, -1);
        } else if (errno != EINTR) {
            return errno;
        }
    }
    return 0;
}

std::unexpected<Error> output_error(int error) {
    if (error == EPIPE && ends_of_sigpipe) {
        std::signal(SIGPIPE, SIG_DFL);
        std::raise(SIGPIPE); // unless it is blocked
    }
    return fail(Exit::usage, fmt::format("standard output: {}", reason(error)));
}

void prepare_signals() {
    ends_of_sigpipe = std::signal(SIGPIPE, SIG_IGN) == SIG_DFL;
    std::signal(SIGXFSZ, SIG_IGN);
    sigset_t handled;
    sigemptyset(&handled);
    for (const int number : {SIGINT, SIGTERM, SIGQUIT}) // event_loop.h
        sigaddset(&handled, number);
    pthread_sigmask(SIG_UNBLOCK, &handled, nullptr);
}

} // namespace riposte::client
