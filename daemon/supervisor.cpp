#include "daemon/supervisor.h"

#include "common/text.h"
#include "daemon/log.h"
#include "daemon/systemd.h"

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <utility>

#include <fmt/format.h>
#include <poll.h>
#include <sched.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <time.h>
#include <unistd.h>

namespace riposte {
namespace {

uint64_t monotonic_us() {
    timespec now{};
    clock_gettime(CLOCK_MONOTONIC, &now);
    return static_cast<uint64_t>(now.tv_sec) * 1'000'000 +
           static_cast<uint64_t>(now.tv_nsec) / 1000;
}

uint32_t resolve_workers(uint32_t configured) {
    if (configured > 0)
        return configured;
    cpu_set_t cpus;
    CPU_ZERO(&cpus);
    if (sched_getaffinity(0, sizeof cpus, &cpus) != 0)
        return 1;
    return static_cast<uint32_t>(std::max(CPU_COUNT(&cpus), 1));
}

constexpr uint64_t store_wait_us = 10'000'000;
/// What a stop may take beyond its timeouts: the forced end, the store.
constexpr uint64_t stop_margin_us = 30'000'000;

/// A connection is a descriptor: take all that we may have, and say so if that is too few.
void raise_descriptor_limit(uint32_t connections_max) {
    rlimit limit{};
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
        return;
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
    constexpr rlim_t own = 64; // listeners, rings, the log
    if (limit.rlim_max != RLIM_INFINITY && limit.rlim_max < connections_max + own)
        log::warning(
            "at most {} descriptors may be open, too few for {} connections: accepting "
            "will pause; raise LimitNOFILE= or lower 'connections'",
            limit.rlim_max, connections_max);
}

} // namespace

// Start -------------------------------------------------------------------------------------------

Result<std::unique_ptr<Supervisor>> Supervisor::start(
    const Options& options, const Config& config) {
    raise_descriptor_limit(config.limits.connections_max);
    auto inherited = systemd::take_inherited_sockets();
    if (!inherited)
        return std::unexpected(inherited.error());
    Inheritance inheritance = take_connections(*inherited);
    auto listeners =
        Listeners::open(config, std::move(*inherited), resolve_workers(config.workers));
    if (!listeners)
        return std::unexpected(listeners.error());
    std::unique_ptr<Supervisor> supervisor(new Supervisor(options, config, std::move(*listeners)));
    if (auto done = supervisor->open_channels(); !done)
        return std::unexpected(done.error());
    if (auto done = supervisor->start_workers(); !done)
        return std::unexpected(done.error());
    supervisor->take_over(std::move(inheritance));
    supervisor->report_start();
    return supervisor;
}

Supervisor::Supervisor(const Options& options, const Config& config, Listeners listeners)
    : options_(options), config_(config), listeners_(std::move(listeners)),
      worker_count_(resolve_workers(config.workers)), handover_max_(systemd::store_capacity()),
      labels_(listeners_.labels()) {}

Supervisor::~Supervisor() {
    // Only after a failed start are there workers that run on.
    for (auto& worker : workers_)
        if (!worker->stopped())
            worker->abort();
}

Result<void> Supervisor::open_channels() {
    sigset_t set;
    sigemptyset(&set);
    for (int signal : {SIGTERM, SIGINT, SIGHUP, SIGUSR1})
        sigaddset(&set, signal);
    pthread_sigmask(SIG_BLOCK, &set, nullptr); // before threads start: they inherit it
    struct sigaction ignore{};
    ignore.sa_handler = SIG_IGN;
    sigaction(SIGPIPE, &ignore, nullptr);
    signals_ = Fd(::signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK));
    news_ = Fd(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
    if (!signals_ || !news_)
        return fail(Exit::os, fmt::format("signalfd or eventfd: {}", errno_text(errno)));
    return {};
}

Result<void> Supervisor::start_workers() {
    for (uint32_t index = 0; index < worker_count_; ++index) {
        auto worker =
            std::make_unique<WorkerThread>(index, config_.backend, plan(index), news_.get());
        auto started = worker->started();
        if (!started)
            return std::unexpected(started.error());
        workers_.push_back(std::move(worker));
        if (index == 0)
            backend_ = started->backend;
        bool news = index == 0 || started->backend != backend_;
        if (news && !started->fallback_reason.empty())
            log::warning("io_uring is not available ({}); using epoll", started->fallback_reason);
        if (news && !started->lacking.empty())
            log::info(
                "this kernel's io_uring lacks {}; the next best way is used", started->lacking);
    }
    return {};
}

void Supervisor::take_over(Inheritance inheritance) {
    for (const std::string& problem : inheritance.problems)
        log::warning("{}", problem);
    if (inheritance.names.empty())
        return;
    // Only now that nothing can fail any more: until here, another try would find them again.
    for (const std::string& name : inheritance.names)
        systemd::remove_stored(name);
    if (const int error = systemd::await_processed(store_wait_us); error != 0)
        log::warning(
            "the service manager did not confirm that it has let go of the connections that it "
            "kept: {}; those that end here may look open to their peers",
            errno_text(error));
    std::vector<std::vector<WorkerListener>> plans;
    plans.reserve(worker_count_);
    for (uint32_t index = 0; index < worker_count_; ++index)
        plans.push_back(listeners_.plan(index));
    const size_t count = inheritance.connections.size();
    auto placed = place_connections(std::move(inheritance.connections), plans);
    for (uint32_t index = 0; index < worker_count_; ++index)
        workers_[index]->adopt(std::move(placed[index]));
    log::info(
        "adopted {}{}", plural(count, "connection"),
        inheritance.ended > 0 ? fmt::format(", {} had ended", inheritance.ended) : "");
}

void Supervisor::report_start() {
    for (const std::string& label : labels_)
        log::info("listening: {}", label);
    log::info(
        "ready: backend {}, {}, {}", to_string(backend_), plural(worker_count_, "worker"),
        plural(labels_.size(), "listener"));
    told_status_ = status();
    systemd::notify_ready(told_status_);
    if (auto interval = systemd::watchdog_interval_us()) {
        tick_us_ = std::max<uint64_t>(*interval / 3, 1000);
        next_tick_us_ = monotonic_us() + tick_us_;
    }
}

// The loop ----------------------------------------------------------------------------------------

Exit Supervisor::run() {
    auto stopped = [](const auto& worker) { return worker->stopped(); };
    while (!std::ranges::all_of(workers_, stopped))
        wait();
    hand_over();
    log_statistics();
    log::info("stopped");
    return Exit::ok;
}

void Supervisor::wait() {
    pollfd fds[] = {{signals_.get(), POLLIN, 0}, {news_.get(), POLLIN, 0}};
    timespec timeout{};
    if (tick_us_ > 0) {
        uint64_t now = monotonic_us();
        uint64_t left = next_tick_us_ > now ? next_tick_us_ - now : 0;
        timeout = {
            .tv_sec = static_cast<time_t>(left / 1'000'000),
            .tv_nsec = static_cast<long>(left % 1'000'000 * 1000)};
    }
    ::ppoll(fds, std::size(fds), tick_us_ > 0 ? &timeout : nullptr, nullptr);
    if (fds[0].revents != 0)
        on_signals();
    if (fds[1].revents != 0)
        on_news();
    if (tick_us_ > 0 && monotonic_us() >= next_tick_us_)
        on_tick();
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
            reload();
            break;
        case SIGUSR1:
            log_statistics();
            break;
        default:
            break;
        }
    }
}

