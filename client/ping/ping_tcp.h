// Probes over TCP: one connection for all of them, made when a probe is due and there is none; or
// with --reconnect one for each.
//
// A connection (a slot of `streams_`) goes through
//
//     free -> connecting -> open -> free               closed, reset, spoilt, done with
//                            |        ^
//                            +-> draining               a probe on it has timed out
//
// While it connects, the probes that come due wait as due times, and are accounted for only when
// they leave, or when it is known that they cannot. New probes go to `current_`; one that times
// out makes its connection draining: its pending answers are read until the last of its probes is
// answered or given up, and the next probe begins a new connection.
//
// A peer that closes after its first reply, as the service hello does, takes one probe from each
// connection. Once that was seen, a connection is shared only while no probe waits on it; probes
// that were on one which ended so are sent again, each on a connection of its own. That ends when
// a peer replies twice on one connection: then its end is the failure of all that wait on it.
//
// A probe's bytes leave whole and in order. What the socket does not take is not copied: the
// account can write any probe in its window again, so that a place in the sequence is enough.
//
// Two files: ping_tcp.cpp has the probes on open connections, ping_tcp_connect.cpp the attempts to
// connect.
#pragma once

#include "client/ping/answer_stream.h"
#include "client/ping/ping_stream.h"
#include "client/ping/prober.h"
#include "client/ping/queue.h"

#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

namespace riposte::client {

class TcpProber final : public Prober {
public:
    TcpProber(ProberSettings given, EventLoop& its_loop, ProbeListener& its_listener)
        : Prober(std::move(given), its_loop, its_listener),
          slots_(settings().ping.window, no_slot) {
        on_answer_ = [this](const ProbeOutcome& arrival, ReceiveClock clock) {
            arrived(arrival, clock);
        };
    }

    Result<void> prepare() override { return {}; } // connecting is measured with the first probe
    Result<void> send(uint64_t due_ns) override;
    Result<void> ready(ProberTag tag, uint32_t events) override;
    Result<void> expire(uint64_t now_ns) override;
    uint64_t next_deadline_ns() const override;
    void finish() override;
    void update() override;

private:
    static constexpr size_t no_slot = SIZE_MAX;

    Result<void> leave_address() override;
    Result<void> begin(Queue<uint64_t>&& due, uint64_t again = 0);
    Result<void> begin_each(Queue<uint64_t>&& due);
    Result<void> send_stranded();
    size_t free_slot();
    uint64_t tag_of(size_t slot) const;
    Result<void> connect_failed(Queue<uint64_t>& due, uint64_t again, const Failure& failure);
    Result<void> connected(size_t slot);
    void lose(Queue<uint64_t>& due, uint64_t at_ns);
    bool takes_probe(const PingStream& stream) const;
    void transmit(size_t slot, uint64_t due_ns, uint64_t connect_ns);
    void transmit_again(size_t slot, uint64_t connect_ns);
    void put(size_t slot, uint64_t sequence);
    void write(size_t slot);
    void want_room(size_t slot, bool wanted);
    void read(size_t slot, uint64_t until_ns);
    void settle(size_t slot);
    void peer_ended(size_t slot, int error);
    void end_stream(size_t slot, int error = 0);
    void close(size_t slot);
    void expire_probes(uint64_t now_ns);
    void expire_front(size_t slot);
    Result<void> expire_attempts(uint64_t now_ns);
    uint64_t attempt_deadline_ns(const PingStream& stream) const;
    bool is_connecting(const Attempt& attempt) const;

    std::vector<PingStream> streams_;
    std::vector<size_t> free_;
    std::vector<size_t> slots_; ///< of the probes in the window, by sequence number
    Queue<Attempt> attempts_;   ///< in the order in which they began; some have ended
    size_t current_ = no_slot;  ///< connecting or open, for the next probe; none with --reconnect
    bool echo_seen_ = false;
    bool replies_once_ = false;  ///< the peer has closed a connection after its first reply
    bool replied_twice_ = false; ///< on one connection
    Queue<uint64_t> stranded_;   ///< probes to be sent again
    AnswerStream::Listener on_answer_;
    TcpTotals ended_; ///< of the connections that are no more
};

} // namespace riposte::client
