// A worker on a thread of its own, and the mailbox through which the main thread talks to it.
//
// The thread opens its backend itself, because an io_uring ring belongs to the thread that made it.
// Commands are left in the mailbox and the backend is woken; news (a plan has settled, the worker
// has stopped) is told by writing to an eventfd that the main thread polls.
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
    /// As much as one segment of a fast sender carries: a quarter of it costs twice the CPU where
    /// much comes at once, and a short message touches one page either way.
    static constexpr uint32_t stream_buffer_bytes = 64 * 1024;
    static constexpr uint32_t datagram_buffers = 128;

    /// What this share of the memory is enough for, and a few at least.
    static uint32_t stream_buffers(const TcpLimits& share) noexcept;

    using Started = WorkerBackends::Worker;

    /// Makes the thread; started() tells how that went. `news_fd` is an eventfd that outlives it.
    WorkerThread(uint32_t index, BackendChoice choice, WorkerPlan plan, int news_fd);
    /// Joins; the worker must have stopped, or never started.
    ~WorkerThread();
    WorkerThread(const WorkerThread&) = delete;
    WorkerThread& operator=(const WorkerThread&) = delete;

    /// Waits until the worker is armed or has failed. Once.
    Result<Started> started();

    // Commands, see Worker.

    /// Memory for a plan like this one: prepared() tells whether it was to be had.
    void prepare(WorkerPlan plan, uint64_t sequence);
    /// Nothing as long as it is at work on that.
    std::optional<bool> prepared(uint64_t sequence) const noexcept {
        const uint64_t answer = prepared_.load(std::memory_order_acquire);
        return answer >> 1 == sequence ? std::optional((answer & 1) != 0) : std::nullopt;
    }
    void give_up(); ///< what was prepared
    void apply(WorkerPlan plan, uint64_t sequence);
    void adopt(std::vector<handoff::Adopted> connections);
    void drain(uint32_t timeout_ms, uint32_t handoff_max);
    void abort();
    /// Asks for a sign of life: answered() becomes `number` when the worker's loop comes round.
    void ping(uint64_t number);

    uint64_t settled() const noexcept { return settled_.load(std::memory_order_acquire); }
    bool stopped() const noexcept { return stopped_.load(std::memory_order_acquire); }
    uint64_t answered() const noexcept { return answered_.load(std::memory_order_acquire); }
    /// Only when it has stopped.
    std::vector<handoff::Released> take_released() { return worker_->take_released(); }
    const Counters& metrics() const noexcept { return worker_->metrics(); }

private:
    struct Mailbox {
        std::optional<WorkerPlan> plan;
        uint64_t plan_sequence = 0;
        std::optional<WorkerPlan> prepared;
        uint64_t prepare_sequence = 0;
        bool give_up = false; ///< before `prepared`
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

    // Made by the worker's thread before `started_` is set; the main thread then uses only what is
    // made for that (Backend::wake, Counters).
    SystemHost environment_;
    std::optional<BufferPool> streams_;
    std::optional<DatagramPool> datagrams_;
    std::unique_ptr<Backend> backend_;
    std::unique_ptr<Worker> worker_;

    std::mutex mutex_;
    Mailbox mailbox_;      ///< guarded by mutex_
    uint64_t applied_ = 0; ///< the worker's own
    std::atomic<bool> mail_{false};
    std::atomic<uint64_t> pinged_{0};
    std::atomic<uint64_t> answered_{0};
    std::atomic<uint64_t> settled_{0};
    std::atomic<uint64_t> prepared_{0}; ///< twice the sequence, and 1 if there was memory
    std::atomic<bool> stopped_{false};

    std::thread thread_; ///< last: everything above is ready when it starts
};

} // namespace riposte
