// The section [metrics] of the configuration: where the daemon serves its metrics
// (scrape_answers.h).
#pragma once

#include "common/http/address.h"

#include <string>
#include <vector>

namespace riposte {

struct MetricsConfig {
    std::vector<HttpAddress> listen{}; ///< none: nowhere
    std::string origin{};              ///< "riposted.toml:12:1" of `listen`, for errors

    bool operator==(const MetricsConfig& other) const { return listen == other.listen; }
};

} // namespace riposte
