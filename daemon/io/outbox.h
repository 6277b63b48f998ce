// Events that a backend has not delivered yet: those of operations that completed at once, and
// those that did not fit into the span of a turn.
#pragma once

#include "daemon/io/backend.h"
#include "daemon/io/fifo.h"

namespace riposte {

using Outbox = Fifo<Event>;

} // namespace riposte
