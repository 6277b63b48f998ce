// The status as a JSON document, for `riposte status` and for scripts: schema riposte/status/1,
// described in packaging/schema/riposte-status-1.schema.json. Times are in seconds.
#pragma once

#include "daemon/telemetry/snapshot.h"

#include <cstddef>
#include <string>

namespace riposte {

/// At most this many listeners are listed; the document has the number of the others.
inline constexpr size_t status_listeners_max = 64;

/// One line, with a newline at its end. Bytes that are not UTF-8 (of a file's name, in an error)
/// become U+FFFD.
std::string status_document(const Snapshot& snapshot);

} // namespace riposte
