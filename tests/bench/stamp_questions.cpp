// Questions of STAMP against a reflector, or against an echo that returns them: a closed loop over
// several sessions.
//
// Each session is a connected socket with one question in flight. An answer is measured: how long
// the reflector had the question (T3 - T2), and how much later than it says (T3) the answer left.
// On loopback the kernel stamps the arrival of a datagram right after it has sent it, so that time
// stands for the one of sending.
//
//     stamp_questions -p PORT [-f SESSIONS] [-s BYTES] [-a] [-e] [-d SECONDS] [-w WARMUP]
//
// -a: authenticated questions, with the key of 32 zero bytes. -e: the other side is an echo, whose
// answers have no times.
#include "common/stamp/hmac.h"
#include "common/stamp/packet.h"
#include "common/stamp/timestamp.h"
#include "tests/bench/bench_support.h"

#include <algorithm>
#include <array>
#include <span>

#include <sys/epoll.h>

using namespace riposte;
using namespace riposte::bench;

namespace {

constexpr uint64_t give_up_ns = 200 * ns_per_ms;
constexpr int events_max = 256;
constexpr size_t packet_max = 1500;

struct Settings {
    unsigned port = 0;
    unsigned sessions = 64;
    unsigned bytes = 112;
    bool authenticated = false;
    bool echo = false;
    double seconds = 3;
    double warmup = 0.5;
};

struct Session {
    Fd fd;
    uint32_t sequence = 0;
    uint64_t sent_ns = 0;
};

uint64_t arrival_ns(const msghdr& message) {
    for (const cmsghdr* c = CMSG_FIRSTHDR(&message); c != nullptr;
         c = CMSG_NXTHDR(const_cast<msghdr*>(&message), const_cast<cmsghdr*>(c)))
        if (c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_TIMESTAMPNS) {
            timespec time{};
            memcpy(&time, CMSG_DATA(c), sizeof time);
            return static_cast<uint64_t>(time.tv_sec) * ns_per_second +
                   static_cast<uint64_t>(time.tv_nsec);
        }
    return 0;
}

class Questions {
public:
    explicit Questions(const Settings& settings)
        : settings_(settings),
          mode_(settings.authenticated ? stamp::Mode::authenticated : stamp::Mode::open),
          key_(std::array<std::byte, 32>{}), epoll_(epoll_create1(EPOLL_CLOEXEC)),
          sessions_(settings.sessions) {
        if (!epoll_)
            die("epoll_create1");
        for (unsigned i = 0; i < settings_.sessions; i++)
            open(i);
    }

    void run_until(uint64_t end_ns) {
        epoll_event events[events_max];
        for (uint64_t now = monotonic_ns(); now < end_ns; now = monotonic_ns()) {
            if (now - looked_ns_ >= give_up_ns)
                ask_again(now);
            const int count = epoll_wait(epoll_.get(), events, events_max, 10);
            if (count < 0 && errno != EINTR)
                die("epoll_wait");
            for (int i = 0; i < count; i++)
                receive(sessions_[events[i].data.u32]);
        }
    }

    void start_counting() {
        answered_ = lost_ = wrong_ = 0;
        residence_.clear();
        late_.clear();
    }

    void report(const Measured& measured) const {
        JsonLine line;
        line.add("answered", answered_);
        line.add("lost", lost_);
        line.add("wrong", wrong_);
        line.add("seconds", measured.seconds);
        line.add("cpu_seconds", measured.cpu_seconds);
        if (!settings_.echo) {
            line.add_percentiles(residence_, 1e3, "residence_us", {{"p50", 50}, {"p99", 99}});
            line.add_percentiles(late_, 1e3, "t3_error_us", {{"p50", 50}, {"p99", 99}});
        }
        line.print();
    }

private:
    void open(unsigned number) {
        Session& session = sessions_[number];
        session.fd = Fd(socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
        if (!session.fd)
            die("socket");
        set_option(session.fd, SOL_SOCKET, SO_TIMESTAMPNS, 1, "SO_TIMESTAMPNS");
        if (connect_to(session.fd, loopback(1, settings_.port)) != 0)
            die("connect");
        epoll_event event{};
        event.events = EPOLLIN;
        event.data.u32 = number;
        if (epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, session.fd.get(), &event) != 0)
            die("epoll_ctl");
    }

