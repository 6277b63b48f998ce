// A direction of a throughput run and its sockets, behind a small interface: the run (
// throughput_run.h) owns time and the loop, the stream owns sockets and counters.
//
// Counters are cumulative; the run samples them at the ends of intervals. Sampling reads first what
// waits in the sockets, so that an interval has all that came in it.
#pragma once

#include "client/net/connect.h"
#include "client/net/event_loop.h"
#include "client/throughput/throughput_result.h"
#include "common/error.h"

#include <cstdint>
#include <memory>
#include <optional>

namespace riposte::client {

struct StreamSetup {
    Target target;
    SocketAddress address; ///< the one of the target's that is loaded
    Flow flow = Flow::upload;
    uint32_t number = 0; ///< of the stream in the run, for the tags of its events
    uint32_t connections = 1;
    uint32_t chunk_bytes = 0;
    std::optional<double> bitrate; ///< bits of payload a second, of all connections together
    std::optional<uint64_t> bytes; ///< ends after so many
    uint64_t timeout_ns = 0;
};

/// The tag of an event: the stream, and one of its sockets.
struct StreamTag {
    static uint64_t pack(uint32_t stream, uint32_t index) { return uint64_t{stream} << 32 | index; }
    static uint32_t stream(uint64_t tag) { return static_cast<uint32_t>(tag >> 32); }
    static uint32_t index(uint64_t tag) { return static_cast<uint32_t>(tag); }
};

class Stream {
public:
    Stream(StreamSetup given, EventLoop& its_loop, StreamResult& its_result);
    virtual ~Stream() = default;
    Stream(const Stream&) = delete;
    Stream& operator=(const Stream&) = delete;

    /// Opens all sockets; blocks in the loop, at most for the timeout.
    virtual Result<void> open() = 0;
    virtual void start(uint64_t now_ns) = 0;
    virtual void handle(uint32_t index, uint32_t events) = 0;
    /// Sends what is due.
    virtual void pump(uint64_t /*now_ns*/) {}
    virtual uint64_t next_pump_ns() const { return UINT64_MAX; }
    virtual RateSample sample() = 0;
    /// Reads what the kernel estimates, every few tens of milliseconds.
    virtual void observe() {}
    /// It has transferred all of StreamSetup::bytes, or no connection is left.
    virtual bool is_over() const = 0;
    /// Something came from the peer: a byte, or an acknowledgement of one.
    virtual bool has_progress() const = 0;
    /// Nothing more is sent.
    virtual void stop(uint64_t /*now_ns*/) {}
    /// After stop(): nothing is waited for any more.
    virtual bool is_settled(uint64_t /*now_ns*/) { return true; }
    /// The last readings go into the result, and connections are closed.
    virtual void finish() = 0;
    /// Why the run cannot go on; nothing if it can.
    virtual std::optional<Error> fatal() const { return std::nullopt; }

    const StreamSetup& setup() const { return setup_; }

protected:
    EventLoop& loop() { return loop_; }
    StreamResult& result() { return result_; }
    const StreamResult& result() const { return result_; }

private:
    StreamSetup setup_;
    EventLoop& loop_;
    StreamResult& result_;
};

/// By the transport and the flow of `setup`. `result` outlives it.
std::unique_ptr<Stream> make_stream(StreamSetup setup, EventLoop& loop, StreamResult& result);

} // namespace riposte::client
