// One seed's run: a whole Worker over the simulated backend, with simulated peers and clock.
//
// The run turns the worker, lets the peers act in between, and checks after each turn the
// invariants below. Time stands still as long as anything can happen; then it jumps, to the
// worker's next deadline or a peer's next act. A lost wake-up therefore shows as a worker that
// would sleep forever (or until a timeout) while an honest client still waits, and a busy loop as
// turns in which nothing happens and time does not move.
//
// After each turn: the echoed bytes are a prefix of those sent, even if the peer never reads them;
// every buffer is in the pool or in use; no connection has more than its window pending; no limit
// is exceeded; no denied or forged request has a reply; no connection is idle for longer than the
// longest timeout. When no operation is in flight, each slot has its descriptor. At the end, when
// all connections have ended, as many as are permitted, all of one source, must be accepted and
// served again: a slot or a count that leaked shows here.
//
// Any run may have trouble with clocks: the process pauses (a virtual machine that is suspended, a
// stopped process, a coarse clock), for seconds if peers are honest, else for up to days; the wall
// clock is set, by up to fifty years, either way; and a run may begin shortly before the
// milliseconds since the start of the machine need 32 bits, or 33.
//
// A run may have several processes: the next worker adopts the connections that a drain hands off,
// over the same network. Their peers must not notice.
//
// A seed's remainder by six is its kind:
//   0 calm     honest clients, a prompt backend
//   1 rough    honest clients, a backend that is slow, out of order and piecemeal, and scarce
//              buffers: every client must still get its whole reply, without a timeout
//   2 hostile  clients that do anything, errors, tight limits
//   3 changes  the same, with reloads, drains, aborts and restarts in between
//   4 restarts honest clients and the backend of rough, through up to four restarts: every client
//              must still get its whole reply, without a timeout, from any of the processes
//   5 scarce   the same honest clients and backend, and periods without free descriptors, or
//   without
//              kernel memory for accepting and for receiving datagrams: afterwards every client
//              must still get its whole reply, without a timeout
#pragma once

