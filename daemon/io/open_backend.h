// Opens the configured backend. For `automatic` that is io_uring if the kernel permits it and its
// self-test passes, and epoll otherwise; the result has the reason.
#pragma once

#include "common/error.h"
#include "common/reason.h"
#include "daemon/io/backend.h"
#include "daemon/io/backend_choice.h"

#include <cstdint>
#include <memory>

namespace riposte {

struct OpenedBackend {
    std::unique_ptr<Backend> backend;
    BackendChoice kind = BackendChoice::epoll; ///< never `automatic`
    Reason fallback_reason;                    ///< why `automatic` did not get io_uring; or empty
    Reason lacking; ///< features that this kernel's io_uring lacks, with a substitute in use
    uint32_t ring_operations = 0; ///< how many kinds of operations the ring permits; 0: all, or
                                  ///< there is no ring
    Reason ring_unlimited;        ///< why the ring permits all operations; empty if it does not
};

/// Call it on the thread that will use the backend (an io_uring ring belongs to one). The error is
/// Exit::unavailable if the configuration demands io_uring and it is not available; the message
/// says why and what to do.
Result<OpenedBackend> open_backend(BackendChoice choice, Pools pools);

} // namespace riposte
