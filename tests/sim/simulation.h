// One seed's run: a whole Worker over the simulated backend, with simulated peers and clock.
//
// The run turns the worker and lets the peers act in between, and checks after each turn what must
// always hold. Time stands still as long as anything can happen; only then it jumps, to the
// worker's next deadline or a peer's next act. A lost wake-up therefore shows as a worker that
// would sleep for ever (or until a timeout) while an honest client still waits, and a busy loop as
// turns in which nothing happens and time does not move.
//
// A run may be that of several processes: what a drain hands over, the next worker adopts, over the
// same network. Its peers are to notice nothing.
//
// A seed's remainder by five is its kind:
//   0 calm     honest clients, a prompt backend
//   1 rough    honest clients, a backend that is slow, out of order and piecemeal, and scarce
//              buffers: everybody must still be answered in full, without a timeout
//   2 hostile  clients that do anything, errors, tight limits
//   3 changes  the same, with reloads, drains, aborts and restarts in between
//   4 restarts honest clients and a backend like the rough one's, through up to four restarts:
//              everybody must still be answered in full, without a timeout, by whichever process
#pragma once

#include "daemon/environment.h"
#include "daemon/worker.h"
#include "tests/sim/sim_backend.h"
#include "tests/sim/sim_client.h"

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace riposte::sim {

enum class Kind : uint8_t { calm, rough, hostile, changes, restarts };
inline constexpr uint64_t kinds = 5;

class Simulation {
public:
    Simulation(uint64_t seed, bool trace);
    ~Simulation();

    /// What went wrong, with everything that helps; "" if nothing.
    std::string run();

    /// What a run has done, for the statement that the schedules are not empty.
    struct Tally {
        uint64_t answered = 0;  ///< clients that got all
        uint64_t datagrams = 0; ///< answers
        uint64_t trains = 0;    ///< of datagrams, asked
        uint64_t starved = 0;   ///< turns with every stream buffer taken
        uint64_t refused = 0;
        uint64_t timeouts = 0;
        uint64_t drains = 0;
        uint64_t reloads = 0;
        uint64_t resets = 0;
        uint64_t restarts = 0;
        uint64_t handed_over = 0;

        void add(const Tally& other);
    };
    const Tally& tally() const { return tally_; }

private:
    class Surroundings final : public Environment {
    public:
        explicit Surroundings(const World& world) : world_(world) {}
        uint64_t now_ms() noexcept override { return world_.now_ms; }
        uint64_t now_us() noexcept override { return world_.now_ms * 1000; }
        int64_t wall_seconds() noexcept override { return world_.wall_seconds(); }
        SocketAddress peer_address(int fd) override { return world_.network.stream_of(fd).peer; }
        uint32_t unacknowledged_bytes(int fd) noexcept override {
            return static_cast<uint32_t>(world_.network.stream_of(fd).to_peer.size());
        }

    private:
        const World& world_;
    };

    bool peaceful() const {
        return kind_ == Kind::calm || kind_ == Kind::rough || kind_ == Kind::restarts;
    }
    Faults choose_faults();
    LimitsConfig choose_limits();
    uint32_t choose_stock();
    std::string choose_message();
    SimListener& open_listener(ServiceKind kind, Transport transport);
    void choose_listeners();
    void choose_clients();
    ServiceKind choose_kind();
    WorkerPlan plan() const;
    void start_process();

    bool running();
    void act();
    void change();
    void reload();
    void drain(uint32_t timeout_ms, uint32_t handover_max);
    bool restart();
    AdoptedConnection adopt(const HandedOver& connection);
    void abort();
    void close_removed();
    void let_time_pass();
    uint64_t next_act_ms() const;

    void check();
    void check_owed();
    void check_handed_over();
    void check_end();
    void end_process();
    Totals totals() const;
    void check_counters();
    void fail(std::string what);

    uint64_t seed_;
    bool trace_;
    Kind kind_;
    Random random_;
    SimNetwork network_;
    World world_;
    Surroundings surroundings_;
    BufferPool streams_;
    DatagramPool datagrams_;
    uint32_t connections_max_ = 0; ///< the highest limit so far: lowering it ends nobody
    LimitsConfig limits_;
    std::vector<SimListener> listeners_;
    std::vector<SimClient> clients_;
    SimAskers askers_;
    uint32_t questions_left_ = 0;
    uint32_t changes_left_ = 0;
    std::unique_ptr<SimBackend> backend_;
    std::unique_ptr<Worker> worker_;
    std::vector<HandedOver> handed_over_; ///< by the process that has stopped
    Totals past_;                         ///< of the processes before this one
    uint64_t processes_ = 0;
    bool ending_ = false; ///< there is no next one

    uint64_t turns_ = 0;
    uint64_t still_turns_ = 0; ///< in which nothing happened
    uint64_t last_activity_ = 0;
    uint64_t accepted_ = 0; ///< until the turn before
    bool time_moved_ = false;
    uint64_t stop_by_ms_ = never_ms; ///< a drain must have ended
    std::string failure_;
    Tally tally_;
};

} // namespace riposte::sim
