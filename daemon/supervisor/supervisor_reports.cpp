// What the main thread reports of the daemon: the status line for the service manager, the
// statistics in the log, and the snapshot from which metrics and status are written; and it serves
// the scrapes of those.

#include "build_features.h"
#include "common/clock.h"
#include "common/text.h"
#include "daemon/log/log.h"
#include "daemon/supervisor/supervisor.h"
#include "daemon/telemetry/openmetrics.h"
#include "daemon/telemetry/status_json.h"

#include <algorithm>
#include <utility>

#include <fmt/format.h>
#include <unistd.h>

namespace riposte {

Totals Supervisor::totals() const {
    Totals totals;
    for (const auto& worker : workers_)
        totals.add(worker->metrics());
    return totals;
}

void Supervisor::log_statistics() const {
    const Totals now = totals();
    log::info(
        log::Event::statistics, {{"RIPOSTE_CONNECTIONS", fmt::to_string(now.connections_open())}},
        "statistics: {}", now.describe());
}

std::string Supervisor::status() const {
    std::string line = fmt::format(
        "{}, {}, {}, {}", backends_.text(), plural(worker_count_, "worker"),
        plural(labels_.size(), "listener"), plural(totals().connections_open(), "connection"));
    if (!reload_report_.ok)
        line += fmt::format("; reload failed: {}", reload_report_.error);
    return line;
}

void Supervisor::tell_status() {
    std::string line = status();
    if (phase_ != Phase::running || line == told_status_)
        return;
    told_status_ = std::move(line);
    notifier_.tell_status(told_status_);
}

void Supervisor::tell_listener(log::Event event, const std::string& label) {
    log::info(
        event, {{"RIPOSTE_LISTENER", label}}, "{}: {}",
        event == log::Event::listening ? "listening" : "no longer listening", label);
}

Snapshot Supervisor::snapshot() const {
    constexpr DaemonState states[] = {
        DaemonState::running, DaemonState::draining, DaemonState::aborting};
    const Totals sums = totals();
    Snapshot snapshot{
        .version = RIPOSTE_VERSION,
        .backend = backends_.name(),
        .backend_reason = backends_.reason(),
        .workers_on_uring = backends_.on_uring(),
        .workers_on_epoll = backends_.on_epoll(),
        .sandbox = sandbox_,
        .state = states[static_cast<size_t>(phase_)],
        .pid = ::getpid(),
        .time_seconds = wall_time_seconds(),
        .start_seconds = start_seconds_,
        .workers = worker_count_,
        .connections_max = config_.limits.connections_max,
        .buffer_used_bytes = sums.buffers_used() * WorkerThread::stream_buffer_bytes,
        .memory_bound_bytes = memory_bound_bytes_,
        .inherited = listeners_.inherited(),
        .listeners = listeners_.reports(),
        .reload = reload_report_,
        .totals = sums,
        .process = process_.read()};
    const TcpLimits share = worker_share(config_.limits, worker_count_);
    snapshot.buffer_max_bytes = uint64_t{WorkerThread::stream_buffers(share)} *
                                WorkerThread::stream_buffer_bytes * worker_count_;
    if (!scrapes_)
        return snapshot;
    const ScrapeCounts& counts = scrapes_->counts();
    for (const auto& [code, count] : counts.answered)
        snapshot.scrapes.emplace_back(std::to_string(code), count);
    snapshot.scrapes_rejected = {
        {"crowded", counts.crowded},
        {"timeout", counts.slow},
        {"gone", counts.gone},
        {"accept_error", counts.accept_failed}};
    return snapshot;
}

// Scrapes -----------------------------------------------------------------------------------------

Result<void> Supervisor::open_scrapes(std::vector<ScrapeSocket> sockets) {
    if (sockets.empty())
        return {};
    std::vector<Fd> listeners;
    listeners.reserve(sockets.size());
    for (ScrapeSocket& socket : sockets)
        listeners.push_back(std::move(socket.fd));
    scrape_sockets_ = std::move(sockets);
    auto server = ScrapeServer::create(std::move(listeners), [this](Representation representation) {
        return scrape_document(representation);
    });
    if (!server)
        return fail(Exit::os, fmt::format("metrics: {}", errno_text(server.error())));
    scrapes_ = std::move(*server);
    return {};
}

bool Supervisor::owns_socket_files() const {
    return std::ranges::any_of(
        scrape_sockets_, [](const ScrapeSocket& socket) { return static_cast<bool>(socket.file); });
}

std::string Supervisor::scrape_document(Representation representation) const {
    switch (representation) {
    case Representation::json:
        return status_document(snapshot());
    case Representation::openmetrics:
        return exposition(snapshot(), ExpositionFormat::openmetrics);
    case Representation::text:
        break;
    }
    return exposition(snapshot(), ExpositionFormat::prometheus);
}

} // namespace riposte