    void ask(Session& session) {
        const std::span packet = std::span(packet_).first(settings_.bytes);
        stamp::write_question(
            packet, mode_,
            {.sequence = session.sequence,
             .time = stamp::to_ntp(realtime_ns()),
             .error_estimate = stamp::unknown_error.pack(),
             .ssid = 1});
        const size_t hmac = stamp::layout_of(mode_).hmac;
        if (settings_.authenticated)
            std::ranges::copy(key_.sign(packet.first(hmac)), packet.subspan(hmac).begin());
        session.sent_ns = monotonic_ns();
        if (send(session.fd.get(), packet.data(), packet.size(), 0) < 0 && errno != EAGAIN &&
            errno != ENOBUFS)
            die("send");
    }

    void ask_again(uint64_t now) {
        looked_ns_ = now;
        for (Session& session : sessions_)
            if (session.sent_ns == 0 || now - session.sent_ns >= give_up_ns) {
                lost_ += session.sent_ns != 0 ? 1 : 0;
                ++session.sequence;
                ask(session);
            }
    }

    void receive(Session& session) {
        std::array<std::byte, packet_max> answer{};
        iovec piece{.iov_base = answer.data(), .iov_len = answer.size()};
        alignas(cmsghdr) std::array<char, 128> control{};
        msghdr message{};
        message.msg_iov = &piece;
        message.msg_iovlen = 1;
        message.msg_control = control.data();
        message.msg_controllen = control.size();
        const ssize_t size = recvmsg(session.fd.get(), &message, 0);
        if (size < 0) {
            if (errno == EAGAIN)
                return;
            die("recvmsg");
        }
        const std::span packet = std::span(answer).first(static_cast<size_t>(size));
        if (packet.size() != settings_.bytes || !count(session, packet, arrival_ns(message))) {
            ++wrong_;
            return;
        }
        ++answered_;
        ++session.sequence;
        ask(session);
    }

    /// False if it is not the answer to the session's question.
    bool count(const Session& session, std::span<const std::byte> packet, uint64_t arrived_ns) {
        if (settings_.echo)
            return stamp::read_question(packet, mode_).sequence == session.sequence;
        if (!stamp::is_answer(packet, mode_))
            return false;
        const stamp::Answer found = stamp::read_answer(packet, mode_);
        const auto time = [&](uint64_t bits) {
            return stamp::from_timestamp(bits, stamp::TimeFormat::ntp, arrived_ns);
        };
        const uint64_t sent_ns = time(found.time);
        residence_.record(sent_ns - std::min(sent_ns, time(found.receive_time)));
        late_.record(arrived_ns - std::min(arrived_ns, sent_ns));
        return found.question.sequence == session.sequence;
    }

    Settings settings_;
    stamp::Mode mode_;
    stamp::Key key_;
    Fd epoll_;
    std::vector<Session> sessions_;
    std::array<std::byte, packet_max> packet_{};
    uint64_t looked_ns_ = 0;
    uint64_t answered_ = 0;
    uint64_t lost_ = 0;
    uint64_t wrong_ = 0;
    client::Histogram residence_;
    client::Histogram late_;
};

} // namespace

int main(int argc, char** argv) {
    Settings settings;
    Options options("-p PORT [-f SESSIONS] [-s BYTES] [-a] [-e] [-d SECONDS] [-w WARMUP]");
    options.port(settings.port);
    options.number('f', settings.sessions, 1, 1000);
    options.number('s', settings.bytes, 112, packet_max);
    options.flag('a', settings.authenticated);
    options.flag('e', settings.echo);
    options.times(settings.seconds, settings.warmup);
    if (!options.parse(argc, argv))
        return 2;
    Questions load(settings);
    load.report(measure(load, settings.warmup, settings.seconds));
}
