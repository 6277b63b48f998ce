// Probes before and beside a load: --while-pinging.
//
// The probes have a thread and a loop of their own, so that a busy load makes them neither late nor
// slow; arrival times are the kernel's. Two runs of ping's probers: the first while the path is
// idle, the second in the load's measured time. Over TCP each probe has a connection of its own, so
// that its handshake is measured, too.
//
//     open() -> measure_idle() -> begin() -> end() -> finish()
//
// All of these are called by the thread that loads, which has the signals; an interrupt ends the
// waits.
#pragma once

#include "client/net/event_loop.h"
#include "client/options/options.h"
#include "client/working/latency_under_load.h"
#include "common/error.h"

#include <cstdint>
#include <memory>

namespace riposte::client {

class WhilePinging {
public:
    /// Resolves the endpoint, chooses its address, and starts the thread. A source port of `common`
    /// is the load's.
    static Result<WhilePinging> open(const CommonOptions& common, const Endpoint& endpoint);
    WhilePinging(WhilePinging&&) noexcept;
    WhilePinging& operator=(WhilePinging&&) = delete;
    ~WhilePinging(); ///< ends the thread

    /// Waits while the idle path is probed: so long, and for the last answers. Exit::failed if no
    /// probe was answered: there is nothing to compare with.
    Result<void> measure_idle(EventLoop& loop, uint64_t duration_ns);
    /// The load's measured time begins, or ends, at `now_ns`.
    void begin(uint64_t now_ns);
    void end(uint64_t now_ns);
    /// Waits for the probes in flight; a second interrupt leaves them undecided. end() was called,
    /// or the load has not begun.
    Result<LatencyUnderLoad> finish(EventLoop& loop);

private:
    class Thread;
    explicit WhilePinging(std::unique_ptr<Thread> thread);

    std::unique_ptr<Thread> thread_;
};

/// How long an idle path is probed before a load of that duration; 0: one without end.
uint64_t idle_duration_ns(uint64_t load_duration_ns);

} // namespace riposte::client
