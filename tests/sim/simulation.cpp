#include "tests/sim/simulation.h"

#include <algorithm>
#include <array>
#include <utility>

#include <fmt/format.h>

namespace riposte::sim {
namespace {

constexpr uint64_t turns_max = 400'000;
constexpr uint64_t still_turns_max = 3'000;
constexpr uint64_t first_now_ms = 1'000'000;

BufferPool stream_pool(Random& random, bool scarce) {
    const uint32_t count = scarce ? random.between(4, 12) : random.between(4, 40);
    return std::move(*BufferPool::create(count, random.between(64, 1024)));
}

} // namespace

void Simulation::Tally::add(const Tally& other) {
    answered += other.answered;
    datagrams += other.datagrams;
    trains += other.trains;
    starved += other.starved;
    refused += other.refused;
    timeouts += other.timeouts;
    drains += other.drains;
    reloads += other.reloads;
    resets += other.resets;
    restarts += other.restarts;
    handed_over += other.handed_over;
}

Simulation::Simulation(uint64_t seed, bool trace)
    : seed_(seed), trace_(trace), kind_(static_cast<Kind>(seed % kinds)), random_(seed),
      network_(
          {.to_server_bytes = random_.between(100, 20'000),
           .to_peer_bytes = random_.between(50, 8'000),
           .backlog = random_.between(20, 40)}),
      world_{.network = network_, .now_ms = first_now_ms}, surroundings_(world_),
      streams_(stream_pool(random_, random_.chance(50))),
      datagrams_(
          std::move(*DatagramPool::create(random_.between(1, random_.chance(50) ? 3 : 16), 2048))),
      limits_(choose_limits()) {
    world_.messages.push_back(choose_message());
    choose_listeners();
    choose_clients();
    start_process();
}

Simulation::~Simulation() = default;

void Simulation::start_process() {
    backend_ = std::make_unique<SimBackend>(
        network_, Pools{streams_, datagrams_}, seed_ + 1 + processes_++ * 1'000'003,
        SimBackend::Settings{
            .faults = choose_faults(),
            .window_buffers = random_.between(1, 16),
            .stock = choose_stock(),
            .datagram_stock =
                random_.chance(50) ? random_.between(1, datagrams_.buffers().count()) : 0,
            .blocks = false,
            .trace = trace_});
    worker_ =
        std::make_unique<Worker>(surroundings_, *backend_, Pools{streams_, datagrams_}, plan());
}

// Choices -----------------------------------------------------------------------------------------

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
    faults.no_descriptors = random_.chance(50) ? random_.below(30) : 0;
    faults.dropped_answer = random_.chance(50) ? random_.below(30) : 0;
    return faults;
}

LimitsConfig Simulation::choose_limits() {
    LimitsConfig limits;
    if (peaceful()) {
        limits.connections_max = 20;
        limits.connections_per_source_max = 20;
        limits.idle_timeout_ms = limits.write_stall_timeout_ms = limits.linger_timeout_ms = 60'000;
    } else {
        limits.connections_max = random_.between(1, 12);
        limits.connections_per_source_max = random_.between(1, 6);
        limits.idle_timeout_ms = random_.between(50, 3'000);
        limits.write_stall_timeout_ms = random_.between(50, 3'000);
        limits.linger_timeout_ms = random_.between(50, 2'000);
    }
    connections_max_ = std::max(connections_max_, limits.connections_max);
    return limits;
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

SimListener& Simulation::open_listener(ServiceKind kind, Transport transport) {
    const int fd =
        transport == Transport::tcp ? network_.listen() : network_.open_datagram_socket();
    listeners_.push_back(
        {.id = listeners_.size() + 1, .fd = fd, .transport = transport, .kind = kind});
    return listeners_.back();
}

ServiceKind Simulation::choose_kind() {
    // Chargen never ends by itself, and a drain cuts it off.
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
    if (kind_ == Kind::changes || kind_ == Kind::restarts)
        changes_left_ = random_.between(1, 4);
}

WorkerPlan Simulation::plan() const {
    constexpr uint32_t busy_poll_us = 2500; // not a whole number of the simulated milliseconds
    WorkerPlan plan{.listeners = {}, .limits = limits_, .busy_poll_us = busy_poll_us};
    for (const SimListener& listener : listeners_) {
        if (listener.removed)
            continue;
        plan.listeners.push_back(
            {.id = listener.id,
             .fd = listener.fd,
             .transport = listener.transport,
             .kind = listener.kind,
             .service = make_service(listener.kind, {.message = world_.messages.back()}),
             .label = fmt::format("listener {}", listener.id)});
    }
    return plan;
}

// The run -----------------------------------------------------------------------------------------

std::string Simulation::run() {
    do {
        while (failure_.empty() && running()) {
            check();
            if (failure_.empty())
                act();
        }
        if (failure_.empty())
            check_handed_over();
    } while (failure_.empty() && restart());
    if (failure_.empty())
        check_end();
    if (failure_.empty())
        return "";
    return fmt::format(
        "seed {}, turn {}, {} ms: {}\n"
        "replay it with a trace: RIPOSTE_SIM_SEED={} tests/sim/sim_worker",
        seed_, turns_, world_.now_ms - first_now_ms, failure_, seed_);
}

bool Simulation::running() {
    const bool running = worker_->turn();
    ++turns_;
    const bool moved = network_.activity() != last_activity_;
    last_activity_ = network_.activity();
    still_turns_ = moved ? 0 : still_turns_ + 1;
    if (turns_ > turns_max)
        fail("the run does not come to an end");
    else if (still_turns_ > still_turns_max)
        fail("the worker spins: nothing happens and it does not sleep");
    return running;
}

void Simulation::act() {
    for (SimClient& client : clients_)
        if (random_.chance(50))
            client.step(world_, random_);
    for (; questions_left_ > 0 && random_.chance(40); --questions_left_) {
        const SimListener& listener =
            listeners_[random_.below(static_cast<uint32_t>(listeners_.size()))];
        if (listener.transport == Transport::udp && !listener.closed)
            askers_.ask(world_, random_, listener);
    }
    const bool changes = changes_left_ > 0 && random_.chance(3);
    if (changes)
        change();
    close_removed();
    if (changes || !backend_->idle()) {
        time_moved_ = false;
        return;
    }
    for (SimClient& client : clients_)
        client.step(world_, random_);
    if (network_.activity() == last_activity_ && questions_left_ == 0)
        let_time_pass();
}

void Simulation::let_time_pass() {
    // The turn after a jump is the one that looks at the clock; what it decides comes with the
    // next.
    if (std::exchange(time_moved_, false))
        return;
    if (changes_left_ > 0)
        return change();
    const int64_t wait = backend_->last_wait().count();
    uint64_t next = next_act_ms();
    if (wait >= 0)
        next = std::min(next, world_.now_ms + static_cast<uint64_t>(wait));
    if (next == never_ms) {
        if (stop_by_ms_ != never_ms)
            return fail("the drain does not end: the worker would sleep for ever");
        if (peaceful())
            for (const SimClient& client : clients_)
                if (!client.complete())
                    return fail(fmt::format(
                        "the worker would sleep for ever, but an honest client waits: {}",
                        client.describe()));
        if (worker_->connections() > 0)
            return fail("the worker would sleep for ever, but no connection may last for ever");
        ending_ = true;
        return drain(random_.below(500), random_.below(3));
    }
    if (next > world_.now_ms) {
        still_turns_ = 0;
        world_.now_ms = next;
        time_moved_ = true;
    }
}

uint64_t Simulation::next_act_ms() const {
    uint64_t next = never_ms;
    for (const SimClient& client : clients_)
        next = std::min(next, client.next_ms(world_));
    return next;
}

// Changes from above ------------------------------------------------------------------------------

void Simulation::change() {
    --changes_left_;
    if (kind_ == Kind::restarts) {
        constexpr uint32_t patience_ms = 60'000;
        if (stop_by_ms_ == never_ms)
            drain(patience_ms, UINT32_MAX);
        return;
    }
    if (stop_by_ms_ != never_ms) {
        if (random_.chance(50))
            abort();
        return;
    }
    const uint32_t choice = random_.below(10);
    if (choice < 7)
        reload();
    else if (choice < 9)
        drain(random_.below(1500), random_.below(20));
    else
        abort();
}

void Simulation::reload() {
    ++tally_.reloads;
    if (random_.chance(50))
        world_.messages.push_back(choose_message());
    if (random_.chance(50))
        limits_ = choose_limits();
    if (random_.chance(40))
        listeners_[random_.below(static_cast<uint32_t>(listeners_.size()))].removed = true;
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

void Simulation::drain(uint32_t timeout_ms, uint32_t handover_max) {
    ++tally_.drains;
    // Forced at the deadline, again after drain_repeat_ms for what came meanwhile; a timer's tick
    // of tolerance each.
    stop_by_ms_ = world_.now_ms + timeout_ms + 2 * (Worker::drain_repeat_ms + Timers::tick_ms);
    worker_->drain(timeout_ms, handover_max);
}

/// The next process, if there is one.
bool Simulation::restart() {
    const bool next =
        !ending_ && (kind_ == Kind::restarts || (kind_ == Kind::changes && random_.chance(60)));
    if (!next)
        return false;
    ++tally_.restarts;
    end_process();
    if (!failure_.empty())
        return false;
    world_.now_ms += random_.below(300);
    stop_by_ms_ = never_ms;
    if (kind_ == Kind::changes)
        limits_ = choose_limits();
    start_process();
    std::vector<AdoptedConnection> adopted;
    for (const HandedOver& each : std::exchange(handed_over_, {}))
        adopted.push_back(adopt(each));
    worker_->adopt(adopted);
    return true;
}

AdoptedConnection Simulation::adopt(const HandedOver& connection) {
    backend_->introduce(connection.fd);
    const int listener_fd = network_.stream_of(connection.fd).listener;
    const auto at = std::ranges::find_if(listeners_, [&](const SimListener& listener) {
        return !listener.removed && listener.fd == listener_fd && listener.kind == connection.kind;
    });
    const bool unknown = at == listeners_.end() || (!peaceful() && random_.chance(10));
    return {connection.fd, connection.kind, unknown ? 0 : at->id};
}

void Simulation::abort() {
    ++tally_.drains;
    stop_by_ms_ = world_.now_ms + 2 * (Worker::drain_repeat_ms + Timers::tick_ms);
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
        world_.closed_listeners.insert(listener.id); // its number will be used again
    }
}

} // namespace riposte::sim
