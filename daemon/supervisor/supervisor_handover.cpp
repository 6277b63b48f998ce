// What the supervisor takes over from the previous process, and hands over to the next one:
// connections (fd_store.h), and the sessions of stamp (stamp_store.h).
#include "common/text.h"
#include "daemon/log/log.h"
#include "daemon/supervisor/supervisor.h"

#include <span>
#include <utility>

#include <fmt/format.h>

namespace riposte {
namespace {

constexpr uint64_t store_wait_us = 10'000'000;

} // namespace

void Supervisor::take_over(Inheritance inheritance) {
    for (const Reason& problem : inheritance.problems)
        log::warning(
            log::Event::adoption_problem, {{"RIPOSTE_REASON", problem.token}}, "{}", problem.text);
    if (inheritance.names.empty())
        return;
    // Only after everything that can fail: after an earlier failure, the next start finds them
    // again.
    for (const std::string& name : inheritance.names)
        notifier_.remove_stored(name);
    if (const int error = notifier_.await_processed(store_wait_us, stops_.get()); error != 0)
        log::warning(
            log::Event::store_unconfirmed, {{"ERRNO", fmt::to_string(error)}},
            "the service manager did not confirm that it has let go of the connections that it "
            "kept: {}; those that end here may look open to their peers",
            errno_text(error));
    std::vector<std::vector<ListenerSpec>> plans;
    plans.reserve(workers_.size());
    for (uint32_t index = 0; index < workers_.size(); ++index)
        plans.push_back(deployment_.listeners().plan(index));
    const size_t count = inheritance.connections.size();
    if (count + inheritance.ended == 0)
        return; // there were only sessions
    auto placed = place_connections(std::move(inheritance.connections), plans);
    for (size_t index = 0; index < workers_.size(); ++index)
        workers_[index]->adopt(std::move(placed[index]));
    log::info(
        log::Event::adopted,
        {{"RIPOSTE_CONNECTIONS", fmt::to_string(count)},
         {"RIPOSTE_ENDED", fmt::to_string(inheritance.ended)}},
        "adopted {}{}", plural(count, "connection"),
        inheritance.ended > 0 ? fmt::format(", {} had ended", inheritance.ended) : "");
}

void Supervisor::adopt_sessions(InheritedSessions& inherited) {
    if (!inherited.found)
        return;
    if (!inherited.image) {
        log::warning(
            log::Event::sessions_lost, {{"RIPOSTE_REASON", inherited.problem.token}},
            "the sessions of stamp begin anew: {}", inherited.problem.text);
        return;
    }
    const size_t count = deployment_.adopt_sessions(*inherited.image);
    log::info(
        log::Event::sessions_adopted, {{"RIPOSTE_SESSIONS", fmt::to_string(count)}},
        "adopted {} of stamp", plural(count, "session"));
}

/// Before the connections: the store may be full after them.
void Supervisor::hand_over_sessions() {
    const size_t count = deployment_.listeners().session_count();
    if (!stamp_store_ || count == 0)
        return;
    const int fd = stamp_store_.get();
    int error = write_stamp_store(stamp_store_, deployment_.listeners());
    if (error == 0)
        error = notifier_.store(stamp_store_name, std::span(&fd, 1), store_wait_us, stops_.get());
    if (error == 0)
        error = notifier_.await_processed(store_wait_us, stops_.get());
    if (error != 0) {
        log::warning(
            log::Event::sessions_lost, {{"RIPOSTE_REASON", errno_name(error)}},
            "the sessions of stamp will begin anew: the service manager did not take them: {}",
            errno_text(error));
        return;
    }
    log::info(
        log::Event::sessions_handed_over, {{"RIPOSTE_SESSIONS", fmt::to_string(count)}},
        "handed over {} of stamp", plural(count, "session"));
}

void Supervisor::hand_over() {
    std::vector<handoff::Stored> connections;
    for (auto& worker : workers_)
        for (handoff::Released& each : worker->take_released())
            connections.push_back({std::move(each.fd), each.kind});
    if (connections.empty())
        return;
    StoreOutcome stored = store_connections(std::move(connections), notifier_, stops_.get());
    if (!stored.problem.empty())
        log::warning(
            log::Event::not_handed_over,
            {{"RIPOSTE_CONNECTIONS", fmt::to_string(stored.left.size())},
             {"RIPOSTE_REASON", stored.problem.token}},
            "{} cannot continue in the next process: {}", plural(stored.left.size(), "connection"),
            stored.problem.text);
    log::info(
        log::Event::handed_over, {{"RIPOSTE_CONNECTIONS", fmt::to_string(stored.count)}},
        "handed over {}", plural(stored.count, "connection"));
    finish_connections(std::move(stored.left), deployment_.config().limits.linger_timeout_ms);
}

} // namespace riposte