void Supervisor::on_news() {
    uint64_t count = 0;
    [[maybe_unused]] ssize_t n = ::read(news_.get(), &count, sizeof count);
    auto settled = [&](const auto& worker) {
        return worker->stopped() || worker->settled() == plan_sequence_;
    };
    if (reloading_ && std::ranges::all_of(workers_, settled))
        finish_reload();
}

void Supervisor::on_tick() {
    next_tick_us_ = monotonic_us() + tick_us_;
    // A worker that has ended has nothing left that could hang.
    auto alive = [&](const auto& worker) {
        return worker->stopped() || worker->answered() == ping_;
    };
    if (!std::ranges::all_of(workers_, alive))
        return;
    systemd::notify_watchdog();
    tell_status();
    ++ping_;
    for (auto& worker : workers_)
        worker->ping(ping_);
}

// Reload ------------------------------------------------------------------------------------------

void Supervisor::reload() {
    if (phase_ != Phase::running)
        return;
    if (reloading_) {
        reload_again_ = true;
        return;
    }
    systemd::notify_reloading();
    auto adopted = adopt();
    if (!adopted) {
        reload_failure_ = adopted.error().message;
        log::error("reload failed, the running configuration stays: {}", reload_failure_);
        told_status_ = status();
        systemd::notify_ready(told_status_);
        return;
    }
    reload_failure_.clear();
    reloading_ = true;
    ++plan_sequence_;
    for (uint32_t index = 0; index < worker_count_; ++index)
        workers_[index]->apply(plan(index), plan_sequence_);
}

