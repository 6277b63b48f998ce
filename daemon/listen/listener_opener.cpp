#include "daemon/listen/listener_opener.h"

#include "common/text.h"

#include <algorithm>
#include <cerrno>
#include <optional>
#include <utility>

#include <fmt/format.h>

namespace riposte {
namespace {

/// Why `address` of `entry` could not be bound: a conflict with an entry of our own, or the reason
/// of the system.
Error open_error(
    int error, const ListenAddress& address, const ListenerEntry& entry,
    ListenerOpener::OwnEntries own) {
    const std::string text = to_string(address);
    const std::string where =
        text == entry.key
            ? fmt::format("{}: {}", entry.origin, entry.key)
            : fmt::format("{}: {} ({})", entry.origin, entry.key, to_string(address.address));
    if (error == EADDRINUSE) {
        auto holder = find_holder(std::span(&entry, 1), address);
        for (size_t i = 0; i < own.size() && !holder; ++i)
            holder = find_holder(own[i], address);
        if (holder)
            return {Exit::config, fmt::format("{}: {}", where, *holder)};
    }
    Error reason = bind_error(error, address);
    reason.message = fmt::format("{}: {}", where, reason.message);
    return reason;
}

} // namespace

std::vector<std::shared_ptr<ListenerCounts>> ListenerOpener::new_counts() const {
    std::vector<std::shared_ptr<ListenerCounts>> counts(workers_);
    std::ranges::generate(counts, [] { return std::make_shared<ListenerCounts>(); });
    return counts;
}

Result<ListenerEntry> ListenerOpener::adopt(
    systemd::InheritedSocket socket, const std::vector<ListenerConfig>& sections) {
    const auto kind = inherited_service(socket.fd.get(), socket.name);
    if (!kind)
        return std::unexpected(kind.error());
    const auto address = prepare_inherited(socket.fd.get(), socket.name);
    if (!address)
        return std::unexpected(address.error());
    if (address->transport == Transport::tcp && !speaks_tcp(*kind))
        return fail(
            Exit::config,
            fmt::format(
                "inherited socket {} '{}': {} is for UDP; write ListenDatagram= in its unit",
                socket.fd.get(), escape(socket.name), to_string(*kind)));

    ListenerEntry entry;
    entry.key = to_string(*address);
    entry.transport = address->transport;
    apply_settings(
        entry, make_settings(entry, section_of(sections, *kind), stamp_.of_one_worker()));
    BoundAddress& bound = entry.bound.emplace_back(BoundAddress{*address, {}, {}});
    bound.sockets.push_back({next_id_++, std::move(socket.fd)});
    bound.counts = new_counts();
    return entry;
}

/// Binds one socket per worker; the error is an errno.
std::expected<BoundAddress, int> ListenerOpener::bind(ListenAddress address) {
    if (workers_ > 1) {
        // For port 0 the probe also chooses the port: with SO_REUSEPORT set, the kernel may choose
        // one that another UDP socket of this user has.
        const auto probe = bind_socket(address, false);
        if (!probe)
            return std::unexpected(probe.error());
        address.address = local_address(probe->get());
    }
    BoundAddress bound;
    for (uint32_t i = 0; i < workers_; ++i) {
        auto fd = bind_socket(address, workers_ > 1);
        if (!fd)
            return std::unexpected(fd.error());
        address.address = local_address(fd->get());
        bound.sockets.push_back({next_id_++, std::move(*fd)});
    }
    bound.address = address;
    bound.counts = new_counts();
    return bound;
}

Result<ListenerEntry> ListenerOpener::open(
    const Endpoint& endpoint, const ListenerConfig& section, OwnEntries own) {
    ListenerEntry entry;
    entry.key = to_string(endpoint);
    entry.origin = section.origin;
    entry.transport = endpoint.transport.value_or(Transport::tcp); // set in a validated Config
    apply_settings(entry, make_settings(entry, section, stamp_));
    auto addresses = resolve(endpoint, entry.transport, Family::any, true);
    if (!addresses) {
        const bool is_name = !endpoint.host.contains(':'); // IPv4 literals always resolve
        return fail(
            Exit::config,
            fmt::format(
                "{}: {}: {}{}", entry.origin, entry.key, addresses.error(),
                is_name && !name_service_
                    ? "; a running riposted does not query name services: write the address, or "
                      "restart"
                    : ""));
    }
    if (auto bound = bind_all(entry, endpoint, *addresses, own); !bound)
        return std::unexpected(bound.error());
    return entry;
}

/// Binds every address of the entry. Without IPv6, `*` becomes 0.0.0.0, and a name's IPv6 addresses
/// are left out, each with a note; an IPv6 literal is an error.
Result<void> ListenerOpener::bind_all(
    ListenerEntry& entry, const Endpoint& endpoint, const std::vector<SocketAddress>& addresses,
    OwnEntries own) {
    const bool is_wildcard = endpoint.host == "*";
    const bool is_name = !is_wildcard && !endpoint.host.contains(':');
    std::optional<Error> left_out;
    uint16_t port = endpoint.port;
    for (const SocketAddress& resolved : addresses) {
        ListenAddress address{entry.transport, with_port(resolved, port), is_wildcard};
        auto bound = bind(address);
        if (!bound && is_wildcard && lacks_ipv6(bound.error(), resolved)) {
            add_note(entry, ipv6_missing(bound.error(), "IPv4 alone is served"));
            address = {entry.transport, any_ipv4(port), false};
            bound = bind(address);
        }
        if (!bound && bound.error() == EADDRINUSE && endpoint.port == 0 && port != 0) {
            // The port of the name's first address is in use on this one, so it gets its own.
            address.address = with_port(resolved, 0);
            bound = bind(address);
        }
        if (!bound && is_name && lacks_ipv6(bound.error(), resolved)) {
            add_note(
                entry,
                ipv6_missing(bound.error(), fmt::format("{} is left out", to_string(resolved))));
            left_out = open_error(bound.error(), address, entry, own);
            continue;
        }
        if (!bound)
            return std::unexpected(open_error(bound.error(), address, entry, own));
        port = bound->address.address.port();
        entry.bound.push_back(std::move(*bound));
    }
    if (entry.bound.empty() && left_out)
        return std::unexpected(*std::move(left_out));
    return {};
}

void ListenerOpener::add_note(const ListenerEntry& entry, Reason note) {
    note.text = fmt::format("{}: {}: {}", entry.origin, entry.key, note.text);
    notes_.push_back(std::move(note));
}

std::vector<Reason> ListenerOpener::take_notes() {
    return std::exchange(notes_, {});
}

} // namespace riposte
