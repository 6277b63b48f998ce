// The sans-I/O contract of a service.
//
// A service gets the bytes that arrived and returns the reply. It has no socket, no thread and no
// clock of its own, and neither allocates nor throws while it replies; a test calls it as a
// function. One object serves every connection of its listener, from every worker, so its member
// functions are const; what a connection must remember is in its StreamState.
//
// The service always writes the reply *in place*, over the request:
//
//   datagrams   The reply lies in the request's own bytes, so it cannot be longer than the request:
//               the types rule amplification out. A service whose reply would be longer returns
//               `too_long`, and the datagram is dropped and counted. The exception is a source in
//               `longer_answers_to`, an address that cannot be forged: for its requests alone the
//               service gets a LongerReplyBuffer.
//   streams     The bytes that arrived lie at the front of a buffer; the reply is what the service
//               leaves at its front. Echo leaves them as they are, so nothing is copied.
#pragma once

#include "common/address.h"
#include "common/endpoint.h"
#include "common/stamp/timestamp.h"
#include "daemon/services/stamp_options.h"

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace riposte {

enum class ServiceKind : uint8_t { hello, echo, discard, daytime, chargen, time, stamp };

inline constexpr size_t service_kinds = static_cast<size_t>(ServiceKind::stamp) + 1;

std::string_view to_string(ServiceKind kind);
/// Does it speak TCP, too? All but stamp do.
bool speaks_tcp(ServiceKind kind);
std::optional<ServiceKind> parse_service(std::string_view name);
/// The names that parse_service() knows, to list in messages and to suggest the nearest one.
std::span<const std::string_view> service_names();

/// A service's part of the configuration.
struct ServiceOptions {
    std::string message = "Hello, i'm server!"; ///< hello over TCP; 1 to message_bytes_max bytes
    StampOptions stamp{};

    bool operator==(const ServiceOptions&) const = default;
};

inline constexpr size_t message_bytes_max = 1024;

/// What a service may know of the time of a call; passed to each.
struct ServiceContext {
    int64_t wall_seconds; ///< since 1970, UTC
};

/// What the kernel says of a datagram on a socket that measures (measure_datagrams()).
struct DatagramArrival {
    SocketAddress peer;
    SocketAddress local;       ///< to which it was sent, with the port of the socket
    uint64_t received_ns = 0;  ///< of CLOCK_REALTIME
    uint8_t ttl = 255;         ///< or hop limit; 255 if it is not known (RFC 5357, section 4.2)
    uint8_t traffic_class = 0; ///< DSCP and ECN
};

/// Reads CLOCK_REALTIME.
class WallClock {
public:
    virtual uint64_t now_ns() const noexcept = 0; ///< since 1970
    /// How far it may be from UTC, in NTP's format.
    virtual stamp::ErrorEstimate error_estimate() const noexcept = 0;

protected:
    ~WallClock() = default;
};

/// What a service remembers about one connection; zero when the connection opens.
struct StreamState {
    uint64_t cursor = 0;
};

/// Send the first `size` bytes of the buffer; if `finish`, they are the last ones.
struct StreamReply {
    uint32_t size = 0;
    bool finish = false;
};

/// The verdict is separate from the size, because an empty datagram is a valid reply.
struct DatagramReply {
    enum class Verdict : uint8_t {
        drop,     ///< the service does not reply to this request (discard)
        too_long, ///< the reply would be longer than the request: dropped and counted
        send      ///< the first `size` bytes
    } verdict = Verdict::drop;
    uint32_t size = 0;
};

/// A buffer for a reply that may be longer than its request. Only UdpResponder makes one, and only
/// for a source in `longer_answers_to`.
class LongerReplyBuffer {
public:
    explicit LongerReplyBuffer(std::span<std::byte> bytes) noexcept : bytes_(bytes) {}
    std::span<std::byte> bytes() const noexcept { return bytes_; }

private:
    std::span<std::byte> bytes_;
};

class StampReflector;

class Service {
public:
    virtual ~Service() = default;

    /// Does the service write before the client does (daytime, time, chargen)? Then writable() is
    /// called as soon as a connection opens, and again whenever a buffer is free, until it returns
    /// `finish`.
    virtual bool speaks_first() const noexcept { return false; }

    /// Does a connection end with the reply to its first message (hello)? Then it needs no worker
    /// before that message, and the kernel may hold it until then (accept_with_first_bytes()).
    virtual bool replies_once() const noexcept { return false; }

    /// May another process continue a connection in this state, knowing only the name of its
    /// service? That requires that no later reply depends on earlier bytes.
    virtual bool resumable(const StreamState& /*state*/) const noexcept { return false; }

    /// `size` bytes (at least 1) arrived at the front of `buffer`, whose whole length the reply may
    /// use. The default discards them.
    virtual StreamReply arrived(
        const ServiceContext& context, StreamState& state, std::span<std::byte> buffer,
        size_t size) const noexcept;

    /// The connection can take more: the service may fill `buffer`, which holds nothing. The
    /// default writes nothing.
    virtual StreamReply writable(
        const ServiceContext& context, StreamState& state,
        std::span<std::byte> buffer) const noexcept;

    /// The peer sent its FIN; the service may leave a last reply at the front of `buffer`. The
    /// connection is finished afterwards, whatever the reply's `finish` says.
    virtual StreamReply peer_finished(
        const ServiceContext& context, StreamState& state,
        std::span<std::byte> buffer) const noexcept;

    /// A request arrived, in `datagram` (possibly empty); the reply overwrites it.
    virtual DatagramReply datagram(
        const ServiceContext& context, std::span<std::byte> datagram) const noexcept = 0;

    /// The reflector of stamp, whose listeners have session tables: it is asked instead of
    /// datagram(), with what the kernel says of each datagram. Null in all other services.
    virtual const StampReflector* reflector() const noexcept { return nullptr; }

    /// Writes the whole reply to a request for which datagram() returned `too_long` to the front of
    /// `buffer`. Returns its size in bytes; 0 if the service has no such reply.
    virtual uint32_t longer_reply(
        const ServiceContext& context, const LongerReplyBuffer& buffer) const noexcept;
};

std::shared_ptr<const Service> make_service(ServiceKind kind, const ServiceOptions& options);

} // namespace riposte
