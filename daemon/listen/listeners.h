// The sockets that the daemon answers on, and who owns them: this does, for their whole life.
//
// A socket is inherited from the service manager (by name and type) or bound here. Workers are lent
// plain descriptors; a socket that a reload removed is closed only when every worker has said that
// nothing of its own is in flight on it. An inherited one is never shut down: shutdown(2) on a
// shared listener stops it for everybody, the next process too.
//
// With N workers, an address that we bind gets N sockets with SO_REUSEPORT, one a worker; an
// inherited socket is shared by all. Identity across reloads is transport + address as written, not
// the service: a listener whose service or message changed keeps its socket.
#pragma once

#include "common/address.h"
#include "common/error.h"
#include "common/fd.h"
#include "daemon/acl/port_set.h"
#include "daemon/listen/listener_config.h"
#include "daemon/listen/listener_spec.h"
#include "daemon/platform/systemd.h"
#include "daemon/telemetry/listener_report.h"

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace riposte {

class Listeners {
public:
    /// Opens everything, or nothing. `workers` is at least 1. Inherited sockets win: if there are
    /// any, configured addresses are not bound. Of the first section of the same service the
    /// options and the lists still apply.
    static Result<Listeners> open(
        const std::vector<ListenerConfig>& sections,
        std::vector<systemd::InheritedSocket> inherited, uint32_t workers);

    Listeners(Listeners&&) noexcept;
    Listeners& operator=(Listeners&&) noexcept;
    ~Listeners();

    /// What worker `index` answers on now.
    std::vector<ListenerSpec> plan(uint32_t index) const;

    /// Opens what is new in `sections`, forgets (but does not close) what is gone, updates
    /// services. On error nothing has changed.
    Result<void> apply(const std::vector<ListenerConfig>& sections);

    /// Would apply() take an address away?
    bool loses_any(const std::vector<ListenerConfig>& sections) const;

    /// A line for each address that open() and apply() could not have and went on without, since
    /// the last call.
    std::vector<std::string> take_notes();

    /// From now on names are looked up in files alone (sandbox.h); errors say so.
    void expect_no_name_service() noexcept;

    /// Closes the sockets that apply() took out of the plan. Only when every
    /// worker has confirmed the plan without them.
    void close_removed();

    /// On which datagrams arrive now, with the ports that the kernel gave.
    PortSet datagram_ports() const;

    /// One label an address, for the log: "hello on tcp://127.0.0.1:7001".
    std::vector<std::string> labels() const;
    std::vector<ListenerReport> reports() const;
    bool inherited() const;

private:
    struct Impl;
    explicit Listeners(std::unique_ptr<Impl> impl);
    std::unique_ptr<Impl> impl_;
};

} // namespace riposte
