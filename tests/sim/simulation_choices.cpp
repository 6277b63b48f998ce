// The choices of a seed: listeners, peers, limits, and faults.
#include "tests/sim/simulation.h"

#include <algorithm>
#include <utility>

#include <fmt/format.h>

namespace riposte::sim {

Faults Simulation::choose_faults() {
    Faults faults;
    if (kind_ == Kind::calm)
        return faults;
    faults.any_order = random_.chance(80);
    faults.delay_turns_max = random_.chance(50) ? random_.below(6) : 0;
    faults.small_chunk = random_.chance(60) ? random_.below(80) : 0;
    faults.end_early = random_.chance(60) ? random_.below(50) : 0;
    faults.no_buffers = random_.chance(50) ? random_.below(30) : 0;
    faults.interrupted = random_.chance(50) ? random_.below(10) : 0;
    if (peaceful())
        return faults;
    faults.peer_gone = random_.chance(50) ? random_.below(30) : 0;
    faults.accept_error = random_.chance(50) ? random_.below(30) : 0;
    faults.receive_error = random_.chance(30) ? random_.below(5) : 0;
    faults.send_error = random_.chance(30) ? random_.below(5) : 0;
    faults.datagram_error = random_.chance(30) ? random_.below(10) : 0;
    faults.dropped_answer = random_.chance(50) ? random_.below(30) : 0;
    faults.no_transmit_time = random_.chance(50) ? random_.below(60) : 0;
    return faults;
}

TcpLimits Simulation::choose_limits() {
    TcpLimits limits;
    if (peaceful()) {
        limits.connections_max = 30;
        limits.connections_per_source_max = 30;
        limits.first_byte_timeout_ms = limits.idle_timeout_ms = 60'000;
        limits.write_stall_timeout_ms = limits.linger_timeout_ms = 60'000;
        limits.rate_min = limits.write_rate_min = 1;
        limits.rate_window_ms = 60'000;
    } else {
        limits.connections_max = random_.between(1, 12);
        limits.connections_per_source_max = random_.between(1, 6);
        limits.when_full = random_.chance(50) ? WhenFull::close_idle : WhenFull::refuse;
        limits.source_prefix_ipv4_bits = random_.below(33);
        limits.source_prefix_ipv6_bits = random_.below(129);
        limits.first_byte_timeout_ms = random_.between(50, 3'000);
        limits.idle_timeout_ms = random_.between(50, 3'000);
        limits.write_stall_timeout_ms = random_.chance(30) ? 20'000 : random_.between(50, 3'000);
        limits.linger_timeout_ms = random_.between(50, 2'000);
        limits.rate_min = random_.chance(50) ? random_.below(20'000) : 0;
        limits.write_rate_min = random_.chance(50) ? random_.below(20'000) : 0;
        limits.rate_window_ms = random_.between(50, 1'000);
    }
    // An evicted connection keeps its slot for a little while after its successor got one.
    connections_max_ = std::max(
        connections_max_,
        limits.connections_max * (limits.when_full == WhenFull::close_idle ? 2 : 1));
    timeout_ms_ = std::max(
        {timeout_ms_, uint64_t{limits.idle_timeout_ms} + 2 * TimerWheel::tick_ms,
         uint64_t{limits.first_byte_timeout_ms} + 2 * TimerWheel::tick_ms,
         uint64_t{limits.write_stall_timeout_ms} * 5 / 4 + 2 * TimerWheel::tick_ms,
         uint64_t{limits.linger_timeout_ms} + 2 * TimerWheel::tick_ms});
    per_source_max_ = std::max(per_source_max_, limits.connections_per_source_max);
    return limits;
}

/// In hostile runs the rates are low enough to be reached.
UdpLimits Simulation::choose_rates() {
    UdpLimits rates;
    rates.rate_per_prefix = peaceful() ? 1'000'000 : random_.between(1, 500);
    rates.rate = peaceful() ? 1'000'000'000 : random_.between(1, 1'000);
    rates.bytes_per_prefix = rates.bytes = uint64_t{1} << (peaceful() ? 34 : 17);
    if (random_.chance(50))
        rates.rate_exempt.clear();
    rates.longer_answers_to.clear(); // the checks hold for peers outside that list
    return rates;
}

uint32_t Simulation::choose_stock() {
    return random_.chance(50) ? random_.between(1, streams_.count() / 2) : 0;
}

std::string Simulation::choose_message() {
    std::string message(1 + random_.below(std::min(streams_.buffer_bytes(), 100U)), ' ');
    for (char& c : message)
        c = static_cast<char>('a' + random_.below(26));
    return message;
}

/// Peers have the numbers 1 to 5 (sim_client.cpp): one of each family is denied.
std::shared_ptr<const Acl> Simulation::choose_acl() {
    AclConfig acl;
    for (const SocketAddress& peer :
         {ipv4_address(static_cast<uint8_t>(random_.between(1, 5)), 0),
          ipv6_address(static_cast<uint8_t>(random_.between(1, 5)), 0)})
        acl.deny.push_back({source_key(peer), 128});
    return make_acl(acl);
}

SimListener& Simulation::open_listener(ServiceKind kind, Transport transport) {
    const int fd =
        transport == Transport::tcp ? network_.listen() : network_.open_datagram_socket();
    listeners_.push_back(
        {.id = listeners_.size() + 1, .fd = fd, .transport = transport, .kind = kind});
    if (!peaceful() && random_.chance(15))
        listeners_.back().acl = choose_acl();
    if (!peaceful() && random_.chance(30))
        listeners_.back().connections_max = random_.between(1, 5);
    return listeners_.back();
}

ServiceKind Simulation::choose_kind() {
    // Chargen never ends by itself, and a drain aborts it.
    for (;;) {
        const auto kind = static_cast<ServiceKind>(random_.below(6));
        if (kind_ != Kind::restarts)
            return kind;
        if (kind != ServiceKind::chargen)
            return random_.chance(40) ? ServiceKind::echo : kind;
    }
}

void Simulation::choose_listeners() {
    const uint32_t count = random_.between(1, 4);
    const uint32_t udp_percent = random_.chance(30) ? 90 : 30;
    for (uint32_t i = 0; i < count; ++i) {
        const ServiceKind kind = choose_kind();
        const bool udp = random_.chance(udp_percent);
        open_listener(
            i == 1 && random_.chance(40) ? listeners_[0].kind : kind,
            udp ? Transport::udp : Transport::tcp);
    }
}

void Simulation::choose_clients() {
    std::vector<const SimListener*> streams;
    for (const SimListener& listener : listeners_) {
        if (listener.transport == Transport::tcp)
            streams.push_back(&listener);
        else
            questions_left_ = random_.below(60);
    }
    const uint32_t count = streams.empty() ? 0 : random_.between(1, 20);
    for (uint32_t i = 0; i < count; ++i) {
        const SimListener& listener =
            *streams[random_.below(static_cast<uint32_t>(streams.size()))];
        const bool honest = peaceful() || random_.chance(30);
        const Script script =
            honest ? honest_script(random_, listener.kind) : hostile_script(random_);
        clients_.emplace_back(i, listener, script);
    }
    if (kind_ == Kind::scarce || kind_ == Kind::hostile)
        shortages_left_ = random_.between(kind_ == Kind::scarce ? 1 : 0, 4);
    pauses_left_ = random_.chance(50) ? random_.between(1, 2) : 0;
    wall_jumps_left_ = random_.chance(50) ? random_.between(1, 3) : 0;
    if (kind_ == Kind::changes || kind_ == Kind::restarts)
        changes_left_ = random_.between(1, 4);
}

/// Apart from `random_`, so that a seed without this listener runs as it did before there were any.
void Simulation::choose_stamp() {
    Random random(seed_ ^ 0x5354'414d);
    if (!random.chance(33))
        return;
    stamp_listener_ = listeners_.size();
    listeners_.push_back(
        {.id = listeners_.size() + 1,
         .fd = network_.open_datagram_socket(),
         .transport = Transport::udp,
         .kind = ServiceKind::stamp});
    stamp_.emplace(seed_, !peaceful());
}

WorkerPlan Simulation::plan() const {
    constexpr uint32_t busy_poll_us = 2500; // not a whole number of the simulated milliseconds
    auto served = std::make_shared<PortSet>();
    served->set(served_port);
    WorkerPlan plan{
        .listeners = {},
        .limits = limits_,
        .busy_poll_us = busy_poll_us,
        .datagrams = rates_,
        .access_log =
            {.connections = limits_.connections_max % 2 == 0, // varies with the limits
             .datagrams_every = limits_.connections_max % 3,
             .bytes = limits_.connections_max % 50},
        .served = std::move(served),
        .rate_entries = 64};
    for (const SimListener& listener : listeners_) {
        if (listener.removed)
            continue;
        plan.listeners.push_back(
            {.id = listener.id,
             .fd = listener.fd,
             .transport = listener.transport,
             .kind = listener.kind,
             .service = make_service(listener.kind, {.message = world_.messages.back()}),
             .acl = listener.acl,
             .load = listener.load,
             .connections_max = listener.connections_max,
             .port = served_port,
             .sessions = listener.kind == ServiceKind::stamp ? stamp_->sessions() : nullptr,
             .label = fmt::format("listener {}", listener.id)});
    }
    return plan;
}

} // namespace riposte::sim
