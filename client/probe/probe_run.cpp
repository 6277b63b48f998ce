#include "client/probe/probe_run.h"

#include "client/measure/cpu_time.h"
#include "client/probe/probe_metrics.h"
#include "common/clock.h"
#include "common/text.h"
#include "common/units.h"

#include <algorithm>
#include <random>
#include <utility>

#include <fmt/format.h>
#include <fmt/ranges.h>

namespace riposte::client {

namespace {

enum Tag : uint64_t { files_tag = 1, names_tag, export_tag };

constexpr uint64_t ms = 1'000'000;
constexpr uint64_t tick_ns_max = ms;
constexpr uint64_t single_rate_max = 1000; ///< probes a second that leave one by one
constexpr uint64_t probes_a_tick = 8;

size_t probes_at_once(const ProbeConfig& config) {
    return config.rotate || config.source_ports.empty() ? 1 : config.source_ports.size();
}

Fleet::Moment moment(uint64_t now_ns) {
    return {.ns = now_ns, .seconds = wall_time_seconds()};
}

} // namespace

FleetSettings fleet_settings(const ProbeConfig& config) {
    return {
        .payload_bytes = config.payload_bytes,
        .timeout_ns = config.timeout_ms * ms,
        .window =
            books_window(config.interval_ms * ms, config.timeout_ms * ms, probes_at_once(config)),
        .grace_ns = config.grace_ms * ms,
        .group = config.group};
}

ProbeRun::ProbeRun(
    ProbeConfig config, std::vector<std::string> lists, EventLoop& loop, const Report& report,
    TargetFiles files, TargetNames names)
    : config_(std::move(config)), lists_(std::move(lists)), loop_(loop), report_(report),
      fleet_(fleet_settings(config_), std::random_device()()), files_(std::move(files)),
      names_(std::move(names)), schedule_(monotonic_ns(), config_.interval_ms * ms),
      empty_(read_clocks()), started_at_(wall_time_seconds()) {}

Result<std::unique_ptr<ProbeRun>> ProbeRun::open(
    ProbeConfig config, std::vector<std::string> lists, EventLoop& loop, const Report& report) {
    auto files = TargetFiles::open();
    if (!files)
        return std::unexpected(files.error());
    auto names = TargetNames::open();
    if (!names)
        return std::unexpected(names.error());
    std::unique_ptr<ProbeRun> run(new ProbeRun(
        std::move(config), std::move(lists), loop, report, *std::move(files), *std::move(names)));
    run->stamps_ = hold_receive_stamps();
    auto sockets = ProbeSockets::open(
        {.source_ports = run->config_.source_ports,
         .dscp = run->config_.dscp,
         .payload_bytes = run->config_.payload_bytes},
        run->fleet_);
    if (!sockets)
        return std::unexpected(sockets.error());
    run->sockets_ = std::make_unique<ProbeSockets>(*std::move(sockets));
    for (const auto& [fd, tag] :
         {std::pair{run->files_.fd(), files_tag}, std::pair{run->names_.fd(), names_tag}})
        if (const int error = loop.add(fd, EPOLLIN, tag); error != 0)
            return fail(Exit::usage, fmt::format("event loop: {}", errno_text(error)));
    run->files_.set_patterns(join_patterns(run->config_.files, run->lists_));
    return run;
}

void ProbeRun::run(uint64_t end_ns, const Reload& reload) {
    loop_.handle_second(true);
    names_.set_every(config_.resolve_every_ms * ms);
    read_lists(monotonic_ns(), true);
    while (is_sending_ || fleet_.waiting() > 0) {
        bool files_ready = false;
        bool names_ready = false;
        bool picture_wanted = false;
        const uint64_t wake_ns = std::min(next_wake_ns(), is_sending_ ? end_ns : UINT64_MAX);
        for (const epoll_event& event : loop_.wait(wake_ns)) {
            files_ready = files_ready || event.data.u64 == files_tag;
            names_ready = names_ready || event.data.u64 == names_tag;
            picture_wanted = picture_wanted || event.data.u64 == export_tag;
        }
        if (loop_.interrupts() > 1) {
            cut_short_ = true;
            break;
        }
        if (loop_.interrupted() || monotonic_ns() >= end_ns)
            is_sending_ = false;
        if (loop_.take_interim() && print_interim_)
            print_interim_();
        const uint64_t now_ns = monotonic_ns();
        if (loop_.take_reload())
            reload_now(reload, now_ns);
        if (files_ready || now_ns >= files_.next_ns())
            read_lists(now_ns, false);
        if (names_ready || now_ns >= names_.next_ns())
            names_.turn(fleet_, now_ns);
        if (now_ns >= next_sweep_ns_) {
            fleet_.forget_gone(now_ns);
            next_sweep_ns_ = now_ns + sweep_every_ns;
        }
        measure();
        if (picture_wanted)
            server_->answer([this] { return std::make_shared<const FleetFigures>(figures()); });
    }
    loop_.handle_second(false);
}

Result<void> ProbeRun::serve(ExportServer& server) {
    if (const int error = loop_.add(server.fd(), EPOLLIN, export_tag); error != 0)
        return fail(Exit::usage, fmt::format("event loop: {}", errno_text(error)));
    server_ = &server;
    for (const std::string& address : server.addresses())
        report_.error(fmt::format("figures are served at {}", address));
    return {};
}

void ProbeRun::read_lists(uint64_t now_ns, bool whole) {
    const bool changed = files_.turn(now_ns, whole);
    for (const std::string& fault : files_.faults())
        report_.error(fault);
    if (changed || whole)
        apply_targets(now_ns);
}

void ProbeRun::reload_now(const Reload& reload, uint64_t now_ns) {
    auto wanted = reload();
    if (!wanted) {
        report_.error(wanted.error().message + "; the configuration stays as it was");
        return;
    }
    if (const auto kept = keep_until_restart(config_, *wanted); !kept.empty())
        report_.error(fmt::format("{}: takes effect after a restart", fmt::join(kept, ", ")));
    config_ = *std::move(wanted);
    names_.set_every(config_.resolve_every_ms * ms);
    files_.set_patterns(join_patterns(config_.files, lists_));
    read_lists(now_ns, true);
}

/// Once, as long as it is so.
void ProbeRun::warn_of_self(const Selection& selection) {
    const SelectionRules& rules = config_.selection;
    const bool is_missing = rules.neighbours > 0 && rules.self != "none" &&
                            !selection.self_listed && !selection.chosen.empty();
    if (is_missing && !self_missing_)
        report_.error(fmt::format(
            "this host, '{}', is in no list, and no other host probes it; set [probe] self to its "
            "name in the lists, or to \"none\"",
            escape(selection.self, 255)));
    self_missing_ = is_missing;
    const bool is_alone = selection.own > 0 && selection.chosen.empty();
    if (is_alone && !self_alone_)
        report_.error(fmt::format(
            "nothing is probed: the lists name only this host ({}), which leaves itself out; to "
            "probe it too, set [probe] self to \"none\"",
            plural(selection.own, "target")));
    self_alone_ = is_alone;
}

void ProbeRun::apply_targets(uint64_t now_ns) {
    const Selection selection =
        select_targets(files_.targets(), config_.selection, read_own_host());
    self_ = selection.self;
    warn_of_self(selection);
    const uint64_t forgotten = fleet_.forgotten_early();
    fleet_.set_targets(selection.chosen, moment(now_ns));
    if (fleet_.forgotten_early() > forgotten)
        report_.error(fmt::format(
            "the lists change too fast: {} of earlier lists forgotten before the time of grace "
            "was over; shorten [probe] grace",
            plural(fleet_.forgotten_early() - forgotten, "target")));
    names_.add_new(fleet_, now_ns);
    std::vector<SpreadSchedule::Entry> entries;
    const std::vector<Fleet::Slot> listed = fleet_.listed();
    entries.reserve(listed.size());
    for (const Fleet::Slot slot : listed)
        entries.push_back(
            {.slot = slot,
             .phase_ns = SpreadSchedule::phase_of(
                 self_, fleet_.identity(slot).name, config_.interval_ms * ms)});
    schedule_.set(std::move(entries), now_ns);
    const uint64_t rate = listed.size() * probes_at_once(config_) * 1000 / config_.interval_ms;
    tick_ns_ =
        rate <= single_rate_max ? 0 : std::min(tick_ns_max, 1000 * ms * probes_a_tick / rate);
}

/// Lists and names may have taken their time: the clock is read anew.
void ProbeRun::measure() {
    next_read_ns_ = monotonic_ns() + read_every_ns;
    empty_ = sockets_->read(empty_);
    fleet_.expire(empty_.monotonic_ns);
    if (is_sending_)
        send_due(monotonic_ns());
}

void ProbeRun::send_due(uint64_t now_ns) {
    if (const uint64_t intervals = schedule_.skip(now_ns); intervals > 0)
        fleet_.note_skipped(intervals * fleet_.count_probed() * probes_at_once(config_));
    while (schedule_.next_leave_ns() <= now_ns) {
        send_one(schedule_.next_due_ns());
        schedule_.advance(now_ns);
    }
    sockets_->flush();
}

/// Of a target without an address there is no probe.
void ProbeRun::send_one(uint64_t due_ns) {
    const SpreadSchedule::Entry& next = schedule_.next();
    if (fleet_.address(next.slot).size == 0)
        return;
    const size_t share = static_cast<size_t>(next.phase_ns / port_share_ns);
    const size_t ports = sockets_->ports();
    if (config_.source_ports.empty())
        sockets_->send(next.slot, share % ports, due_ns);
    else if (config_.rotate)
        sockets_->send(next.slot, (share + schedule_.cycle()) % ports, due_ns);
    else
        for (size_t port = 0; port < ports; port++)
            sockets_->send(next.slot, port, due_ns);
}

uint64_t ProbeRun::next_wake_ns() const {
    uint64_t wake_ns = std::min({next_sweep_ns_, names_.next_ns(), files_.next_ns()});
    if (is_sending_ && schedule_.next_leave_ns() != UINT64_MAX)
        wake_ns = std::min(wake_ns, schedule_.next_leave_ns() + tick_ns_);
    if (fleet_.waiting() > 0)
        wake_ns = std::min(wake_ns, next_read_ns_);
    return wake_ns;
}

FleetFigures ProbeRun::figures() const {
    FleetFigures figures = fleet_.figures(moment(monotonic_ns()));
    figures.interval_ns = config_.interval_ms * ms;
    figures.prober.started_at = started_at_;
    figures.prober.receive_overflow = sockets_->overflow();
    figures.prober.cpu_seconds = static_cast<double>(cpu_time_ns(RUSAGE_SELF)) / 1e9;
    figures.discovery = files_.figures();
    figures.prober.pair =
        affordable_detail(figures.targets, config_.pair, config_.series_max, config_.created);
    figures.prober.series_limited = figures.prober.pair != config_.pair;
    return figures;
}

} // namespace riposte::client
