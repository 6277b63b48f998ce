#include "common/http/thread.h"

#include "common/clock.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>
#include <system_error>
#include <utility>

#include <climits>
#include <poll.h>
#include <sys/eventfd.h>

namespace riposte {
namespace {

/// Milliseconds until the deadline, rounded up; -1: none.
int wait_ms(const std::optional<uint64_t>& deadline_us) {
    if (!deadline_us)
        return -1;
    const uint64_t now_us = monotonic_us();
    const uint64_t left_us = *deadline_us - std::min(now_us, *deadline_us);
    return static_cast<int>(std::min<uint64_t>((left_us + 999) / 1000, INT_MAX));
}

} // namespace

std::expected<std::unique_ptr<HttpThread>, int> HttpThread::start(
    std::unique_ptr<HttpServer> server) {
    Fd stop(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
    if (!stop)
        return std::unexpected(errno);
    std::unique_ptr<HttpThread> thread(new HttpThread(std::move(stop), std::move(server)));
    sigset_t all{};
    sigset_t before{};
    ::sigfillset(&all);
    ::pthread_sigmask(SIG_SETMASK, &all, &before); // the new thread inherits it
    int error = 0;
    try {
        thread->thread_ = std::thread([&each = *thread] { each.run(); });
    } catch (const std::system_error& failure) {
        error = failure.code().value();
    }
    ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
    if (error != 0)
        return std::unexpected(error);
    return thread;
}

HttpThread::HttpThread(Fd stop, std::unique_ptr<HttpServer> server)
    : stop_(std::move(stop)), server_(std::move(server)) {}

HttpThread::~HttpThread() {
    ::eventfd_write(stop_.get(), 1);
    if (thread_.joinable())
        thread_.join();
}

void HttpThread::run() const {
    std::array<pollfd, 2> fds{{{stop_.get(), POLLIN, 0}, {server_->fd(), POLLIN, 0}}};
    for (;;) {
        ::poll(fds.data(), fds.size(), wait_ms(server_->deadline_us()));
        if (fds[0].revents != 0)
            return;
        server_->on_ready(monotonic_us());
    }
}

} // namespace riposte
