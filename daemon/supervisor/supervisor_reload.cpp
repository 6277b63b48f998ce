// A reload (SIGHUP): all of it, or nothing and the old configuration stays. Keys that only a
// restart can change are logged and keep their values.

#include "common/clock.h"
#include "common/text.h"
#include "daemon/config/schema.h"
#include "daemon/log/log.h"
#include "daemon/log/log_failure.h"
#include "daemon/supervisor/memory_bound.h"
#include "daemon/supervisor/supervisor.h"

#include <algorithm>
#include <new>
#include <utility>

#include <fmt/format.h>

namespace riposte {

void Supervisor::reload() {
    if (phase_ != Phase::running)
        return;
    if (reloading_ || wanted_) {
        reload_again_ = true;
        return;
    }
    reload_at_us_ = 0;
    notifier_.tell_reloading();
    try {
        auto config = wanted_config();
        if (config && is_to_be_read_again(*config))
            return;
        reread_ = 0;
        if (!config)
            return refuse_reload(config.error());
        prepare_reload(std::move(*config));
    } catch (const std::bad_alloc&) {
        wanted_.reset();
        refuse_reload(out_of_memory("the new configuration").error());
    }
}

/// First the workers reserve memory for the plan: a worker that has confirmed can apply it.
void Supervisor::prepare_reload(Config wanted) {
    uint32_t addresses = 0;
    for (const ListenerConfig& listen : wanted.listen)
        addresses += static_cast<uint32_t>(listen.addresses.size());
    constexpr uint32_t of_a_name = 8;
    WorkerPlan plan{
        .listeners = {},
        .limits = worker_share(wanted.limits, worker_count_),
        .datagrams = worker_share(wanted.datagrams, worker_count_),
        .access_log = worker_share(wanted.access_log, worker_count_),
        .descriptors_max = descriptors_of(wanted),
        .listeners_max = std::max(addresses * of_a_name, static_cast<uint32_t>(labels_.size()))};
    plan.limits.buffer_memory_bytes = config_.limits.buffer_memory_bytes;
    std::vector<WorkerPlan> plans(worker_count_, plan);
    wanted_ = std::move(wanted);
    ++prepare_sequence_;
    for (uint32_t index = 0; index < worker_count_; ++index)
        workers_[index]->prepare(std::move(plans[index]), prepare_sequence_);
}

void Supervisor::on_prepared() {
    std::optional<Config> prepared = std::exchange(wanted_, std::nullopt);
    if (phase_ != Phase::running || !prepared)
        return;
    Config wanted = std::move(*prepared);
    const auto has_memory = [&](const auto& worker) {
        return worker->prepared(prepare_sequence_).value_or(false);
    };
    Result<void> adopted = out_of_memory(plural(wanted.limits.connections_max, "connection"));
    try {
        if (std::ranges::all_of(workers_, has_memory))
            adopted = adopt(std::move(wanted));
    } catch (const std::bad_alloc&) {
        adopted = out_of_memory("the new listeners");
    }
    if (!adopted) {
        for (const auto& worker : workers_)
            worker->give_up();
        return refuse_reload(adopted.error());
    }
    ++reload_report_.count;
    reload_report_.ok = true;
    reload_report_.error.clear();
    reload_report_.success_seconds = reload_report_.time_seconds = wall_time_seconds();
    reloading_ = true;
    ++plan_sequence_;
    send_plans();
}

/// Sends all plans, or none if memory is short; they are sent again later.
bool Supervisor::send_plans() {
    constexpr uint64_t pause_us = 100'000;
    plans_at_us_ = 0;
    try {
        std::vector<WorkerPlan> plans;
        plans.reserve(worker_count_);
        for (uint32_t index = 0; index < worker_count_; ++index)
            plans.push_back(plan(index));
        for (uint32_t index = 0; index < worker_count_; ++index)
            workers_[index]->apply(std::move(plans[index]), plan_sequence_);
        return true;
    } catch (const std::bad_alloc&) {
        plans_at_us_ = monotonic_us() + pause_us;
        return false;
    }
}

void Supervisor::refuse_reload(const Error& error) {
    ++reload_report_.count;
    reload_report_.ok = false;
    reload_report_.time_seconds = wall_time_seconds();
    reload_report_.error = error.message;
    log_failure(
        log::Event::reload_failed, "reload failed, the running configuration stays: ", error);
    told_status_ = status();
    notifier_.tell_ready(told_status_);
    if (std::exchange(reload_again_, false))
        reload();
}

/// The configuration in the file and the flags; refused if the file no longer names a listener and
/// did before.
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

/// A file that an editor or cp(1) is writing may lack its end. So that no port is lost to that, a
/// recently changed file that would close one is read again until it has not changed for a while.
bool Supervisor::is_to_be_read_again(const Config& config) {
    constexpr uint64_t pause_us = 250'000;
    constexpr uint32_t rereads_max = 20;
    if (reread_ == rereads_max || !listeners_.loses_any(config.listen) ||
        !is_just_written(options_.config_path))
        return false;
    ++reread_;
    reload_at_us_ = monotonic_us() + pause_us;
    log::debug("reload: {} was just written; it is read again", escape(options_.config_path, 4096));
    return true;
}

Result<void> Supervisor::adopt(Config wanted) {
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
    tell_missing_ipv6();
    tell_memory_bound();
    return {};
}

/// Tables never shrink, so the bound only grows.
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
