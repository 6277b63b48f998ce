// Trains of datagrams against a UDP echo: a closed loop over several flows.
//
// Each flow is a connected socket. It sends a whole train at once (one sendmmsg, or with -g sends
// that the kernel cuts into datagrams), and the next train when the last one is settled: every
// datagram was answered, or 200 ms have passed and the missing ones are lost. Each datagram has a
// sequence number, and every reply is compared byte for byte. A reply, correct or corrupted,
// settles the datagram with its number; a reply to an earlier train is late if that datagram had
// been given up, else duplicated. So each datagram is answered, corrupted, lost or pending; a
// corrupted reply to one that had been given up counts as both.
//
//     datagram_trains -p PORT [-f FLOWS] [-s BYTES] [-t TRAIN] [-g] [-d SECONDS] [-w WARMUP]
//                     [-b BIND_ADDRESSES]
//
// -g: segmentation on sending (UDP_SEGMENT) and coalescing on receiving (UDP_GRO). -b N: the flows
// leave from N addresses, 127.0.0.2 and up; without it from 127.0.0.1. A train of one datagram
// makes a ping-pong, with plain send and recv. Corrupted and duplicated answers count in the
// warm-up too.
#include "tests/bench/bench_support.h"

#include <algorithm>

#include <netinet/udp.h>
#include <sys/epoll.h>

using namespace riposte;
using namespace riposte::bench;

namespace {

constexpr uint64_t give_up_ns = 200 * ns_per_ms;
constexpr uint64_t look_interval_ns = 10 * ns_per_ms; ///< between searches for overdue trains
constexpr unsigned payload_max = 65507;
constexpr unsigned segments_max = 64;
constexpr unsigned batch_max = 64;
constexpr size_t coalesced_max = 65536;
constexpr int socket_buffer_bytes = 4 << 20; ///< asked for; the system may give less
constexpr int events_max = 256;
constexpr unsigned flow_shift = 40; ///< above the sequence number's own bits: the flow

struct Settings {
    unsigned port = 0;
    unsigned flows = 4;
    unsigned bytes = 1200;
    unsigned train = 32;
    bool segmentation = false;
    double seconds = 5;
    double warmup = 1;
    unsigned sources = 0;

    /// How many datagrams leave with one send.
    unsigned segments() const {
        return segmentation ? std::min({payload_max / bytes, segments_max, train}) : 1;
    }
    bool ping_pong() const { return train == 1 && !segmentation; }
};

struct Flow {
    Fd fd;
    uint64_t origin = 0; ///< sequence number of the first datagram of all
    uint64_t first = 0;  ///< and of the train's first
    uint64_t sent_ns = 0;
    unsigned waiting = 0;         ///< datagrams of the train that are not settled
    uint64_t missing = 0;         ///< datagrams of earlier trains that never came
    std::vector<uint8_t> settled; ///< one for each datagram of the train
};

struct Totals {
    uint64_t sent = 0;
    uint64_t answered = 0;
    uint64_t lost = 0;
    uint64_t late = 0;
    client::Histogram round_trips; ///< of whole trains, none of them lost
};

/// Room for one message of a batch that is received.
struct Slot {
    iovec piece{};
    alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int))] = {};
};

class DatagramTrains {
public:
    explicit DatagramTrains(const Settings& settings)
        : settings_(settings), messages_(settings.bytes), epoll_(epoll_create1(EPOLL_CLOEXEC)),
          flows_(settings.flows), train_(size_t{settings.train} * settings.bytes) {
        if (!epoll_)
            die("epoll_create1");
        prepare_sending();
        prepare_receiving();
        for (unsigned i = 0; i < settings_.flows; i++)
            open(i);
    }

    void run_until(uint64_t end_ns) {
        epoll_event events[events_max];
        if (next_look_ns_ == 0)
            send_first();
        for (uint64_t now = monotonic_ns(); now < end_ns; now = monotonic_ns()) {
            if (now >= next_look_ns_)
                give_up_overdue(now);
            const int count =
                epoll_wait(epoll_.get(), events, events_max, look_interval_ns / ns_per_ms);
            if (count < 0 && errno != EINTR)
                die("epoll_wait");
            for (int i = 0; i < count; i++)
                receive(flows_[events[i].data.u32]);
        }
    }

    /// Pending datagrams will be answered or lost in the measured time, so they count as sent in
    /// it.
    void start_counting() {
        totals_ = Totals{};
        for (const Flow& flow : flows_)
            totals_.sent += flow.waiting;
    }

