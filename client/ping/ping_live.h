// The live screen of ping: its model, fed by the fates of probes. The screen is in
// client/net/live_session.h.
#pragma once

#include "client/measure/recent.h"
#include "client/net/event_loop.h"
#include "client/net/live_session.h"
#include "client/ping/ping_result.h"
#include "client/ping/probe_fate.h"
#include "client/show/live_screen.h"
#include "common/error.h"

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

namespace riposte::client {

/// Of one endpoint.
class LiveEndpoint {
public:
    void decide(const PingResult& result, const ProbeFate& fate, uint64_t now_ns);
    /// Without what complete() fills in.
    LiveRow row(const PingResult& result, uint64_t now_ns) const;
    void complete(LiveRow& row, const PingResult& result, uint64_t now_ns) const;

private:
    RecentMinute recent_;
    uint64_t latest_ = 0; ///< sequence of the latest probe that was decided
    std::optional<uint64_t> last_ns_;
    std::string error_;
};

class PingLive {
public:
    static Result<std::unique_ptr<PingLive>> open(EventLoop& loop);
    /// The run begins; `results` outlive this.
    void begin(std::span<const PingResult* const> results, bool color);

    void decide(size_t endpoint, const ProbeFate& fate, uint64_t now_ns);
    /// LiveSession::turn(). `is_sending`: else it waits for the last replies.
    Result<void> turn(uint64_t now_ns, uint64_t next_due_ns, bool is_sending);
    uint64_t next_ns() const { return session_->next_ns(); }
    void redraw() { session_->redraw(); }

    /// Lines for standard error that have no place on the screen; they follow it.
    void add_note(std::string line) { notes_.push_back(std::move(line)); }
    const std::vector<std::string>& notes() const { return notes_; }

private:
    explicit PingLive(std::unique_ptr<LiveSession> session) : session_(std::move(session)) {}
    LivePage page(uint64_t now_ns, bool is_sending) const;

    std::unique_ptr<LiveSession> session_;
    std::vector<const PingResult*> results_;
    std::vector<LiveEndpoint> endpoints_;
    std::vector<std::string> notes_;
    bool color_ = false;
};

} // namespace riposte::client
