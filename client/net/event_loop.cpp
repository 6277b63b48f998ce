// The signal handlers do three things that are safe in one: count, write to an eventfd, and
// _exit(2). The descriptor is in the epoll set, so that a signal ends any wait, also one that comes
// just before it; the wait itself then says what came by interrupted() and take_interim().
#include "client/net/event_loop.h"

#include "common/clock.h"
#include "common/text.h"

#include <atomic>
#include <cassert>
#include <cerrno>
#include <csignal>
#include <utility>

#include <fmt/format.h>
#include <sys/eventfd.h>
#include <sys/timerfd.h>
#include <unistd.h>

namespace riposte::client {

namespace {

constexpr uint64_t timer_tag = UINT64_MAX;
constexpr uint64_t wake_tag = UINT64_MAX - 1;
constexpr int interrupted_status = 130; ///< 128 + SIGINT, as a shell shows it

std::atomic<int> interrupt_count{0};
std::atomic<bool> second_handled{false};
std::atomic<bool> interim_wanted{false};
std::atomic<bool> reload_wanted{false};
std::atomic<int> wake_fd{-1};
std::atomic<bool> resized{false};
std::atomic<bool> suspend_wanted{false};
std::atomic<bool> continued{false};
std::atomic<void (*)()> exit_function{nullptr};

void poke() {
    const int error = errno;
    const uint64_t one = 1;
    // A full counter wakes just as well.
    [[maybe_unused]] const ssize_t size = ::write(wake_fd.load(), &one, sizeof(one));
    errno = error;
}

extern "C" void on_interrupt(int) {
    const int earlier = interrupt_count.fetch_add(1);
    if (earlier > 1 || (earlier == 1 && !second_handled)) {
        if (auto* const function = exit_function.load(); function != nullptr)
            function();
        _exit(interrupted_status);
    }
    poke();
}

extern "C" void on_screen_signal(int number) {
    std::atomic<bool>& noted = number == SIGWINCH  ? resized
                               : number == SIGTSTP ? suspend_wanted
                                                   : continued;
    noted = true;
    poke();
}

extern "C" void on_quit(int) {
    interim_wanted = true;
    poke();
}

extern "C" void on_hangup(int) {
    reload_wanted = true;
    poke();
}

void handle(int signal, void (*handler)(int)) {
    struct sigaction action{};
    action.sa_handler = handler;
    action.sa_flags = handler == SIG_DFL ? 0 : SA_RESTART;
    sigemptyset(&action.sa_mask);
    sigaction(signal, &action, nullptr);
}

void handle_all(bool ours) {
    handle(SIGINT, ours ? on_interrupt : SIG_DFL);
    handle(SIGTERM, ours ? on_interrupt : SIG_DFL);
    handle(SIGQUIT, ours ? on_quit : SIG_DFL);
}

timespec to_timespec(uint64_t ns) {
    return {
        .tv_sec = static_cast<time_t>(ns / 1'000'000'000),
        .tv_nsec = static_cast<long>(ns % 1'000'000'000)};
}

} // namespace

void EventLoop::note_interim() {
    handle(SIGQUIT, on_quit);
}

Result<EventLoop> EventLoop::open_without_signals() {
    Fd epoll(::epoll_create1(EPOLL_CLOEXEC));
    Fd timer(::timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC));
    Fd wake(::eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC));
    if (!epoll || !timer || !wake)
        return fail(Exit::usage, fmt::format("event loop: {}", errno_text(errno)));
    EventLoop loop(std::move(epoll), std::move(timer), std::move(wake));
    for (const auto& [fd, tag] :
         {std::pair{loop.timer_.get(), timer_tag}, std::pair{loop.wake_.get(), wake_tag}})
        if (const int error = loop.add(fd, EPOLLIN | (tag == timer_tag ? EPOLLET : 0U), tag);
            error != 0)
            return fail(Exit::usage, fmt::format("event loop: {}", errno_text(error)));
    return loop;
}

Result<EventLoop> EventLoop::open() {
    auto loop = open_without_signals();
    if (!loop)
        return loop;
    assert(wake_fd.load() < 0 && "one event loop at a time");
    interrupt_count = 0;
    second_handled = false;
    wake_fd = loop->wake_.get();
    handle_all(true);
    return loop;
}

EventLoop::EventLoop(Fd epoll, Fd timer, Fd wake)
    : epoll_(std::move(epoll)), timer_(std::move(timer)), wake_(std::move(wake)) {}

EventLoop::EventLoop(EventLoop&&) noexcept = default;

EventLoop::~EventLoop() {
    // One that was moved from, or never opened, owns no signals.
    if (!wake_ || wake_fd.load() != wake_.get())
        return;
    handle_all(false);
    wake_fd = -1;
    interim_wanted = false;
    second_handled = false;
}

int EventLoop::add(int fd, uint32_t events, uint64_t tag) {
    epoll_event event{.events = events, .data = {.u64 = tag}};
    return ::epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, fd, &event) < 0 ? errno : 0;
}

int EventLoop::modify(int fd, uint32_t events, uint64_t tag) {
    epoll_event event{.events = events, .data = {.u64 = tag}};
    return ::epoll_ctl(epoll_.get(), EPOLL_CTL_MOD, fd, &event) < 0 ? errno : 0;
}

void EventLoop::remove(int fd) {
    ::epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, fd, nullptr);
}

