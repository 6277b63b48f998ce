#include "daemon/io/uring_backend.h"

#include "build_features.h"
#include "common/reset.h"
#include "common/spin.h"

#include <algorithm>
#include <array>
#include <cassert>
#include <cerrno>
#include <cstring>

#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

namespace riposte {
namespace {

// user_data: 4 bits of kind, 20 of slot, 20 of generation, 20 of buffer. `stop` marks completions
// of cancels, `finish` (which has no completion of its own) those of the wake-up poll.
constexpr OpKind wake_kind = OpKind::finish;

/// The cap of a multishot receive, over all its completions (kernel 6.17).
void set_total_cap(io_uring_sqe& entry, uint32_t bytes) {
#if RIPOSTE_HAVE_SQE_OPTLEN
    entry.optlen = bytes;
#else
    static_assert(sizeof entry.file_index == 4);
    entry.file_index = bytes; // the same four bytes
#endif
}

uint64_t pack(OpKind kind, Token token, BufferId buffer = 0) {
    return uint64_t{static_cast<uint8_t>(kind)} << 60 | uint64_t{token.slot} << 40 |
           uint64_t{token.generation} << 20 | (buffer & Token::max);
}

OpKind kind_of(uint64_t data) {
    return static_cast<OpKind>(data >> 60);
}

Token token_of(uint64_t data) {
    return {
        static_cast<uint32_t>(data >> 40) & Token::max,
        static_cast<uint32_t>(data >> 20) & Token::max};
}

BufferId buffer_of(uint64_t data) {
    return static_cast<BufferId>(data & Token::max);
}

} // namespace

// Operations --------------------------------------------------------------------------------------

void UringBackend::reserve(uint32_t /*descriptors*/, uint32_t datagram_sockets) {
    // During a reload, listeners that leave exist beside the new ones.
    datagram_streams_.reserve(datagram_streams_.size() + datagram_sockets);
}

void UringBackend::wake() noexcept {
    uint64_t one = 1;
    [[maybe_unused]] ssize_t written = ::write(wake_.get(), &one, sizeof one);
}

io_uring_sqe* UringBackend::sqe() {
    io_uring_sqe* entry = io_uring_get_sqe(&ring_);
    while (entry == nullptr) { // full; the kernel takes the entries, perhaps after several tries
        io_uring_submit(&ring_);
        entry = io_uring_get_sqe(&ring_);
    }
    return entry;
}

void UringBackend::apply(std::span<const Op> ops) {
    for (size_t i = 0; i < ops.size();) {
        if (ops[i].kind == OpKind::send_to)
            i += datagrams_.send(ops.subspan(i), outbox_);
        else
            push(ops[i++]);
    }
}

void UringBackend::push(const Op& op) {
    io_uring_sqe* entry = nullptr;
    switch (op.kind) {
    case OpKind::accept:
        entry = sqe();
        io_uring_prep_multishot_accept(
            entry, op.fd, nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK);
        entry->user_data = pack(op.kind, op.token);
        break;
    case OpKind::receive:
        push_receive(op);
        break;
    case OpKind::receive_from:
        assert(datagram_stream(op.token) == nullptr);
        datagram_streams_.push_back({.op = op, .armed = true});
        push_poll(datagram_streams_.back());
        break;
    case OpKind::send: {
        entry = sqe();
        std::span<std::byte> bytes = pools_.streams.bytes(op.buffer);
        const int flags = MSG_NOSIGNAL | (op.more ? MSG_MORE : 0);
        io_uring_prep_send(entry, op.fd, bytes.data() + op.offset, op.size, flags);
        entry->user_data = pack(op.kind, op.token, op.buffer);
        break;
    }
    case OpKind::close:
        entry = sqe();
        io_uring_prep_close(entry, op.fd);
        entry->user_data = pack(op.kind, op.token);
        break;
    case OpKind::release: // nothing is in flight, and the backend holds no state of a connection
        outbox_.push({OpKind::release, op.token, 0, no_buffer, true});
        break;
    case OpKind::stop:
        push_stop(op);
        break;
    case OpKind::finish:
        ::shutdown(op.fd, SHUT_WR);
        break;
    case OpKind::abort:
        reset_connection(op.fd); // operations in flight on it then complete with an error
        break;
    case OpKind::send_to:
        assert(false && "apply() takes these");
        break;
    case OpKind::transmitted:
        assert(false && "an event alone");
        break;
    }
}

void UringBackend::push_receive(const Op& op) {
    io_uring_sqe* entry = sqe();
    if (capped_) {
        io_uring_prep_recv_multishot(entry, op.fd, nullptr, 0, 0);
        set_total_cap(*entry, op.size);
        entry->len = op.size; // the cap of one pass
    } else {
        const uint32_t size = std::min(op.size, pools_.streams.buffer_bytes());
        io_uring_prep_recv(entry, op.fd, nullptr, size, 0);
    }
    entry->flags |= IOSQE_BUFFER_SELECT;
    entry->buf_group = buffer_ring_group;
    entry->user_data = pack(op.kind, op.token);
}

void UringBackend::push_stop(const Op& op) {
    if (op.target == OpKind::receive_from) {
        DatagramStream* stream = datagram_stream(op.token);
        if (stream == nullptr || stream->stopping)
            return;
        stream->stopping = true;
    }
    io_uring_sqe* entry = sqe();
    io_uring_prep_cancel64(entry, pack(op.target, op.token), 0);
    entry->user_data = pack(OpKind::stop, op.token);
}

void UringBackend::push_poll(const DatagramStream& stream) {
    io_uring_sqe* entry = sqe();
    io_uring_prep_poll_add(entry, stream.op.fd, POLLIN);
    entry->user_data = pack(OpKind::receive_from, stream.op.token);
}

void UringBackend::push_wake_poll() {
    io_uring_sqe* entry = sqe();
    io_uring_prep_poll_multishot(entry, wake_.get(), POLLIN);
    entry->user_data = pack(wake_kind, {});
}

// Events ------------------------------------------------------------------------------------------

size_t UringBackend::turn(std::span<const Op> ops, std::span<Event> events, Wait wait) noexcept {
    apply(ops);
    refill();
    bool have = !outbox_.empty() || io_uring_cq_ready(&ring_) > 0;
    submit(have ? Wait{std::chrono::milliseconds(0)} : wait);
    size_t count = outbox_.deliver(events);
    return count + reap(events.subspan(count));
}

void UringBackend::refill() {
    int added = 0;
    while (ring_buffers_ < ring_buffers_target_) {
        BufferId buffer = pools_.streams.take(Owner::backend);
        if (buffer == no_buffer)
            break;
        std::span<std::byte> bytes = pools_.streams.bytes(buffer);
        io_uring_buf_ring_add(
            buffer_ring_, bytes.data(), static_cast<unsigned>(bytes.size()),
            static_cast<unsigned short>(buffer), io_uring_buf_ring_mask(buffer_ring_entries),
            added++);
        ++ring_buffers_;
    }
    if (added > 0)
        io_uring_buf_ring_advance(buffer_ring_, added);
}

void UringBackend::submit(Wait wait) {
    // Errors (EINTR, EBUSY, ETIME) need no handling: the turn reads what has completed, and the
    // next turn submits again.
    if (wait.sleep.count() == 0) {
        io_uring_submit_and_get_events(&ring_);
        return;
    }
    if (wait.spin.count() > 0 && spin_for_completions(wait.spin))
        return;
    int64_t sleep_us = wait.after_spin().count();
    __kernel_timespec timeout{
        .tv_sec = sleep_us / 1'000'000, .tv_nsec = sleep_us % 1'000'000 * 1000};
    io_uring_cqe* first = nullptr;
    io_uring_submit_and_wait_timeout(&ring_, &first, 1, sleep_us < 0 ? nullptr : &timeout, nullptr);
}

/// Submits, then polls for completions in memory. False: none appeared within the limit.
bool UringBackend::spin_for_completions(std::chrono::microseconds limit) {
    constexpr int polls_per_clock = 16; // a poll costs less than reading the clock
    constexpr unsigned call_needed = IORING_SQ_TASKRUN | IORING_SQ_CQ_OVERFLOW;
    if (io_uring_sq_ready(&ring_) > 0)
        io_uring_submit_and_get_events(&ring_);
    return spin(limit, polls_per_clock, [&] {
        if (io_uring_cq_ready(&ring_) > 0)
            return true;
        if ((io_uring_smp_load_acquire(ring_.sq.kflags) & call_needed) == 0)
            return false;
        io_uring_get_events(&ring_);
        return io_uring_cq_ready(&ring_) > 0; // the kernel's work may end without a completion
    });
}

size_t UringBackend::reap(std::span<Event> events) {
    size_t count = 0;
    while (count < events.size() && io_uring_cq_ready(&ring_) > 0) {
        const io_uring_cqe cqe = ring_.cq.cqes[*ring_.cq.khead & ring_.cq.ring_mask];
        io_uring_cq_advance(&ring_, 1); // from here on the entry is the kernel's again
        OpKind kind = kind_of(cqe.user_data);
        bool last = (cqe.flags & IORING_CQE_F_MORE) == 0;
        Event event{kind, token_of(cqe.user_data), cqe.res, no_buffer, last};
        switch (kind) {
        case OpKind::receive_from:
            count += on_readable(cqe, events.subspan(count));
            continue;
        case OpKind::stop:
            continue;
        case wake_kind:
            on_wake(cqe);
            continue;
        case OpKind::receive:
            on_receive(cqe, event);
            break;
        case OpKind::send:
            event.buffer = buffer_of(cqe.user_data);
            pools_.streams.move(event.buffer, Owner::backend, Owner::worker);
            break;
        case OpKind::accept:
        case OpKind::close:
        case OpKind::send_to:
        case OpKind::release:
        case OpKind::abort:
        case OpKind::transmitted:
            break;
        }
        events[count++] = event;
    }
    return count;
}

void UringBackend::on_receive(const io_uring_cqe& cqe, Event& event) {
    if (cqe.flags & IORING_CQE_F_BUFFER) {
        BufferId buffer = cqe.flags >> IORING_CQE_BUFFER_SHIFT;
        --ring_buffers_;
        bool data = cqe.res > 0;
        pools_.streams.move(buffer, Owner::backend, data ? Owner::worker : Owner::pool);
        if (data)
            event.buffer = buffer;
    }
    if (cqe.res == -ENOBUFS)
        ring_buffers_target_ = std::min(ring_buffers_target_ * 2, ring_buffers_max_);
}

size_t UringBackend::on_readable(const io_uring_cqe& cqe, std::span<Event> events) {
    DatagramStream* stream = datagram_stream(token_of(cqe.user_data));
    if (stream == nullptr)
        return 0;
    std::array<DatagramBatch::Datagram, DatagramBatch::batch_max> datagrams;
    DatagramBatch::Received received{-ECANCELED, false};
    const Token token = stream->op.token;
    size_t times = 0;
    if (!stream->stopping && cqe.res > 0 && (cqe.res & POLLERR) != 0) {
        // Unread, they would complete each poll at once.
        datagrams_.read_errors(token, stream->op.fd, outbox_);
        times = outbox_.deliver(events);
        events = events.subspan(times);
        if (events.empty()) {
            push_poll(*stream);
            return times;
        }
    }
    if (!stream->stopping)
        received = cqe.res < 0 ? DatagramBatch::Received{cqe.res, false}
                               : datagrams_.receive(
                                     stream->op.fd, std::span(datagrams).first(std::min<size_t>(
                                                        datagrams.size(), events.size())));
    if (received.result < 0 && received.result != -EAGAIN) {
        datagram_streams_.erase(datagram_streams_.begin() + (stream - datagram_streams_.data()));
        events[0] = {OpKind::receive_from, token, received.result, no_buffer, true};
        return times + 1;
    }
    size_t count = received.result > 0 ? static_cast<size_t>(received.result) : 0;
    for (size_t i = 0; i < count; ++i) {
        pools_.datagrams.buffers().move(datagrams[i].buffer, Owner::backend, Owner::worker);
        events[i] = {
            OpKind::receive_from, token, static_cast<int32_t>(datagrams[i].size),
            datagrams[i].buffer, false};
    }
    push_poll(*stream); // completes at once if more datagrams wait
    return times + count;
}

void UringBackend::on_wake(const io_uring_cqe& cqe) {
    uint64_t wakes = 0;
    [[maybe_unused]] ssize_t n = ::read(wake_.get(), &wakes, sizeof wakes);
    if ((cqe.flags & IORING_CQE_F_MORE) == 0)
        push_wake_poll();
}

UringBackend::DatagramStream* UringBackend::datagram_stream(Token token) {
    auto found = std::ranges::find_if(
        datagram_streams_, [&](const DatagramStream& stream) { return stream.op.token == token; });
    return found == datagram_streams_.end() ? nullptr : &*found;
}

} // namespace riposte
