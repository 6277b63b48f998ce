// A worker on a thread of its own, and the mailbox through which the main thread commands it.
//
// The thread opens its backend itself, because an io_uring ring belongs to the thread that created
// it. The main thread puts commands into the mailbox and wakes the backend; the worker reports news
// (a plan has settled, the worker has stopped) by writing to an eventfd that the main thread polls.
#pragma once

#include "common/error.h"
#include "daemon/core/host.h"
#include "daemon/io/open_backend.h"
#include "daemon/worker/worker.h"
#include "daemon/worker/worker_backends.h"

#include <atomic>
#include <cstdint>
#include <future>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

namespace riposte {

class WorkerThread {
public:
    /// As much as the kernel delivers at once from a fast sender: buffers of a quarter cost twice
    /// the CPU time for large transfers, and a short message touches one page either way.
    static constexpr uint32_t stream_buffer_bytes = 64 * 1024;
    static constexpr uint32_t datagram_buffers = 128;

    /// How many buffers this share of the memory is enough for; at least a few.
    static uint32_t stream_buffers(const TcpLimits& share) noexcept;

    using Started = WorkerBackends::Worker;

    /// Starts the thread; started() has the result. `news_fd` is an eventfd that outlives it.
    WorkerThread(uint32_t index, BackendChoice choice, WorkerPlan plan, int news_fd);
    /// Joins; the worker must have stopped, or never started.
    ~WorkerThread();
    WorkerThread(const WorkerThread&) = delete;
    WorkerThread& operator=(const WorkerThread&) = delete;

    /// Waits until the worker serves or has failed. Call it once.
    Result<Started> started();

    // Commands, see Worker.

    /// Reserves memory for this plan; prepared() has the result.
    void prepare(WorkerPlan plan, uint64_t sequence);
    /// Did prepare() with this sequence get the memory? Nothing until the worker has tried.
    std::optional<bool> prepared(uint64_t sequence) const noexcept {
        const uint64_t answer = prepared_.load(std::memory_order_acquire);
        return answer >> 1 == sequence ? std::optional((answer & 1) != 0) : std::nullopt;
    }
    void give_up(); ///< frees what prepare() reserved
    void apply(WorkerPlan plan, uint64_t sequence);
    void adopt(std::vector<handoff::Adopted> connections);
    void drain(uint32_t timeout_ms, uint32_t handoff_max);
    void abort();
    /// Checks that the worker is alive: answered() becomes `number` in its next turn.
    void ping(uint64_t number);

    uint64_t settled() const noexcept { return settled_.load(std::memory_order_acquire); }
    bool stopped() const noexcept { return stopped_.load(std::memory_order_acquire); }
    uint64_t answered() const noexcept { return answered_.load(std::memory_order_acquire); }
    /// Call it only when the worker has stopped.
    std::vector<handoff::Released> take_released() { return worker_->take_released(); }
    const Counters& metrics() const noexcept { return worker_->metrics(); }

private:
    struct Mailbox {
        std::optional<WorkerPlan> plan;
        uint64_t plan_sequence = 0;
        std::optional<WorkerPlan> prepared;
        uint64_t prepare_sequence = 0;
        bool give_up = false; ///< takes effect before `prepared`
        std::vector<handoff::Adopted> adopted;
        std::optional<uint32_t> drain_timeout_ms;
        uint32_t handoff_max = 0; ///< of that drain
        bool abort = false;
    };

    void main(BackendChoice choice, const WorkerPlan& plan) noexcept;
    Result<Started> set_up(BackendChoice choice, const WorkerPlan& plan);
    void loop();
    void post(auto write); ///< writes into the mailbox under its lock, then wakes the worker
    void read_mailbox();
    void prepare_now(const WorkerPlan& plan, uint64_t sequence);
    void tell_if_settled();
    void tell_news() const noexcept;

    int news_fd_;
    std::promise<Result<Started>> started_;

    // The worker's thread creates these before it sets `started_`; the main thread then uses only
    // what permits it (Backend::wake, Counters).
    SystemHost host_;
    std::optional<BufferPool> streams_;
    std::optional<DatagramPool> datagrams_;
    std::unique_ptr<Backend> backend_;
    std::unique_ptr<Worker> worker_;

    std::mutex mutex_;
    Mailbox mailbox_;      ///< guarded by mutex_
    uint64_t applied_ = 0; ///< sequence of the last plan; used by the worker's thread alone
    std::atomic<bool> mail_{false};
    std::atomic<uint64_t> pinged_{0};
    std::atomic<uint64_t> answered_{0};
    std::atomic<uint64_t> settled_{0};
    std::atomic<uint64_t> prepared_{0}; ///< twice the sequence, plus 1 if memory was reserved
    std::atomic<bool> stopped_{false};

    std::thread thread_; ///< last member: everything above is initialised when it starts
};

} // namespace riposte
