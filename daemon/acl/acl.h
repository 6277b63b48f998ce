// Who may use a listener: two lists of prefixes, of which the longest that holds a peer's address
// decides.
//
//     not in `deny`, `allow` empty     let in
//     in neither, `allow` not empty    refused
//     in both                          the longer prefix decides; of equal ones, `deny`
//
// So a network can be let in but for a part of it, and of that part again one address. The lists
// are asked once, when a connection or a datagram comes: a change ends no connection. Addresses are
// keys (source_key.h): IPv4 is the same on both kinds of socket, and a zone does not matter.
#pragma once

#include "daemon/acl/cidr.h"
#include "daemon/acl/source_key.h"

#include <memory>
#include <vector>

namespace riposte {

/// As it is written.
struct AclConfig {
    std::vector<Cidr> allow; ///< empty: everybody who is not denied
    std::vector<Cidr> deny;

    bool operator==(const AclConfig&) const = default;
};

class Acl {
public:
    explicit Acl(const AclConfig& config) : allow_(config.allow), deny_(config.deny) {}

    /// An address that the kernel could not tell (all zero) is nobody's, and refused.
    bool permits(const SourceKey& source) const noexcept;

private:
    CidrSet allow_;
    CidrSet deny_;
};

/// Null if there is nothing to ask: everybody is let in.
std::shared_ptr<const Acl> make_acl(const AclConfig& config);

} // namespace riposte
