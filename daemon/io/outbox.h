// Events that a backend has and that were not delivered yet: those that were complete at once, and
// those that did not fit into the span of a turn.
#pragma once

#include "daemon/io/backend.h"
#include "daemon/io/fifo.h"

namespace riposte {

using Outbox = Fifo<Event>;

} // namespace riposte
