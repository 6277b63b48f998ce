// The io_uring backend: one ring per worker, created on the worker's thread.
//
//   accept        multishot, one operation for the life of the listener
//   receive       multishot with a total byte cap (kernel 6.17), which holds back a slow peer
//                 without a cancel; on older kernels one receive at a time. Buffers come from a
//                 provided-buffer ring that is refilled from the pool before each submission.
//   send          plain, one in flight per connection; the worker continues short sends
//   close         through the ring; shutdown(2) directly, because the ring would pass it to a
//                 kernel thread
//   receive_from  readiness by a poll in the ring, then recvmmsg(2), which is reported to be
//                 cheaper for many datagrams than multishot recvmsg (liburing issue 1506) and is
//                 common to both kernel backends
//   send_to       sendmmsg(2)
//
// Spinning makes no system call: completions appear in memory, and so does the flag by which the
// kernel requests a call because it has work that may end in completions (IORING_SQ_TASKRUN).
// Completions are read without liburing's peek, which enters the kernel whenever that flag is set:
// under load that would be one more call per turn, for completions that the next submission brings
// anyway.
//
// A completion's user_data holds kind, token and buffer, so nothing has to be looked up. Of the
// operations in flight the backend remembers only the datagram streams.
//
// A seccomp filter does not see operations of a ring: a ring could open files, and create and
// connect sockets, where the process itself may not. So before its first operation the ring is
// restricted, permanently, to the operations above and to no further registration
// (IORING_REGISTER_RESTRICTIONS, 5.10). Anything else ends with -EACCES.
//
// Needs kernel 5.19 (provided-buffer rings, multishot accept). Trying shows what a kernel lacks:
// first the set-up flags from the best down, then a self-test on a socket pair, because a denial
// can also come at registration or at the first use. See io_uring_setup(2), io_uring_enter(2),
// io_uring_register(2).
#pragma once

#include "common/fd.h"
#include "common/reason.h"
#include "daemon/io/backend.h"
#include "daemon/io/datagram_socket.h"
#include "daemon/io/outbox.h"

#include <cstdint>
#include <expected>
#include <memory>
#include <string>
#include <vector>

#include <liburing.h>

namespace riposte {

class UringBackend final : public Backend {
public:
    /// The kernel receives for all connections before the worker sends to any, so the cost of a
    /// stream depends on how much of it one pass moves. With 2 buffers a stream costs half as much
    /// CPU time again.
    static constexpr uint32_t stream_window_buffers = 16;

    /// Features of newer kernels that may be used. Tests switch them off to cover older kernels.
    struct Features {
        bool deferred_task_run; ///< 6.1
        bool capped_receive;    ///< 6.17
    };

    /// The error is the reason, for one line of log: the call, the errno, the likely cause.
    static std::expected<std::unique_ptr<UringBackend>, Reason> open(
        Pools pools, Features permitted = {true, true});
    ~UringBackend() override;

    /// The most memory it needs: both rings and the provided-buffer ring, which the kernel
    /// allocates and maps into the process, and the events of replies sent in a turn.
    static constexpr uint64_t memory_bytes() noexcept { return uint64_t{512} * 1024; }

    size_t turn(std::span<const Op> ops, std::span<Event> events, Wait wait) noexcept override;
    void reserve(uint32_t descriptors, uint32_t datagram_sockets) override;
    void wake() noexcept override;

    /// The features that the kernel lacks, for which a substitute is in use; empty if none.
    Reason lacking() const;

    /// How many kinds of operations the ring permits; 0 if the kernel did not restrict it, and then
    /// unlimited() is the reason.
    uint32_t operations() const noexcept;
    const Reason& unlimited() const noexcept { return unlimited_; }

    /// For the tests alone, which try what the ring must refuse.
    io_uring& ring() noexcept { return ring_; }

private:
    static constexpr uint16_t buffer_ring_group = 0; ///< the provided-buffer ring's number
    static constexpr unsigned submission_entries = 256;
    static constexpr unsigned completion_entries = 4096;
    static constexpr unsigned submission_entries_min = 32;
    static constexpr uint32_t buffer_ring_entries = 1024; ///< of the provided-buffer ring
    static constexpr uint32_t ring_buffers_at_start = 64; ///< one pass of the kernel takes fewer

    struct DatagramStream {
        Op op;
        bool armed = false;
        bool stopping = false;
    };

    UringBackend(Pools pools, Features permitted);
    std::expected<void, Reason> set_up();
    std::expected<void, Reason> set_up_ring();
    std::expected<void, Reason> set_up_buffer_ring();
    std::expected<void, Reason> restrict_and_enable();
    Reason probe_restrictions();
    std::expected<void, Reason> self_test();
    /// Runs one receive of the self-test: its first completion, or the error of the wait.
    int32_t try_receive(int fd, uint32_t cap, bool& ended);

    io_uring_sqe* sqe();
    void apply(std::span<const Op> ops);
    void push(const Op& op);
    void push_receive(const Op& op);
    void push_stop(const Op& op);
    void push_poll(const DatagramStream& stream);
    void push_wake_poll();

    void refill();
    void submit(Wait wait);
    bool spin_for_completions(std::chrono::microseconds limit);
    size_t reap(std::span<Event> events);
    void on_receive(const io_uring_cqe& cqe, Event& event);
    size_t on_readable(const io_uring_cqe& cqe, std::span<Event> events);
    void on_wake(const io_uring_cqe& cqe);
    DatagramStream* datagram_stream(Token token);

    Pools pools_;
    io_uring ring_{};
    bool ring_made_ = false;
    Features permitted_;
    bool deferred_ = false; ///< DEFER_TASKRUN: completions appear only in calls of ours
    bool capped_ = true;    ///< multishot receive with a byte cap works
    Reason unlimited_;      ///< why the ring permits every operation; empty if it is restricted
    /// The provided-buffer ring: buffers of the backend that the kernel receives into.
    io_uring_buf_ring* buffer_ring_ = nullptr;
    uint32_t ring_buffers_ = 0; ///< buffers in it
    /// The ring is refilled up to this number, which doubles when the ring ran empty.
    uint32_t ring_buffers_target_ = ring_buffers_at_start;
    uint32_t ring_buffers_max_ = 0;
    Fd wake_;
    DatagramBatch datagrams_;
    std::vector<DatagramStream> datagram_streams_;
    Outbox outbox_; ///< events of `send_to` and `release`, not delivered yet
};

} // namespace riposte
