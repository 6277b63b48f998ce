// The event loop of ping and load: epoll, one timer, and the signals of the terminal.
//
// Deadlines are absolute times of CLOCK_MONOTONIC: a loop that is late does not move them. The
// timer is a timerfd, because epoll_wait(2)'s own timeout may be late by a thousandth of itself (a
// millisecond in a second) and is only as fine as a millisecond. A caller that cannot afford the
// tens of microseconds that waking takes waits until somewhat earlier, and then polls (deadline 0)
// until it is time.
//
// SIGINT and SIGTERM ask for the end (interrupted()). A second one ends the process at once with
// status 130, whatever it is doing, except while a run has announced that it handles it
// (handle_second()); a third one always does. SIGQUIT asks for an interim line (take_interim()).
// All of them are handled only while an EventLoop exists; there is one at a time that handles them.
// SIGQUIT is noted even before, while names are resolved: a user may send it before knowing whether
// there is a loop.
//
// A prober that runs on and on handles SIGHUP too (handle_reload()).
//
// While a screen is on the terminal (handle_screen()), the signals of terminals are events as well:
// SIGWINCH, SIGTSTP (Ctrl-Z) and SIGCONT, and SIGQUIT is taken with them.
#pragma once

#include "common/error.h"
#include "common/fd.h"

#include <array>
#include <cstdint>
#include <span>

#include <sys/epoll.h>

namespace riposte::client {

class EventLoop {
public:
    /// From now on SIGQUIT does not end the process; the next EventLoop reports it.
    static void note_interim();
    static Result<EventLoop> open();
    /// A further loop, for another thread: it handles no signal, and ends no wait for one.
    static Result<EventLoop> open_without_signals();
    EventLoop(EventLoop&&) noexcept;
    EventLoop& operator=(EventLoop&&) = delete;
    ~EventLoop();

    /// `events` as of epoll_ctl(2); `tag` comes back in data.u64 and is not UINT64_MAX or one
    /// below. 0 or errno. Closing the descriptor removes it.
    int add(int fd, uint32_t events, uint64_t tag);
    int modify(int fd, uint32_t events, uint64_t tag);
    void remove(int fd);
    /// Ends the wait of this loop, or the next one. Any thread may call it.
    void wake() const;

    /// Waits until something is ready or `deadline_ns` has passed (0: looks only; UINT64_MAX: no
    /// deadline). An empty span: the deadline, or a signal. Valid until the next call.
    std::span<const epoll_event> wait(uint64_t deadline_ns);

    bool interrupted() const; ///< SIGINT or SIGTERM came
    int interrupts() const;   ///< how often
    /// While `handled`, the run handles the second one: it checks interrupts() regularly and blocks
    /// only in wait(). Off at first. Switch it off around calls that may block (MayBlock), and
    /// when the run is concluded. Returns the previous value.
    bool handle_second(bool handled);
    bool take_interim(); ///< SIGQUIT came since the last call
    /// From now on, or no more, SIGHUP is noted for take_reload().
    void handle_reload(bool handled);
    bool take_reload(); ///< SIGHUP came since the last call

    /// What a terminal's signals asked for.
    struct ScreenEvents {
        bool resized = false;
        bool suspend = false;
        bool continued = false;
    };
    /// From now on, or no more, the signals of terminals are noted for take_screen_events().
    void handle_screen(bool handled);
    ScreenEvents take_screen_events();
    /// Stops this process as SIGTSTP would have; returns when it continues.
    void suspend();
    /// As SIGINT: another way to ask for the end.
    void interrupt();
    /// `function` is called, in a signal handler, before an interrupt ends the process at once;
    /// null: nothing is.
    static void before_exit(void (*function)());

private:
    EventLoop(Fd epoll, Fd timer, Fd wake);

    static constexpr size_t events_max = 256;

    Fd epoll_;
    Fd timer_;
    Fd wake_; ///< an eventfd that the signal handlers write to
    uint64_t armed_ns_ = UINT64_MAX;
    std::array<epoll_event, events_max> events_{};
};

/// During its lifetime a call may block, such as a write to a slow reader: a second signal ends the
/// process.
class MayBlock {
public:
    explicit MayBlock(EventLoop& loop) : loop_(loop), handled_(loop.handle_second(false)) {}
    ~MayBlock() { loop_.handle_second(handled_); }
    MayBlock(const MayBlock&) = delete;
    MayBlock& operator=(const MayBlock&) = delete;

private:
    EventLoop& loop_;
    bool handled_;
};

} // namespace riposte::client
