// Notifies the service manager over the socket that NOTIFY_SOCKET names, with the protocol of
// sd_notify(3): one datagram a message. sd_notify(3) itself blocks while the manager does not read;
// notifications here never block. Messages that the socket does not take at once are kept, merged
// with later ones, and sent again at retry_us(): a manager that was busy gets the current state,
// not the history.
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

/// The messages that have not been sent yet, in order, without those that later ones supersede.
/// Pure.
class Unsent {
public:
    enum class Kind : uint8_t {
        ready,     ///< with a status
        reloading, ///< supersedes the messages of an earlier reload
        stopping,  ///< supersedes all messages of a reload
        status,
        watchdog, ///< not kept: a late one would be of no use
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

/// For one thread. Without a NOTIFY_SOCKET, or built without libsystemd, each call does nothing.
class Notifier {
public:
    /// Opens its own socket, as the environment says at this time.
    Notifier();

    bool is_present() const noexcept { return static_cast<bool>(socket_); }

    void tell_ready(std::string_view status);
    void tell_status(std::string_view status);
    void tell_reloading(); ///< RELOADING=1 with MONOTONIC_USEC, as Type=notify-reload needs
    /// Announces the time that the stop may take (EXTEND_TIMEOUT_USEC), whatever TimeoutStopSec=
    /// is.
    void tell_stopping(std::string_view status, uint64_t extend_us);
    void tell_watchdog();
    void remove_stored(std::string_view name); ///< all with this name in the file descriptor store

    /// When to call retry(), by CLOCK_MONOTONIC; empty if everything was sent.
    std::optional<uint64_t> retry_us() const noexcept;
    void retry();

    // For the start and the end, when no peer is served: these block, for at most `timeout_us`, or
    // until `interrupt` (a descriptor, or -1) is readable. They return 0 or an errno: ETIMEDOUT,
    // EINTR.

    /// Stores up to descriptors_per_message (systemd.h) under one name of printable ASCII without a
    /// colon. A full store is not an error here: the manager does not report it.
    int store(
        std::string_view name, std::span<const int> descriptors, uint64_t timeout_us,
        int interrupt);
    /// Waits until the manager has processed all earlier messages (sd_notify_barrier(3)).
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