    void report(const Measured& measured) const {
        JsonLine line;
        line.add("answered", totals_.answered);
        line.add("seconds", measured.seconds);
        line.add("sent", totals_.sent);
        line.add("lost", totals_.lost);
        line.add("late", totals_.late);
        line.add("duplicated", duplicated_);
        line.add("corrupted", corrupted_);
        line.add("cpu_seconds", measured.cpu_seconds);
        line.add("trains", totals_.round_trips.count());
        line.add_percentiles(
            totals_.round_trips, 1e3, "us", {{"p50", 50}, {"p99", 99}, {"p99_9", 99.9}});
        line.add("segmentation", settings_.segments() > 1);
        line.print();
    }

private:
    // A train lies in one buffer that all flows use: the kernel copies it when it is sent.
    void prepare_sending() {
        const unsigned segments = settings_.segments();
        const unsigned count = (settings_.train + segments - 1) / segments;
        pieces_.resize(count);
        sending_.resize(count);
        for (unsigned i = 0; i < count; i++) {
            const size_t datagrams = std::min(segments, settings_.train - i * segments);
            pieces_[i] = {
                .iov_base = train_.data() + size_t{i} * segments * settings_.bytes,
                .iov_len = datagrams * settings_.bytes};
            sending_[i].msg_hdr.msg_iov = &pieces_[i];
            sending_[i].msg_hdr.msg_iovlen = 1;
        }
    }

    // One byte more than is right, so that an answer that is too long is seen.
    void prepare_receiving() {
        const size_t room = settings_.segmentation ? coalesced_max : size_t{settings_.bytes} + 1;
        const size_t batch = std::min(settings_.train, batch_max);
        received_.resize(room * batch);
        slots_.resize(batch);
        receiving_.resize(batch);
        for (size_t i = 0; i < batch; i++) {
            slots_[i].piece = {.iov_base = received_.data() + i * room, .iov_len = room};
            receiving_[i].msg_hdr.msg_iov = &slots_[i].piece;
            receiving_[i].msg_hdr.msg_iovlen = 1;
            receiving_[i].msg_hdr.msg_control =
                settings_.segmentation ? slots_[i].control : nullptr;
            receiving_[i].msg_hdr.msg_controllen =
                settings_.segmentation ? sizeof slots_[i].control : 0;
        }
    }

    void open(unsigned index) {
        Flow& flow = flows_[index];
        flow.fd = Fd(socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
        if (!flow.fd)
            die("socket");
        set_option(flow.fd, SOL_SOCKET, SO_RCVBUF, socket_buffer_bytes, "SO_RCVBUF");
        set_option(flow.fd, SOL_SOCKET, SO_SNDBUF, socket_buffer_bytes, "SO_SNDBUF");
        if (settings_.segmentation)
            set_option(flow.fd, SOL_UDP, UDP_GRO, 1, "UDP_GRO");
        if (settings_.segments() > 1)
            set_option(
                flow.fd, SOL_UDP, UDP_SEGMENT, static_cast<int>(settings_.bytes), "UDP_SEGMENT");
        if (settings_.sources > 0 &&
            bind_to(flow.fd, loopback(2 + index % settings_.sources, 0)) != 0)
            die("bind");
        if (connect_to(flow.fd, loopback(1, settings_.port)) != 0)
            die("connect");
        epoll_event event{};
        event.events = EPOLLIN;
        event.data.u32 = index;
        if (epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, flow.fd.get(), &event) != 0)
            die("epoll_ctl");
        flow.origin = flow.first = uint64_t{index} << flow_shift;
        flow.settled.resize(settings_.train);
    }

    void send_first() {
        next_look_ns_ = monotonic_ns() + look_interval_ns;
        for (Flow& flow : flows_)
            send_train(flow, monotonic_ns());
    }

    void send_train(Flow& flow, uint64_t now) {
        for (unsigned i = 0; i < settings_.train; i++)
            messages_.write(flow.first + i, train_.data() + size_t{i} * settings_.bytes);
        std::ranges::fill(flow.settled, uint8_t{0});
        flow.waiting = settings_.train;
        flow.sent_ns = now;
        totals_.sent += settings_.train;
        if (sending_.size() == 1) {
            if (send(flow.fd.get(), pieces_[0].iov_base, pieces_[0].iov_len, 0) < 0)
                die("send");
            return;
        }
        for (size_t done = 0; done < sending_.size();) {
            const int count = sendmmsg(
                flow.fd.get(), sending_.data() + done,
                static_cast<unsigned>(sending_.size() - done), 0);
            if (count < 0)
                die("sendmmsg");
            done += static_cast<size_t>(count);
        }
    }

