// The addresses of a host, within a time limit.
//
// getaddrinfo(3) follows nsswitch.conf (the hosts file, DNS, mDNS and so on) and has no deadline: a
// silent name server delays it by ten seconds and more. So it runs on another thread, which is
// abandoned when the time is over and ends with the process. Of many lookups 256 run at once, and
// the others as these end. A host that is written as an address needs neither thread nor time.
#pragma once

#include "client/net/patience.h"
#include "common/address.h"
#include "common/fd.h"

#include <expected>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace riposte::client {

class Lookup {
public:
    /// Starts the lookup; several may run at once. `bell`: an eventfd that is written to when it is
    /// done.
    Lookup(
        const Endpoint& endpoint, Transport transport, Family family,
        std::shared_ptr<const Fd> bell = nullptr);

    bool is_done() const;

    /// As resolve(). `limit` is how the message names the deadline: "5s; -W waits longer".
    /// Called once.
    std::expected<std::vector<SocketAddress>, std::string> wait(
        const Patience& patience, std::string_view limit);

private:
    struct Shared;
    class Threads;

    std::shared_ptr<Shared> shared_; ///< with a thread, whichever ends first
};

} // namespace riposte::client
