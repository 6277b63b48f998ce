// The invariants after each turn of a simulated run, and at its end.
#include "tests/sim/simulation.h"

#include <algorithm>
#include <map>
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
    for (SimClient& client : clients_) {
        if (const std::string wrong = client.check_written(world_); !wrong.empty())
            return fail(fmt::format("{}: {}", client.describe(), wrong));
        if (!client.fault().empty())
            return fail(fmt::format("{}: {}", client.describe(), client.fault()));
    }
    if (stamp_) {
        stamp_->check_answers(world_);
        if (!stamp_->fault().empty())
            return fail(stamp_->fault());
    }
    askers_.check_answers(world_);
    if (!askers_.fault().empty())
        return fail(askers_.fault());
    if (world_.now_ms > stop_by_ms_)
        return fail("the drain has exceeded its deadline");
    const Totals totals = this->totals();
    const uint64_t accepted = totals[Counter::connections_accepted];
    const uint64_t open = totals.connections_open();
    // A lowered limit ends no connection, but admits no new one.
    const bool grew = std::exchange(accepted_, accepted) < accepted;
    const bool evicts = totals[Counter::connections_evicted] > 0;
    const uint32_t limit = grew && !evicts ? limits_.connections_max : connections_max_;
    if (open > limit)
        return fail(fmt::format("{} connections, {} are permitted", open, limit));
    if (open > worker_->connections())
        return fail("more connections are counted than the worker has");
    tally_.starved += streams_.held(Owner::pool) == 0;
    if (std::exchange(grew_, grew) || grew) // a place is seen when something is done for it
        check_sources();
    check_listeners();
    check_buffers();
    check_owed();
    check_denied();
    if (const uint64_t errors = totals.accept_errors();
        std::exchange(accept_errors_, errors) < errors)
        closed_at_error_ = totals[Counter::connections_closed];
}

/// A worker keeps stream buffers only for pending replies, and no datagram buffers.
void Simulation::check_buffers() {
    const uint32_t window = 2 * (backend_->window_buffers() + 1);
    if (const uint32_t held = streams_.held(Owner::worker);
        held > uint64_t{worker_->connections()} * window)
        return fail(fmt::format(
            "the worker has {} stream buffers for {} connections", held, worker_->connections()));
    if (const uint32_t held = datagrams_.buffers().held(Owner::worker); held > 0)
        fail(fmt::format("the worker has kept {} datagram buffers", held));
}

void Simulation::check_sources() {
    std::vector<std::pair<SourceKey, uint32_t>> sources;
    for (StreamId id = 0; id < network_.streams(); ++id) {
        const Stream& stream = network_.stream(id);
        if (stream.fd < 0 || !backend_->has_place(stream.fd))
            continue;
        // The prefix that makes a source may change at a reload.
        const SourceKey key =
            kind_ == Kind::hostile ? source_of(stream.peer) : source_key(stream.peer);
        auto at = std::ranges::find(sources, key, &std::pair<SourceKey, uint32_t>::first);
        if (at == sources.end())
            at = sources.insert(at, {key, 0});
        if (++at->second > per_source_max_)
            return fail(fmt::format(
                "{} connections of {}, {} are permitted", at->second, to_string(stream.peer),
                per_source_max_));
    }
}

SourceKey Simulation::source_of(const SocketAddress& peer) const {
    const SourceKey key = source_key(peer);
    const uint32_t bits = is_ipv4(key) ? ipv4_offset_bits + limits_.source_prefix_ipv4_bits
                                       : limits_.source_prefix_ipv6_bits;
    return first_bits(key, static_cast<uint8_t>(bits));
}

/// No listener has more connections than it may, and its count is 0 when they have ended.
void Simulation::check_listeners() {
    for (const SimListener& listener : listeners_)
        if (worker_->connections() == 0 && listener.load->open() > 0)
            return fail(fmt::format(
                "listener {} counts {} connections, but has none", listener.id,
                listener.load->open()));
    if (kind_ != Kind::hostile)
        return; // others reuse descriptors of listeners, or adopt connections above the limit
    std::map<int, uint32_t> open;
    for (StreamId id = 0; id < network_.streams(); ++id) {
        const Stream& stream = network_.stream(id);
        if (stream.fd >= 0 && stream.read + stream.written > 0)
            ++open[stream.listener];
    }
    for (const SimListener& listener : listeners_)
        if (open[listener.fd] > listener.connections_max)
            return fail(fmt::format(
                "listener {} has {} connections, {} are permitted", listener.id, open[listener.fd],
                listener.connections_max));
}