Result<void> Supervisor::adopt() {
    auto config = effective_config(options_);
    if (!config)
        return std::unexpected(config.error());
    if (auto applied = listeners_.apply(*config); !applied)
        return applied;
    if (config->backend != config_.backend || config->workers != config_.workers)
        log::warning("reload: 'backend' and 'workers' change only with a restart");
    config_ = std::move(*config);
    log::set_level(config_.log_level);
    return {};
}

void Supervisor::finish_reload() {
    reloading_ = false;
    listeners_.close_removed();
    std::vector<std::string> before = std::exchange(labels_, listeners_.labels());
    auto is_in = [](const std::vector<std::string>& labels, const std::string& label) {
        return std::ranges::find(labels, label) != labels.end();
    };
    for (const std::string& label : before)
        if (!is_in(labels_, label))
            log::info("no longer listening: {}", label);
    for (const std::string& label : labels_)
        if (!is_in(before, label))
            log::info("listening: {}", label);
    log::info("reloaded: {}", plural(labels_.size(), "listener"));
    told_status_ = status();
    systemd::notify_ready(told_status_);
    if (std::exchange(reload_again_, false))
        reload();
}

// The end -----------------------------------------------------------------------------------------

void Supervisor::stop(const char* signal) {
    if (phase_ == Phase::running) {
        phase_ = Phase::draining;
        uint64_t open = totals().connections_open();
        log::info("draining: {}", plural(open, "connection"));
        systemd::notify_stopping(
            fmt::format("draining {}", plural(open, "connection")),
            (uint64_t{config_.drain_timeout_ms} + config_.limits.linger_timeout_ms) * 1000 +
                stop_margin_us);
        for (uint32_t index = 0; index < worker_count_; ++index) {
            const uint32_t rest = index < handover_max_ % worker_count_ ? 1 : 0;
            workers_[index]->drain(config_.drain_timeout_ms, handover_max_ / worker_count_ + rest);
        }
    } else if (phase_ == Phase::draining) {
        phase_ = Phase::aborting;
        log::warning(
            "aborting: {} came again, {} reset", signal,
            plural(totals().connections_open(), "connection"));
        for (auto& worker : workers_)
            worker->abort();
    }
}

void Supervisor::hand_over() {
    std::vector<StoredConnection> connections;
    for (auto& worker : workers_)
        for (const HandedOver& each : worker->take_handed_over())
            connections.push_back({Fd(each.fd), each.kind});
    if (connections.empty())
        return;
    Stored stored = store_connections(std::move(connections));
    if (!stored.problem.empty())
        log::warning(
            "{} can not go on in the next process: {}", plural(stored.left.size(), "connection"),
            stored.problem);
    log::info("handed over {}", plural(stored.count, "connection"));
    finish_connections(std::move(stored.left), config_.limits.linger_timeout_ms);
}

// Reports -----------------------------------------------------------------------------------------

WorkerPlan Supervisor::plan(uint32_t index) const {
    return {
        listeners_.plan(index), worker_share(config_.limits, worker_count_), config_.busy_poll_us};
}

Totals Supervisor::totals() const {
    Totals totals;
    for (const auto& worker : workers_)
        totals.add(worker->metrics());
    return totals;
}

void Supervisor::log_statistics() const {
    log::info("statistics: {}", totals().describe());
}

std::string Supervisor::status() const {
    std::string line = fmt::format(
        "{}, {}, {}, {}", to_string(backend_), plural(worker_count_, "worker"),
        plural(labels_.size(), "listener"), plural(totals().connections_open(), "connection"));
    if (!reload_failure_.empty())
        line += fmt::format("; reload failed: {}", reload_failure_);
    return line;
}

void Supervisor::tell_status() {
    std::string line = status();
    if (phase_ != Phase::running || line == told_status_)
        return;
    told_status_ = std::move(line);
    systemd::notify_status(told_status_);
}

} // namespace riposte