#include "daemon/core/host.h"
#include "daemon/worker/worker.h"
#include "tests/sim/sim_backend.h"
#include "tests/sim/sim_client.h"
#include "tests/sim/sim_stamp.h"

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace riposte::sim {

enum class Kind : uint8_t { calm, rough, hostile, changes, restarts, scarce };
inline constexpr uint64_t kinds = 6;

class Simulation {
public:
    /// `choices` replace the seed's first ones; they must outlive the run.
    Simulation(uint64_t seed, bool trace, std::span<const uint8_t> choices = {});
    ~Simulation();

    /// The failure, with its seed, turn and time; "" if there was none.
    std::string run();

    /// What a run has done, to check that the schedules are not empty.
    struct Tally {
        uint64_t answered = 0;  ///< clients that got their whole reply
        uint64_t datagrams = 0; ///< answers
        uint64_t trains = 0;    ///< of datagrams, asked
        uint64_t forged = 0;    ///< datagrams, asked
        uint64_t over_rate = 0; ///< datagrams
        uint64_t starved = 0;   ///< turns with every stream buffer taken
        uint64_t refused = 0;
        uint64_t over_source = 0;   ///< connections
        uint64_t over_listener = 0; ///< connections
        uint64_t evicted = 0;
        uint64_t relieved = 0; ///< reset for their buffers
        uint64_t silent = 0;   ///< sent nothing in time
        uint64_t slow_senders = 0;
        uint64_t slow_readers = 0;
        uint64_t denied = 0; ///< connections and datagrams
        uint64_t timeouts = 0;
        uint64_t resets = 0;
        uint64_t handed_over = 0;
        uint64_t proofs = 0; ///< that as many as permitted could connect again
        uint64_t connections = 0;
        uint64_t asked = 0;         ///< datagrams
        uint64_t reflected = 0;     ///< answers of STAMP
        uint64_t sessions_kept = 0; ///< of these, those that went on where the one before ended
        uint64_t follow_ups = 0;    ///< times of transmission in answers
        uint64_t simulated_ms = 0;
        FaultCounts faults{};

        void add(const Tally& other);
    };
    const Tally& tally() const { return tally_; }

private:
    class Surroundings final : public Host {
    public:
        explicit Surroundings(const World& world) : world_(world) {}
        uint64_t now_ns() noexcept override { return world_.now_ms * 1'000'000; }
        int64_t wall_seconds() noexcept override { return world_.wall_seconds(); }
        uint64_t wall_ns() noexcept override {
            return static_cast<uint64_t>(world_.wall_seconds()) * 1'000'000'000 +
                   world_.now_ms % 1000 * 1'000'000;
        }
        SocketAddress peer_address(int fd) override { return world_.network.stream_of(fd).peer; }
        uint32_t unacknowledged_bytes(int fd) noexcept override {
            return static_cast<uint32_t>(world_.network.stream_of(fd).to_peer.size());
        }

    private:
        const World& world_;
    };

    /// A connection's state when it last changed.
    struct Still {
        std::array<uint64_t, 5> looks{};
        uint64_t since_ms = 0;
    };

    bool peaceful() const { return kind_ != Kind::hostile && kind_ != Kind::changes; }
    Faults choose_faults();
    TcpLimits choose_limits();
    UdpLimits choose_rates();
    uint32_t choose_stock();
    std::string choose_message();
    std::shared_ptr<const Acl> choose_acl();
    SimListener& open_listener(ServiceKind kind, Transport transport);
    void choose_listeners();
    void choose_clients();
    void choose_stamp();
    ServiceKind choose_kind();
    WorkerPlan plan() const;
    void start_process();

    bool running();
    void act();
    void change();
    void refuse_plan();
    void reload();
    void reload_kindly();
    void change_acl();
    void drain(uint32_t timeout_ms, uint32_t handoff_max);
    bool restart();
    /// A connection between two processes. Its descriptor is the simulated network's, and no
    /// process's own to close.
    struct Between {
        int fd = -1;
        ServiceKind kind = ServiceKind::hello;
    };
    void take_released();
    handoff::Adopted adopt(const Between& connection);
    void abort();
    void close_removed();
    void run_short();
    bool trouble_clocks();
    void let_time_pass();
    void at_rest();
    bool prove_room();
    uint64_t next_act_ms() const;

    /// At its deadline a drain aborts connections, and again after drain_repeat_ms those that came
    /// meanwhile; with a timer's tick of tolerance each.
    static constexpr uint64_t forced_end_ms = 2 * (Worker::drain_repeat_ms + TimerWheel::tick_ms);

    void check();
    void check_owed();
    void check_buffers();
    void check_sources();
    SourceKey source_of(const SocketAddress& peer) const;
    void check_listeners();
    void check_slots();
    void check_accepting();
    void check_timeouts();
    void check_rest();
    void check_denied();
    void check_handed_over();
    void check_end();
    void end_process();
    Totals totals() const;
    void check_counters();
    void check_service(const Totals& totals, ServiceKind kind);
    void check_datagrams(const Totals& totals);
    void fail(std::string what);
    /// A line of the trace: what happens to the process.
    void note(std::string_view what) const;

    uint64_t seed_;
    bool trace_;
    Kind kind_;
    Random random_;
    SimNetwork network_;
    uint64_t started_ms_; ///< by the simulated clock
    World world_;
    Surroundings surroundings_;
    BufferPool streams_;
    DatagramPool datagrams_;
    uint32_t connections_max_ = 0; ///< the highest limit so far: lowering it ends no connection
    uint32_t per_source_max_ = 0;  ///< likewise
    uint64_t timeout_ms_ = 0;      ///< the longest so far, with its permitted lateness
    std::vector<Still> still_;     ///< by StreamId
    TcpLimits limits_;
    UdpLimits rates_;
    std::vector<SimListener> listeners_;
    std::vector<SimClient> clients_;
    SimAskers askers_;
    std::optional<SimStampSenders> stamp_; ///< in a third of the runs
    size_t stamp_listener_ = 0;            ///< its place in `listeners_`
    uint32_t questions_left_ = 0;
    uint32_t changes_left_ = 0;
    Faults faults_; ///< those of the process at all times
    uint32_t shortages_left_ = 0;
    uint32_t pauses_left_ = 0;
    uint32_t wall_jumps_left_ = 0;
    uint64_t short_until_ms_ = 0; ///< 0: nothing is scarce
    std::unique_ptr<SimBackend> backend_;
    std::unique_ptr<Worker> worker_;
    std::vector<Between> handed_over_; ///< by the process that has stopped
    Totals past_;                      ///< of the processes before this one
    uint64_t processes_ = 0;
    bool ending_ = false; ///< there is no next one

    uint64_t turns_ = 0;
    uint64_t still_turns_ = 0; ///< in which nothing happened
    uint64_t last_activity_ = 0;
    uint64_t accepted_ = 0;        ///< until the turn before
    bool grew_ = false;            ///< in the turn before
    uint64_t accept_errors_ = 0;   ///< until the turn before
    uint64_t closed_at_error_ = 0; ///< connections, at the last of these
    size_t proof_ = 0; ///< the first of the clients that prove that slots are free; 0: none yet
    bool time_moved_ = false;
    uint64_t stop_by_ms_ = never_ms; ///< a drain must have ended
    std::string failure_;
    Tally tally_;
};

} // namespace riposte::sim