/// When no operation is in flight, each slot has a descriptor and each descriptor a slot.
void Simulation::check_slots() {
    const uint64_t left = worker_->metrics().get(Counter::connections_handed_over);
    if (network_.open_streams() != worker_->connections() + left)
        fail(fmt::format(
            "{} descriptors are open, of {} connections and {} handed off", network_.open_streams(),
            worker_->connections(), left));
}

/// After an error, accepting pauses for accept_pause_ms, then continues; it continues at once when
/// a connection is closed.
void Simulation::check_accepting() {
    const Totals totals = this->totals();
    const uint64_t closed = totals[Counter::connections_closed];
    const uint64_t tries =
        (world_.now_ms - started_ms_) / Worker::accept_pause_ms + processes_ + 1 + closed;
    if (totals.accept_errors() > tries * listeners_.size())
        return fail(fmt::format(
            "{} errors of accept in {} ms", totals.accept_errors(), world_.now_ms - started_ms_));
    if (stop_by_ms_ != never_ms || closed <= closed_at_error_)
        return;
    for (const SimListener& listener : listeners_)
        if (listener.transport == Transport::tcp && !listener.removed &&
            !backend_->uses(listener.fd))
            return fail(fmt::format(
                "a descriptor is free again, but listener {} does not accept", listener.id));
}

/// No connection waits longer than the longest timeout; but a released one is the next process's,
/// and waits for the end of this one.
void Simulation::check_timeouts() {
    still_.resize(network_.streams());
    for (StreamId id = 0; id < network_.streams(); ++id) {
        const Stream& s = network_.stream(id);
        const std::array<uint64_t, 5> looks{
            s.read, s.written, s.to_server.size(), s.to_peer.size(),
            uint64_t{s.fd >= 0} | uint64_t{s.peer_finished} << 1 | uint64_t{s.finished} << 2};
        const bool is_ours = s.fd >= 0 && backend_->has_place(s.fd);
        if (!is_ours || still_[id].since_ms == 0 || looks != still_[id].looks)
            still_[id] = {looks, world_.now_ms};
        if (const uint64_t since = still_[id].since_ms; world_.now_ms - since > timeout_ms_)
            return fail(fmt::format(
                "nothing has moved for {} ms on descriptor {}, and no timeout is longer than {}",
                world_.now_ms - since, s.fd, timeout_ms_));
    }
}

/// When nothing will happen any more: all connections have ended, and no backlog or queue is left.
void Simulation::check_rest() {
    if (worker_->connections() > 0)
        return fail("the worker would sleep forever, but no connection may last forever");
    for (const SimListener& listener : listeners_) {
        if (listener.removed)
            continue;
        if (listener.transport == Transport::tcp && network_.has_connection(listener.fd))
            return fail(fmt::format("listener {} does not accept", listener.id));
        if (listener.transport == Transport::udp && network_.has_datagram(listener.fd))
            return fail(fmt::format("listener {} does not receive", listener.id));
    }
    for (size_t i = proof_; proof_ > 0 && i < clients_.size(); ++i)
        if (!clients_[i].complete())
            return fail(fmt::format(
                "all connections had ended, but {} cannot connect again: {}",
                clients_.size() - proof_, clients_[i].describe()));
    tally_.proofs += proof_ > 0;
}

/// The pending bytes of an open echo connection are those that were read and not yet written.
void Simulation::check_owed() {
    // The worker discards bytes that arrive while it drains, and those that a peer below the
    // minimum rate sends while it gets the rest of its reply.
    if (stop_by_ms_ != never_ms || totals()[Counter::read_rates_low] > 0)
        return;
    const uint64_t most = uint64_t{streams_.buffer_bytes()} * (backend_->window_buffers() + 1);
    for (const SimClient& client : clients_) {
        if (client.kind() != ServiceKind::echo || !client.connected())
            continue;
        const Stream& stream = network_.stream(client.stream());
        const bool open = stream.fd >= 0 && !stream.finished && !stream.aborted &&
                          !stream.peer_reset && !stream.peer_closed;
        if (open && stream.read - stream.written > most)
            return fail(fmt::format(
                "{} bytes are pending, {} are permitted: {}", stream.read - stream.written, most,
                client.describe()));
    }
}

