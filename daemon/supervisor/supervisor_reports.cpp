// What the main thread reports of the daemon: its backends and statistics in the log, the status
// line for the service manager, and over HTTP the snapshot as metrics and status.

#include "build_features.h"
#include "common/clock.h"
#include "common/text.h"
#include "daemon/log/log.h"
#include "daemon/supervisor/supervisor.h"
#include "daemon/telemetry/openmetrics.h"
#include "daemon/telemetry/status_json.h"

#include <algorithm>
#include <tuple>
#include <utility>

#include <fmt/format.h>
#include <unistd.h>

namespace riposte {

void Supervisor::log_backends() const {
    const Reason& reason = backends_.fallback_reason();
    if (!reason.empty())
        log::warning(
            log::Event::backend_fallback, {{"RIPOSTE_REASON", reason.token}},
            "io_uring is not available{} ({}); using epoll",
            backends_.on_uring() == 0
                ? ""
                : fmt::format(
                      " to {} of {}", backends_.on_epoll(), plural(workers_.size(), "worker")),
            reason.text);
    const Reason& lacking = backends_.lacking();
    if (!lacking.empty())
        log::info(
            log::Event::ring_lacks, {{"RIPOSTE_REASON", lacking.token}},
            "this kernel's io_uring lacks {}; the next best way is used", lacking.text);
}

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
        "{}, {}, {}, {}", backends_.text(), plural(workers_.size(), "worker"),
        plural(deployment_.labels().size(), "listener"),
        plural(totals().connections_open(), "connection"));
    if (!reload_.report().ok)
        line += fmt::format("; reload failed: {}", reload_.report().error);
    return line;
}

void Supervisor::report_ready() {
    reported_status_ = status();
    notifier_.tell_ready(reported_status_);
}

void Supervisor::report_status() {
    std::string line = status();
    if (phase_ != Phase::running || line == reported_status_)
        return;
    reported_status_ = std::move(line);
    notifier_.tell_status(reported_status_);
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
        .workers = deployment_.workers(),
        .connections_max = deployment_.config().limits.connections_max,
        .buffer_used_bytes = sums.buffers_used() * WorkerThread::stream_buffer_bytes,
        .memory_bound_bytes = deployment_.memory_bound_bytes(),
        .inherited = deployment_.listeners().inherited(),
        .listeners = deployment_.listeners().reports(),
        .reload = reload_.report(),
        .totals = sums,
        .process = process_.read()};
    std::tie(snapshot.stamp_sessions, snapshot.stamp_sessions_max) =
        deployment_.listeners().sessions_in_use(monotonic_ms());
    const TcpLimits share = worker_share(deployment_.config().limits, deployment_.workers());
    snapshot.buffer_max_bytes = uint64_t{WorkerThread::stream_buffers(share)} *
                                WorkerThread::stream_buffer_bytes * deployment_.workers();
    if (!http_)
        return snapshot;
    const HttpCounts& counts = http_->counts();
    for (const auto& [code, count] : counts.answered)
        snapshot.scrapes.emplace_back(std::to_string(code), count);
    snapshot.scrapes_rejected = {
        {"crowded", counts.crowded},
        {"timeout", counts.slow},
        {"gone", counts.gone},
        {"accept_error", counts.accept_failed}};
    return snapshot;
}

// HTTP --------------------------------------------------------------------------------------------

Result<void> Supervisor::open_http(std::vector<HttpSocket> sockets) {
    if (sockets.empty())
        return {};
    std::vector<Fd> listeners;
    listeners.reserve(sockets.size());
    for (HttpSocket& socket : sockets)
        listeners.push_back(std::move(socket.fd));
    http_sockets_ = std::move(sockets);
    auto server = HttpServer::create(
        std::move(listeners), [this](const HttpRequest& request, uint64_t now_us) {
            return scrapes_.answer(request, now_us);
        });
    if (!server)
        return fail(Exit::os, fmt::format("metrics: {}", errno_text(server.error())));
    http_ = std::move(*server);
    return {};
}

bool Supervisor::owns_socket_files() const {
    return std::ranges::any_of(
        http_sockets_, [](const HttpSocket& socket) { return static_cast<bool>(socket.file); });
}

std::string Supervisor::http_document(Representation representation) const {
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
