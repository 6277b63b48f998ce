#include "tests/sim/simulation.h"

#include <algorithm>
#include <array>
#include <utility>

#include <fmt/format.h>

namespace riposte::sim {
namespace {

constexpr uint64_t turns_max = 400'000;
constexpr uint64_t still_turns_max = 3'000;

BufferPool stream_pool(Random& random, bool scarce) {
    const uint32_t count = scarce ? random.between(4, 12) : random.between(4, 40);
    return std::move(*BufferPool::create(count, random.between(64, 1024)));
}

/// Machines that are up for 25 or 50 days are common.
uint64_t choose_start(Random& random) {
    constexpr std::array<uint64_t, 4> starts{
        1'000'000, 1'000'000, uint64_t{1} << 31, uint64_t{1} << 32};
    return starts[random.below(starts.size())] - random.below(20'000);
}

} // namespace

void Simulation::Tally::add(const Tally& other) {
    answered += other.answered;
    datagrams += other.datagrams;
    trains += other.trains;
    forged += other.forged;
    over_rate += other.over_rate;
    starved += other.starved;
    refused += other.refused;
    over_source += other.over_source;
    over_listener += other.over_listener;
    evicted += other.evicted;
    relieved += other.relieved;
    silent += other.silent;
    slow_senders += other.slow_senders;
    slow_readers += other.slow_readers;
    denied += other.denied;
    timeouts += other.timeouts;
    resets += other.resets;
    handed_over += other.handed_over;
    proofs += other.proofs;
    connections += other.connections;
    asked += other.asked;
    reflected += other.reflected;
    sessions_kept += other.sessions_kept;
    follow_ups += other.follow_ups;
    simulated_ms += other.simulated_ms;
    faults.add(other.faults);
}

Simulation::Simulation(uint64_t seed, bool trace, std::span<const uint8_t> choices)
    : seed_(seed), trace_(trace), kind_(static_cast<Kind>(seed % kinds)), random_(seed, choices),
      network_(
          {.to_server_bytes = random_.between(100, 20'000),
           .to_peer_bytes = random_.between(50, 8'000),
           .backlog = random_.between(20, 40),
           .datagrams = random_.chance(30) ? random_.between(1, 20) : 4096}),
      started_ms_(choose_start(random_)), world_{.network = network_, .now_ms = started_ms_},
      surroundings_(world_), streams_(stream_pool(random_, random_.chance(50))),
      datagrams_(
          std::move(*DatagramPool::create(random_.between(1, random_.chance(50) ? 3 : 16), 2048))),
      limits_(choose_limits()), rates_(choose_rates()) {
    world_.note_wall();
    world_.messages.push_back(choose_message());
    choose_listeners();
    choose_clients();
    choose_stamp();
    start_process();
}

/// After a run that has failed, the worker may still hold released descriptors.
Simulation::~Simulation() {
    if (worker_)
        take_released();
}

void Simulation::start_process() {
    faults_ = choose_faults();
    backend_ = std::make_unique<SimBackend>(
        network_, Pools{streams_, datagrams_}, seed_ + 1 + processes_++ * 1'000'003,
        SimBackend::Settings{
            .faults = faults_,
            .window_buffers = random_.between(1, 16),
            .stock = choose_stock(),
            .datagram_stock =
                random_.chance(50) ? random_.between(1, datagrams_.buffers().count()) : 0,
            .blocks = false,
            .trace = trace_,
            .wall_ns = [this] { return surroundings_.wall_ns(); }});
    worker_ =
        std::make_unique<Worker>(surroundings_, *backend_, Pools{streams_, datagrams_}, plan());
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
        "seed {}, turn {}, {} ms: {}", seed_, turns_, world_.now_ms - started_ms_, failure_);
}

bool Simulation::running() {
    const bool running = worker_->turn();
    ++turns_;
    const bool moved = network_.activity() != last_activity_;
    last_activity_ = network_.activity();
    still_turns_ = moved ? 0 : still_turns_ + 1;
    if (turns_ > turns_max)
        fail("the run does not end");
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
        if (listener.transport == Transport::udp && !listener.closed &&
            listener.kind != ServiceKind::stamp)
            askers_.ask(world_, random_, listener);
    }
    if (stamp_ && !listeners_[stamp_listener_].closed)
        stamp_->act(world_, listeners_[stamp_listener_]);
    run_short();
    const bool paused = trouble_clocks();
    const bool changes = changes_left_ > 0 && random_.chance(3);
    if (changes)
        change();
    close_removed();
    if (changes || paused || !backend_->idle()) {
        time_moved_ = paused;
        return;
    }
    check_slots();
    check_accepting();
    if (!time_moved_) // otherwise the worker has read the new time, but not acted on it
        check_timeouts();
    for (SimClient& client : clients_)
        client.step(world_, random_);
    if (network_.activity() == last_activity_ && questions_left_ == 0)
        let_time_pass();
}

/// Begins and ends a time of scarcity.
void Simulation::run_short() {
    if (short_until_ms_ != 0 && world_.now_ms >= short_until_ms_) {
        short_until_ms_ = 0;
        network_.set_descriptors(SimNetwork::Sizes{}.descriptors);
        backend_->set_faults(faults_);
    }
    if (short_until_ms_ != 0 || shortages_left_ == 0 || !random_.chance(10))
        return;
    --shortages_left_;
    short_until_ms_ = world_.now_ms + random_.between(1, 3'000);
    if (random_.chance(60)) {
        network_.faults().add(Fault::few_descriptors);
        network_.set_descriptors(network_.descriptors_used() + static_cast<int>(random_.below(4)));
        return;
    }
    network_.faults().add(Fault::little_memory);
    Faults faults = faults_;
    faults.accept_error = faults.datagram_error = random_.chance(50) ? 100 : random_.below(100);
    backend_->set_faults(faults);
}

/// Makes the monotonic clock leap forward (then true), and sets the wall clock to any time.
bool Simulation::trouble_clocks() {
    const bool pauses = pauses_left_ > 0 && random_.chance(2);
    if (pauses) {
        --pauses_left_;
        network_.faults().add(Fault::pause);
        constexpr uint32_t hour_ms = 3'600'000;
        const bool hours = !peaceful() && random_.chance(50);
        world_.move_to(
            world_.now_ms +
            (hours ? random_.between(1, 100 * hour_ms) : random_.between(1, 20'000)));
        note("pause");
        if (stamp_)
            stamp_->process_paused();
        still_.clear(); // events during the pause count as if they came now
        if (stop_by_ms_ != never_ms)
            stop_by_ms_ = std::max(stop_by_ms_, world_.now_ms + forced_end_ms);
    }
    if (wall_jumps_left_ > 0 && random_.chance(2)) {
        --wall_jumps_left_;
        constexpr uint32_t years = 50 * 365 * 86'400U;
        const bool forward = random_.chance(50);
        const int64_t seconds = 1 + random_.below(random_.chance(50) ? years : 100);
        network_.faults().add(forward ? Fault::wall_clock_forward : Fault::wall_clock_back);
        world_.wall_offset_seconds += forward ? seconds : -seconds;
        world_.note_wall();
        if (stamp_)
            stamp_->wall_was_set();
        note("the wall clock is set");
    }
    return pauses;
}

void Simulation::let_time_pass() {
    // The turn after a jump reads the clock; its decisions take effect in the next one.
    if (std::exchange(time_moved_, false))
        return;
    if (changes_left_ > 0)
        return change();
    const int64_t wait = backend_->last_wait().count();
    uint64_t next = next_act_ms();
    if (wait >= 0)
        next = std::min(next, world_.now_ms + static_cast<uint64_t>(wait));
    if (next == never_ms)
        return at_rest();
    if (next > world_.now_ms) {
        still_turns_ = 0;
        world_.move_to(next);
        note("time passes");
        time_moved_ = true;
    }
}

/// Neither the worker nor a peer will act any more.
void Simulation::at_rest() {
    if (stop_by_ms_ != never_ms)
        return fail("the drain does not end: the worker would sleep forever");
    if (peaceful())
        for (const SimClient& client : clients_)
            if (!client.complete())
                return fail(fmt::format(
                    "the worker would sleep forever, but an honest client waits: {}",
                    client.describe()));
    check_rest();
    if (!failure_.empty() || prove_room())
        return;
    ending_ = true;
    drain(random_.below(500), random_.below(3));
}

/// Lets as many clients connect as may, all of one source and at once. False if that was proven
/// before, or cannot be.
bool Simulation::prove_room() {
    if (proof_ > 0 || peaceful())
        return false;
    const auto at = std::ranges::find_if(listeners_, [&](const SimListener& listener) {
        return listener.transport == Transport::tcp && !listener.removed;
    });
    uint8_t source = 1;
    while (at != listeners_.end() && at->denies(ipv4_address(source, 1)))
        ++source;
    if (at == listeners_.end())
        return false;
    faults_ = Faults::none();
    shortages_left_ = pauses_left_ = 0;
    backend_->set_faults(faults_);
    proof_ = clients_.size();
    limits_.rate_min = limits_.write_rate_min = 0; // the clients wait for each other
    worker_->apply(plan());
    const uint32_t count = std::min(
        {limits_.connections_max, limits_.connections_per_source_max, at->connections_max});
    for (uint32_t i = 0; i < count; ++i) {
        const Script script{
            .send = 2,
            .chunk_max = 1,
            .pause_ms = 20, // until all have connected
            .want = 1,
            .end = at->kind == ServiceKind::chargen ? Script::End::enough : Script::End::half_close,
            .start_ms = world_.now_ms,
            .source = source};
        clients_.emplace_back(static_cast<uint32_t>(clients_.size()), *at, script);
    }
    return count > 0;
}

void Simulation::note(std::string_view what) const {
    if (trace_)
        fmt::print("# turn {} at {} ms: {}\n", turns_, world_.now_ms - started_ms_, what);
}

uint64_t Simulation::next_act_ms() const {
    uint64_t next = short_until_ms_ != 0 ? short_until_ms_ : never_ms;
    for (const SimClient& client : clients_)
        next = std::min(next, client.next_ms(world_));
    if (stamp_ && !listeners_[stamp_listener_].closed)
        next = std::min(next, stamp_->next_ms());
    return next;
}

} // namespace riposte::sim
