// Why a probe, a request or a connection got no answer, as precisely as the network or the kernel
// reported it, and how often each cause occurred. Plain data: no I/O.
//
// ICMP errors keep their type and code (RFC 792, RFC 1812 section 5.2.7.1, RFC 4443) and the
// address that sent them, which is the peer's own or that of a router or firewall on the way.
#pragma once

#include "common/address.h"

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace riposte::client {

enum class CauseKind : uint8_t {
    no_answer,     ///< nothing came in time; over TCP: although the connection was made
    no_connection, ///< TCP: connecting was neither accepted nor refused in time
    refused,       ///< TCP: the peer answered connecting with a reset
    closed,        ///< TCP: the peer ended the stream
    reset,         ///< TCP: the connection was reset after it was made
    icmp,          ///< with `type`, `code` and the sender, `from`
    icmpv6,
    local,      ///< this machine, before a packet left: see `error`
    no_address, ///< the name has none
};

struct Cause {
    CauseKind kind = CauseKind::no_answer;
    uint8_t type = 0;        ///< of ICMP
    uint8_t code = 0;        ///< of ICMP
    bool own = false;        ///< this machine sent the ICMP message to itself
    int error = 0;           ///< the errno that the kernel made of it; 0: none
    uint32_t mtu = 0;        ///< with EMSGSIZE, in bytes, if it was reported
    SocketAddress from = {}; ///< the sender; its port means nothing; size 0: not known
};

/// "host unreachable (ICMP from 192.0.2.1)", "refused by 192.0.2.7", "no route on this machine".
std::string describe(const Cause& cause);
/// "too big: the path MTU is 1400 (ICMP from 192.0.2.1)", "too big: the MTU of this machine's link
/// is 1400".
std::string describe_too_big(const Cause& cause);
/// "icmp": the key of the JSON documents.
std::string_view to_key(CauseKind kind);
/// "192.0.2.1" or "2001:db8::1"; empty if it is not known.
std::string host_text(const SocketAddress& address);

/// ICMP: administratively prohibited, in one of its forms.
bool is_prohibited(const Cause& cause);

/// How often each cause occurred. Bounded: of all that differ in kind, type, code, sender, or errno
/// of this machine, the first few have a count of their own.
class CauseTally {
public:
    static constexpr size_t entries_max = 8;

    struct Entry {
        Cause cause; ///< the latest of its like
        uint64_t count = 0;
    };

    void note(const Cause& cause, uint64_t count = 1);

    std::span<const Entry> entries() const { return entries_; }
    uint64_t others() const { return others_; } ///< beside those of the entries
    uint64_t count(CauseKind kind) const;       ///< among the entries
    bool empty() const { return entries_.empty(); }

    /// With those of the `lost` that are not `no_connection` counted as `no_answer`, and sorted by
    /// frequency.
    CauseTally with_lost(uint64_t lost) const;

private:
    std::vector<Entry> entries_;
    uint64_t others_ = 0;
};

} // namespace riposte::client
