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

Totals Simulation::totals() const {
    Totals totals = past_;
    totals.add(worker_->metrics());
    return totals;
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
    const Totals totals = this->totals();
    const uint64_t accepted = totals[Count::connections_accepted];
    const uint64_t open = totals.connections_open();
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

/// What a process leaves open is what it has handed over: whole, as far as it was read.
void Simulation::check_handed_over() {
    handed_over_ = worker_->take_handed_over();
    tally_.handed_over += handed_over_.size();
    if (network_.open_streams() != handed_over_.size())
        return fail(fmt::format(
            "{} connections are open, {} were handed over", network_.open_streams(),
            handed_over_.size()));
    for (const HandedOver& each : handed_over_) {
        if (!network_.is_stream(each.fd))
            return fail(fmt::format("handed over, but descriptor {} is closed", each.fd));
        const Stream& stream = network_.stream_of(each.fd);
        if (stream.finished || stream.aborted)
            return fail(fmt::format("handed over, but descriptor {} was ended", each.fd));
        if (stream.peer_closed)
            continue; // what was sent to it is counted nowhere
        const bool echo = each.kind == ServiceKind::echo;
        if (!echo && each.kind != ServiceKind::discard && stream.read > 0)
            return fail(fmt::format("handed over, but its {} was asked", to_string(each.kind)));
        if (stream.written != (echo ? stream.read : 0))
            return fail(fmt::format(
                "handed over with {} bytes read and {} written", stream.read, stream.written));
    }
}

void Simulation::end_process() {
    if (worker_->connections() != 0)
        return fail(fmt::format("{} slots are still in use", worker_->connections()));
    past_ = totals();
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

void Simulation::check_end() {
    for (const HandedOver& each : std::exchange(handed_over_, {}))
        network_.close(each.fd); // the service manager's end of it
    check();
    if (!backend_->violation().empty())
        return fail("the worker broke the contract of the seam: " + backend_->violation());
    if (stop_by_ms_ == never_ms)
        return fail("the worker stopped without being told to");
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
    end_process();
}

void Simulation::check_counters() {
    const Totals totals = this->totals();
    const auto count = [&](Count which) { return totals[which]; };
    const uint64_t came = count(Count::connections_accepted) + count(Count::connections_adopted);
    const uint64_t left = count(Count::connections_closed) + count(Count::connections_handed_over);
    if (came != left)
        return fail(fmt::format("{} connections came, {} left", came, left));
    if (peaceful() && count(Count::connections_refused) > 0)
        return fail("somebody was refused, and there was room for all");
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
