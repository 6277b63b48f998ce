// Sessions of the service stamp that outlive a restart: a sealed memfd in the service manager's
// file descriptor store, under the name "stamp-sessions" (sd_notify(3), FDSTORE=1;
// memfd_create(2)).
//
// The memfd is created at the start, before the process is sealed, and written when the workers
// have stopped. The next process reads it before it opens its listeners. Bytes that are no image of
// its own version are ignored: the sessions begin anew.
#pragma once

#include "common/fd.h"
#include "common/reason.h"
#include "daemon/listen/listeners.h"
#include "daemon/listen/stamp_image.h"
#include "daemon/platform/systemd.h"

#include <optional>
#include <vector>

namespace riposte {

inline constexpr std::string_view stamp_store_name = "stamp-sessions";

struct InheritedSessions {
    bool found = false; ///< something has that name, and is to be removed from the store
    Fd fd{};            ///< that the image is read from
    std::optional<StampImageReader> image{};
    Reason problem{}; ///< why there is no image, if something was found
};

/// Takes the descriptors with that name out of `inherited`.
InheritedSessions take_stamp_sessions(std::vector<systemd::InheritedSocket>& inherited);

/// An empty memfd to be written later; none if the kernel has no memory for it.
Fd make_stamp_store();
/// Writes the sessions of the listeners, and seals the memfd. The errno; 0: it is written.
int write_stamp_store(const Fd& store, const Listeners& listeners);

} // namespace riposte
