#include "tests/sim/sim_network.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include <arpa/inet.h>
#include <netinet/in.h>

namespace riposte::sim {

SocketAddress ipv4_address(uint8_t source, uint16_t port) {
    sockaddr_in v4{};
    v4.sin_family = AF_INET;
    v4.sin_port = htons(port);
    v4.sin_addr.s_addr = htonl(0x7f000000U | source);
    SocketAddress address;
    std::memcpy(&address.storage, &v4, sizeof v4);
    address.size = sizeof v4;
    return address;
}

SocketAddress ipv6_address(uint8_t source, uint16_t port) {
    sockaddr_in6 v6{};
    v6.sin6_family = AF_INET6;
    v6.sin6_port = htons(port);
    v6.sin6_addr.s6_addr[0] = 0xfd;
    v6.sin6_addr.s6_addr[15] = source;
    SocketAddress address;
    std::memcpy(&address.storage, &v6, sizeof v6);
    address.size = sizeof v6;
    return address;
}

bool same(const SocketAddress& a, const SocketAddress& b) {
    return a.size == b.size && std::memcmp(&a.storage, &b.storage, a.size) == 0;
}

void ByteQueue::push(std::span<const std::byte> bytes) {
    if (begin_ > 0 && begin_ * 2 >= data_.size()) {
        data_.erase(data_.begin(), data_.begin() + static_cast<ptrdiff_t>(begin_));
        begin_ = 0;
    }
    data_.insert(data_.end(), bytes.begin(), bytes.end());
}

size_t ByteQueue::pop(std::span<std::byte> to) {
    const size_t size = std::min(to.size(), this->size());
    std::ranges::copy(bytes().first(size), to.begin());
    begin_ += size;
    return size;
}

void ByteQueue::clear() {
    data_.clear();
    begin_ = 0;
}

SimNetwork::SimNetwork(const Sizes& sizes) : sizes_(sizes), entries_(3) {
    for (Entry& standard : entries_)
        standard.kind = Kind::datagrams; // 0, 1 and 2 are never returned
}

SimNetwork::Kind SimNetwork::kind_of(int fd) const {
    const bool known = fd > 2 && static_cast<size_t>(fd) < entries_.size();
    return known ? entry(fd).kind : Kind::free;
}

int SimNetwork::open(Kind kind) {
    auto place = std::ranges::find(entries_, Kind::free, &Entry::kind);
    if (place == entries_.end())
        place = entries_.emplace(entries_.end());
    *place = Entry{.kind = kind};
    ++activity_;
    return static_cast<int>(place - entries_.begin());
}

int SimNetwork::listen() {
    return open(Kind::listener);
}

int SimNetwork::open_datagram_socket() {
    return open(Kind::datagrams);
}

void SimNetwork::close_listener(int fd) {
    for (const StreamId id : entry(fd).backlog)
        reset_peer(*streams_[id]);
    entry(fd) = Entry{};
    ++activity_;
}

// The far side ------------------------------------------------------------------------------------

std::optional<StreamId> SimNetwork::connect(int listener, const SocketAddress& peer) {
    if (!is_listener(listener) || entry(listener).backlog.size() >= sizes_.backlog)
        return std::nullopt;
    const auto id = static_cast<StreamId>(streams_.size());
    streams_.push_back(std::make_unique<Stream>());
    streams_.back()->listener = listener;
    streams_.back()->peer = peer;
    entry(listener).backlog.push_back(id);
    ++activity_;
    return id;
}

size_t SimNetwork::peer_send(StreamId id, std::span<const std::byte> bytes) {
    Stream& s = *streams_[id];
    if (s.server_reset)
        return bytes.size();
    if (s.closed) {
        reset_peer(s);
        return bytes.size();
    }
    const size_t room = sizes_.to_server_bytes - s.to_server.size();
    const size_t size = std::min(room, bytes.size());
    s.to_server.push(bytes.first(size));
    activity_ += size > 0;
    return size;
}

int32_t SimNetwork::peer_receive(StreamId id, std::span<std::byte> bytes) {
    Stream& s = *streams_[id];
    if (s.server_reset)
        return -ECONNRESET;
    if (const size_t size = s.to_peer.pop(bytes); size > 0) {
        ++activity_;
        return static_cast<int32_t>(size);
    }
    return s.finished || s.closed ? 0 : -EAGAIN;
}

void SimNetwork::peer_finish(StreamId id) {
    streams_[id]->peer_finished = true;
    ++activity_;
}

void SimNetwork::peer_close(StreamId id) {
    Stream& s = *streams_[id];
    s.peer_closed = true;
    if (s.to_peer.size() > 0)
        return peer_reset(id);
    peer_finish(id);
}

void SimNetwork::peer_reset(StreamId id) {
    Stream& s = *streams_[id];
    s.peer_reset = s.peer_closed = true;
    s.to_server.clear();
    s.to_peer.clear();
    ++activity_;
}

bool SimNetwork::ask(int fd, Datagram datagram, uint32_t overtakes) {
    if (!is_datagram_socket(fd))
        return false;
    std::deque<Datagram>& queue = entry(fd).datagrams;
    if (queue.size() >= sizes_.datagrams) {
        faults_.add(Fault::datagram_queue_full);
        return false;
    }
    const auto passed = std::min<size_t>(overtakes, queue.size());
    faults_.add(Fault::datagram_overtakes, passed > 0);
    queue.insert(queue.end() - static_cast<ptrdiff_t>(passed), std::move(datagram));
    ++activity_;
    return true;
}

// The near side -----------------------------------------------------------------------------------

int SimNetwork::accept(int listener) {
    if (entry(listener).backlog.empty())
        return -EAGAIN;
    if (descriptors_used() >= sizes_.descriptors)
        return -EMFILE;
    const int fd = open(Kind::stream);
    const StreamId id = entry(listener).backlog.front();
    entry(listener).backlog.pop_front();
    entry(fd).stream = id;
    streams_[id]->fd = fd;
    ++open_streams_;
    return fd;
}

int SimNetwork::descriptors_used() const {
    return static_cast<int>(std::ranges::count_if(
        entries_, [](const Entry& entry) { return entry.kind != Kind::free; }));
}

bool SimNetwork::lose_oldest(int listener) {
    std::deque<StreamId>& backlog = entry(listener).backlog;
    if (backlog.empty())
        return false;
    reset_peer(*streams_[backlog.front()]);
    backlog.pop_front();
    return true;
}

bool SimNetwork::readable(int fd) const {
    const Stream& s = stream_of(fd);
    return s.to_server.size() > 0 || s.peer_finished || s.peer_reset || s.aborted;
}

int32_t SimNetwork::receive(int fd, std::span<std::byte> bytes) {
    Stream& s = at(fd);
    if (s.peer_reset)
        return -ECONNRESET;
    if (const size_t size = s.to_server.pop(bytes); size > 0) {
        s.read += size;
        ++activity_;
        return static_cast<int32_t>(size);
    }
    return s.peer_finished || s.aborted ? 0 : -EAGAIN;
}

bool SimNetwork::writable(int fd) const {
    const Stream& s = stream_of(fd);
    return s.to_peer.size() < sizes_.to_peer_bytes || s.peer_closed || s.finished || s.aborted;
}

int32_t SimNetwork::send(int fd, std::span<const std::byte> bytes) {
    Stream& s = at(fd);
    if (s.finished || s.aborted)
        return -EPIPE;
    if (s.peer_reset)
        return -ECONNRESET;
    if (s.peer_closed) { // the first send succeeds, and the peer replies with RST
        s.peer_reset = true;
        s.to_server.clear();
        ++activity_;
        return static_cast<int32_t>(bytes.size());
    }
    const size_t room = sizes_.to_peer_bytes - s.to_peer.size();
    if (room == 0)
        return -EAGAIN;
    const size_t size = std::min(room, bytes.size());
    s.to_peer.push(bytes.first(size));
    s.written += size;
    ++activity_;
    return static_cast<int32_t>(size);
}

void SimNetwork::finish(int fd) {
    at(fd).finished = true;
    ++activity_;
}

void SimNetwork::abort(int fd) {
    at(fd).aborted = true;
    ++activity_;
}

int32_t SimNetwork::close(int fd) {
    Stream& s = at(fd);
    if (s.aborted || s.to_server.size() > 0)
        reset_peer(s);
    s.closed = true;
    s.fd = -1;
    entry(fd) = Entry{};
    --open_streams_;
    ++activity_;
    return 0;
}

int SimNetwork::pass_on(int fd) {
    const StreamId id = entry(fd).stream;
    entry(fd) = Entry{};
    constexpr size_t distance = 50;
    entries_.resize(entries_.size() + distance);
    const auto number = static_cast<int>(entries_.size()); // far from the next free number
    entries_.push_back({.kind = Kind::stream, .stream = id});
    streams_[id]->fd = number;
    ++activity_;
    return number;
}

void SimNetwork::reset_peer(Stream& stream) {
    stream.server_reset = true;
    stream.to_peer.clear();
    stream.to_server.clear();
    ++activity_;
}

Datagram SimNetwork::receive_from(int fd) {
    std::deque<Datagram>& queue = entry(fd).datagrams;
    Datagram datagram = std::move(queue.front());
    queue.pop_front();
    ++activity_;
    return datagram;
}

void SimNetwork::send_to(Datagram answer) {
    answers_.push_back(std::move(answer));
    ++activity_;
}

} // namespace riposte::sim
