#include "client/net/live_session.h"

#include "client/show/report.h"
#include "client/show/terminal.h"
#include "common/clock.h"

#include <algorithm>
#include <utility>

namespace riposte::client {

namespace {

constexpr uint64_t gap_ns = 500'000;          ///< drawing takes less
constexpr uint64_t gap_wait_ns = 200'000'000; ///< without a gap a frame is drawn after that
constexpr uint64_t rest_share = 20;           ///< a twentieth of the time is for drawing, at most

} // namespace

Result<std::unique_ptr<LiveSession>> LiveSession::open(std::string_view command, EventLoop& loop) {
    auto screen = TerminalScreen::open(command);
    if (!screen)
        return std::unexpected(screen.error());
    return std::unique_ptr<LiveSession>(new LiveSession(std::move(*screen), loop));
}

LiveSession::LiveSession(TerminalScreen screen, EventLoop& loop)
    : screen_(std::move(screen)), loop_(loop), unicode_(client::shows_unicode()) {
    EventLoop::before_exit(restore_terminal);
    loop_.handle_screen(true);
}

LiveSession::~LiveSession() {
    screen_.leave();
    loop_.handle_screen(false);
    EventLoop::before_exit(nullptr);
}

/// A process that was stopped (also by SIGSTOP, behind our back) finds another screen and other
/// modes when it continues.
void LiveSession::handle_signals() {
    const EventLoop::ScreenEvents events = loop_.take_screen_events();
    if (events.suspend || events.continued)
        screen_.leave();
    if (events.suspend)
        loop_.suspend();
    if (events.suspend || events.continued || events.resized)
        next_ns_ = 0;
}

void LiveSession::read_keys() {
    const size_t page = live_rows(screen_.size());
    for (std::string bytes = screen_.read(); !bytes.empty(); bytes = screen_.read())
        for (const uint32_t key : keys_.read(bytes))
            view_.press(key, rows_, page);
    if (std::exchange(view_.quits, false))
        loop_.interrupt();
}

/// What is more urgent makes turns enough.
uint64_t LiveSession::next_ns() const {
    return waits_for_gap_ ? next_ns_ + gap_wait_ns : next_ns_;
}

Result<void> LiveSession::turn(uint64_t now_ns, uint64_t next_due_ns, const Render& render) {
    handle_signals();
    if (now_ns < next_ns_)
        return {};
    waits_for_gap_ = now_ns - next_ns_ < gap_wait_ns && next_due_ns < now_ns + gap_ns;
    if (waits_for_gap_)
        return {};
    next_ns_ = now_ns + frame_ns;
    if (!screen_.is_foreground())
        return {};
    screen_.enter();
    read_keys();
    if (const int error = screen_.draw(render(screen_.size(), view_)); error != 0)
        return output_error(error);
    next_ns_ = std::max(next_ns_, now_ns + rest_share * (monotonic_ns() - now_ns));
    return {};
}

} // namespace riposte::client
