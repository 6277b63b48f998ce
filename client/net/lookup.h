// The addresses of a host, within a time limit.
//
// getaddrinfo(3) goes by nsswitch.conf (the hosts file, DNS, mDNS and whatever else the system
// has), and knows no deadline: a name server that is silent holds it up for ten seconds and more.
// So it runs on a thread of its own, which is left behind when the time is over, and ends with the
// process. A host that is written as an address needs neither thread nor time.
#pragma once

#include "client/net/patience.h"
#include "common/address.h"

#include <expected>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace riposte::client {

class Lookup {
public:
    /// The lookup has begun; several go on at once.
    Lookup(const Endpoint& endpoint, Transport transport, Family family);

    /// As resolve(). `limit` is how the deadline is told if it passes: "5s; -W waits longer".
    /// Called once.
    std::expected<std::vector<SocketAddress>, std::string> wait(
        const Patience& patience, std::string_view limit);

private:
    struct Shared;

    std::shared_ptr<Shared> shared_; ///< with the thread, whichever ends first
};

} // namespace riposte::client
