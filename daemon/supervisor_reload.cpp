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
    reload_at_us_ = 0;
    notifier_.tell_reloading();
    auto config = wanted_config();
    if (config && is_to_be_read_again(*config))
        return;
    reread_ = 0;
    auto adopted =
        config ? adopt(std::move(*config)) : Result<void>(std::unexpected(config.error()));
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

/// What the file and the flags say now, unless that is a file without content where there was one.
Result<Config> Supervisor::wanted_config() const {
    auto config = effective_config(options_);
    if (config && has_default_listeners(*config) && !has_default_listeners(config_))
        return fail(
            Exit::config, fmt::format(
                              "{}: it names no listener any more, which would close all and open "
                              "the default one; write a "
                              "[[listen]] section and reload, or restart to have the default",
                              escape(options_.config_path, 4096)));
    return config;
}

/// A file that is being written, by an editor or cp(1), may lack its end, and no port is lost for
/// that: what would take one away is read again once nobody has written for a while.
bool Supervisor::is_to_be_read_again(const Config& config) {
    constexpr uint64_t pause_us = 250'000;
    constexpr uint32_t rereads_max = 20;
    if (reread_ == rereads_max || !listeners_.loses_any(config) ||
        !is_just_written(options_.config_path))
        return false;
    ++reread_;
    reload_at_us_ = monotonic_us() + pause_us;
    log::debug("reload: {} was just written; it is read again", escape(options_.config_path, 4096));
    return true;
}

Result<void> Supervisor::adopt(Config wanted) {
    if (auto applied = listeners_.apply(wanted); !applied)
        return applied;
    if (wanted.backend != config_.backend || wanted.workers != config_.workers)
        log::warning(
            log::Event::restart_needed, {{"RIPOSTE_KEYS", "'backend' or 'workers'"}},
            "reload: 'backend' and 'workers' change only with a restart");
    if (wanted.limits.buffer_memory_bytes != config_.limits.buffer_memory_bytes)
        log::warning(
            log::Event::restart_needed, {{"RIPOSTE_KEYS", "'buffer_memory'"}},
            "reload: 'buffer_memory' changes only with a restart");
    wanted.limits.buffer_memory_bytes = config_.limits.buffer_memory_bytes;
    if (wanted.metrics != config_.metrics)
        log::warning(
            log::Event::restart_needed, {{"RIPOSTE_KEYS", "'[metrics] listen'"}},
            "reload: '[metrics] listen' changes only with a restart");
    wanted.metrics = config_.metrics;
    config_ = std::move(wanted);
    log::set_level(config_.log_level);
    tell_missing_ipv6();
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
