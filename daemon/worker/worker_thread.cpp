#include "daemon/worker/worker_thread.h"

#include "common/text.h"
#include "daemon/log/log.h"

#include <algorithm>
#include <new>
#include <utility>

#include <fmt/format.h>
#include <pthread.h>
#include <unistd.h>

namespace riposte {

/// At most 65,536, because a completion of io_uring has 16 bits for a buffer's number.
uint32_t WorkerThread::stream_buffers(const TcpLimits& share) noexcept {
    constexpr uint64_t min = 16;
    constexpr uint64_t max = 65'536;
    return static_cast<uint32_t>(
        std::clamp(share.buffer_memory_bytes / stream_buffer_bytes, min, max));
}

WorkerThread::WorkerThread(uint32_t index, BackendChoice choice, WorkerPlan plan, int news_fd)
    : news_fd_(news_fd) {
    try {
        thread_ = std::thread([this, choice, plan = std::move(plan)] { main(choice, plan); });
        pthread_setname_np(thread_.native_handle(), fmt::format("worker-{}", index).c_str());
    } catch (const std::system_error& error) {
        started_.set_value(fail(
            Exit::os, fmt::format(
                          "worker {} got no thread: {}; raise TasksMax= or lower 'workers'", index,
                          error.what())));
    }
}

WorkerThread::~WorkerThread() {
    if (thread_.joinable())
        thread_.join();
}

Result<WorkerThread::Started> WorkerThread::started() {
    return started_.get_future().get();
}

void WorkerThread::main(BackendChoice choice, const WorkerPlan& plan) noexcept {
    bool running = false;
    try {
        Result<Started> started = set_up(choice, plan);
        running = started.has_value();
        started_.set_value(std::move(started));
    } catch (const std::bad_alloc&) {
        started_.set_value(out_of_memory(
            fmt::format("a worker with {}", plural(plan.limits.connections_max, "connection"))));
    }
    try {
        if (running)
            loop();
    } catch (const std::bad_alloc&) { // in the middle of a turn, which cannot be resumed
        log::end_without_memory();
    }
    stopped_.store(true, std::memory_order_release);
    tell_news();
}

Result<WorkerThread::Started> WorkerThread::set_up(BackendChoice choice, const WorkerPlan& plan) {
    auto streams = BufferPool::create(stream_buffers(plan.limits), stream_buffer_bytes);
    if (!streams)
        return std::unexpected(streams.error());
    streams_.emplace(std::move(*streams));
    auto datagrams = DatagramPool::create(datagram_buffers);
    if (!datagrams)
        return std::unexpected(datagrams.error());
    datagrams_.emplace(std::move(*datagrams));
    Pools pools{*streams_, *datagrams_};
    auto opened = open_backend(choice, pools);
    if (!opened)
        return std::unexpected(opened.error());
    backend_ = std::move(opened->backend);
    worker_ = std::make_unique<Worker>(host_, *backend_, pools, plan);
    return Started{
        opened->kind, opened->fallback_reason, opened->lacking, opened->ring_operations,
        opened->ring_unlimited};
}

void WorkerThread::loop() {
    bool running = true;
    while (running) {
        answered_.store(pinged_.load(std::memory_order_acquire), std::memory_order_release);
        if (mail_.exchange(false, std::memory_order_acq_rel))
            read_mailbox();
        tell_if_settled(); // a plan that removes nothing has no event to wait for
        running = worker_->turn();
        tell_if_settled();
    }
}

void WorkerThread::tell_if_settled() {
    if (settled_.load(std::memory_order_relaxed) == applied_ || !worker_->settled())
        return;
    settled_.store(applied_, std::memory_order_release);
    tell_news();
}

void WorkerThread::read_mailbox() {
    Mailbox mail;
    {
        std::lock_guard lock(mutex_);
        mail = std::exchange(mailbox_, {});
    }
    if (mail.give_up)
        worker_->give_up();
    if (mail.prepared)
        prepare_now(*mail.prepared, mail.prepare_sequence);
    if (mail.plan) {
        worker_->apply(std::move(*mail.plan));
        applied_ = mail.plan_sequence;
    }
    if (!mail.adopted.empty())
        worker_->adopt(std::move(mail.adopted));
    if (mail.drain_timeout_ms)
        worker_->drain(*mail.drain_timeout_ms, mail.handoff_max);
    if (mail.abort)
        worker_->abort();
}

void WorkerThread::prepare_now(const WorkerPlan& plan, uint64_t sequence) {
    bool done = false;
    try {
        worker_->reserve(plan);
        done = true;
    } catch (const std::bad_alloc&) { // nothing has changed: see Worker::reserve()
        done = false;
    }
    prepared_.store(sequence << 1 | (done ? 1U : 0U), std::memory_order_release);
    tell_news();
}

void WorkerThread::post(auto write) {
    {
        std::lock_guard lock(mutex_);
        write(mailbox_);
    }
    mail_.store(true, std::memory_order_release);
    backend_->wake();
}

void WorkerThread::prepare(WorkerPlan plan, uint64_t sequence) {
    post([&](Mailbox& mail) {
        mail.prepared = std::move(plan);
        mail.prepare_sequence = sequence;
    });
}

void WorkerThread::give_up() {
    post([](Mailbox& mail) { mail.give_up = true; });
}

void WorkerThread::apply(WorkerPlan plan, uint64_t sequence) {
    post([&](Mailbox& mail) {
        mail.plan = std::move(plan);
        mail.plan_sequence = sequence;
    });
}

void WorkerThread::adopt(std::vector<handoff::Adopted> connections) {
    post([&](Mailbox& mail) { mail.adopted = std::move(connections); });
}

void WorkerThread::drain(uint32_t timeout_ms, uint32_t handoff_max) {
    post([&](Mailbox& mail) {
        mail.drain_timeout_ms = timeout_ms;
        mail.handoff_max = handoff_max;
    });
}

void WorkerThread::abort() {
    post([](Mailbox& mail) { mail.abort = true; });
}

void WorkerThread::ping(uint64_t number) {
    pinged_.store(number, std::memory_order_release);
    backend_->wake();
}

void WorkerThread::tell_news() const noexcept {
    uint64_t one = 1;
    [[maybe_unused]] ssize_t written = ::write(news_fd_, &one, sizeof one);
}

} // namespace riposte
