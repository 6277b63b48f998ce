// The thread shares nothing with us but `Shared`, and takes no signals: those of the terminal are
// for the thread that waits. It says by an eventfd that it is done, so that waiting is poll(2) and
// an interrupt can end it.
#include "client/net/lookup.h"

#include "client/net/signals_blocked.h"
#include "common/text.h"

#include <cerrno>
#include <mutex>
#include <system_error>
#include <thread>
#include <utility>

#include <fmt/format.h>
#include <sys/eventfd.h>
#include <unistd.h>

namespace riposte::client {

using Addresses = std::expected<std::vector<SocketAddress>, std::string>;

struct Lookup::Shared {
    Endpoint endpoint;
    Transport transport;
    Family family;
    Fd done; ///< readable when `found` is there; none where `found` was there from the start
    std::mutex mutex{};
    Addresses found{}; ///< guarded by the mutex

    Addresses look_up() const { return resolve(endpoint, transport, family, false); }
    void set(Addresses addresses) {
        const std::lock_guard lock(mutex);
        found = std::move(addresses);
    }
    std::string failure(std::string_view why) const {
        return fmt::format("cannot resolve '{}': {}", escape(endpoint.host, 255), why);
    }
};

namespace {

/// Signals that come meanwhile wait, and a thread that is started inherits that.
} // namespace

Lookup::Lookup(const Endpoint& endpoint, Transport transport, Family family)
    : shared_(std::make_shared<Shared>(endpoint, transport, family, Fd())) {
    if (is_numeric_host(endpoint.host)) {
        shared_->set(shared_->look_up());
        return;
    }
    shared_->done = Fd(::eventfd(0, EFD_CLOEXEC));
    if (!shared_->done) {
        shared_->set(std::unexpected(shared_->failure(reason(errno))));
        return;
    }
    const auto run = [shared = shared_] {
        shared->set(shared->look_up());
        const uint64_t one = 1;
        // Fails only if the counter were full.
        [[maybe_unused]] const ssize_t size = ::write(shared->done.get(), &one, sizeof(one));
    };
    const SignalsBlocked blocked;
    try {
        std::thread(run).detach();
    } catch (const std::system_error& error) {
        shared_->done.reset();
        shared_->set(std::unexpected(
            shared_->failure(fmt::format("no thread for it: {}", reason(error.code().value())))));
    }
}

Addresses Lookup::wait(const Patience& patience, std::string_view limit) {
    const int error = shared_->done ? await_ready(shared_->done.get(), POLLIN, patience) : 0;
    if (error == ETIMEDOUT)
        return std::unexpected(
            shared_->failure(fmt::format("the name service did not answer within {}", limit)));
    if (error != 0)
        return std::unexpected(shared_->failure(error == EINTR ? "interrupted" : reason(error)));
    const std::lock_guard lock(shared_->mutex);
    return std::move(shared_->found);
}

} // namespace riposte::client
