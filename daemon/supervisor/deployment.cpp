#include "daemon/supervisor/deployment.h"

#include "daemon/config/schema.h"
#include "daemon/log/log.h"
#include "daemon/supervisor/memory_bound.h"
#include "daemon/supervisor/worker_count.h"

#include <algorithm>
#include <memory>
#include <utility>

#include <fmt/format.h>

namespace riposte {

void log_listener(log::Event event, const std::string& label) {
    log::info(
        event, {{"RIPOSTE_LISTENER", label}}, "{}: {}",
        event == log::Event::listening ? "listening" : "no longer listening", label);
}

void log_missing_ipv6(const Reason& note) {
    log::warning(log::Event::ipv6_missing, {{"RIPOSTE_REASON", note.token}}, "{}", note.text);
}

Deployment::Deployment(const Config& config, Listeners listeners)
    : config_(config), listeners_(std::move(listeners)), workers_(worker_count(config.workers)),
      labels_(listeners_.labels()) {}

void Deployment::log_listeners() {
    log_notes();
    for (const std::string& label : labels_)
        log_listener(log::Event::listening, label);
}

WorkerPlan Deployment::plan(uint32_t index) const {
    return {
        .listeners = listeners_.plan(index),
        .limits = worker_share(config_.limits, workers_),
        .busy_poll_us = config_.busy_poll_us,
        .datagrams = worker_share(config_.datagrams, workers_),
        .access_log = worker_share(config_.access_log, workers_),
        .served = std::make_shared<const PortSet>(listeners_.datagram_ports()),
        .descriptors_max = descriptors_of(config_),
        .rate_entries = ResponseRateLimit::entries_of_worker(workers_)};
}

WorkerPlan Deployment::preparation(const Config& wanted) const {
    uint32_t addresses = 0;
    for (const ListenerConfig& listen : wanted.listen)
        addresses += static_cast<uint32_t>(listen.addresses.size());
    constexpr uint32_t of_a_name = 8;
    WorkerPlan plan{
        .listeners = {},
        .limits = worker_share(wanted.limits, workers_),
        .datagrams = worker_share(wanted.datagrams, workers_),
        .access_log = worker_share(wanted.access_log, workers_),
        .descriptors_max = descriptors_of(wanted),
        .listeners_max = std::max(addresses * of_a_name, static_cast<uint32_t>(labels_.size()))};
    plan.limits.buffer_memory_bytes = config_.limits.buffer_memory_bytes;
    return plan;
}

Result<void> Deployment::adopt(Config wanted) {
    const auto kept =
        schema::keep_until_restart(config_, wanted); // the step that may throw comes first
    if (auto applied = listeners_.apply(wanted.listen); !applied)
        return applied;
    for (const schema::Key* key : kept) {
        const std::string name = schema::quoted(*key);
        log::warning(
            log::Event::restart_needed, {{"RIPOSTE_KEYS", name}},
            "reload: {} changes only with a restart", name);
    }
    config_ = std::move(wanted);
    log::set_level(config_.log_level);
    log_notes();
    log_memory_bound();
    return {};
}

void Deployment::settle() {
    listeners_.close_removed();
    std::vector<std::string> before = std::exchange(labels_, listeners_.labels());
    auto is_in = [](const std::vector<std::string>& labels, const std::string& label) {
        return std::ranges::find(labels, label) != labels.end();
    };
    for (const std::string& label : before)
        if (!is_in(labels_, label))
            log_listener(log::Event::not_listening, label);
    for (const std::string& label : labels_)
        if (!is_in(before, label))
            log_listener(log::Event::listening, label);
}

void Deployment::log_notes() {
    std::ranges::for_each(listeners_.take_notes(), log_missing_ipv6);
}

void Deployment::log_memory_bound() {
    const MemoryBound bound = memory_bound(config_, workers_);
    if (bound.total() <= memory_bound_bytes_)
        return;
    memory_bound_bytes_ = bound.total();
    log::info(
        log::Event::memory_bound, {{"RIPOSTE_MEMORY_BYTES", fmt::to_string(bound.total())}},
        "memory: {}", describe(bound));
}

} // namespace riposte
