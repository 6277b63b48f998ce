// A thread shares nothing with us but `Shared`, and takes no signals: those of the terminal are for
// the thread that waits. It says by an eventfd that it is done, so that waiting is poll(2) and an
// interrupt can end it. The eventfd is made by the one that waits: thousands of lookups need none.
#include "client/net/lookup.h"

#include "client/net/signals_blocked.h"
#include "common/text.h"

#include <array>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <mutex>
#include <optional>
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
    std::shared_ptr<const Fd>
        bell; ///< an eventfd that is written to when `found` is there; or null
    std::mutex mutex{};
    // These are guarded by the mutex.
    Fd done{}; ///< the same for the one that waits; none: nothing does
    std::optional<Addresses> found{};

    void look_up() { set(resolve(endpoint, transport, family, false)); }
    void set(Addresses addresses) {
        const std::lock_guard lock(mutex);
        found = std::move(addresses);
        const uint64_t one = 1;
        for (const Fd* const each : std::array<const Fd*, 2>{&done, bell.get()})
            if (each != nullptr && *each) { // fails only if the counter were full
                [[maybe_unused]] const ssize_t size = ::write(each->get(), &one, sizeof(one));
            }
    }
    bool is_done() {
        const std::lock_guard lock(mutex);
        return found.has_value();
    }
    std::string failure(std::string_view why) const {
        return fmt::format("cannot resolve '{}': {}", escape(endpoint.host, 255), why);
    }
};

/// The threads of all lookups: as many as there is work for, up to a bound; more lookups wait. It
/// is never destroyed, since threads that hang in a name service end with the process.
class Lookup::Threads {
public:
    static constexpr size_t at_once_max = 256;

    static Threads& instance() {
        static Threads& threads = *new Threads;
        return threads;
    }

    void add(const std::shared_ptr<Shared>& job) {
        const std::lock_guard lock(mutex_);
        waiting_.push_back(job);
        if (running_ == at_once_max)
            return;
        const SignalsBlocked blocked;
        try {
            std::thread([this] { run(); }).detach();
            running_++;
        } catch (const std::system_error& error) {
            if (running_ > 0) // one of the others will do it
                return;
            waiting_.pop_back();
            job->set(std::unexpected(
                job->failure(fmt::format("no thread for it: {}", reason(error.code().value())))));
        }
    }

private:
    void run() {
        while (const std::shared_ptr<Shared> job = take())
            if (job.use_count() > 1) // else its Lookup is gone
                job->look_up();
    }
    /// Null: there is no more work, and this thread ends.
    std::shared_ptr<Shared> take() {
        const std::lock_guard lock(mutex_);
        if (waiting_.empty()) {
            running_--;
            return nullptr;
        }
        auto job = std::move(waiting_.front());
        waiting_.pop_front();
        return job;
    }

    std::mutex mutex_;
    std::deque<std::shared_ptr<Shared>> waiting_;
    size_t running_ = 0;
};

Lookup::Lookup(
    const Endpoint& endpoint, Transport transport, Family family, std::shared_ptr<const Fd> bell)
    : shared_(std::make_shared<Shared>(endpoint, transport, family, std::move(bell))) {
    if (is_numeric_host(endpoint.host))
        shared_->look_up();
    else
        Threads::instance().add(shared_);
}

bool Lookup::is_done() const {
    return shared_->is_done();
}

Addresses Lookup::wait(const Patience& patience, std::string_view limit) {
    int done = -1;
    int error = 0;
    {
        const std::lock_guard lock(shared_->mutex);
        if (!shared_->found) {
            shared_->done = Fd(::eventfd(0, EFD_CLOEXEC));
            done = shared_->done.get();
            error = shared_->done ? 0 : errno;
        }
    }
    if (done >= 0)
        error = await_ready(done, POLLIN, patience);
    if (error == ETIMEDOUT)
        return std::unexpected(
            shared_->failure(fmt::format("the name service did not answer within {}", limit)));
    if (error != 0)
        return std::unexpected(shared_->failure(error == EINTR ? "interrupted" : reason(error)));
    const std::lock_guard lock(shared_->mutex);
    std::optional<Addresses> found = std::exchange(shared_->found, std::nullopt);
    return found ? std::move(*found) : std::unexpected(shared_->failure("it was taken before"));
}

} // namespace riposte::client
