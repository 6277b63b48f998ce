// One address of the configuration, or one inherited socket, with the sockets that serve it.
//
// An entry has a BoundAddress for each socket address that it resolves to (a name may have
// several), and a BoundAddress has one WorkerSocket per worker, or a single one that all workers
// share if it was inherited. Listeners owns the entries; a reload gives them new settings.
#pragma once

#include "common/endpoint.h"
#include "common/fd.h"
#include "daemon/acl/acl.h"
#include "daemon/listen/listen_socket.h"
#include "daemon/listen/listener_config.h"
#include "daemon/listen/listener_load.h"
#include "daemon/listen/stamp_tables.h"
#include "daemon/services/service.h"
#include "daemon/telemetry/counters.h"

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace riposte {

struct WorkerSocket {
    uint64_t id = 0; ///< never reused, so that a worker can tell a kept socket from a new one that
                     ///< has the same descriptor
    Fd fd;
};

struct BoundAddress {
    ListenAddress address; ///< with the port that the kernel chose
    std::vector<WorkerSocket> sockets;
    std::vector<std::shared_ptr<ListenerCounts>> counts{}; ///< one per worker
};

struct ListenerEntry {
    std::string key;    ///< the canonical address as written; the identity across reloads
    std::string origin; ///< of the [[listen]] section, for errors
    Transport transport = Transport::tcp;
    ServiceKind kind = ServiceKind::hello;
    ServiceOptions options;
    std::shared_ptr<const Service> service;
    std::shared_ptr<const Acl> acl;
    std::shared_ptr<ListenerLoad> load = std::make_shared<ListenerLoad>();
    uint32_t connections_max = connections_most;
    std::vector<BoundAddress> bound;
    StampTables stamp{};
    std::shared_ptr<const CidrSet> twamp_light{}; ///< null: no peer
    bool leaving = false; ///< not in the configuration that is being applied
};

/// The part of an entry that its section determines. Making it may allocate, applying it cannot
/// fail.
struct EntrySettings {
    ServiceKind kind;
    ServiceOptions options;
    std::shared_ptr<const Service> service;
    std::shared_ptr<const Acl> acl;
    uint32_t connections_max;
    StampTables stamp{};
    std::shared_ptr<const CidrSet> twamp_light{}; ///< null: no peer
};

/// The settings that `section` gives to `entry`. If service and options are the same as before, it
/// keeps the entry's service object, which connections and workers use. `stamp`: for new session
/// tables; the entry keeps those that it has as long as their size is the same.
EntrySettings make_settings(
    const ListenerEntry& entry, const ListenerConfig& section, const StampTableRules& stamp);
void apply_settings(ListenerEntry& entry, EntrySettings settings) noexcept;

/// Sets on each socket of the entry what its service needs: whether the kernel holds a connection
/// until its first bytes (accept_with_first_bytes()), and whether it says when and how a datagram
/// arrived (measure_datagrams()). A reload may change the service in either direction.
void set_service_options(const ListenerEntry& entry);

/// The section for an inherited socket: the first one with its service, or the defaults.
ListenerConfig section_of(const std::vector<ListenerConfig>& sections, ServiceKind kind);

/// Does a section have the address with this key?
bool mentions(const std::vector<ListenerConfig>& sections, std::string_view key);

/// If one of `entries` holds `address`: the reason to refuse it, which names that entry.
std::optional<std::string> find_holder(
    std::span<const ListenerEntry> entries, const ListenAddress& address);

} // namespace riposte
