// Chooses the backend: probe, self-test, fall back, say why.
#pragma once

#include "common/error.h"
#include "daemon/io/backend.h"
#include "daemon/io/backend_choice.h"

#include <cstdint>
#include <memory>
#include <string>

namespace riposte {

struct OpenedBackend {
    std::unique_ptr<Backend> backend;
    BackendChoice kind = BackendChoice::epoll; ///< never `automatic`
    std::string fallback_reason;               ///< why not io_uring, if `automatic` wanted it
    std::string lacking; ///< what this kernel's io_uring lacks and is done the next best way
    uint32_t ring_operations = 0; ///< what its ring is limited to; 0: not limited, or no ring
    std::string ring_unlimited; ///< why the kernel would not limit the ring; "" if it has, or none
};

/// On the thread that will use it (io_uring rings belong to one). Exit::unavailable if io_uring was
/// demanded and can not be had; the message says why and what to do.
Result<OpenedBackend> open_backend(BackendChoice choice, Pools pools);

} // namespace riposte
