// Opens the sockets of an entry: takes inherited ones over, resolves and binds configured
// addresses, and goes on without IPv6 where the host has none.
//
// Sockets are bound with SO_REUSEPORT only if there are several workers. Because the kernel would
// then also admit other processes of the same user, a probe without SO_REUSEPORT is bound first: a
// port that another process holds is refused with any number of workers.
#pragma once

#include "common/endpoint.h"
#include "common/error.h"
#include "common/reason.h"
#include "daemon/listen/listener_config.h"
#include "daemon/listen/listener_entry.h"
#include "daemon/platform/systemd.h"

#include <cstdint>
#include <expected>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace riposte {

class ListenerOpener {
public:
    /// The entries that the daemon has already, in groups: an error names the one that holds the
    /// address.
    using OwnEntries = std::span<const std::span<const ListenerEntry>>;

    /// Of `stamp`, the workers, at least 1, are those that get a socket each.
    explicit ListenerOpener(const StampTableRules& stamp) noexcept
        : workers_(stamp.workers), stamp_(stamp) {}

    /// An entry with the inherited socket, which all workers share. The error is Exit::config if
    /// the socket's name or type is not usable.
    Result<ListenerEntry> adopt(
        systemd::InheritedSocket socket, const std::vector<ListenerConfig>& sections);

    /// An entry with one socket per worker for each address of `endpoint`.
    Result<ListenerEntry> open(
        const Endpoint& endpoint, const ListenerConfig& section, OwnEntries own);

    /// Returns and clears the notes: the text is a line for each address that was left out.
    std::vector<Reason> take_notes();

    /// From now on names are looked up in files alone (sandbox.h), and errors mention it.
    void expect_no_name_service() noexcept { name_service_ = false; }

private:
    std::vector<std::shared_ptr<ListenerCounts>> new_counts() const;
    std::expected<BoundAddress, int> bind(ListenAddress address);
    Result<void> bind_all(
        ListenerEntry& entry, const Endpoint& endpoint, const std::vector<SocketAddress>& addresses,
        OwnEntries own);
    void add_note(const ListenerEntry& entry, Reason note);

    uint32_t workers_;
    StampTableRules stamp_;
    bool name_service_ = true; ///< the resolver may query one
    uint64_t next_id_ = 1;
    std::vector<Reason> notes_;
};

} // namespace riposte
