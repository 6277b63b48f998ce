// How the connections of TcpLoad come to be: all of them before the first request, many at once but
// no more than a listener's backlog takes; later one by one, when one broke.
#include "client/load/load_tcp.h"
#include "common/clock.h"

#include <algorithm>
#include <cassert>
#include <cerrno>

#include <fmt/format.h>

namespace riposte::client {

namespace {

constexpr uint32_t connecting_max = 256;
constexpr uint64_t look_ns = 50'000'000; ///< how often connecting is checked for its timeout
/// A server that takes a connection only to close it does so within that.
constexpr uint64_t settle_ns = 20'000'000;

constexpr uint32_t all_edges = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET;

} // namespace

/// Nothing, or what went wrong.
std::optional<Failure> TcpLoad::begin(Connection& connection) {
    assert(connection.state == State::closed);
    connection.started_ns = monotonic_ns();
    auto fd = begin_connect(setup.target, setup.address);
    if (!fd)
        return fd.error();
    if (const int error = loop.add(fd->get(), all_edges, index_of(connection)); error != 0)
        return Failure{.address = setup.address, .error = error};
    connection.fd = fd->release();
    connection.state = State::connecting;
    return std::nullopt;
}

/// `error` 0: it is open now. EINPROGRESS: not yet. Else why not, and it is closed.
Cause TcpLoad::finish_connecting(Connection& connection, uint32_t events) {
    if ((events & (EPOLLOUT | EPOLLHUP | EPOLLERR)) == 0)
        return {.error = EINPROGRESS};
    const Cause cause = finish_connect(connection.fd, setup.address);
    if (cause.error == 0) {
        connection.state = State::open;
        // Anywhere in the pattern, as long as neighbours differ.
        const size_t position = (size_t{index_of(connection)} * 1031) % pattern_.period();
        connection.answers.restart(position);
        connection.send_at = static_cast<uint32_t>(position);
    } else if (cause.error != EINPROGRESS) {
        close(connection);
    }
    return cause;
}

void TcpLoad::opened(Connection& connection, uint64_t now_ns) {
    account.note_handshake(connection.fd, now_ns - connection.started_ns);
    account.connected(now_ns - connection.started_ns);
    if (schedule.is_open_loop())
        ready_.push(index_of(connection));
    if (opening_) {
        opening_->connecting--;
        opening_->open++;
    } else {
        refill(connection);
    }
}

void TcpLoad::reopen(Connection& connection, uint64_t now_ns) {
    const auto failure = begin(connection);
    if (!failure)
        return;
    charge(now_ns, cause_of(*failure));
    retries_.push(index_of(connection), now_ns);
}

// ---- All of them.

Result<void> TcpLoad::open() {
    opening_ = std::make_unique<Opening>();
    uint64_t now = monotonic_ns();
    uint64_t settled_ns = UINT64_MAX;
    while (now < settled_ns) {
        open_some(now);
        const bool done = opening_->connecting == 0 &&
                          (opening_->begun == setup.connections || opening_->gives_up);
        settled_ns = done ? std::min(settled_ns, now + settle_ns) : UINT64_MAX;
        const auto events = loop.wait(std::min(now + look_ns, settled_ns));
        if (loop.interrupted())
            return fail(Exit::failed, "interrupted before anything was measured");
        now = monotonic_ns();
        handle(events, now);
        sweep(now);
    }
    auto result = judge_opening();
    opening_.reset();
    return result;
}

void TcpLoad::open_some(uint64_t now_ns) {
    while (opening_->connecting < connecting_max && opening_->begun < setup.connections &&
           !opening_->gives_up) {
        Connection& connection = connections_[opening_->begun++];
        if (const auto failure = begin(connection))
            opening_failed(*failure);
        else
            opening_->connecting++;
        connection.started_ns = std::max(connection.started_ns, now_ns);
    }
}

void TcpLoad::opening_failed(const Failure& failure) {
    opening_->failures.push_back(failure);
    // One that times out costs seconds, and one for lack of descriptors or ports fails for all.
    opening_->gives_up |= failure.error == ETIMEDOUT || !failure.option.empty() ||
                          outcome_of(failure) == Outcome::local;
}

Result<void> TcpLoad::judge_opening() const {
    if (opening_->failures.empty())
        return {};
    const Failure& first = opening_->failures.front();
    const std::string opened =
        fmt::format("{} of {} connections were opened", opening_->open, setup.connections);
    if (first.error == 0)
        return fail(
            Exit::failed,
            fmt::format(
                "{}: {}, the others closed again at once; does the server limit them, in all or "
                "by their source?",
                name_of(setup.target, setup.address), opened));
    Error error = connect_error(setup.target, {&first, 1});
    error.message += fmt::format(" ({})", opened);
    return std::unexpected(std::move(error));
}

} // namespace riposte::client
