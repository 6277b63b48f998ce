// The live screen of load: its model. The screen is in client/net/live_session.h.
#pragma once

#include "client/load/load_report.h"
#include "client/load/load_result.h"
#include "client/net/event_loop.h"
#include "client/net/live_session.h"
#include "client/show/live_load.h"
#include "common/error.h"

#include <cstdint>
#include <deque>
#include <memory>
#include <utility>

namespace riposte::client {

/// What the screen says of a run that stands so.
LoadPage load_page(const LoadResult& result, const LoadProgress& progress);

class LoadLive {
public:
    static Result<std::unique_ptr<LoadLive>> open(EventLoop& loop, bool color);

    /// A fifth of a second has passed; `latencies` are of the answers in it.
    void sample(double rate, const Histogram& latencies);
    /// LiveSession::turn().
    Result<void> turn(
        uint64_t now_ns, uint64_t next_due_ns, const LoadResult& result,
        const LoadProgress& progress);
    void redraw() { session_->redraw(); }

private:
    LoadLive(std::unique_ptr<LiveSession> session, bool color)
        : session_(std::move(session)), color_(color) {}

    std::unique_ptr<LiveSession> session_;
    std::deque<LoadSample> samples_;
    bool color_;
};

} // namespace riposte::client
