#include "tests/sim/sim_backend.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <iterator>
#include <utility>

#include <fmt/format.h>

namespace riposte::sim {
namespace {

constexpr std::array<std::string_view, 11> kind_names = {
    "accept",  "receive", "receive_from", "send",  "send_to",    "close",
    "release", "stop",    "finish",       "abort", "transmitted"};

std::string_view name(OpKind kind) {
    return kind_names[static_cast<size_t>(kind)];
}

bool is_stream_kind(OpKind kind) {
    return kind == OpKind::accept || kind == OpKind::receive || kind == OpKind::receive_from;
}

} // namespace

std::string describe(const Op& op) {
    return fmt::format(
        "{} fd {} token {}.{} buffer {} [{}, +{}) by {}", name(op.kind), op.fd, op.token.slot,
        op.token.generation, static_cast<int32_t>(op.buffer), op.offset, op.size, op.segment_bytes);
}

std::string describe(const Event& event) {
    return fmt::format(
        "{} token {}.{} result {} buffer {}{}", name(event.kind), event.token.slot,
        event.token.generation, event.result, static_cast<int32_t>(event.buffer),
        event.last ? " last" : "");
}

SimBackend::SimBackend(SimNetwork& network, Pools pools, uint64_t seed, const Settings& settings)
    : Backend(settings.window_buffers), network_(network), pools_(pools), random_(seed),
      settings_(settings), datagram_sizes_(pools.datagrams.buffers().count()),
      asked_(pools.datagrams.buffers().count()),
      transmitted_ns_(pools.datagrams.buffers().count()) {}

SimBackend::~SimBackend() {
    pools_.streams.reclaim(Owner::backend);
    pools_.datagrams.buffers().reclaim(Owner::backend);
}

void SimBackend::wake() noexcept {
    const std::lock_guard lock(mutex_);
    woken_ = true;
    woken_signal_.notify_one();
}

size_t SimBackend::turn(std::span<const Op> ops, std::span<Event> events, Wait wait) noexcept {
    ++turn_;
    last_wait_ = wait.sleep;
    if (wait.sleep.count() >= 0 && wait.spin > wait.sleep && violation_.empty())
        violation_ = fmt::format("turn {}: the spin exceeds the deadline", turn_);
    // finish and abort never queue behind anything: a backend may do them first, or in their order.
    const bool first = settings_.faults.any_order && random_.chance(50);
    const uint64_t place = place_;
    for (const bool now : {true, false}) {
        place_ = place;
        for (const Op& op : ops) {
            const bool immediate = op.kind == OpKind::finish || op.kind == OpKind::abort;
            ++place_;
            if ((first && immediate) == now)
                apply(op);
        }
    }
    if (std::ranges::any_of(handles_, [](const auto& entry) { return entry.second.held_back; }) &&
        violation_.empty())
        violation_ = fmt::format("turn {}: nothing follows a send that held bytes back", turn_);
    work();
    count_buffers();
    size_t count = deliver(events);
    idle_ = ops.empty() && count == 0 && pending_.empty() &&
            std::ranges::none_of(handles_, [](const auto& entry) { return entry.second.closing; });
    if (count == 0 && settings_.blocks && wait.sleep.count() != 0)
        sleep(wait.sleep);
    return count;
}

void SimBackend::sleep(std::chrono::milliseconds wait) {
    std::unique_lock lock(mutex_);
    if (wait.count() < 0)
        woken_signal_.wait(lock, [&] { return woken_; });
    else
        woken_signal_.wait_for(lock, wait, [&] { return woken_; });
    woken_ = false;
}

bool SimBackend::uses(int fd) const {
    const auto found = handles_.find(fd);
    return found != handles_.end() && (found->second.armed || found->second.answers > 0);
}

bool SimBackend::has_place(int fd) const {
    const auto found = handles_.find(fd);
    return found != handles_.end() && found->second.token &&
           found->second.token->slot != Token::max;
}

/// Each buffer that the backend owns is in stock, in a pending event, or being sent.
void SimBackend::count_buffers() {
    size_t streams = stock_.size();
    size_t datagrams = datagram_stock_.size();
    for (const Pending& each : pending_) {
        const bool datagram =
            each.event.kind == OpKind::receive_from || each.event.kind == OpKind::send_to;
        (datagram ? datagrams : streams) += each.event.buffer != no_buffer;
    }
    for (const auto& [fd, handle] : handles_)
        streams += handle.sending && !handle.sent;
    if (!violation_.empty())
        return;
    if (const uint32_t held = pools_.streams.held(Owner::backend); held != streams)
        violation_ = fmt::format(
            "turn {}: the backend owns {} stream buffers, and {} are in use", turn_, held, streams);
    if (const uint32_t held = pools_.datagrams.buffers().held(Owner::backend); held != datagrams)
        violation_ = fmt::format(
            "turn {}: the backend owns {} datagram buffers, and {} are in use", turn_, held,
            datagrams);
}

// Operations, and the worker's side of the contract ----------------------------------------------

void SimBackend::violated(const Op& op, std::string_view what) {
    if (violation_.empty())
        violation_ = fmt::format("turn {}: {}: {}", turn_, describe(op), what);
}

void SimBackend::apply(const Op& op) {
    if (settings_.trace)
        fmt::print("# turn {} op {}\n", turn_, describe(op));
    if (op.token.slot > Token::max || op.token.generation > Token::max)
        return violated(op, "the token has more than 20 bits");
    switch (op.kind) {
    case OpKind::accept:
    case OpKind::receive_from:
    case OpKind::receive:
        return start_stream(op);
    case OpKind::send:
        return start_send(op);
    case OpKind::send_to:
        return send_datagram(op);
    case OpKind::close:
        return start_close(op);
    case OpKind::release:
        return release_fd(op);
    case OpKind::stop:
        return stop_stream(op);
    case OpKind::finish:
    case OpKind::abort:
        return shut_down(op);
    case OpKind::transmitted:
        return violated(op, "not an operation");
    }
}

/// The connection of `op`, if it may have operations now; else null, and a violation.
SimBackend::Handle* SimBackend::connection(const Op& op) {
    const auto found = handles_.find(op.fd);
    if (found == handles_.end() || !network_.is_stream(op.fd) || !found->second.announced) {
        violated(op, "not an open connection");
        return nullptr;
    }
    if (found->second.closing) {
        violated(op, "its close is in flight");
        return nullptr;
    }
    return &found->second;
}

/// All operations of a descriptor have the same token, and no other connection ever has it.
bool SimBackend::bind_token(const Op& op, Handle& handle) {
    if (handle.token) {
        if (*handle.token != op.token)
            violated(op, "another token than before");
        return *handle.token == op.token;
    }
    if (!tokens_.emplace(op.token.slot, op.token.generation).second) {
        violated(op, "the token of another or an earlier connection");
        return false;
    }
    handle.token = op.token;
    return true;
}

bool SimBackend::check_buffer(const BufferPool& pool, const Op& op) {
    if (op.buffer >= pool.count() || pool.owner(op.buffer) != Owner::backend) {
        violated(op, "the buffer was not passed to the backend");
        return false;
    }
    if (uint64_t{op.offset} + op.size > pool.buffer_bytes()) {
        violated(op, "beyond the buffer");
        return false;
    }
    return true;
}

void SimBackend::start_stream(const Op& op) {
    const bool listener = op.kind != OpKind::receive;
    const bool right = op.kind == OpKind::accept ? network_.is_listener(op.fd)
                                                 : network_.is_datagram_socket(op.fd);
    if (listener && !right)
        return violated(op, "not a socket of that kind");
    if (listener && !handles_.contains(op.fd))
        handles_[op.fd] = {.serial = ++serial_, .announced = true};
    Handle* handle = listener ? &handles_[op.fd] : connection(op);
    if (handle == nullptr)
        return;
    if (handle->armed)
        return violated(op, "armed already");
    if (op.kind == OpKind::receive && op.size == 0)
        return violated(op, "a cap of 0 bytes");
    if (listener)
        handle->token = op.token;
    else if (!bind_token(op, *handle))
        return;
    handle->armed = true;
    handle->ended = handle->stopping = false;
    handle->stream = op;
    handle->left = op.size;
}

void SimBackend::start_send(const Op& op) {
    Handle* handle = connection(op);
    if (handle == nullptr || !bind_token(op, *handle) || !check_buffer(pools_.streams, op))
        return;
    if (handle->sending)
        return violated(op, "another send is in flight");
    if (handle->finished || (handle->aborted && place_ > handle->abort_place))
        return violated(op, "a send after finish or abort");
    if (op.size == 0)
        return violated(op, "a send of 0 bytes");
    if (handle->held_back)
        return violated(op, "a send after one that held bytes back for the end");
    handle->sending = true;
    handle->sent = false;
    handle->send = op;
}

void SimBackend::send_datagram(const Op& op) {
    BufferPool& buffers = pools_.datagrams.buffers();
    const auto found = handles_.find(op.fd);
    if (!network_.is_datagram_socket(op.fd) || found == handles_.end())
        return violated(op, "not a datagram socket");
    if (!check_buffer(buffers, op))
        return;
    if (op.size > datagram_sizes_[op.buffer])
        return violated(op, "the reply is longer than its request");
    if (op.segment_bytes >= op.size && op.segment_bytes != 0)
        return violated(op, "a train of one datagram");
    const DatagramInfo& info = pools_.datagrams.info(op.buffer);
    if (info.timed && (!info.measured || op.segment_bytes != 0))
        return violated(op, "a timed datagram that is not measured, or a train");
    const int32_t result = send_datagrams(op);
    time_datagram(op, found->second, result >= 0);
    ++found->second.answers;
    complete(op.fd, found->second, {OpKind::send_to, op.token, result, op.buffer, true});
}

/// Sends or drops each datagram of a train by itself. Returns the result for the event.
int32_t SimBackend::send_datagrams(const Op& op) {
    const DatagramInfo& arrival = pools_.datagrams.info(op.buffer);
    std::span<const std::byte> rest = pools_.datagrams.buffers().bytes(op.buffer).first(op.size);
    const size_t step = op.segment_bytes != 0 ? op.segment_bytes : op.size;
    constexpr std::array<int, 5> errors = {EAGAIN, ENOBUFS, ENOMEM, EPERM, EHOSTUNREACH};
    int32_t result = -EAGAIN;
    do {
        const auto bytes = rest.first(std::min(step, rest.size()));
        rest = rest.subspan(bytes.size());
        if (by_chance(Fault::answer_failed, settings_.faults.dropped_answer)) {
            if (result < 0)
                result = -errors[random_.below(errors.size())];
            continue;
        }
        result = std::max(result, 0) + static_cast<int32_t>(bytes.size());
        // It leaves less than a millisecond after it was stamped, within the same simulated one.
        const bool timed = arrival.timed && settings_.wall_ns != nullptr;
        transmitted_ns_[op.buffer] = timed ? settings_.wall_ns() + random_.below(1'000'000) : 0;
        network_.send_to(
            {.peer = {.storage = arrival.peer.any, .size = arrival.peer_size},
             .local = asked_[op.buffer],
             .bytes = {bytes.begin(), bytes.end()},
             .traffic_class = arrival.measured ? arrival.traffic_class : uint8_t{0},
             .transmitted_ns = transmitted_ns_[op.buffer]});
    } while (!rest.empty());
    return result;
}

/// Decides whether the time of transmission will be reported. Its event follows that of the send.
void SimBackend::time_datagram(const Op& op, Handle& handle, bool sent) {
    DatagramInfo& info = pools_.datagrams.info(op.buffer);
    info.timed = info.timed && sent && transmitted_ns_[op.buffer] != 0;
    if (!info.timed) {
        transmitted_ns_[op.buffer] = 0;
        return;
    }
    info.transmit_id = handle.timed++;
    if (by_chance(Fault::no_transmit_time, settings_.faults.no_transmit_time))
        transmitted_ns_[op.buffer] = 0;
}

void SimBackend::start_close(const Op& op) {
    if (network_.is_listener(op.fd) || network_.is_datagram_socket(op.fd))
        return violated(op, "a listener or datagram socket, which the worker does not own");
    Handle* handle = connection(op);
    if (handle == nullptr)
        return;
    if (handle->armed || handle->sending)
        return violated(op, "something is in flight");
    // A refused connection never had a token of its own.
    if (handle->token && !bind_token(op, *handle))
        return;
    handle->token = op.token;
    handle->held_back = false;
    handle->closing = true;
    handle->close_turn = turn_ + random_.below(settings_.faults.delay_turns_max + 1);
}

void SimBackend::release_fd(const Op& op) {
    Handle* handle = connection(op);
    if (handle == nullptr || !bind_token(op, *handle))
        return;
    if (handle->armed || handle->sending || handle->held_back)
        return violated(op, "something is in flight");
    if (handle->finished || handle->aborted)
        return violated(op, "a release after finish or abort");
    complete(op.fd, *handle, {OpKind::release, op.token, 0});
    handles_.erase(op.fd); // any later operation on it breaks the contract
}

void SimBackend::stop_stream(const Op& op) {
    const auto found = handles_.find(op.fd);
    if (!is_stream_kind(op.target))
        return violated(op, "not a stream");
    if (found == handles_.end() || !found->second.armed)
        return violated(op, "nothing to stop");
    Handle& handle = found->second;
    if (handle.stream.token != op.token || handle.stream.kind != op.target)
        return violated(op, "the stream has another token or kind");
    handle.stopping = true;
}

void SimBackend::shut_down(const Op& op) {
    if (network_.is_listener(op.fd) || network_.is_datagram_socket(op.fd))
        return violated(op, "a listener or datagram socket, which the worker does not own");
    Handle* handle = connection(op);
    if (handle == nullptr || !bind_token(op, *handle))
        return;
    if (op.kind == OpKind::finish) {
        if (handle->sending || handle->finished)
            return violated(op, "a send is in flight, or the connection is already finished");
        handle->finished = true;
        handle->held_back = false;
        network_.finish(op.fd);
    } else {
        handle->aborted = true;
        handle->held_back = false;
        handle->abort_place = place_;
        network_.abort(op.fd);
    }
}

} // namespace riposte::sim
