// What must hold after each turn of a simulated run, and at its end.
#include "tests/sim/simulation.h"

#include <algorithm>
#include <utility>

#include <fmt/format.h>

namespace riposte::sim {

void Simulation::fail(std::string what) {
    if (failure_.empty())
        failure_ = std::move(what);
}

void Simulation::check() {
    if (!backend_->violation().empty())
        return fail("the worker broke the contract of the seam: " + backend_->violation());
    for (const SimClient& client : clients_)
        if (!client.fault().empty())
            return fail(fmt::format("{}: {}", client.describe(), client.fault()));
    askers_.check_answers(world_);
    if (!askers_.fault().empty())
        return fail(askers_.fault());
    if (world_.now_ms > stop_by_ms_)
        return fail("the drain has passed its deadline");
    const Metrics& metrics = worker_->metrics();
    const uint64_t accepted = metrics.get(Count::connections_accepted);
    const uint64_t open = accepted - metrics.get(Count::connections_closed);
    // A limit that was lowered ends nobody, but lets nobody in.
    const bool grew = std::exchange(accepted_, accepted) < accepted;
    const uint32_t limit = grew ? limits_.connections_max : connections_max_;
    if (open > limit)
        return fail(fmt::format("{} connections, {} are permitted", open, limit));
    if (open > worker_->connections())
        return fail("more connections than the worker knows of");
    tally_.starved += streams_.held(Owner::pool) == 0;
    check_owed();
}

/// What an open echo connection owes is what was read for it and not written yet.
void Simulation::check_owed() {
    if (stop_by_ms_ != never_ms)
        return; // what arrives after it was told to finish is thrown away
    const uint64_t most = uint64_t{streams_.buffer_bytes()} * (backend_->window_buffers() + 1);
    for (const SimClient& client : clients_) {
        if (client.kind() != ServiceKind::echo || !client.connected())
            continue;
        const Stream& stream = network_.stream(client.stream());
        const bool open = stream.fd >= 0 && !stream.finished && !stream.aborted &&
                          !stream.peer_reset && !stream.peer_closed;
        if (open && stream.read - stream.written > most)
            return fail(fmt::format(
                "{} bytes owed, {} are permitted: {}", stream.read - stream.written, most,
                client.describe()));
    }
}

void Simulation::check_end() {
    check();
    if (!backend_->violation().empty())
        return fail("the worker broke the contract of the seam: " + backend_->violation());
    if (stop_by_ms_ == never_ms)
        return fail("the worker stopped without being told to");
    if (worker_->connections() != 0)
        return fail(fmt::format("{} slots are still in use", worker_->connections()));
    if (network_.open_streams() != 0)
        return fail(fmt::format("{} descriptors were not closed", network_.open_streams()));
    if (!worker_->settled())
        return fail("stopped, but not settled");
    for (const SimListener& listener : listeners_) {
        if (!listener.closed && backend_->uses(listener.fd))
            return fail(fmt::format("stopped, but listener {} is in use", listener.id));
        const bool there =
            network_.is_listener(listener.fd) || network_.is_datagram_socket(listener.fd);
        if (!listener.closed && !there)
            return fail(fmt::format("listener {} was closed", listener.id));
    }
    check_counters();
    if (peaceful() && failure_.empty()) {
        if (const uint32_t count = askers_.unanswered(); count > 0)
            return fail(fmt::format("{} datagrams were not answered", count));
    }
    for (const SimClient& client : clients_)
        tally_.answered += client.complete();
    worker_.reset();
    backend_.reset();
    if (streams_.held(Owner::pool) != streams_.count())
        return fail(fmt::format(
            "{} stream buffers are lost", streams_.count() - streams_.held(Owner::pool)));
    const BufferPool& datagrams = datagrams_.buffers();
    if (datagrams.held(Owner::pool) != datagrams.count())
        fail(fmt::format(
            "{} datagram buffers are lost", datagrams.count() - datagrams.held(Owner::pool)));
}

void Simulation::check_counters() {
    const Metrics& metrics = worker_->metrics();
    const auto count = [&](Count which) { return metrics.get(which); };
    if (count(Count::connections_accepted) != count(Count::connections_closed))
        return fail(fmt::format(
            "{} connections were accepted, {} closed", count(Count::connections_accepted),
            count(Count::connections_closed)));
    const uint64_t timeouts = count(Count::idle_timeouts) + count(Count::write_stall_timeouts) +
                              count(Count::linger_timeouts);
    if (peaceful() && timeouts > 0)
        return fail(fmt::format("{} timeouts, and everybody was honest", timeouts));
    if (count(Count::datagrams_received) !=
        count(Count::datagrams_sent) + count(Count::datagrams_send_failed) +
            count(Count::datagrams_too_long) + count(Count::datagrams_unanswered))
        return fail("datagrams were received of which nothing became");
    if (peaceful() && count(Count::datagrams_received) != askers_.asked())
        return fail(fmt::format(
            "{} datagrams were asked, {} are counted", askers_.asked(),
            count(Count::datagrams_received)));
    uint64_t read = 0;
    for (StreamId id = 0; id < network_.streams(); ++id)
        read += network_.stream(id).read;
    if (count(Count::stream_received_bytes) != read)
        return fail(fmt::format(
            "{} bytes were read, {} are counted", read, count(Count::stream_received_bytes)));
    tally_.timeouts += timeouts;
    tally_.refused += count(Count::connections_refused);
    tally_.resets += count(Count::connections_reset);
    tally_.datagrams += count(Count::datagrams_sent);
    tally_.trains += askers_.trains();
}

} // namespace riposte::sim
