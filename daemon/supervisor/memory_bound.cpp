#include "daemon/supervisor/memory_bound.h"

#include "build_features.h"
#include "daemon/core/timer_wheel.h"
#include "daemon/io/epoll_backend.h"
#include "daemon/services/stamp_sessions.h"
#include "daemon/tcp/connection.h"
#include "daemon/tcp/eviction.h"
#include "daemon/tcp/send_queue.h"
#include "daemon/tcp/source_table.h"
#include "daemon/tcp/tcp_limits.h"
#include "daemon/udp/response_rate_limit.h"
#include "daemon/worker/worker_thread.h"

#include <algorithm>

#include <fmt/format.h>

#if RIPOSTE_HAVE_IO_URING
#include "daemon/io/uring_backend.h"
#endif

namespace riposte {
namespace {

constexpr uint64_t kib = 1024;
constexpr uint64_t mib = 1024 * kib;

constexpr uint64_t base_bytes = 16 * mib;
constexpr uint64_t stack_bytes = 256 * kib;
/// The worker itself, its batch of datagrams, and the reserve of its allocator's arena.
constexpr uint64_t worker_bytes = mib;
/// A socket's place in the main thread and in a worker, with its label and lists.
constexpr uint64_t listener_bytes = 2 * kib;
/// A prefix of a list as read, as printed and as looked up, in the old and the new configuration.
constexpr uint64_t prefix_bytes = kib;
/// Descriptors that are not connections: listeners, the log, rings, the self-test.
constexpr uint64_t other_descriptors = 1024;

uint64_t stream_buffer_bytes(const TcpLimits& share) {
    constexpr uint64_t each = WorkerThread::stream_buffer_bytes + sizeof(Owner) + sizeof(BufferId) +
                              sizeof(SendQueues::Chunk);
    return WorkerThread::stream_buffers(share) * each;
}

uint64_t datagram_buffer_bytes() {
    constexpr uint64_t reply = 8; // the record of one that is being sent
    constexpr uint64_t each =
        datagram_bytes_max + sizeof(Owner) + sizeof(BufferId) + sizeof(DatagramInfo) + reply;
    return WorkerThread::datagram_buffers * each;
}

/// Twice: a reload that raises `connections` allocates the new tables before it frees the old ones.
uint64_t connection_bytes(const TcpLimits& share, const AccessLogConfig& access_log) {
    const uint64_t slots = share.connections_max + uint64_t{Eviction::at_once_max};
    constexpr uint64_t lists = 3 * sizeof(uint32_t); // free, starved, woken
    constexpr uint64_t each = sizeof(Connection) + lists + TimerWheel::entry_bytes();
    // In one turn a connection can have an event and then reach its deadline.
    constexpr uint64_t operations = 4 * sizeof(Op);
    return 2 * (slots * (each + operations) + AccessLog::memory_bytes(access_log, slots) +
                SourceTable::memory_bytes(static_cast<uint32_t>(slots)));
}

uint64_t backend_bytes(const Config& config) {
    // Any worker may get any descriptor of the process.
    uint64_t bytes = EpollBackend::memory_bytes(config.limits.connections_max + other_descriptors);
#if RIPOSTE_HAVE_IO_URING
    if (config.backend == BackendChoice::io_uring)
        bytes = 0;
    if (config.backend != BackendChoice::epoll)
        bytes = std::max(bytes, UringBackend::memory_bytes());
#endif
    return bytes;
}

/// Workers share the lists of listeners; each worker has its own copy of the datagram lists.
uint64_t list_bytes(const Config& config, uint32_t workers) {
    uint64_t prefixes =
        workers * (config.datagrams.rate_exempt.size() + config.datagrams.port_exempt.size() +
                   config.datagrams.longer_answers_to.size());
    for (const ListenerConfig& listen : config.listen)
        prefixes += listen.acl.allow.size() + listen.acl.deny.size() + listen.twamp_light.size();
    return prefixes * prefix_bytes;
}

/// Twice: a reload that changes `sessions` allocates the new tables before it frees the old ones.
uint64_t session_bytes(const Config& config, uint32_t workers) {
    uint64_t bytes = 0;
    for (const ListenerConfig& listen : config.listen)
        if (listen.service == ServiceKind::stamp)
            bytes += 2 * listen.addresses.size() * workers *
                     StampSessions::memory_bytes(listen.options.stamp.sessions_max / workers + 1);
    return bytes;
}

} // namespace

uint32_t descriptors_of(const Config& config) noexcept {
    return static_cast<uint32_t>(config.limits.connections_max + other_descriptors);
}

MemoryBound memory_bound(const Config& config, uint32_t workers) {
    const TcpLimits share = worker_share(config.limits, workers);
    uint64_t addresses = 0;
    for (const ListenerConfig& listen : config.listen)
        addresses += listen.addresses.size();
    return {
        .base = base_bytes,
        .stacks = workers * (stack_bytes + worker_bytes),
        .stream_buffers = workers * stream_buffer_bytes(share),
        .datagram_buffers = workers * datagram_buffer_bytes(),
        .connections = workers * connection_bytes(share, config.access_log),
        .backends = workers * backend_bytes(config),
        .listeners = (workers + 1) * addresses * listener_bytes + list_bytes(config, workers),
        .rates = workers *
                 ResponseRateLimit::memory_bytes(ResponseRateLimit::entries_of_worker(workers)),
        .sessions = session_bytes(config, workers)};
}

std::string describe(const MemoryBound& bound) {
    return fmt::format("at most {} MiB with this configuration", (bound.total() + mib - 1) / mib);
}

} // namespace riposte
