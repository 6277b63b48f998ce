#include "daemon/supervisor/notifier.h"

#include "build_features.h"
#include "common/clock.h"
#include "daemon/platform/systemd.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdlib>
#include <cstring>

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <unistd.h>

namespace riposte::systemd {
namespace {

constexpr uint64_t retry_interval_us = 100'000;
constexpr uint64_t wait_interval_us = 10'000;

/// Parses the address in NOTIFY_SOCKET: a path, or "@" and an abstract name. Returns its size; 0 if
/// it is neither.
socklen_t parse_socket(std::string_view name, sockaddr_un& address) {
    if (name.size() < 2 || name.size() > sizeof address.sun_path ||
        (name[0] != '/' && name[0] != '@'))
        return 0;
    address.sun_family = AF_UNIX;
    std::ranges::copy(name, address.sun_path);
    if (name[0] == '@')
        address.sun_path[0] = '\0';
    return static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + name.size());
}

/// A line break in a status would begin another variable.
std::string status_line(std::string_view status) {
    std::string line = fmt::format("STATUS={}", status);
    std::ranges::replace(line, '\n', ' ');
    return line;
}

bool is_full(int error) {
    return error == EAGAIN || error == ENOBUFS || error == ENOMEM;
}

/// Waits until `fd` or `interrupt` is readable, or for a short interval. EINTR if `interrupt` is
/// readable, ETIMEDOUT after the deadline, else 0.
int wait_for(int fd, int interrupt, uint64_t deadline_us) {
    const uint64_t now = monotonic_us();
    if (now >= deadline_us)
        return ETIMEDOUT;
    const uint64_t while_us =
        fd < 0 ? std::min(wait_interval_us, deadline_us - now) : deadline_us - now;
    std::array<pollfd, 2> polls{{{fd, POLLIN, 0}, {interrupt, POLLIN, 0}}};
    ::poll(polls.data(), polls.size(), static_cast<int>(while_us / 1000 + 1));
    return polls[1].revents != 0 ? EINTR : 0;
}

} // namespace

void Unsent::add(Kind kind, std::string text) {
    const auto drop = [&](auto... kinds) {
        std::erase_if(
            messages_, [&](const Message& each) { return ((each.kind == kinds) || ...); });
    };
    switch (kind) {
    case Kind::ready:
        drop(Kind::ready, Kind::status);
        break;
    case Kind::reloading:
        drop(Kind::reloading, Kind::ready, Kind::status);
        break;
    case Kind::stopping:
        drop(Kind::stopping, Kind::reloading, Kind::status);
        break;
    case Kind::status:
        drop(Kind::status);
        break;
    case Kind::watchdog:
        return;
    case Kind::other:
        if (std::ranges::find(messages_, text, &Message::text) != messages_.end())
            return;
        break;
    }
    messages_.push_back({kind, std::move(text)});
}