/// Nothing is read from or written to a denied client.
void Simulation::check_denied() {
    for (const SimClient& client : clients_) {
        if (!client.denied() || !client.connected())
            continue;
        const Stream& stream = network_.stream(client.stream());
        if (stream.read + stream.written > 0)
            return fail("a denied client was served: " + client.describe());
    }
}

/// A process leaves only those connections open that it has handed off: without a pending reply.
void Simulation::check_handed_over() {
    take_released();
    tally_.handed_over += handed_over_.size();
    if (network_.open_streams() != handed_over_.size())
        return fail(fmt::format(
            "{} connections are open, {} were handed off", network_.open_streams(),
            handed_over_.size()));
    for (const Between& each : handed_over_) {
        if (!network_.is_stream(each.fd))
            return fail(fmt::format("handed off, but descriptor {} is closed", each.fd));
        const Stream& stream = network_.stream_of(each.fd);
        if (stream.finished || stream.aborted)
            return fail(fmt::format("handed off, but descriptor {} was finished", each.fd));
        if (stream.peer_closed)
            continue; // bytes that were sent to it are not counted
        const bool echo = each.kind == ServiceKind::echo;
        if (!echo && each.kind != ServiceKind::discard && stream.read > 0)
            return fail(fmt::format("handed off, but its {} has a request", to_string(each.kind)));
        if (stream.written != (echo ? stream.read : 0))
            return fail(fmt::format(
                "handed off with {} bytes read and {} written", stream.read, stream.written));
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
    for (const Between& each : std::exchange(handed_over_, {}))
        network_.close(each.fd); // as the service manager does
    check();
    if (!backend_->violation().empty())
        return fail("the worker broke the contract of the seam: " + backend_->violation());
    if (stop_by_ms_ == never_ms)
        return fail("the worker stopped without a drain or an abort");
    if (network_.open_streams() != 0)
        return fail(fmt::format("{} descriptors were not closed", network_.open_streams()));
    if (!worker_->settled())
        return fail("stopped, but not settled");
    for (const SimListener& listener : listeners_) {
        if (!listener.closed && backend_->uses(listener.fd))
            return fail(fmt::format("stopped, but listener {} is in use", listener.id));
        const bool is_open =
            network_.is_listener(listener.fd) || network_.is_datagram_socket(listener.fd);
        if (!listener.closed && !is_open)
            return fail(fmt::format("listener {} was closed", listener.id));
    }
    check_counters();
    if (peaceful() && failure_.empty()) {
        const uint32_t of_stamp = stamp_ ? stamp_->unanswered() : 0;
        if (const uint32_t count = askers_.unanswered(world_) + of_stamp; count > 0)
            return fail(fmt::format("{} datagrams were not answered", count));
    }
    for (const SimClient& client : clients_)
        tally_.answered += client.complete();
    tally_.connections = network_.streams();
    tally_.asked = askers_.asked();
    tally_.reflected = stamp_ ? stamp_->answers() : 0;
    tally_.sessions_kept = stamp_ ? stamp_->kept() : 0;
    tally_.follow_ups = stamp_ ? stamp_->follow_ups() : 0;
    tally_.simulated_ms = world_.now_ms - started_ms_;
    tally_.faults = network_.faults();
    end_process();
}

/// When nothing is open or in flight any more, the counters of each service balance, regardless of
/// reloads of its listeners.
void Simulation::check_service(const Totals& totals, ServiceKind kind) {
    const auto count = [&](Counter which) { return totals.of(kind, which); };
    const uint64_t came =
        count(Counter::connections_accepted) + count(Counter::connections_adopted);
    const uint64_t left =
        count(Counter::connections_closed) + count(Counter::connections_handed_over);
    uint64_t datagrams = count(Counter::datagrams_sent) + count(Counter::datagrams_unanswered);
    for (const CounterRow& row : counter_rows())
        if (row.drop != DropStage::none && row.transport == Transport::udp)
            datagrams += count(row.counter);
    const uint64_t timed = totals.latency(kind, Transport::udp).count();
    if (came != left)
        return fail(fmt::format("{}: {} connections came, {} left", to_string(kind), came, left));
    if (datagrams != count(Counter::datagrams_received))
        return fail(fmt::format(
            "{}: {} datagrams came, {} are accounted for", to_string(kind),
            count(Counter::datagrams_received), datagrams));
    if (timed != count(Counter::datagrams_sent))
        return fail(fmt::format(
            "{}: {} datagrams were answered, {} are timed", to_string(kind),
            count(Counter::datagrams_sent), timed));
}

void Simulation::check_counters() {
    const Totals totals = this->totals();
    const auto count = [&](Counter which) { return totals[which]; };
    const uint64_t came =
        count(Counter::connections_accepted) + count(Counter::connections_adopted);
    const uint64_t left =
        count(Counter::connections_closed) + count(Counter::connections_handed_over);
    if (came != left)
        return fail(fmt::format("{} connections came, {} left", came, left));
    for (size_t kind = 0; kind < service_kinds; ++kind)
        check_service(totals, static_cast<ServiceKind>(kind));
    if (peaceful() && totals.connections_over_limits() > 0)
        return fail("a connection was refused below the limits");
    const uint64_t timeouts = count(Counter::first_byte_timeouts) + count(Counter::idle_timeouts) +
                              count(Counter::write_stall_timeouts) +
                              count(Counter::linger_timeouts) + count(Counter::read_rates_low) +
                              count(Counter::write_rates_low) + count(Counter::stalls_relieved);
    if (peaceful() && timeouts > 0)
        return fail(fmt::format("{} timeouts, but all clients were honest", timeouts));
    check_datagrams(totals);
    uint64_t read = 0;
    for (StreamId id = 0; id < network_.streams(); ++id)
        read += network_.stream(id).read;
    if (count(Counter::stream_received_bytes) != read)
        return fail(fmt::format(
            "{} bytes were read, {} are counted", read, count(Counter::stream_received_bytes)));
    tally_.timeouts += timeouts;
    tally_.refused += count(Counter::connections_refused);
    tally_.over_source += count(Counter::connections_over_source);
    tally_.relieved += count(Counter::stalls_relieved);
    tally_.over_listener += count(Counter::connections_over_listener);
    tally_.evicted += count(Counter::connections_evicted);
    tally_.silent += count(Counter::first_byte_timeouts);
    tally_.slow_senders += count(Counter::read_rates_low);
    tally_.slow_readers += count(Counter::write_rates_low);
    tally_.denied += count(Counter::connections_denied) + count(Counter::datagrams_denied);
    tally_.resets += count(Counter::connections_reset);
    tally_.datagrams += count(Counter::datagrams_sent);
    tally_.trains += askers_.trains();
    tally_.forged += askers_.refused();
}

void Simulation::check_datagrams(const Totals& totals) {
    const auto count = [&](Counter which) { return totals[which]; };
    const uint64_t received = count(Counter::datagrams_received);
    if (received != count(Counter::datagrams_sent) + count(Counter::datagrams_send_failed) +
                        count(Counter::datagrams_too_long) + count(Counter::datagrams_unanswered) +
                        totals.datagrams_refused())
        return fail("datagrams were received that no counter accounts for");
    const uint64_t asked = askers_.asked() + (stamp_ ? stamp_->asked() : 0);
    const uint64_t refused = askers_.refused() + (stamp_ ? stamp_->refused() : 0);
    if (peaceful() && received != asked)
        return fail(fmt::format("{} datagrams were sent, {} are counted", asked, received));
    const uint64_t excused = stamp_ ? stamp_->excused() : 0;
    if (peaceful() &&
        (totals.datagrams_refused() < refused || totals.datagrams_refused() > refused + excused))
        return fail(fmt::format(
            "{} datagrams had to be refused, and {} might be, {} were", refused, excused,
            totals.datagrams_refused()));
    // Each process permits a burst of one second's rate, then the rate.
    const uint64_t seconds = (world_.now_ms - started_ms_) / 1000 + processes_ + 1;
    if (askers_.answers_to_ipv6() > rates_.rate_per_prefix * seconds)
        return fail(fmt::format(
            "{} replies went to one prefix, whose rate is {}, in {} seconds",
            askers_.answers_to_ipv6(), rates_.rate_per_prefix, seconds));
    for (const Counter which :
         {Counter::datagrams_over_prefix_rate, Counter::datagrams_crowded,
          Counter::datagrams_over_newcomer_rate, Counter::datagrams_over_rate})
        tally_.over_rate += count(which);
}

} // namespace riposte::sim
