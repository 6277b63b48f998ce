// The names of a run, looked up again and again while it goes on (--resolve-every). Nothing waits:
// lookups run on other threads (lookup.h), and an event of the loop says that one is done.
//
// A lookup that takes longer than the interval is not begun a second time.
#pragma once

#include "client/net/connect.h"
#include "client/net/event_loop.h"
#include "client/options/options.h"
#include "common/error.h"
#include "common/fd.h"

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

namespace riposte::client {

class NameRefresh {
public:
    /// `options.resolve_every_ms` is set; both outlive this. An endpoint that is written as an
    /// address is left out.
    NameRefresh(const CommonOptions& common, const PingOptions& options);

    /// The loop's events have that tag from now on; the first lookups are due an interval later.
    Result<void> begin(EventLoop& loop, uint64_t tag, uint64_t now_ns);

    struct Answer {
        size_t endpoint; ///< its number in the options
        Result<Target> target;
    };
    /// After an event, or at next_ns(): begins the lookups that are due; those that are done.
    std::vector<Answer> turn(uint64_t now_ns);
    /// UINT64_MAX: there is no name.
    uint64_t next_ns() const { return next_ns_; }

private:
    struct Name {
        size_t endpoint;
        std::unique_ptr<TargetLookup> lookup; ///< none: it is not under way
    };

    const CommonOptions& common_;
    const PingOptions& options_;
    std::shared_ptr<const Fd> bell_;
    std::vector<Name> names_;
    uint64_t next_ns_ = UINT64_MAX;
};

} // namespace riposte::client
