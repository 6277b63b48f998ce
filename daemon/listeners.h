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
#include "daemon/access.h"
#include "daemon/config.h"
#include "daemon/limits.h"
#include "daemon/metrics.h"
#include "daemon/reflection.h"
#include "daemon/systemd.h"

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace riposte {

/// One address that is answered on, and what all workers together did there since it was opened.
struct ListenerReport {
    ServiceKind kind;
    Transport transport;
    std::string address;      ///< "tcp://127.0.0.1:7001", with the port that the kernel gave
    uint64_t connections = 0; ///< open now
    uint64_t accepted = 0;
    uint64_t refused = 0;
    uint64_t received = 0; ///< datagrams
    uint64_t answered = 0;
    uint64_t received_bytes = 0;
    uint64_t sent_bytes = 0;
};

/// What one worker is lent: one socket, and how to answer on it.
struct WorkerListener {
    uint64_t id = 0; ///< of the socket; the same across reloads, never used again
    int fd = -1;     ///< lent, not owned; non-blocking, listening if it is a stream
    Transport transport = Transport::tcp;
    ServiceKind kind = ServiceKind::hello;
    std::shared_ptr<const Service> service{};
    std::shared_ptr<const Access> access{}; ///< null: everybody
    /// Of the address, by all workers; the same for the same id.
    std::shared_ptr<ListenerLoad> load = std::make_shared<ListenerLoad>();
    uint32_t connections_max = connections_most;
    /// Of the address, by this worker alone; the same for the same id.
    std::shared_ptr<ListenerCounts> counts = std::make_shared<ListenerCounts>();
    std::string label{}; ///< "hello on tcp://127.0.0.1:7001", with the port that the kernel gave
};

class Listeners {
public:
    /// Opens everything, or nothing. `workers` is at least 1. Inherited sockets win: if there are
    /// any, configured addresses are not bound. Of the first section of the same service the
    /// options and the lists still apply.
    static Result<Listeners> open(
        const Config& config, std::vector<systemd::InheritedSocket> inherited, uint32_t workers);

    Listeners(Listeners&&) noexcept;
    Listeners& operator=(Listeners&&) noexcept;
    ~Listeners();

    /// What worker `index` answers on now.
    std::vector<WorkerListener> plan(uint32_t index) const;

    /// Opens what is new in `config`, forgets (but does not close) what is gone, updates services.
    /// On error nothing has changed.
    Result<void> apply(const Config& config);

    /// Would apply() take an address away?
    bool loses_any(const Config& config) const;

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