    void receive(Flow& flow) {
        if (settings_.ping_pong())
            receive_one(flow);
        else
            receive_batch(flow);
        if (flow.waiting == 0) {
            const uint64_t now = monotonic_ns();
            totals_.round_trips.record(now - flow.sent_ns);
            flow.first += settings_.train;
            send_train(flow, now);
        }
    }

    void receive_one(Flow& flow) {
        const ssize_t size = recv(flow.fd.get(), received_.data(), received_.size(), MSG_DONTWAIT);
        if (size >= 0)
            judge(flow, received_.data(), static_cast<size_t>(size));
        else if (errno != EAGAIN)
            die("recv");
    }

    void receive_batch(Flow& flow) {
        const int count = recvmmsg(
            flow.fd.get(), receiving_.data(), static_cast<unsigned>(receiving_.size()),
            MSG_DONTWAIT, nullptr);
        if (count < 0) {
            if (errno != EAGAIN)
                die("recvmmsg");
            return;
        }
        for (size_t i = 0; i < static_cast<size_t>(count); i++) {
            const auto* data = static_cast<const std::byte*>(slots_[i].piece.iov_base);
            const size_t size = receiving_[i].msg_len;
            if (!settings_.segmentation) {
                judge(flow, data, size);
                continue;
            }
            // At least once: an empty datagram is an answer, too.
            const size_t segment = segment_bytes(receiving_[i].msg_hdr, size);
            size_t at = 0;
            do {
                const size_t part = std::min(segment, size - at);
                judge(flow, data + at, part);
                at += part;
            } while (at < size);
            receiving_[i].msg_hdr.msg_controllen = sizeof slots_[i].control;
        }
    }

    /// The size of the datagrams that the kernel joined; the whole size if it joined none.
    static size_t segment_bytes(msghdr& message, size_t size) {
        const cmsghdr* control = CMSG_FIRSTHDR(&message);
        if (control == nullptr || control->cmsg_level != SOL_UDP || control->cmsg_type != UDP_GRO)
            return size;
        int segment = 0;
        memcpy(&segment, CMSG_DATA(control), sizeof segment);
        return segment > 0 ? static_cast<size_t>(segment) : size;
    }

    void judge(Flow& flow, const std::byte* data, size_t size) {
        if (size < Messages::header_bytes) {
            corrupted_++;
            return;
        }
        const uint64_t sequence = Messages::sequence_of(data);
        const bool right = messages_.is_right(sequence, data, size);
        const uint64_t place = sequence - flow.first; // huge for what is not of this train
        if (place < settings_.train) {
            if (flow.settled[place] != 0) {
                duplicated_++;
                return;
            }
            flow.settled[place] = 1;
            flow.waiting--;
            ++(right ? totals_.answered : corrupted_);
        } else if (!right || sequence < flow.origin || sequence >= flow.first) {
            corrupted_++;
        } else if (flow.missing > 0) {
            flow.missing--;
            totals_.late++;
        } else {
            duplicated_++;
        }
    }

    void give_up_overdue(uint64_t now) {
        next_look_ns_ = now + look_interval_ns;
        for (Flow& flow : flows_) {
            if (now - flow.sent_ns < give_up_ns)
                continue;
            totals_.lost += flow.waiting;
            flow.missing += flow.waiting;
            flow.first += settings_.train;
            send_train(flow, now);
        }
    }

    Settings settings_;
    Messages messages_;
    Fd epoll_;
    std::vector<Flow> flows_;
    std::vector<std::byte> train_;
    std::vector<iovec> pieces_;
    std::vector<mmsghdr> sending_;
    std::vector<std::byte> received_;
    std::vector<Slot> slots_;
    std::vector<mmsghdr> receiving_;
    uint64_t next_look_ns_ = 0;
    uint64_t corrupted_ = 0;
    uint64_t duplicated_ = 0;
    Totals totals_;
};

bool parse(int argc, char** argv, Settings& settings) {
    Options options("-p PORT [-f FLOWS] [-s BYTES] [-t TRAIN] [-g] [-d SECONDS] [-w WARMUP] "
                    "[-b BIND_ADDRESSES]");
    options.port(settings.port);
    options.number('f', settings.flows, 1, 19000);
    options.number('s', settings.bytes, Messages::header_bytes, payload_max);
    options.number('t', settings.train, 1, 1024);
    options.flag('g', settings.segmentation);
    options.times(settings.seconds, settings.warmup);
    options.number('b', settings.sources, 0, 65000);
    return options.parse(argc, argv);
}

} // namespace

int main(int argc, char** argv) {
    Settings settings;
    if (!parse(argc, argv, settings))
        return 2;
    raise_descriptor_limit(settings.flows + 16);
    DatagramTrains load(settings);
    load.report(measure(load, settings.warmup, settings.seconds));
    return 0;
}
