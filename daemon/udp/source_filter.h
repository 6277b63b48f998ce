// Decides which datagrams may get a reply at all. A source address is easily forged, and a service
// that replies to everything becomes a weapon against the forged address (reflection), or half of
// an endless loop: a single datagram makes two echo ports send to each other forever.
//
// riposted does not reply to a datagram with one of these:
//
//   source port     0 (RFC 768: no reply is wanted); below 1024, and 2049 (NFS), where services
//                   are, not clients. The rule is inetd's (OpenBSD, dg_badinput()). `port_exempt`
//                   excepts prefixes from it.
//   our own ports   A source port on which this daemon serves datagrams, whatever the address:
//                   another host may run the same services on the same ports, and our own address
//                   can be forged, too. There are no exceptions, because such ports make loops.
//                   Neither rule holds for stamp, whose peers use the port of the service itself:
//                   it recognizes replies, and replies to none of them (stamp_reflector.h).
//   source address  One that a single other host cannot have: 0.0.0.0/8, 255.0.0.0/8, multicast,
//                   ::, and in IPv6 packets those that look like IPv4 (v4-mapped, v4-compatible).
//                   A subnet's broadcast address looks like a host's; the kernel knows those of
//                   our own interfaces and refuses to send there.
//   destination     A broadcast or multicast address: every host that receives the datagram would
//                   reply.
//   malformed       Truncated by the kernel, or from an address that is neither IPv4 nor IPv6. The
//                   services themselves know no malformed request: echo, hello, discard and
//                   chargen accept any bytes, daytime and time ignore them. The kernel drops
//                   datagrams with wrong checksums or lengths.
//
// A loop between two such daemons ends with its first datagram if both serve the same ports, or
// ports below 1024. It does not end between one that serves port 7001 and another that serves only
// 8001, because neither can know; there the rate of a prefix bounds it (response_rate_limit.h).
//
// The decisions are pure; the only state is the configuration.
#pragma once

#include "daemon/acl/cidr.h"
#include "daemon/acl/port_set.h"
#include "daemon/acl/source_key.h"
#include "daemon/io/buffer_pool.h"
#include "daemon/udp/drop_reason.h"

#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

namespace riposte {

class SourceFilter {
public:
    SourceFilter() = default;
    /// `served`: every port on which this daemon receives datagrams; null: none.
    SourceFilter(std::shared_ptr<const PortSet> served, const std::vector<Cidr>& port_exempt);
    SourceFilter(std::shared_ptr<const PortSet> served, CidrSet port_exempt) noexcept;

    /// Why a datagram must not get a reply; nothing if it may. Sets `source` to the peer's key, or
    /// to zero if the address is neither IPv4 nor IPv6.
    /// `knows_answers`: the service never replies to a reply (stamp), so it cannot be half of a
    /// loop, and its peers may use any port but 0.
    std::optional<DropReason> check(
        const DatagramInfo& info, bool knows_answers, SourceKey& source) const noexcept;

private:
    std::optional<DropReason> check_port(
        uint16_t port, bool knows_answers, const SourceKey& source) const noexcept;

    std::shared_ptr<const PortSet> served_;
    CidrSet port_exempt_;
};

} // namespace riposte
