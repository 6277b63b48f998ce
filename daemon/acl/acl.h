// Which peers may use a listener. There are two lists of prefixes; the longest prefix that contains
// the peer's address decides:
//
//     not in `deny`, `allow` empty     permitted
//     in `deny`, not in `allow`        refused
//     in neither, `allow` not empty    refused
//     in both                          the longer prefix decides; if equally long, `deny`
//
// So the lists can permit a network, exclude a part of it, and permit one address of that part. The
// lists are checked once, when a connection or a datagram arrives: changing them ends no
// connection. Addresses are compared as keys (source_key.h): an IPv4 address is the same on both
// kinds of socket, and a zone is ignored.
#pragma once

#include "daemon/acl/cidr.h"
#include "daemon/acl/source_key.h"

#include <memory>
#include <vector>

namespace riposte {

/// The lists as the configuration has them.
struct AclConfig {
    std::vector<Cidr> allow; ///< empty: every address that is not in `deny`
    std::vector<Cidr> deny;

    bool operator==(const AclConfig&) const = default;
};

class Acl {
public:
    explicit Acl(const AclConfig& config) : allow_(config.allow), deny_(config.deny) {}

    /// An unknown address (all zero, when the kernel could not report it) is refused.
    bool permits(const SourceKey& source) const noexcept;

private:
    CidrSet allow_;
    CidrSet deny_;
};

/// Null if both lists are empty: every peer is permitted.
std::shared_ptr<const Acl> make_acl(const AclConfig& config);

} // namespace riposte
