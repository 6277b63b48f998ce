// The addresses of targets that are written as names: looked up when they come, and again after
// `resolve_every`, spread over it; while a name has no address yet, after 1 s, 2 s, 4 s, and so on,
// if that is sooner. Nothing waits: lookups run on other threads (lookup.h), and the
// descriptor of the bell says that some are done. A lookup that fails keeps the address that is
// known, and no other target notices. An address is kept as long as the name has it.
#pragma once

#include "client/net/lookup.h"
#include "client/probe/fleet.h"
#include "common/error.h"
#include "common/fd.h"

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

namespace riposte::client {

class TargetNames {
public:
    /// Exit::usage if there is no descriptor for the bell.
    static Result<TargetNames> open();

    void set_every(uint64_t every_ns) { every_ns_ = every_ns; }
    int fd() const { return bell_->get(); }
    /// The fleet's targets have changed: those without an address get one, at once where it is
    /// written as one.
    void add_new(Fleet& fleet, uint64_t now_ns);
    /// After fd() was readable, or at next_ns().
    void turn(Fleet& fleet, uint64_t now_ns);
    uint64_t next_ns() const { return next_ns_; }

private:
    struct Name {
        std::unique_ptr<Lookup> lookup; ///< none: it is not under way
        uint64_t next_ns = 0;
        unsigned failures = 0; ///< in a row, while there is no address
    };

    void begin(const Fleet& fleet, Fleet::Slot slot, Name& name);
    void take_lookup(Fleet& fleet, Fleet::Slot slot, Name& name, uint64_t now_ns);
    static void take(Fleet& fleet, Fleet::Slot slot, Lookup& lookup);

    std::shared_ptr<const Fd> bell_;
    std::map<Fleet::Slot, Name> names_;
    uint64_t every_ns_ = 60'000'000'000;
    uint64_t next_ns_ = UINT64_MAX;
};

} // namespace riposte::client
