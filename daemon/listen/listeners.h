// Owns the sockets that the daemon serves on, for their whole life.
//
// A socket is inherited from the service manager (by name and type) or bound here. Workers borrow
// plain descriptors; a socket that a reload removed is closed only when every worker has confirmed
// that it has nothing in flight on it. An inherited one is never shut down: shutdown(2) on a shared
// listener stops it for every process that has it, the next riposted included.
//
// With N workers, an address that we bind gets N sockets with SO_REUSEPORT, one per worker; all
// workers share an inherited socket. The identity across reloads is the transport and the address
// as written, not the service: a listener whose service or message changed keeps its socket.
#pragma once

#include "common/address.h"
#include "common/error.h"
#include "common/fd.h"
#include "common/reason.h"
#include "daemon/acl/port_set.h"
#include "daemon/listen/listener_config.h"
#include "daemon/listen/listener_spec.h"
#include "daemon/listen/stamp_image.h"
#include "daemon/platform/systemd.h"
#include "daemon/telemetry/listener_report.h"

#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace riposte {

class Listeners {
public:
    /// Opens all sockets, or none. `workers` is at least 1. If there are inherited sockets, the
    /// configured addresses are not bound; an inherited socket still gets the options and the lists
    /// of the first section with its service.
    /// `stamp_secret`: for the tables of stamp; that of the previous process if its sessions are to
    /// be adopted.
    static Result<Listeners> open(
        const std::vector<ListenerConfig>& sections,
        std::vector<systemd::InheritedSocket> inherited, uint32_t workers,
        const HashSecret& stamp_secret = random_secret());

    Listeners(Listeners&&) noexcept;
    Listeners& operator=(Listeners&&) noexcept;
    ~Listeners();

    /// The sockets of worker `index`.
    std::vector<ListenerSpec> plan(uint32_t index) const;

    /// Opens new addresses of `sections`, removes (but does not close) missing ones, updates
    /// services. On error nothing has changed.
    Result<void> apply(const std::vector<ListenerConfig>& sections);

    /// Would apply() remove an address?
    bool loses_any(const std::vector<ListenerConfig>& sections) const;

    /// Returns and clears the notes: the text is a line for each address that open() or apply()
    /// could not bind and left out.
    std::vector<Reason> take_notes();

    /// From now on names are looked up in files alone (sandbox.h), and errors mention it.
    void expect_no_name_service() noexcept;

    /// Closes the sockets that apply() removed. Call it only when every worker has confirmed the
    /// plan without them.
    void close_removed();

    /// The ports on which datagrams arrive now, including those that the kernel chose.
    PortSet datagram_ports() const;

    /// Gives the sessions to the listeners that still have their addresses, before any worker runs.
    /// Returns how many found a place.
    size_t adopt_sessions(StampImageReader& image);
    /// The sessions of all workers, when none runs any more.
    size_t session_count() const;
    /// While workers run: the sessions that are in use at this time of the monotonic clock (see
    /// StampSessionCount), and the places for them.
    std::pair<uint64_t, uint64_t> sessions_in_use(uint64_t now_ms) const;
    /// Writes them as an image. The errno; 0: it is complete.
    int write_sessions(int fd) const;

    /// One label per address, for the log: "hello on tcp://127.0.0.1:7001".
    std::vector<std::string> labels() const;
    std::vector<ListenerReport> reports() const;
    bool inherited() const;

private:
    struct Impl;
    explicit Listeners(std::unique_ptr<Impl> impl);
    std::unique_ptr<Impl> impl_;
};

} // namespace riposte
