// What the daemon tells its service manager, over the socket that NOTIFY_SOCKET names: the protocol
// of sd_notify(3), one datagram a message. sd_notify(3) itself waits while the manager does not
// read; nothing here does. What the socket does not take at once is kept, merged with what is told
// later, and sent again when retry_us() says so: a manager that was busy finds the state as it is,
// not how it came about.
#pragma once

#include "common/fd.h"

#include <cstdint>
#include <deque>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include <sys/socket.h>
#include <sys/un.h>

namespace riposte::systemd {

/// What has not been sent yet, in its order, and no more of it than the manager still needs to
/// know. Pure.
class Unsent {
public:
    enum class Kind : uint8_t {
        ready,     ///< with a status
        reloading, ///< what was told of an earlier reload is void
        stopping,  ///< so is whatever was told of a reload
        status,
        watchdog, ///< a sign of life is no news later: it is not kept
        other,    ///< kept once
    };
    struct Message {
        Kind kind;
        std::string text;
    };

    void add(Kind kind, std::string text);
    bool empty() const noexcept { return messages_.empty(); }
    const Message& front() const noexcept { return messages_.front(); }
    void pop() { messages_.pop_front(); }

private:
    std::deque<Message> messages_;
};

/// One thread's. Without a NOTIFY_SOCKET, or built without libsystemd, each call does nothing.
class Notifier {
public:
    /// Opens its own socket, by the environment as it is now.
    Notifier();

    bool is_present() const noexcept { return static_cast<bool>(socket_); }

    void tell_ready(std::string_view status);
    void tell_status(std::string_view status);
    void tell_reloading(); ///< RELOADING=1 with MONOTONIC_USEC, as Type=notify-reload needs
    /// With the time that it may take (EXTEND_TIMEOUT_USEC), however short TimeoutStopSec= is.
    void tell_stopping(std::string_view status, uint64_t extend_us);
    void tell_watchdog();
    void remove_stored(std::string_view name); ///< all of that name, from the file descriptor store

    /// When to call retry(), by CLOCK_MONOTONIC; nothing: all was sent.
    std::optional<uint64_t> retry_us() const noexcept;
    void retry();

    // At the start and at the end, when nothing is served: these wait, for `timeout_us` at most,
    // and no longer than until `interrupt` (a descriptor, or -1) can be read. 0 or an errno:
    // ETIMEDOUT, EINTR.

    /// Stores up to descriptors_per_message (systemd.h) under one name of printable ASCII without a
    /// colon. That the store was full is not told.
    int store(
        std::string_view name, std::span<const int> descriptors, uint64_t timeout_us,
        int interrupt);
    /// Until the manager has processed whatever it was told (sd_notify_barrier(3)).
    int await_processed(uint64_t timeout_us, int interrupt);

private:
    void tell(Unsent::Kind kind, std::string text);
    int send(std::string_view text, std::span<const int> descriptors) const;
    int send_by(
        std::string_view text, std::span<const int> descriptors, uint64_t deadline_us,
        int interrupt);

    Fd socket_;
    sockaddr_un address_{};
    socklen_t address_size_ = 0;
    Unsent unsent_;
    uint64_t retry_us_ = 0;
};

} // namespace riposte::systemd
