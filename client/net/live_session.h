// A live screen over the terminal: when it is drawn, what is typed, and the signals of terminals.
// What it shows is the caller's.
//
// Nothing here waits: keys are read, and a frame is drawn, in turn(), at most five times a second,
// and less often where a frame takes long, as of tens of thousands of endpoints. A frame waits a
// little for a gap between probes, so that drawing makes none of them late. In the background there
// is no screen until the process comes to the foreground.
#pragma once

#include "client/net/event_loop.h"
#include "client/show/live_screen.h"
#include "client/show/terminal_screen.h"
#include "common/error.h"

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace riposte::client {

class LiveSession {
public:
    static constexpr uint64_t frame_ns = 200'000'000;

    /// `loop` outlives it.
    static Result<std::unique_ptr<LiveSession>> open(std::string_view command, EventLoop& loop);
    ~LiveSession();
    LiveSession(const LiveSession&) = delete;
    LiveSession& operator=(const LiveSession&) = delete;

    /// What is to be shown, for the size and how the terminal shows it. Called for each frame.
    using Render = std::function<std::vector<std::string>(ScreenSize, const LiveView&)>;
    /// How many rows there are to scroll through.
    void set_rows(size_t rows) { rows_ = rows; }

    /// Draws if it is time. `next_due_ns`: when something is due that must not be late. An error:
    /// the terminal is gone.
    Result<void> turn(uint64_t now_ns, uint64_t next_due_ns, const Render& render);
    /// When to call turn() next.
    uint64_t next_ns() const;
    /// The next frame is written whole.
    void redraw() { screen_.forget(); }
    bool shows_unicode() const { return unicode_; }

private:
    LiveSession(TerminalScreen screen, EventLoop& loop);
    void handle_signals();
    void read_keys();

    TerminalScreen screen_;
    EventLoop& loop_;
    KeyReader keys_;
    LiveView view_;
    size_t rows_ = 0;
    uint64_t next_ns_ = 0;       ///< when a frame is due
    bool waits_for_gap_ = false; ///< it is, and something else is more urgent
    bool unicode_;
};

} // namespace riposte::client
