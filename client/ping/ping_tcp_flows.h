// Probes over TCP with --flows: a standing connection for each flow, from a local port of its own;
// probe n belongs to flow (n - 1) modulo their number, whatever becomes of the connections.
//
// A flow's connection begins with its first probe, and again with the next one after it has ended.
// Probes that are due while it connects wait, and leave when it is made; one that has waited as
// long as for an answer is lost. There is never a second connection of a flow, since both would
// have the same ends. Therefore a probe that is lost does not end its connection: TCP may still
// bring it, and the answers that follow. A connection on which the peer acknowledges nothing for as
// long as a probe is waited for is ended by the kernel (TCP_USER_TIMEOUT), else it would be silent
// long after the path is well again, because TCP waits longer after each attempt.
//
// A connection ends by a reset (path_shape.cpp), so that its port is free at once. That loses
// nothing: answers that are still under way belong to probes whose outcome is known.
//
// Two files: ping_tcp_flows.cpp has the probes on open connections, ping_tcp_flows_connect.cpp the
// attempts to connect.
#pragma once

#include "client/ping/answer_stream.h"
#include "client/ping/ping_account.h"
#include "client/ping/prober.h"
#include "client/ping/queue.h"

#include <cstddef>
#include <cstdint>
#include <vector>

namespace riposte::client {

struct FlowStream {
    FlowStream(uint64_t number, const ProberSettings& settings)
        : slot(number),
          answers(settings.ping.payload_bytes, settings.ping.session, settings.flows) {}

    uint64_t slot; ///< its place among the flows
    Target target; ///< with its port
    Fd fd;         ///< none: there is no connection
    bool is_open = false;
    bool waits_for_room = false; ///< EPOLLOUT is on
    bool heard = false;          ///< something has come
    uint64_t generation = 0;
    uint64_t began_ns = 0;       ///< of connecting
    uint64_t made_ns = 0;        ///< when it was made
    uint64_t read_until_ns = 0;  ///< all that came by then was read
    Queue<uint64_t> unsent;      ///< probes that are not written whole, in order
    bool first_is_given = false; ///< the first of them is on the connection,
    size_t written = 0;          ///< so far as this
    AnswerStream answers;        ///< for the probes that were given to it
    ArrivalClock clock;          ///< of what comes
    FlowSegments ended;          ///< of the connections that are no more
    uint64_t repairs = 0;        ///< of the connection, at the latest answer
};

class TcpFlowsProber final : public Prober {
public:
    TcpFlowsProber(ProberSettings given, EventLoop& its_loop, ProbeListener& its_listener)
        : Prober(std::move(given), its_loop, its_listener) {
        on_answer_ = [this](const ProbeOutcome& arrival, ReceiveClock clock) {
            arrived(arrival, clock);
            if (arrival.outcome == Outcome::answered)
                note_repairs(flow_of(arrival.sequence));
        };
    }

    Result<void> prepare() override;
    Result<void> send(uint64_t due_ns) override;
    Result<void> ready(ProberTag tag, uint32_t events) override;
    Result<void> expire(uint64_t now_ns) override;
    uint64_t next_deadline_ns() const override { return next_expiry_ns(); }
    void finish() override;
    void update() override;

private:
    Result<void> leave_address() override { return {}; } // --flows has no --resolve-every
    FlowStream& flow_of(uint64_t sequence) { return flows_[(sequence - 1) % flows_.size()]; }
    uint64_t tag_of(const FlowStream& flow) const;
    Result<void> begin(FlowStream& flow);
    Result<void> connect_failed(FlowStream& flow, const Failure& failure);
    Result<void> connected(FlowStream& flow);
    void write(FlowStream& flow);
    bool write_first(FlowStream& flow);
    static void take_first(FlowStream& flow);
    void give_to_stream(FlowStream& flow, uint64_t sequence);
    void want_room(FlowStream& flow, bool wanted);
    void read(FlowStream& flow, uint64_t until_ns);
    void end_stream(FlowStream& flow, int error = 0);
    void close(FlowStream& flow);
    void note_repairs(FlowStream& flow);
    Result<void> look(FlowStream& flow, uint64_t now_ns);
    void give_up_oldest(FlowStream& flow, uint64_t oldest, uint64_t now_ns);
    Result<void> renew(FlowStream& flow, uint64_t now_ns);

    std::vector<FlowStream> flows_;
    bool echo_seen_ = false;
    AnswerStream::Listener on_answer_;
    TcpTotals ended_; ///< of the connections that are no more
};

} // namespace riposte::client
