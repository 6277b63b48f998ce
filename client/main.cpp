// Wires the client: command line -> the command -> exit code.
#include "client/load/load.h"
#include "client/options/options.h"
#include "client/ping/ping.h"
#include "client/probe/probe.h"
#include "client/send/send.h"
#include "client/show/report.h"
#include "client/status/status.h"
#include "client/throughput/throughput.h"
#include "common/standard_streams.h"

#include <unistd.h>

using namespace riposte;
using namespace riposte::client;

namespace {

struct Run {
    const CommonOptions& common;

    Result<Exit> operator()(const Answer& answer) const {
        if (const int error = write_all(STDOUT_FILENO, answer.text); error != 0)
            return output_error(error);
        return Exit::ok;
    }
    Result<Exit> operator()(const SendOptions& options) const { return send(common, options); }
    Result<Exit> operator()(const PingOptions& options) const { return ping(common, options); }
    Result<Exit> operator()(const LoadOptions& options) const { return load(common, options); }
    Result<Exit> operator()(const ThroughputOptions& options) const {
        return throughput(common, options);
    }
    Result<Exit> operator()(const ProbeOptions& options) const { return probe(common, options); }
    Result<Exit> operator()(const StatusOptions& options) const { return status(common, options); }
};

} // namespace

int main(int argc, char** argv) {
    prepare_signals();
    if (!reserve_standard_streams())
        return static_cast<int>(Exit::usage);

    const Result<Options> options = parse_options(argc, argv);
    const Color color = options ? options->common.color : Color::automatic;
    const Result<Exit> result = options ? std::visit(Run{options->common}, options->command)
                                        : Result<Exit>(std::unexpected(options.error()));
    if (result)
        return static_cast<int>(*result);
    Report(color, false).error(result.error().message);
    return static_cast<int>(result.error().exit);
}
