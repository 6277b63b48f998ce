// The attempts of flows over TCP to connect, and the probes that wait for them (ping_tcp_flows.h).
#include "client/net/connect_time.h"
#include "client/net/receive_time.h"
#include "client/ping/flow_ports.h"
#include "client/ping/ping_tcp_flows.h"
#include "common/clock.h"
#include "common/text.h"

#include <algorithm>
#include <cassert>
#include <cerrno>
#include <span>
#include <utility>

#include <fmt/format.h>
#include <linux/tcp.h>
#include <netinet/in.h>
#include <sys/epoll.h>
#include <sys/socket.h>

namespace riposte::client {

Result<void> TcpFlowsProber::prepare() {
    const int family = settings().address.family();
    const auto ports = choose_flow_ports(
        settings().target, family, settings().flows,
        [this](const std::string& line) { report_trouble(line); });
    if (!ports)
        return std::unexpected(ports.error());
    flows_.reserve(ports->size());
    for (const uint16_t port : *ports) {
        flows_.emplace_back(flows_.size(), settings());
        flows_.back().target = from_port(settings().target, family, port);
    }
    account().set_flows(*ports);
    return {};
}

Result<void> TcpFlowsProber::begin(FlowStream& flow) {
    assert(!flow.fd && !flow.unsent.empty());
    flow.began_ns = monotonic_ns();
    auto fd = begin_connect(flow.target, settings().address);
    if (!fd)
        return connect_failed(flow, fd.error());
    enable_receive_stamps(fd->get());
    const unsigned silence_ms = settings().target.timeout_ms;
    ::setsockopt(fd->get(), IPPROTO_TCP, TCP_USER_TIMEOUT, &silence_ms, sizeof(silence_ms));
    flow.generation++;
    if (const int error = loop().add(fd->get(), EPOLLOUT, tag_of(flow)); error != 0)
        return fail(Exit::usage, fmt::format("event loop: {}", reason(error)));
    flow.fd = std::move(*fd);
    flow.is_open = false;
    flow.waits_for_room = true;
    flow.heard = false;
    flow.repairs = 0;
    flow.read_until_ns = 0;
    flow.answers.open(echo_seen_);
    flow.clock = ArrivalClock();
    return {};
}

/// The probes that waited for this connection are not sent. Only an option that this machine
/// refuses ends the run.
Result<void> TcpFlowsProber::connect_failed(FlowStream& flow, const Failure& failure) {
    if (!failure.option.empty())
        return std::unexpected(connect_error(flow.target, std::span(&failure, 1)));
    const Outcome outcome = outcome_of(failure);
    if (outcome == Outcome::local)
        report_not_sent(failure.error, connect_advice(failure.error, flow.target.path));
    for (; !flow.unsent.empty(); flow.unsent.pop())
        failed(
            {.sequence = flow.unsent.front(),
             .outcome = outcome,
             .cause = cause_of(failure),
             .took_ns = failure.took_ns});
    return {};
}

Result<void> TcpFlowsProber::connected(FlowStream& flow) {
    flow.made_ns = connected_ns(flow.fd.get(), flow.began_ns, monotonic_ns());
    const Cause cause = finish_connect(flow.fd.get(), settings().address);
    if (cause.error == EINPROGRESS)
        return {};
    if (cause.error != 0) {
        const uint64_t took_ns = monotonic_ns() - flow.began_ns;
        close(flow);
        return connect_failed(
            flow, {.address = settings().address,
                   .error = cause.error,
                   .heard = true,
                   .cause = cause,
                   .took_ns = took_ns});
    }
    flow.is_open = true;
    const uint64_t connect_ns = std::max(flow.made_ns - flow.began_ns, uint64_t{1});
    ended_.note_connected(flow.fd.get(), connect_ns);
    account().note_connected(connect_ns);
    while (!flow.unsent.empty() && !account().waits(flow.unsent.front()))
        flow.unsent.pop();
    write(flow);
    return {};
}

/// An attempt to connect that lasted as long as a probe is waited for begins anew, if other probes
/// wait for it; else it ends.
Result<void> TcpFlowsProber::renew(FlowStream& flow, uint64_t now_ns) {
    if (flow.is_open)
        return {};
    while (!flow.unsent.empty() && !account().waits(flow.unsent.front()))
        flow.unsent.pop();
    if (flow.fd && (flow.unsent.empty() || account().give_up_ns(flow.began_ns) <= now_ns))
        close(flow);
    return flow.fd || flow.unsent.empty() ? Result<void>{} : begin(flow);
}

} // namespace riposte::client
