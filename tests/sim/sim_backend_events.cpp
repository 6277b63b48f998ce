// The half of SimBackend that makes completions: which are possible, which of these happen by
// chance, and when their events are delivered to the worker.
#include "tests/sim/sim_backend.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <utility>

#include <fmt/format.h>

namespace riposte::sim {
namespace {

constexpr std::array<int, 3> socket_errors = {ENOMEM, ETIMEDOUT, EHOSTUNREACH};

} // namespace

bool SimBackend::by_chance(Fault fault, uint32_t percent) {
    const bool happens = by_chance(percent);
    network_.faults().add(fault, happens);
    return happens;
}

void SimBackend::refill() {
    while (stock_.size() < settings_.stock) {
        const BufferId buffer = pools_.streams.take(Owner::backend);
        if (buffer == no_buffer)
            return;
        stock_.push_back(buffer);
    }
}

BufferId SimBackend::take_buffer() {
    if (settings_.stock == 0)
        return pools_.streams.take(Owner::backend);
    if (stock_.empty())
        return no_buffer;
    const BufferId buffer = stock_.front();
    stock_.erase(stock_.begin());
    return buffer;
}

/// Like the kernel's backends: all sockets take from one stock, which is filled up whenever one of
/// them is checked, even if it has no datagram.
BufferId SimBackend::take_datagram_buffer() {
    BufferPool& buffers = pools_.datagrams.buffers();
    if (settings_.datagram_stock == 0)
        return buffers.take(Owner::backend);
    if (datagram_stock_.empty())
        return no_buffer;
    const BufferId buffer = datagram_stock_.back();
    datagram_stock_.pop_back();
    return buffer;
}

void SimBackend::complete(int fd, const Handle& handle, const Event& event) {
    const uint64_t late = random_.below(settings_.faults.delay_turns_max + 1);
    network_.faults().add(Fault::late_event, late > 0);
    pending_.push_back({event, fd, handle.serial, turn_ + late});
}

void SimBackend::end(int fd, Handle& handle, int32_t result, BufferId buffer) {
    handle.ended = true;
    complete(fd, handle, {handle.stream.kind, handle.stream.token, result, buffer, true});
}

void SimBackend::work() {
    refill();
    std::vector<int> fds;
    fds.reserve(handles_.size());
    for (const auto& [fd, handle] : handles_)
        fds.push_back(fd);
    if (settings_.faults.any_order)
        for (size_t i = fds.size(); i > 1; --i)
            std::swap(fds[i - 1], fds[random_.below(static_cast<uint32_t>(i))]);
    constexpr size_t per_turn = 64; // bounded, like a kernel's completions
    for (const int fd : fds) {
        for (size_t i = 0; i < per_turn; ++i) {
            const auto handle = handles_.find(fd);
            if (handle == handles_.end() || !work_on(fd, handle->second))
                break;
            if (settings_.faults.any_order && random_.chance(50))
                break;
        }
    }
}

/// Makes one completion, if one is possible; else returns false.
bool SimBackend::work_on(int fd, Handle& handle) {
    if (handle.closing)
        return close_now(fd, handle);
    if (handle.sending && !handle.sent && send_some(fd, handle))
        return true;
    if (!handle.armed || handle.ended)
        return false;
    if (handle.stopping)
        return end_stopped(fd, handle);
    if (handle.stream.kind == OpKind::receive)
        return receive_one(fd, handle);
    return handle.stream.kind == OpKind::accept ? accept_one(fd, handle)
                                                : receive_datagram(fd, handle);
}

/// A stop ends a stream soon, not at once: bytes or connections may still come.
bool SimBackend::end_stopped(int fd, Handle& handle) {
    if (settings_.faults.any_order && random_.chance(30)) {
        if (handle.stream.kind == OpKind::receive)
            receive_one(fd, handle);
        else if (handle.stream.kind == OpKind::accept)
            accept_one(fd, handle);
        else
            receive_datagram(fd, handle);
    }
    if (!handle.ended)
        end(fd, handle, -ECANCELED);
    return true;
}

bool SimBackend::accept_one(int fd, Handle& handle) {
    if (!network_.has_connection(fd))
        return false;
    if (by_chance(Fault::lost_connection, settings_.faults.peer_gone) && network_.lose_oldest(fd)) {
        end(fd, handle, -ECONNABORTED);
        return true;
    }
    if (by_chance(Fault::accept_error, settings_.faults.accept_error)) {
        constexpr std::array<int, 4> errors = {EMFILE, ENFILE, ENOBUFS, ENOMEM};
        end(fd, handle, -errors[random_.below(errors.size())]);
        return true;
    }
    const int accepted = network_.accept(fd);
    if (accepted < 0) {
        network_.faults().add(Fault::no_descriptor);
        end(fd, handle, accepted);
        return true;
    }
    handles_[accepted] = {.serial = ++serial_};
    const bool last = by_chance(Fault::early_end, settings_.faults.end_early);
    handle.ended = last;
    complete(fd, handle, {OpKind::accept, handle.stream.token, accepted, no_buffer, last});
    return true;
}

bool SimBackend::receive_one(int fd, Handle& handle) {
    if (handle.aborted) {
        constexpr std::array<int, 3> results = {-ECANCELED, 0, -ECONNRESET};
        const bool any = settings_.faults.any_order;
        if (any && random_.chance(30) && network_.stream_of(fd).to_server.size() > 0)
            return receive_data(fd, handle);
        end(fd, handle, results[any ? random_.below(results.size()) : 0]);
        return true;
    }
    return network_.readable(fd) && receive_data(fd, handle);
}

bool SimBackend::receive_data(int fd, Handle& handle) {
    if (by_chance(Fault::interrupted, settings_.faults.interrupted)) {
        end(fd, handle, -EINTR);
        return true;
    }
    if (by_chance(Fault::receive_error, settings_.faults.receive_error)) {
        end(fd, handle, -socket_errors[random_.below(socket_errors.size())]);
        return true;
    }
    const bool bytes_wait = network_.stream_of(fd).to_server.size() > 0;
    const bool spurious =
        bytes_wait && by_chance(Fault::spurious_no_buffers, settings_.faults.no_buffers);
    const BufferId buffer = bytes_wait && !spurious ? take_buffer() : no_buffer;
    if (bytes_wait && buffer == no_buffer) {
        network_.faults().add(Fault::no_stream_buffer, !spurious);
        end(fd, handle, -ENOBUFS);
        return true;
    }
    std::array<std::byte, 1> nothing{};
    std::span<std::byte> room = bytes_wait ? pools_.streams.bytes(buffer) : std::span(nothing);
    if (bytes_wait && by_chance(Fault::short_receive, settings_.faults.small_chunk))
        room = room.first(1 + random_.below(static_cast<uint32_t>(room.size())));
    const int32_t result = network_.receive(fd, room);
    if (result <= 0) { // EOF or an error
        if (buffer != no_buffer)
            pools_.streams.move(buffer, Owner::backend, Owner::pool);
        end(fd, handle, result);
        return true;
    }
    const auto size = static_cast<uint32_t>(result);
    if (size >= handle.left || by_chance(Fault::early_end, settings_.faults.end_early)) {
        end(fd, handle, result, buffer);
        return true;
    }
    handle.left -= size;
    complete(fd, handle, {OpKind::receive, handle.stream.token, result, buffer, false});
    return true;
}

bool SimBackend::receive_datagram(int fd, Handle& handle) {
    BufferPool& buffers = pools_.datagrams.buffers();
    while (datagram_stock_.size() < settings_.datagram_stock) {
        const BufferId buffer = buffers.take(Owner::backend);
        if (buffer == no_buffer)
            break;
        datagram_stock_.push_back(buffer);
    }
    if (!network_.has_datagram(fd))
        return false;
    if (by_chance(Fault::datagram_error, settings_.faults.datagram_error)) {
        end(fd, handle, -ENOMEM);
        return true;
    }
    const bool spurious = by_chance(Fault::spurious_no_buffers, settings_.faults.no_buffers);
    const BufferId buffer = spurious ? no_buffer : take_datagram_buffer();
    if (buffer == no_buffer) {
        network_.faults().add(Fault::no_datagram_buffer, !spurious);
        end(fd, handle, -ENOBUFS);
        return true;
    }
    const Datagram datagram = network_.receive_from(fd);
    const size_t size = std::min<size_t>(datagram.bytes.size(), buffers.buffer_bytes());
    std::ranges::copy(std::span(datagram.bytes).first(size), buffers.bytes(buffer).begin());
    DatagramInfo& arrival = pools_.datagrams.info(buffer);
    arrival.peer.any = datagram.peer.storage;
    arrival.peer_size = datagram.peer.size;
    arrival.segment_bytes = datagram.segment_bytes;
    arrival.to_group = datagram.to_group;
    arrival.cut = datagram.cut;
    arrival.measured = false;
    arrival.timed = false;
    arrival.has_received_ns = datagram.received_ns != 0;
    arrival.received_ns = datagram.received_ns;
    arrival.ttl = datagram.ttl;
    arrival.traffic_class = datagram.traffic_class;
    arrival.local_family = static_cast<sa_family_t>(datagram.local.family());
    if (arrival.local_family == AF_INET) {
        sockaddr_in v4{};
        std::memcpy(&v4, &datagram.local.storage, sizeof v4);
        arrival.local.v4 = {.ipi_ifindex = 1, .ipi_spec_dst = v4.sin_addr, .ipi_addr = v4.sin_addr};
    } else {
        sockaddr_in6 v6{};
        std::memcpy(&v6, &datagram.local.storage, sizeof v6);
        arrival.local.v6 = {.ipi6_addr = v6.sin6_addr, .ipi6_ifindex = 1};
    }
    datagram_sizes_[buffer] = static_cast<uint32_t>(size);
    asked_[buffer] = datagram.local;
    const bool last = by_chance(Fault::early_end, settings_.faults.end_early);
    handle.ended = last;
    complete(
        fd, handle,
        {OpKind::receive_from, handle.stream.token, static_cast<int32_t>(size), buffer, last});
    return true;
}

bool SimBackend::send_some(int fd, Handle& handle) {
    if (!network_.writable(fd))
        return false;
    std::span<const std::byte> bytes =
        pools_.streams.bytes(handle.send.buffer).subspan(handle.send.offset, handle.send.size);
    if (by_chance(Fault::short_send, settings_.faults.small_chunk))
        bytes = bytes.first(1 + random_.below(static_cast<uint32_t>(bytes.size())));
    const bool interrupted = by_chance(Fault::interrupted, settings_.faults.interrupted);
    const bool fails = !interrupted && by_chance(Fault::send_error, settings_.faults.send_error);
    int32_t result = -EINTR;
    if (fails)
        result = -socket_errors[random_.below(socket_errors.size())];
    else if (!interrupted)
        result = network_.send(fd, bytes);
    handle.sent = true;
    complete(fd, handle, {OpKind::send, handle.send.token, result, handle.send.buffer, true});
    return true;
}

bool SimBackend::close_now(int fd, Handle& handle) {
    if (turn_ < handle.close_turn)
        return false;
    const Event event{OpKind::close, handle.token.value_or(Token{}), network_.close(fd)};
    complete(fd, handle, event);
    handles_.erase(fd); // the number is free, although the worker does not know it yet
    return true;
}

// Delivery ----------------------------------------------------------------------------------------

size_t SimBackend::deliver(std::span<Event> events) {
    size_t room = events.size();
    if (settings_.faults.any_order)
        room = std::min<size_t>(room, 1 + random_.below(16));
    size_t count = 0;
    while (count < room) {
        // The first due event of each source; a send is a source of its own.
        std::vector<size_t> choices;
        std::vector<std::pair<uint64_t, OpKind>> seen;
        for (size_t i = 0; i < pending_.size(); ++i) {
            const std::pair source(pending_[i].serial, pending_[i].event.kind);
            if (std::ranges::find(seen, source) != seen.end())
                continue;
            seen.push_back(source);
            if (pending_[i].due > turn_)
                continue;
            choices.push_back(i);
            if (!settings_.faults.any_order)
                break;
        }
        if (choices.empty())
            break;
        const size_t chosen = choices[random_.below(static_cast<uint32_t>(choices.size()))];
        network_.faults().add(Fault::reordered_event, chosen > 0);
        const Pending pending = pending_[chosen];
        pending_.erase(pending_.begin() + static_cast<ptrdiff_t>(chosen));
        delivered(pending);
        events[count++] = pending.event;
    }
    return count;
}

void SimBackend::delivered(const Pending& pending) {
    const Event& event = pending.event;
    if (settings_.trace)
        fmt::print("# turn {} event {}\n", turn_, describe(event));
    if (event.buffer != no_buffer) {
        const bool datagram = event.kind == OpKind::receive_from || event.kind == OpKind::send_to;
        BufferPool& pool = datagram ? pools_.datagrams.buffers() : pools_.streams;
        pool.move(event.buffer, Owner::backend, Owner::worker);
    }
    if (event.kind == OpKind::accept && event.result >= 0)
        handles_[event.result].announced = true;
    const auto found = handles_.find(pending.fd);
    if (found == handles_.end() || found->second.serial != pending.serial)
        return; // a close
    Handle& handle = found->second;
    if (event.kind == OpKind::send) {
        handle.sending = false;
        handle.held_back = !handle.aborted && handle.send.more &&
                           event.result == static_cast<int32_t>(handle.send.size);
    } else if (event.kind == OpKind::send_to) {
        --handle.answers;
        const uint64_t time_ns = std::exchange(transmitted_ns_[event.buffer], 0);
        const auto id = static_cast<int32_t>(pools_.datagrams.info(event.buffer).transmit_id);
        if (time_ns != 0)
            complete(
                pending.fd, handle,
                {OpKind::transmitted, event.token, id, no_buffer, false, time_ns});
    } else if (event.last) {
        handle.armed = false;
    }
}

} // namespace riposte::sim
