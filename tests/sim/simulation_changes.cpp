// The supervisor's part in a simulated run: reloads, drains, restarts.
#include "tests/sim/simulation.h"
#include "tests/support/failing_new.h"

#include <algorithm>
#include <new>
#include <utility>

#include <fmt/format.h>

namespace riposte::sim {

void Simulation::change() {
    --changes_left_;
    if (kind_ == Kind::restarts) {
        constexpr uint32_t patience_ms = 60'000;
        if (stop_by_ms_ != never_ms)
            return;
        const bool reloads = random_.chance(40);
        if (reloads)
            reload_kindly();
        if (!reloads || random_.chance(30)) // both at once, too
            drain(patience_ms, UINT32_MAX);
        return;
    }
    if (stop_by_ms_ != never_ms) {
        if (random_.chance(50))
            abort();
        return;
    }
    const uint32_t choice = random_.below(10);
    if (choice < 7) {
        reload();
        if (random_.chance(20)) // before the worker has had a turn
            drain(random_.below(1500), random_.below(20));
    } else if (choice < 9) {
        drain(random_.below(1500), random_.below(20));
    } else {
        abort();
    }
}

/// A plan for which memory lacks, or that is given up for another reason, must have no effect.
void Simulation::refuse_plan() {
    const TcpLimits kept = limits_;
    limits_ = choose_limits();
    const WorkerPlan refused = plan();
    limits_ = kept;
    bool reserved = false;
    try {
        const test::FailAllocations fail(random_.below(40));
        worker_->reserve(refused);
        reserved = true;
    } catch (const std::bad_alloc&) {
        network_.faults().add(Fault::no_plan_memory);
    }
    if (reserved)
        worker_->give_up();
    note(reserved ? "a plan is given up" : "no memory for a plan");
}

void Simulation::reload() {
    if (random_.chance(40))
        refuse_plan();
    network_.faults().add(Fault::reload);
    note("reload");
    if (random_.chance(50))
        world_.messages.push_back(choose_message());
    if (random_.chance(50))
        limits_ = choose_limits();
    if (random_.chance(40))
        listeners_[random_.below(static_cast<uint32_t>(listeners_.size()))].removed = true;
    if (random_.chance(30))
        change_acl();
    if (random_.chance(40)) {
        const SimListener& listener =
            open_listener(choose_kind(), random_.chance(30) ? Transport::udp : Transport::tcp);
        if (listener.transport == Transport::tcp) {
            Script script = hostile_script(random_);
            script.start_ms += world_.now_ms;
            clients_.emplace_back(static_cast<uint32_t>(clients_.size()), listener, script);
        }
    }
    worker_->apply(plan());
}

void Simulation::change_acl() {
    SimListener& listener = listeners_[random_.below(static_cast<uint32_t>(listeners_.size()))];
    network_.faults().add(Fault::changed_acl);
    listener.acl = random_.chance(70) ? choose_acl() : nullptr;
    askers_.acl_changed(listener);
    for (SimClient& client : clients_)
        if (client.listener_id() == listener.id)
            client.acl_changed(world_, listener);
}

/// A reload that no peer may notice, except for hello's message and an additional listener.
void Simulation::reload_kindly() {
    network_.faults().add(Fault::reload);
    note("reload");
    world_.messages.push_back(choose_message());
    if (random_.chance(50)) {
        const SimListener& listener = open_listener(choose_kind(), Transport::tcp);
        for (uint32_t i = random_.between(1, 2); i > 0; --i) {
            Script script = honest_script(random_, listener.kind);
            script.start_ms += world_.now_ms;
            clients_.emplace_back(static_cast<uint32_t>(clients_.size()), listener, script);
        }
    }
    worker_->apply(plan());
}

void Simulation::drain(uint32_t timeout_ms, uint32_t handoff_max) {
    network_.faults().add(Fault::drain);
    note(fmt::format("drain for {} ms, to hand off at most {}", timeout_ms, handoff_max));
    stop_by_ms_ = world_.now_ms + timeout_ms + forced_end_ms;
    worker_->drain(timeout_ms, handoff_max);
}

/// Starts the next process; false if there is none.
bool Simulation::restart() {
    const bool next =
        !ending_ && (kind_ == Kind::restarts || (kind_ == Kind::changes && random_.chance(60)));
    if (!next)
        return false;
    network_.faults().add(Fault::restart);
    note("restart");
    end_process();
    if (!failure_.empty())
        return false;
    world_.move_to(world_.now_ms + random_.below(300));
    stop_by_ms_ = never_ms;
    still_.clear(); // the new process's deadlines begin now
    if (kind_ == Kind::changes)
        limits_ = choose_limits();
    if (stamp_)
        stamp_->restart(peaceful() || processes_ % 2 == 0);
    start_process();
    // The previous process did not accept under these limits: its last turn does not count.
    accepted_ = totals()[Counter::connections_accepted];
    // A draining process hands off one connection after the other, in sum perhaps more than may be
    // open at once. The next one adopts them all, and finishes those above its limit.
    connections_max_ = std::max(connections_max_, static_cast<uint32_t>(handed_over_.size()));
    std::vector<handoff::Adopted> adopted;
    for (const Between& each : std::exchange(handed_over_, {}))
        adopted.push_back(adopt(each));
    worker_->adopt(std::move(adopted));
    return true;
}

void Simulation::take_released() {
    for (handoff::Released& each : worker_->take_released())
        handed_over_.push_back({each.fd.release(), each.kind});
}

handoff::Adopted Simulation::adopt(const Between& connection) {
    backend_->introduce(connection.fd);
    const int listener_fd = network_.stream_of(connection.fd).listener;
    const auto at = std::ranges::find_if(listeners_, [&](const SimListener& listener) {
        return !listener.removed && listener.fd == listener_fd && listener.kind == connection.kind;
    });
    const bool unknown = at == listeners_.end() || (!peaceful() && random_.chance(10));
    return {Fd(connection.fd), connection.kind, unknown ? 0 : at->id};
}

void Simulation::abort() {
    network_.faults().add(Fault::abort);
    note("abort");
    stop_by_ms_ = world_.now_ms + forced_end_ms;
    worker_->abort();
}

void Simulation::close_removed() {
    if (!worker_->settled())
        return;
    for (SimListener& listener : listeners_) {
        if (!listener.removed || listener.closed)
            continue;
        if (backend_->uses(listener.fd))
            return fail(fmt::format("settled, but listener {} is still in use", listener.id));
        network_.close_listener(listener.fd);
        listener.closed = true;
        world_.closed_listeners.insert(listener.id); // its descriptor will be reused
    }
}

} // namespace riposte::sim