Notifier::Notifier() {
    const char* name =
        std::getenv("NOTIFY_SOCKET"); // NOLINT(concurrency-mt-unsafe): before threads start
    if (!RIPOSTE_HAVE_SYSTEMD || name == nullptr)
        return;
    address_size_ = parse_socket(name, address_);
    if (address_size_ > 0)
        socket_ = Fd(::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
}

void Notifier::tell_ready(std::string_view status) {
    tell(Unsent::Kind::ready, fmt::format("READY=1\n{}", status_line(status)));
}

void Notifier::tell_status(std::string_view status) {
    tell(Unsent::Kind::status, status_line(status));
}

void Notifier::tell_reloading() {
    tell(Unsent::Kind::reloading, fmt::format("RELOADING=1\nMONOTONIC_USEC={}", monotonic_us()));
}

void Notifier::tell_stopping(std::string_view status, uint64_t extend_us) {
    tell(
        Unsent::Kind::stopping,
        fmt::format("STOPPING=1\n{}\nEXTEND_TIMEOUT_USEC={}", status_line(status), extend_us));
}

void Notifier::tell_watchdog() {
    tell(Unsent::Kind::watchdog, "WATCHDOG=1");
}

void Notifier::remove_stored(std::string_view name) {
    tell(Unsent::Kind::other, fmt::format("FDSTOREREMOVE=1\nFDNAME={}", name));
}

void Notifier::tell(Unsent::Kind kind, std::string text) {
    if (!is_present())
        return;
    retry();
    if (unsent_.empty() && !is_full(send(text, {})))
        return; // sent, or the manager is gone: its timeouts decide
    unsent_.add(kind, std::move(text));
    if (!unsent_.empty())
        retry_us_ = monotonic_us() + retry_interval_us;
}

std::optional<uint64_t> Notifier::retry_us() const noexcept {
    return unsent_.empty() ? std::nullopt : std::optional(retry_us_);
}

void Notifier::retry() {
    while (!unsent_.empty() && !is_full(send(unsent_.front().text, {})))
        unsent_.pop();
    retry_us_ = monotonic_us() + retry_interval_us;
}

int Notifier::send(std::string_view text, std::span<const int> descriptors) const {
    iovec bytes{.iov_base = const_cast<char*>(text.data()), .iov_len = text.size()};
    std::array<std::byte, CMSG_SPACE(descriptors_per_message * sizeof(int))> control{};
    msghdr message{};
    message.msg_name = const_cast<sockaddr_un*>(&address_);
    message.msg_namelen = address_size_;
    message.msg_iov = &bytes;
    message.msg_iovlen = 1;
    if (!descriptors.empty()) {
        message.msg_control = control.data();
        message.msg_controllen = CMSG_SPACE(descriptors.size_bytes());
        cmsghdr* header = CMSG_FIRSTHDR(&message);
        header->cmsg_level = SOL_SOCKET;
        header->cmsg_type = SCM_RIGHTS;
        header->cmsg_len = CMSG_LEN(descriptors.size_bytes());
        std::memcpy(CMSG_DATA(header), descriptors.data(), descriptors.size_bytes());
    }
    ssize_t sent = -1;
    do
        sent = ::sendmsg(socket_.get(), &message, MSG_DONTWAIT | MSG_NOSIGNAL);
    while (sent < 0 && errno == EINTR);
    return sent < 0 ? errno : 0;
}

/// Sends after all earlier messages.
int Notifier::send_by(
    std::string_view text, std::span<const int> descriptors, uint64_t deadline_us, int interrupt) {
    if (!is_present())
        return ENOTCONN;
    for (;;) {
        retry();
        const int error = unsent_.empty() ? send(text, descriptors) : EAGAIN;
        if (!is_full(error))
            return error;
        if (const int stop = wait_for(-1, interrupt, deadline_us); stop != 0)
            return stop;
    }
}

int Notifier::store(
    std::string_view name, std::span<const int> descriptors, uint64_t timeout_us, int interrupt) {
    return send_by(
        fmt::format("FDSTORE=1\nFDNAME={}", name), descriptors, monotonic_us() + timeout_us,
        interrupt);
}

int Notifier::await_processed(uint64_t timeout_us, int interrupt) {
    const uint64_t deadline_us = monotonic_us() + timeout_us;
    std::array<int, 2> ends{};
    if (!is_present())
        return ENOTCONN;
    if (::pipe2(ends.data(), O_CLOEXEC) != 0)
        return errno;
    const Fd ours(ends[0]);
    Fd theirs(ends[1]);
    const int held = theirs.get();
    if (const int error = send_by("BARRIER=1", std::span(&held, 1), deadline_us, interrupt);
        error != 0)
        return error;
    theirs.reset(); // only the manager has it now, and closes it when it reads this message
    for (;;) {
        if (const int stop = wait_for(ours.get(), interrupt, deadline_us); stop != 0)
            return stop;
        pollfd look{.fd = ours.get(), .events = POLLIN, .revents = 0};
        if (::poll(&look, 1, 0) == 1)
            return 0;
    }
}

} // namespace riposte::systemd
