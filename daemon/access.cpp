#include "daemon/access.h"

namespace riposte {

bool Access::permits(const SourceKey& source) const noexcept {
    if (source == SourceKey{})
        return false;
    const int denied = deny_.longest_match(source);
    if (allow_.empty())
        return denied == CidrSet::none;
    return allow_.longest_match(source) > denied; // `none` is less than any length
}

std::shared_ptr<const Access> make_access(const AccessConfig& config) {
    if (config.allow.empty() && config.deny.empty())
        return nullptr;
    return std::make_shared<const Access>(config);
}

} // namespace riposte