void EventLoop::wake() const {
    const uint64_t one = 1;
    // A full counter wakes just as well.
    [[maybe_unused]] const ssize_t size = ::write(wake_.get(), &one, sizeof(one));
}

std::span<const epoll_event> EventLoop::wait(uint64_t deadline_ns) {
    // The timer is armed for that very time already: it will fire, and the clock need not be read.
    const bool is_armed = deadline_ns == armed_ns_;
    const uint64_t now =
        is_armed || deadline_ns == 0 || deadline_ns == UINT64_MAX ? 0 : monotonic_ns();
    const bool sleeps = deadline_ns > now;
    if (sleeps && deadline_ns != armed_ns_) {
        // A timer that is set to zero is off.
        const itimerspec at{
            .it_interval = {},
            .it_value = deadline_ns == UINT64_MAX ? timespec{} : to_timespec(deadline_ns)};
        ::timerfd_settime(timer_.get(), TFD_TIMER_ABSTIME, &at, nullptr);
        armed_ns_ = deadline_ns;
    }
    const int count =
        ::epoll_wait(epoll_.get(), events_.data(), static_cast<int>(events_max), sleeps ? -1 : 0);
    size_t kept = 0;
    for (size_t i = 0; i < static_cast<size_t>(count < 0 ? 0 : count); i++) {
        const uint64_t tag = events_[i].data.u64;
        if (tag != timer_tag && tag != wake_tag) {
            events_[kept++] = events_[i];
            continue;
        }
        if (tag == timer_tag) {
            // Edge-triggered: setting it anew takes the expiry back, without reading it.
            armed_ns_ = UINT64_MAX;
            continue;
        }
        uint64_t counter = 0;
        [[maybe_unused]] const ssize_t size = ::read(wake_.get(), &counter, sizeof(counter));
    }
    return {events_.data(), kept};
}

bool EventLoop::interrupted() const {
    return interrupts() > 0;
}

int EventLoop::interrupts() const {
    return interrupt_count.load();
}

bool EventLoop::handle_second(bool handled) {
    return second_handled.exchange(handled);
}

void EventLoop::handle_screen(bool handled) {
    for (const int number : {SIGWINCH, SIGTSTP, SIGCONT})
        handle(number, handled ? on_screen_signal : SIG_DFL);
    if (!handled)
        take_screen_events();
}

EventLoop::ScreenEvents EventLoop::take_screen_events() {
    return {
        .resized = resized.exchange(false),
        .suspend = suspend_wanted.exchange(false),
        .continued = continued.exchange(false)};
}

void EventLoop::suspend() {
    handle(SIGTSTP, SIG_DFL);
    ::raise(SIGTSTP);
    handle(SIGTSTP, on_screen_signal);
}

void EventLoop::interrupt() {
    on_interrupt(SIGINT);
}

void EventLoop::before_exit(void (*function)()) {
    exit_function = function;
}

void EventLoop::handle_reload(bool handled) {
    reload_wanted = false;
    handle(SIGHUP, handled ? on_hangup : SIG_DFL);
}

bool EventLoop::take_reload() {
    return reload_wanted.exchange(false);
}

bool EventLoop::take_interim() {
    return interim_wanted.exchange(false);
}

} // namespace riposte::client
