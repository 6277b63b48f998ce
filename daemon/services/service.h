// The sans-I/O contract of a service.
//
// A service is told what arrived and says what to answer. It knows no socket, no thread and no
// clock of its own, allocates nothing and throws nothing while it answers; a test calls it as a
// function. One object serves every connection of its listener, from every worker, so its calls
// are const; what a connection needs to remember is in its StreamState.
//
// The answer is always written *in place*, over what arrived:
//
//   datagrams   the reply lies in the request's own bytes, so it can not be longer than the
//               request. There is no amplification, by type. A service whose answer would be longer
//               says so, and the datagram is dropped and counted; unless who asks can not be
//               forged (`longer_answers_to`): then it is given a LongerRoom, which nobody else has.
//   streams     the bytes that arrived lie at the front of a buffer; the answer is what the service
//               leaves at its front. Echo leaves them as they are and nothing is copied.
#pragma once

#include "common/endpoint.h"

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace riposte {

enum class ServiceKind : uint8_t { hello, echo, discard, daytime, chargen, time };

inline constexpr size_t service_kinds = static_cast<size_t>(ServiceKind::time) + 1;

std::string_view to_string(ServiceKind kind);
std::optional<ServiceKind> parse_service(std::string_view name);
/// The names that parse_service() knows, for messages and for the nearest known one.
std::span<const std::string_view> service_names();

/// What configuration can tell a service.
struct ServiceOptions {
    std::string message = "Hello, i'm server!"; ///< hello over TCP; 1 to message_bytes_max bytes

    bool operator==(const ServiceOptions&) const = default;
};

inline constexpr size_t message_bytes_max = 1024;

/// Comes in with each call.
struct ServiceContext {
    int64_t wall_seconds; ///< since 1970, UTC
};

/// A connection's memory of its service; zero when it opens.
struct StreamState {
    uint64_t cursor = 0;
};

/// `size` bytes at the front of the buffer are to be sent; with `finish`, they are the last ones.
struct StreamReply {
    uint32_t size = 0;
    bool finish = false;
};

/// A size of zero is no verdict: an empty datagram is a real one.
struct DatagramReply {
    enum class Verdict : uint8_t {
        drop,     ///< the service answers nothing to this one (discard)
        too_long, ///< the answer would be longer than the question: dropped and counted
        send
    } verdict = Verdict::drop;
    uint32_t size = 0;
};

/// Where an answer may be longer than its question; only Datagrams makes one, for a source to which
/// that is permitted.
class LongerRoom {
public:
    explicit LongerRoom(std::span<std::byte> bytes) noexcept : bytes_(bytes) {}
    std::span<std::byte> bytes() const noexcept { return bytes_; }

private:
    std::span<std::byte> bytes_;
};

class Service {
public:
    virtual ~Service() = default;

    /// Does it write without being asked (daytime, time, chargen)? Then writable() is called as
    /// soon as a connection opens, and again whenever there is room, until it says finish.
    virtual bool speaks_first() const noexcept { return false; }

    /// Is a connection over with the answer to its first message (hello)? Then it is of no use to
    /// anybody before that message, and the kernel may keep it until then.
    virtual bool answers_once() const noexcept { return false; }

    /// May another process go on with a connection in this state, knowing of it only the name of
    /// its service? So at least: nothing that was said depends on what was said before.
    virtual bool resumable(const StreamState& /*state*/) const noexcept { return false; }

    /// `size` bytes (at least 1) arrived at the front of `buffer`, whose whole length may be used.
    /// Unless a service says otherwise they are thrown away.
    virtual StreamReply arrived(
        const ServiceContext& context, StreamState& state, std::span<std::byte> buffer,
        size_t size) const noexcept;

    /// There is room: `buffer` is empty and may be filled.
    virtual StreamReply writable(
        const ServiceContext& context, StreamState& state,
        std::span<std::byte> buffer) const noexcept;

    /// The peer sent its FIN; what it still gets is at the front of `buffer`. The connection is
    /// finished afterwards, whatever the reply's `finish` says.
    virtual StreamReply peer_finished(
        const ServiceContext& context, StreamState& state,
        std::span<std::byte> buffer) const noexcept;

    virtual DatagramReply datagram(
        const ServiceContext& context, std::span<std::byte> datagram) const noexcept = 0;

    /// The whole answer to a datagram to which datagram() said too_long, at the front of `room`:
    /// how many bytes it has, and 0 if it has no such answer either.
    virtual uint32_t longer_answer(
        const ServiceContext& context, const LongerRoom& room) const noexcept;
};

std::shared_ptr<const Service> make_service(ServiceKind kind, const ServiceOptions& options);

} // namespace riposte
