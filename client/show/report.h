// What the client prints, and where: results on standard output, byte for byte; everything else,
// a line at a time, on standard error, in colour on a terminal.
#pragma once

#include "client/options/options.h"
#include "common/error.h"

#include <string>
#include <string_view>

namespace riposte::client {

/// Is standard error coloured? `always` and `never` decide alone; else NO_COLOR (set to anything
/// but the empty string, https://no-color.org) and a dumb terminal say no.
bool wants_color(Color choice, bool is_terminal, const char* no_color, const char* term);

class Report {
public:
    Report(Color color, bool verbose);

    /// "riposte: LINE" on standard error.
    void error(std::string_view line) const;
    /// LINE on standard error, with -v only.
    void note(std::string_view line) const;

private:
    bool color_;
    bool verbose_;
};

/// Writes all of it, waiting where `fd` is non-blocking; 0 or the errno that ended it.
int write_all(int fd, std::string_view bytes);

/// The error for a failed write to standard output: Exit::usage, "standard output: ...".
///
/// A reader that has left is no error: the process ends by SIGPIPE, silently, like other programs
/// in a pipe to head(1). If SIGPIPE was ignored at the start, it is reported like any other
/// failure.
std::unexpected<Error> output_error(int error);

/// What signals do here, for the first line of main. Writing to a pipe without a reader, or beyond
/// the limit of a file's size (ulimit -f), is an error of write(2), which is reported in a line;
/// and the signals that we handle come, whatever mask we were started with.
void prepare_signals();

} // namespace riposte::client
