// A reload (SIGHUP): all of it, or nothing and the old configuration stays. What only a restart can
// change is said, and goes on as it was.

#include "common/clock.h"
#include "common/text.h"
#include "daemon/log.h"
#include "daemon/log_failure.h"
#include "daemon/memory_bound.h"
#include "daemon/supervisor.h"

#include <algorithm>
#include <utility>

#include <fmt/format.h>

namespace riposte {

void Supervisor::reload() {
    if (phase_ != Phase::running)
        return;
    if (reloading_) {
        reload_again_ = true;
        return;
    }
    notifier_.tell_reloading();
    auto adopted = adopt();
    ++reload_report_.count;
    reload_report_.ok = adopted.has_value();
    reload_report_.time_seconds = wall_time_seconds();
    reload_report_.error = adopted ? "" : adopted.error().message;
    if (!adopted) {
        log_failure(
            log::Event::reload_failed,
            "reload failed, the running configuration stays: ", adopted.error());
        told_status_ = status();
        notifier_.tell_ready(told_status_);
        return;
    }
    reload_report_.success_seconds = reload_report_.time_seconds;
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
        log::warning(
            log::Event::restart_needed, {{"RIPOSTE_KEYS", "'backend' or 'workers'"}},
            "reload: 'backend' and 'workers' change only with a restart");
    if (config->limits.buffer_memory_bytes != config_.limits.buffer_memory_bytes)
        log::warning(
            log::Event::restart_needed, {{"RIPOSTE_KEYS", "'buffer_memory'"}},
            "reload: 'buffer_memory' changes only with a restart");
    config->limits.buffer_memory_bytes = config_.limits.buffer_memory_bytes;
    if (config->metrics != config_.metrics)
        log::warning(
            log::Event::restart_needed, {{"RIPOSTE_KEYS", "'[metrics] listen'"}},
            "reload: '[metrics] listen' changes only with a restart");
    config->metrics = config_.metrics;
    config_ = std::move(*config);
    log::set_level(config_.log_level);
    tell_memory_bound();
    return {};
}

/// What there was room for stays, so that the bound only grows.
void Supervisor::tell_memory_bound() {
    const MemoryBound bound = memory_bound(config_, worker_count_);
    if (bound.total() <= memory_bound_bytes_)
        return;
    memory_bound_bytes_ = bound.total();
    log::info(
        log::Event::memory_bound, {{"RIPOSTE_MEMORY_BYTES", fmt::to_string(bound.total())}},
        "memory: {}", describe(bound));
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
            tell_listener(log::Event::not_listening, label);
    for (const std::string& label : labels_)
        if (!is_in(before, label))
            tell_listener(log::Event::listening, label);
    log::info(
        log::Event::reload_done, {{"RIPOSTE_LISTENERS", fmt::to_string(labels_.size())}},
        "reloaded: {}", plural(labels_.size(), "listener"));
    told_status_ = status();
    notifier_.tell_ready(told_status_);
    if (std::exchange(reload_again_, false))
        reload();
}

} // namespace riposte
