#include "daemon/supervisor/supervisor.h"

#include "common/clock.h"
#include "common/text.h"
#include "daemon/config/stamp_clock.h"
#include "daemon/log/log.h"
#include "daemon/platform/sandbox.h"
#include "daemon/platform/systemd.h"
#include "daemon/supervisor/signals.h"
#include "daemon/supervisor/worker_count.h"

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <new>
#include <utility>

#include <fmt/format.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <time.h>
#include <unistd.h>

namespace riposte {
namespace {

/// The time that a stop may take beyond its timeouts: the forced end, the store.
constexpr uint64_t stop_margin_us = 30'000'000;

/// Each connection needs a descriptor: raises the limit as far as permitted, and warns if that is
/// too few.
void raise_descriptor_limit(uint32_t connections_max) {
    rlimit limit{};
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
        return;
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
    constexpr rlim_t own = 64; // listeners, rings, the log
    if (limit.rlim_max != RLIM_INFINITY && limit.rlim_max < connections_max + own)
        log::warning(
            log::Event::descriptors_few,
            {{"RIPOSTE_DESCRIPTORS", fmt::to_string(limit.rlim_max)},
             {"RIPOSTE_CONNECTIONS", fmt::to_string(connections_max)}},
            "at most {} descriptors may be open, too few for {} connections: accepting "
            "will pause; raise LimitNOFILE= or lower 'connections'",
            limit.rlim_max, connections_max);
}

/// A report for which there is no memory is dropped and counted; the work continues.
void report_with_memory(auto report) {
    try {
        report();
    } catch (const std::bad_alloc&) {
        log::lose_line();
    }
}

bool serves_stamp(const Config& config) {
    return std::ranges::find(config.listen, ServiceKind::stamp, &ListenerConfig::service) !=
           config.listen.end();
}

} // namespace

// Start -------------------------------------------------------------------------------------------

Result<std::unique_ptr<Supervisor>> Supervisor::start(
    const Options& options, const Config& config) {
    const bool evicts = config.limits.when_full == WhenFull::close_idle;
    raise_descriptor_limit(
        config.limits.connections_max + (evicts ? Eviction::at_once_max : 0) +
        (config.metrics.listen.empty() ? 0 : uint32_t{HttpServer::connections_max}));
    for (const Reason& each : systemd::variables_for_other_processes())
        log::warning(log::Event::wrong_process, {{"RIPOSTE_REASON", each.token}}, "{}", each.text);
    auto inherited = systemd::take_inherited_sockets();
    if (!inherited)
        return std::unexpected(inherited.error());
    if (!config.metrics.listen.empty() &&
        std::ranges::any_of(*inherited, is_metrics_name, &systemd::InheritedSocket::name))
        log::info(
            log::Event::metrics_inherited, {},
            "metrics: an inherited socket is named so, '[metrics] listen' is not used");
    auto http_sockets = open_http_sockets(config.metrics, *inherited);
    if (!http_sockets)
        return std::unexpected(http_sockets.error());
    Inheritance inheritance = take_connections(*inherited);
    InheritedSessions sessions = take_stamp_sessions(*inherited);
    auto listeners = Listeners::open(
        config.listen, std::move(*inherited), worker_count(config.workers),
        sessions.image ? sessions.image->secret() : random_secret());
    if (!listeners)
        return std::unexpected(listeners.error());
    std::unique_ptr<Supervisor> supervisor(new Supervisor(options, config, std::move(*listeners)));
    if (auto done = supervisor->open_channels(); !done)
        return std::unexpected(done.error());
    if (auto done = supervisor->open_http(std::move(*http_sockets)); !done)
        return std::unexpected(done.error());
    supervisor->adopt_sessions(sessions);
    if (auto done = supervisor->start_workers(); !done)
        return std::unexpected(done.error());
    if (sessions.found)
        inheritance.names.emplace_back(stamp_store_name);
    supervisor->take_over(std::move(inheritance));
    supervisor->seal();
    supervisor->report_start();
    return supervisor;
}

Supervisor::Supervisor(const Options& options, const Config& config, Listeners listeners)
    : options_(options), deployment_(config, std::move(listeners)),
      handover_max_(systemd::store_capacity()),
      stamp_store_(handover_max_ > 0 ? make_stamp_store() : Fd()),
      reload_(options_, deployment_, workers_, notifier_, [this] { report_ready(); }) {}

Supervisor::~Supervisor() {
    // Workers still run here only after a failed start.
    for (auto& worker : workers_)
        if (!worker->stopped())
            worker->abort();
}

Result<void> Supervisor::open_channels() {
    block_read_signals();
    const sigset_t set = read_signals();
    const sigset_t stops = stop_signals();
    signals_ = Fd(::signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK));
    stops_ = Fd(::signalfd(-1, &stops, SFD_CLOEXEC | SFD_NONBLOCK));
    news_ = Fd(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
    if (!signals_ || !stops_ || !news_)
        return fail(Exit::os, fmt::format("signalfd or eventfd: {}", errno_text(errno)));
    return {};
}

Result<void> Supervisor::start_workers() {
    for (uint32_t index = 0; index < deployment_.workers(); ++index) {
        auto worker = std::make_unique<WorkerThread>(
            index, deployment_.config().backend, deployment_.plan(index), news_.get());
        auto started = worker->started();
        if (!started)
            return std::unexpected(started.error());
        workers_.push_back(std::move(worker));
        backends_.add(*started);
    }
    log_backends();
    return {};
}

void Supervisor::seal() {
    const bool reads = !options_.config_path.empty(); // without a file a reload changes nothing
    const auto sealed = sandbox::seal(
        {.read_files = reads,
         .open_sockets = reads && !deployment_.listeners().inherited(),
         .notify_manager = notifier_.is_present() || log::sink() == log::Sink::journal,
         .remove_sockets = owns_socket_files(),
         .read_clock = wants_system_clock(deployment_.config())});
    const Reason& unlimited = backends_.ring_unlimited();
    if (!unlimited.empty())
        log::warning(
            log::Event::ring_not_limited, {{"RIPOSTE_REASON", unlimited.token}},
            "sandbox: io_uring takes every operation ({})", unlimited.text);
    if (!sealed) {
        sandbox_ = fmt::format("seccomp is off ({})", sealed.error().text);
        log::warning(
            log::Event::seccomp_off, {{"RIPOSTE_REASON", sealed.error().token}}, "sandbox: {}",
            sandbox_);
        return;
    }
    deployment_.expect_no_name_service();
    const uint32_t operations = backends_.ring_operations();
    sandbox_ = fmt::format(
        "seccomp on{}",
        operations > 0 ? fmt::format(", io_uring limited to {}", plural(operations, "operation"))
                       : "");
    log::info(
        log::Event::sealed, {{"RIPOSTE_RING_OPERATIONS", fmt::to_string(operations)}},
        "sandbox: {}", sandbox_);
}

void Supervisor::report_start() {
    deployment_.log_listeners();
    for (const HttpSocket& socket : http_sockets_) {
        if (!socket.note.empty())
            log_missing_ipv6(
                {socket.note.token,
                 fmt::format("metrics on {}: {}", socket.address, socket.note.text)});
        log_listener(log::Event::listening, fmt::format("metrics on {}", socket.address));
    }
    deployment_.log_memory_bound();
    const size_t listeners = deployment_.labels().size();
    log::info(
        log::Event::ready,
        {{"RIPOSTE_BACKEND", backends_.name()},
         {"RIPOSTE_WORKERS", fmt::to_string(workers_.size())},
         {"RIPOSTE_LISTENERS", fmt::to_string(listeners)}},
        "ready: backend {}, {}, {}", backends_.text(), plural(workers_.size(), "worker"),
        plural(listeners, "listener"));
    start_seconds_ = wall_time_seconds();
    reload_.set_start(start_seconds_);
    report_ready();
    if (const auto interval_us = systemd::watchdog_interval_us())
        watchdog_.start(*interval_us, monotonic_us());
}

// The loop ----------------------------------------------------------------------------------------

Exit Supervisor::run() {
    auto stopped = [](const auto& worker) { return worker->stopped(); };
    while (!std::ranges::all_of(workers_, stopped)) {
        report_with_memory([&] { wait(); }); // a log line, or an HTTP response
    }
    hand_over_sessions();
    hand_over();
    log_statistics();
    log::info(log::Event::stopped, {}, "stopped");
    return Exit::ok;
}

void Supervisor::wait() {
    const int http = http_ ? http_->fd() : -1; // -1: poll(2) ignores it
    pollfd fds[] = {{signals_.get(), POLLIN, 0}, {news_.get(), POLLIN, 0}, {http, POLLIN, 0}};
    timespec timeout{};
    const auto deadline_us = this->deadline_us();
    if (deadline_us) {
        uint64_t now = monotonic_us();
        uint64_t left = *deadline_us > now ? *deadline_us - now : 0;
        timeout = {
            .tv_sec = static_cast<time_t>(left / 1'000'000),
            .tv_nsec = static_cast<long>(left % 1'000'000 * 1000)};
    }
    ::ppoll(fds, std::size(fds), deadline_us ? &timeout : nullptr, nullptr);
    if (fds[0].revents != 0)
        on_signals();
    if (fds[1].revents != 0) {
        uint64_t count = 0;
        [[maybe_unused]] const ssize_t n = ::read(news_.get(), &count, sizeof count);
        reload_.on_news();
    }
    if (watchdog_.is_due(monotonic_us()))
        on_tick();
    reload_.on_time(monotonic_us());
    if (const auto retry_us = notifier_.retry_us(); retry_us && monotonic_us() >= *retry_us)
        notifier_.retry();
    if (http_ && (fds[2].revents != 0 || http_->deadline_us()))
        http_->on_ready(monotonic_us());
}

std::optional<uint64_t> Supervisor::deadline_us() const {
    auto deadline_us = http_ ? http_->deadline_us() : std::nullopt;
    const auto no_later_than = [&](uint64_t time_us) {
        deadline_us = std::min(deadline_us.value_or(UINT64_MAX), time_us);
    };
    if (const auto tick_us = watchdog_.deadline_us())
        no_later_than(*tick_us);
    if (const auto retry_us = notifier_.retry_us())
        no_later_than(*retry_us);
    if (const auto reload_us = reload_.deadline_us())
        no_later_than(*reload_us);
    return deadline_us;
}

void Supervisor::on_signals() {
    signalfd_siginfo info{};
    while (::read(signals_.get(), &info, sizeof info) == sizeof info) {
        switch (info.ssi_signo) {
        case SIGTERM:
            stop("SIGTERM");
            break;
        case SIGINT:
            stop("SIGINT");
            break;
        case SIGHUP:
            reload_.request();
            break;
        case SIGUSR1:
            log_statistics();
            break;
        default:
            break;
        }
    }
}

void Supervisor::on_tick() {
    if (!watchdog_.tick(workers_, monotonic_us()))
        return;
    notifier_.tell_watchdog();
    report_status();
    watchdog_.ping(workers_);
}

// The end -----------------------------------------------------------------------------------------

void Supervisor::stop(const char* signal) {
    if (phase_ == Phase::running) {
        phase_ = Phase::draining;
        reload_.stop();
        const Config& config = deployment_.config();
        scrapes_.set_draining();
        report_with_memory([&] {
            const uint64_t open = totals().connections_open();
            log::info(
                log::Event::draining,
                {{"RIPOSTE_SIGNAL", signal}, {"RIPOSTE_CONNECTIONS", fmt::to_string(open)}},
                "draining: {}", plural(open, "connection"));
            notifier_.tell_stopping(
                fmt::format("draining {}", plural(open, "connection")),
                (uint64_t{config.drain_timeout_ms} + config.limits.linger_timeout_ms) * 1000 +
                    stop_margin_us);
        });
        const uint32_t count = deployment_.workers();
        // One place of the store is for the sessions of stamp.
        const uint32_t kept = handover_max_ - (handover_max_ > 0 && serves_stamp(config) ? 1 : 0);
        for (uint32_t index = 0; index < count; ++index) {
            const uint32_t rest = index < kept % count ? 1 : 0;
            workers_[index]->drain(config.drain_timeout_ms, kept / count + rest);
        }
    } else if (phase_ == Phase::draining) {
        phase_ = Phase::aborting;
        report_with_memory([&] {
            const uint64_t open = totals().connections_open();
            log::warning(
                log::Event::aborting,
                {{"RIPOSTE_SIGNAL", signal}, {"RIPOSTE_CONNECTIONS", fmt::to_string(open)}},
                "aborting: {} came again, {} reset", signal, plural(open, "connection"));
        });
        for (auto& worker : workers_)
            worker->abort();
    }
}

} // namespace riposte
