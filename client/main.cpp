// Wires the client: command line -> the command -> exit code.
#include "client/options.h"
#include "client/report.h"
#include "client/send.h"

#include <csignal>

#include <fmt/format.h>
#include <unistd.h>

using namespace riposte;
using namespace riposte::client;

namespace {

struct Run {
    const CommonOptions& common;

    Result<void> operator()(const Answer& answer) const {
        if (const int error = write_all(STDOUT_FILENO, answer.text); error != 0)
            return fail(Exit::usage, fmt::format("standard output: {}", reason(error)));
        return {};
    }
    Result<void> operator()(const SendOptions& options) const { return send(common, options); }
};

} // namespace

int main(int argc, char** argv) {
    reserve_standard_streams();
    std::signal(SIGPIPE, SIG_IGN); // a reader that left is an error of write(2), told in a line

    const Result<Options> options = parse_options(argc, argv);
    const Color color = options ? options->common.color : Color::automatic;
    const Result<void> result = options ? std::visit(Run{options->common}, options->command)
                                        : Result<void>(std::unexpected(options.error()));
    if (result)
        return static_cast<int>(Exit::ok);
    Report(color, false).error(result.error().message);
    return static_cast<int>(result.error().exit);
}
