#include "client/ping/name_refresh.h"

#include "common/address.h"
#include "common/text.h"

#include <cerrno>
#include <utility>

#include <fmt/format.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

namespace riposte::client {

NameRefresh::NameRefresh(const CommonOptions& common, const PingOptions& options)
    : common_(common), options_(options) {
    for (size_t at = 0; at < options.endpoints.size(); at++)
        if (!is_numeric_host(options.endpoints[at].host))
            names_.push_back({.endpoint = at, .lookup = nullptr});
}

Result<void> NameRefresh::begin(EventLoop& loop, uint64_t tag, uint64_t now_ns) {
    if (names_.empty())
        return {};
    bell_ = std::make_shared<const Fd>(::eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC));
    const int error = *bell_ ? loop.add(bell_->get(), EPOLLIN, tag) : errno;
    if (error != 0)
        return fail(Exit::usage, fmt::format("event loop: {}", reason(error)));
    next_ns_ = now_ns + uint64_t{options_.resolve_every_ms.value_or(0)} * 1'000'000;
    return {};
}

std::vector<NameRefresh::Answer> NameRefresh::turn(uint64_t now_ns) {
    std::vector<Answer> answers;
    if (bell_ == nullptr)
        return answers;
    uint64_t counter = 0; // what is done by now is found below
    [[maybe_unused]] const ssize_t size = ::read(bell_->get(), &counter, sizeof(counter));
    const bool is_due = now_ns >= next_ns_;
    if (is_due)
        next_ns_ = now_ns + uint64_t{options_.resolve_every_ms.value_or(0)} * 1'000'000;
    for (Name& name : names_) {
        if (name.lookup != nullptr && name.lookup->is_done())
            answers.push_back(
                {name.endpoint, std::exchange(name.lookup, nullptr)->wait({.deadline_ms = 0}, "")});
        if (is_due && name.lookup == nullptr)
            name.lookup =
                std::make_unique<TargetLookup>(options_.endpoints[name.endpoint], common_, bell_);
    }
    return answers;
}

} // namespace riposte::client
