#include "daemon/acl/acl.h"

namespace riposte {

bool Acl::permits(const SourceKey& source) const noexcept {
    if (source == SourceKey{})
        return false;
    const int denied = deny_.longest_match(source);
    if (allow_.empty())
        return denied == CidrSet::none;
    return allow_.longest_match(source) > denied; // `none` is less than any length
}

std::shared_ptr<const Acl> make_acl(const AclConfig& config) {
    if (config.allow.empty() && config.deny.empty())
        return nullptr;
    return std::make_shared<const Acl>(config);
}

} // namespace riposte
