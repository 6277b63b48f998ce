// Which datagrams are answered at all. Anybody can forge a source address, and a service that
// answers whatever arrives becomes a weapon against whom the forger names, or the half of an
// endless loop: two echo ports need one datagram to talk to each other for ever.
//
// Not answered is, whatever the service:
//
//   source port     0 (RFC 768: no answer is wanted); below 1024, and 2049 (NFS): there are
//                   services, not clients. The rule is inetd's (OpenBSD, dg_badinput()). It can be
//                   excepted by prefix (`port_exempt`).
//   our own ports   a source port on which this daemon serves datagrams, whatever the address:
//                   another host may run the same services on the same ports, and our own address
//                   can be forged, too. Without exception, for there the loops are.
//   source address  none that a single other host has: 0.0.0.0/8, 255.0.0.0/8, multicast, ::, and
//                   in IPv6 packets those that look like IPv4 (v4-mapped, v4-compatible). A
//                   subnet's broadcast address can not be told from a host's by looking at it; the
//                   kernel knows those of our own interfaces and refuses to send there.
//   destination     a broadcast or multicast address: one datagram would be answered by all who
//                   hear it.
//   malformed       what the kernel could not hand over whole, or from no internet address. The
//                   services themselves know no malformed question: echo, hello, discard and
//                   chargen take any bytes, daytime and time do not look at them. Wrong checksums
//                   and lengths end in the kernel.
//
// A loop between two such daemons dies with its first datagram if both serve the same ports, or
// ports below 1024. Between one that serves port 7001 and another that serves only 8001 it does
// not: neither can know; there the rate of a prefix bounds it (response_rate_limit.h).
//
// Pure decisions, and no state but the configuration.
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
    /// `served`: every port that this daemon receives datagrams on; none if null.
    SourceFilter(std::shared_ptr<const PortSet> served, const std::vector<Cidr>& port_exempt);
    SourceFilter(std::shared_ptr<const PortSet> served, CidrSet port_exempt) noexcept;

    /// Why it is not answered; nothing: it may be. `source` is who asked, as far as that is known.
    std::optional<DropReason> refuses(
        const DatagramInfo& arrival, SourceKey& source) const noexcept;

private:
    std::optional<DropReason> refuses_port(uint16_t port, const SourceKey& source) const noexcept;

    std::shared_ptr<const PortSet> served_;
    CidrSet port_exempt_;
};

} // namespace riposte
