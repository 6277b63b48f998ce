#include "client/probe/probe.h"

#include "build_features.h"
#include "client/net/event_loop.h"
#include "client/net/time_slice.h"
#include "client/probe/export_server.h"
#include "client/probe/fleet_report.h"
#include "client/probe/probe_run.h"
#include "client/probe/target_files.h"
#include "client/show/report.h"
#include "client/show/table.h"
#include "client/show/terminal.h"
#include "common/clock.h"

#include <memory>
#include <utility>

#include <fmt/format.h>
#include <unistd.h>

namespace riposte::client {

namespace {

/// Every fault of a configuration is a local error of the client.
Result<ProbeConfig> read_config(const ProbeOptions& options) {
    Result<ProbeConfig> config =
        options.config.empty() ? ProbeConfig{} : load_probe_config(options.config);
    if (!config)
        return fail(Exit::usage, config.error().message);
    for (const std::string& pattern : options.lists)
        if (const std::string fault = find_fault_of_pattern(pattern); !fault.empty())
            return fail(Exit::usage, "--targets: " + fault);
    if (config->files.empty() && options.lists.empty())
        return fail(
            Exit::usage, fmt::format(
                             "{} names no lists of targets; add [[discover]] with file = "
                             "\"targets.json\", or --targets FILE",
                             options.config));
    return config;
}

Result<Exit> print(const std::string& text, Exit exit) {
    if (const int error = write_all(STDOUT_FILENO, text); error != 0)
        return output_error(error);
    return exit;
}

/// --check and --list: a list that cannot be read is an error here.
Result<Exit> look_only(const ProbeOptions& options, const ProbeConfig& config, Look look) {
    auto files = TargetFiles::open();
    if (!files)
        return std::unexpected(files.error());
    files->set_patterns(join_patterns(config.files, options.lists));
    files->turn(monotonic_ns(), true);
    if (!files->faults().empty())
        return fail(Exit::usage, files->faults().front());
    const size_t listed = files->targets().size();
    const Selection selection = select_targets(files->targets(), config.selection, read_own_host());
    return print(
        options.action == ProbeAction::check
            ? check_text(
                  config, selection, listed, Fleet::bytes_a_target(fleet_settings(config)), look)
            : list_text(selection, look),
        Exit::ok);
}

/// Null without --listen.
Result<std::unique_ptr<ExportServer>> open_server(
    const ProbeOptions& options, const ProbeConfig& config) {
    if (options.listen.empty())
        return nullptr;
    return ExportServer::open(
        {.listen = options.listen,
         .targets_json =
             [](const FleetFigures& figures) {
                 return fleet_json(figures, {}, verdict(figures, {}));
             },
         .version = RIPOSTE_VERSION,
         .created = config.created});
}

} // namespace

Result<Exit> probe(const CommonOptions& common, const ProbeOptions& options) {
    EventLoop::note_interim();
    const Look look(false, output_columns());
    const auto config = read_config(options);
    if (!config)
        return std::unexpected(config.error());
    if (options.action != ProbeAction::run)
        return look_only(options, *config, look);
    auto loop = EventLoop::open();
    if (!loop)
        return std::unexpected(loop.error());
    loop->handle_reload(true); // also while it opens and prints, a HUP does not end it
    request_short_time_slices();
    const Report report(common.color, false);
    auto server = open_server(options, *config); // before a thread starts
    if (!server)
        return std::unexpected(server.error());
    auto run = ProbeRun::open(*config, options.lists, *loop, report);
    if (!run)
        return std::unexpected(run.error());
    if (*server)
        if (auto served = (*run)->serve(**server); !served)
            return std::unexpected(served.error());
    const auto text_of = [&](const FleetFigures& figures) {
        return options.json
                   ? fleet_json(figures, options.fail_if, verdict(figures, options.fail_if))
                   : fleet_text(figures, options.fail_if, look);
    };
    int output = 0;
    (*run)->on_interim([&] { output = write_all(STDOUT_FILENO, text_of((*run)->figures())); });
    const uint64_t end_ns = options.duration_ms
                                ? monotonic_ns() + uint64_t{*options.duration_ms} * 1'000'000
                                : UINT64_MAX;
    (*run)->run(end_ns, [&] { return read_config(options); });
    if (output != 0)
        return output_error(output);
    const FleetFigures figures = (*run)->figures();
    const Exit exit =
        (*run)->was_cut_short() ? Exit::interrupted : verdict(figures, options.fail_if);
    return print(
        options.json ? fleet_json(figures, options.fail_if, exit)
                     : fleet_text(figures, options.fail_if, look),
        exit);
}

} // namespace riposte::client
