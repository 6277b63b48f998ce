// The daemon's metrics as text, in the two formats of common/exposition.h.
//
// Families come in one order, each once, with HELP and TYPE; a service is shown if it has a
// listener or has counted something, so that a series stays until the process ends, as a counter
// must. No label holds an address.
#pragma once

#include "common/exposition.h"
#include "daemon/telemetry/snapshot.h"

#include <string>

namespace riposte {

std::string exposition(const Snapshot& snapshot, ExpositionFormat format);

} // namespace riposte
