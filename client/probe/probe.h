// `riposte probe`: a prober of a fleet.
#pragma once

#include "client/options/options.h"
#include "common/error.h"

namespace riposte::client {

Result<Exit> probe(const CommonOptions& common, const ProbeOptions& options);

} // namespace riposte::client
