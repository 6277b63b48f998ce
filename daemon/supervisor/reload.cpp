#include "daemon/supervisor/reload.h"

#include "common/clock.h"
#include "common/text.h"
#include "daemon/log/log.h"
#include "daemon/log/log_failure.h"

#include <algorithm>
#include <cassert>
#include <new>
#include <utility>

#include <fmt/format.h>

namespace riposte {

Reload::Reload(
    const Options& options, Deployment& deployment, const Workers& workers,
    systemd::Notifier& manager, std::function<void()> on_end)
    : options_(options), deployment_(deployment), workers_(workers), manager_(manager),
      on_end_(std::move(on_end)) {}

void Reload::request() {
    if (!progress_.request())
        return;
    manager_.tell_reloading();
    try {
        auto wanted = read_config();
        if (wanted && is_to_be_read_again(*wanted))
            return;
        if (!wanted)
            return refuse(wanted.error());
        prepare(std::move(*wanted));
    } catch (const std::bad_alloc&) {
        wanted_.reset();
        refuse(out_of_memory("the new configuration").error());
    }
}

void Reload::on_news() {
    const auto prepared = [&](const auto& worker) {
        return worker->stopped() || worker->prepared(progress_.prepare_sequence()).has_value();
    };
    const auto settled = [&](const auto& worker) {
        return worker->stopped() || worker->settled() == progress_.plan_sequence();
    };
    if (progress_.phase() == ReloadProgress::Phase::preparing &&
        std::ranges::all_of(workers_, prepared))
        on_prepared();
    if (progress_.is_settling() && std::ranges::all_of(workers_, settled))
        finish();
}

void Reload::on_time(uint64_t now_us) {
    if (!progress_.is_due(now_us))
        return;
    if (progress_.phase() == ReloadProgress::Phase::rereading)
        request();
    else
        send_plans();
}

void Reload::stop() noexcept {
    progress_.stop();
    wanted_.reset();
}

/// The configuration in the file and the flags; refused if the file no longer names a listener and
/// did before.
Result<Config> Reload::read_config() const {
    auto config = effective_config(options_);
    if (config && has_default_listeners(*config) && !has_default_listeners(deployment_.config()))
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
bool Reload::is_to_be_read_again(const Config& config) {
    if (!deployment_.listeners().loses_any(config.listen) ||
        !is_just_written(options_.config_path) || !progress_.reread(monotonic_us()))
        return false;
    log::debug("reload: {} was just written; it is read again", escape(options_.config_path, 4096));
    return true;
}

void Reload::prepare(Config wanted) {
    std::vector<WorkerPlan> plans(workers_.size(), deployment_.preparation(wanted));
    wanted_ = std::move(wanted);
    const uint64_t sequence = progress_.prepare();
    for (size_t index = 0; index < workers_.size(); ++index)
        workers_[index]->prepare(std::move(plans[index]), sequence);
}

void Reload::on_prepared() {
    assert(wanted_);
    Config wanted = std::move(*wanted_);
    wanted_.reset();
    const auto has_memory = [&](const auto& worker) {
        return worker->prepared(progress_.prepare_sequence()).value_or(false);
    };
    Result<void> adopted = out_of_memory(plural(wanted.limits.connections_max, "connection"));
    try {
        if (std::ranges::all_of(workers_, has_memory))
            adopted = deployment_.adopt(std::move(wanted));
    } catch (const std::bad_alloc&) {
        adopted = out_of_memory("the new listeners");
    }
    if (!adopted) {
        for (const auto& worker : workers_)
            worker->give_up();
        return refuse(adopted.error());
    }
    ++report_.count;
    report_.ok = true;
    report_.error.clear();
    report_.success_seconds = report_.time_seconds = wall_time_seconds();
    progress_.apply();
    send_plans();
}

/// Sends all plans, or none if memory is short; they are sent again later.
void Reload::send_plans() {
    const auto count = static_cast<uint32_t>(workers_.size());
    try {
        std::vector<WorkerPlan> plans;
        plans.reserve(count);
        for (uint32_t index = 0; index < count; ++index)
            plans.push_back(deployment_.plan(index));
        for (uint32_t index = 0; index < count; ++index)
            workers_[index]->apply(std::move(plans[index]), progress_.plan_sequence());
        progress_.sent();
    } catch (const std::bad_alloc&) {
        progress_.resend(monotonic_us());
    }
}

void Reload::finish() {
    progress_.end();
    deployment_.settle();
    const size_t listeners = deployment_.labels().size();
    log::info(
        log::Event::reload_done, {{"RIPOSTE_LISTENERS", fmt::to_string(listeners)}}, "reloaded: {}",
        plural(listeners, "listener"));
    end();
}

void Reload::refuse(const Error& error) {
    progress_.end();
    ++report_.count;
    report_.ok = false;
    report_.time_seconds = wall_time_seconds();
    report_.error = error.message;
    log_failure(
        log::Event::reload_failed, "reload failed, the running configuration stays: ", error);
    end();
}

void Reload::end() {
    on_end_();
    if (progress_.take_next())
        request();
}

} // namespace riposte
