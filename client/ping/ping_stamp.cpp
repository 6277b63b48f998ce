// Probes to a reflector of STAMP: the sockets and the fate of each probe are those of any ping over
// UDP; what is sent and how an answer is understood is StampAccount's.
//
// Both ends of a round trip are taken on CLOCK_MONOTONIC; T1 in the packet is CLOCK_REALTIME, read
// together with it just before the packet leaves. The reflector's residence is no part of it.
//
// When the last probe is decided, and probes before it got no answer since the last one that did,
// some closing questions follow: an answer to one of them says on which way those were lost.
#include "client/ping/ping_stamp.h"

#include "client/ping/ping_targets.h"
#include "client/ping/ping_udp.h"
#include "client/stamp/stamp_account.h"
#include "common/clock.h"
#include "common/clock_error.h"

#include <algorithm>
#include <utility>

namespace riposte::client {

namespace {

constexpr uint64_t clock_state_ns = 1'000'000'000; ///< the kernel is asked again after that time
constexpr uint64_t closing_max = 4;                ///< questions
constexpr uint64_t closing_pace_min_ns = 20'000'000;
constexpr uint64_t closing_pace_max_ns = 500'000'000;

std::string_view text_of(ReplyFault fault) {
    switch (fault) {
    case ReplyFault::echo:
        return "copies the question: no STAMP reflector";
    case ReplyFault::too_short:
        return "too short for an answer of STAMP or TWAMP Light";
    case ReplyFault::unauthenticated:
        return "without a valid HMAC";
    case ReplyFault::other_session:
        return "of another session (SSID)";
    case ReplyFault::no_multiplier:
        return "with an invalid error estimate (multiplier 0)";
    case ReplyFault::none:
        break;
    }
    return "";
}

/// The error of a clock that is not synchronized is unknown.
stamp::ErrorEstimate own_clock_error() {
    const auto known = read_clock_error();
    return known && known->synchronized
               ? stamp::estimate_of(known->error_ns, true, stamp::TimeFormat::ntp)
               : stamp::unknown_error;
}

class StampProber final : public UdpProber {
public:
    StampProber(ProberSettings given, EventLoop& its_loop, ProbeListener& its_listener)
        : UdpProber(std::move(given), its_loop, its_listener),
          stamp_(*settings().stamp, settings().ping.window) {
        stamp_.set_ttl(settings().target.path.ttl.value_or(stamp_ttl));
        account().set_stamp(stamp_.result());
    }

    Result<void> send(uint64_t due_ns) override {
        stamp_.ask();
        return UdpProber::send(due_ns);
    }
    Result<void> expire(uint64_t now_ns) override;
    uint64_t next_deadline_ns() const override {
        return std::min(UdpProber::next_deadline_ns(), must_close() ? closing_due_ns_ : UINT64_MAX);
    }
    void linger(uint64_t now_ns, bool was_cut_short) override {
        lingers_ = true;
        UdpProber::linger(now_ns, was_cut_short);
    }

protected:
    std::span<const std::byte> payload(uint64_t sequence) override;
    std::optional<ProbeOutcome> take(
        std::span<const std::byte> bytes, ReceiveTime received, const ReplyHeader& header) override;
    std::optional<uint64_t> quoted(std::span<const std::byte> bytes) override;
    void note_failed(uint64_t sequence) override { stamp_.note_failed(sequence); }
    void keep_series(uint64_t started_ns) override { stamp_.keep_series(started_ns); }

private:
    ProbeOutcome take_answer(const StampAccount::Found& found, uint64_t received_ns, size_t bytes);
    ProbeOutcome take_fault(const StampAccount::Found& found, uint64_t received_ns, size_t bytes);
    bool must_close() const;
    void close(uint64_t now_ns);

    StampAccount stamp_;
    stamp::ErrorEstimate own_error_;
    uint64_t own_error_read_ns_ = 0;
    bool lingers_ = false;
    bool closed_ = false;         ///< an answer to a closing question came, or none will
    uint64_t closing_due_ns_ = 0; ///< the next closing question, or the end of the wait for answers
};

std::span<const std::byte> StampProber::payload(uint64_t sequence) {
    const Clocks now = read_clocks();
    if (own_error_read_ns_ == 0 || now.monotonic_ns - own_error_read_ns_ > clock_state_ns) {
        own_error_ = own_clock_error();
        own_error_read_ns_ = now.monotonic_ns;
    }
    const OwnTime time{.monotonic_ns = now.monotonic_ns, .realtime_ns = now.realtime_ns};
    return stamp_.write(sequence, time, own_error_);
}

std::optional<ProbeOutcome> StampProber::take(
    std::span<const std::byte> bytes, ReceiveTime received, const ReplyHeader& header) {
    const auto found = stamp_.read(bytes);
    if (found && found->is_closing) {
        if (found->reply.fault == ReplyFault::none)
            stamp_.note_order(*found);
        closed_ = true;
        return std::nullopt;
    }
    if (!found || !account().remembers(found->asked.sequence)) {
        stamp_.note_stray(bytes);
        return account().stray(bytes.size());
    }
    account().note_header(header);
    ProbeOutcome arrival = found->reply.fault == ReplyFault::none
                               ? take_answer(*found, received.ns, bytes.size())
                               : take_fault(*found, received.ns, bytes.size());
    arrival.header = header;
    return arrival;
}

ProbeOutcome StampProber::take_answer(
    const StampAccount::Found& found, uint64_t received_ns, size_t bytes) {
    stamp_.note_order(found);
    const ProbeOutcome arrival = account().judged(
        {.sequence = found.asked.sequence,
         .outcome = Outcome::answered,
         .sent_ns = found.asked.sent.monotonic_ns,
         .received_ns = received_ns,
         .apart_ns = StampAccount::residence_ns(found, received_ns),
         .bytes = bytes});
    if (arrival.outcome == Outcome::answered)
        stamp_.note_first(found, received_ns);
    return arrival;
}

/// What such an answer says of numbers is not to be trusted.
ProbeOutcome StampProber::take_fault(
    const StampAccount::Found& found, uint64_t received_ns, size_t bytes) {
    const ReplyFault fault = found.reply.fault;
    stamp_.note_fault(fault);
    ProbeOutcome arrival = account().judged(
        {.sequence = found.asked.sequence,
         .outcome = fault == ReplyFault::too_short ? Outcome::wrong_size : Outcome::corrupted,
         .sent_ns = found.asked.sent.monotonic_ns,
         .received_ns = received_ns,
         .apart_ns = 0,
         .bytes = bytes});
    if (arrival.outcome != Outcome::pending)
        stamp_.note_failed(found.asked.sequence);
    arrival.fault = text_of(fault);
    return arrival;
}

std::optional<uint64_t> StampProber::quoted(std::span<const std::byte> bytes) {
    const auto sequence = stamp_.quoted(bytes);
    if (!sequence || !stamp_.is_closing(*sequence))
        return sequence;
    stamp_.note_failed(*sequence);
    closed_ = true; // the host refuses
    return std::nullopt;
}

/// Is there a tail to be settled, by a reflector that counts?
bool StampProber::must_close() const {
    if (!lingers_ || closed_ || account().oldest_waiting())
        return false;
    const DirectionBooks& books = stamp_.result()->books;
    return books.counting() == Counting::session && books.has_tail();
}

void StampProber::close(uint64_t now_ns) {
    stamp_.close();
    if (stamp_.result()->closing >= closing_max) {
        closed_ = true;
        return;
    }
    const uint64_t sequence = stamp_.ask();
    if (send_aside(payload(sequence)) != 0)
        stamp_.note_failed(sequence);
    closing_due_ns_ =
        now_ns +
        (stamp_.result()->closing < closing_max
             ? std::clamp(2 * result().rtt.max_ns(), closing_pace_min_ns, closing_pace_max_ns)
             : result().wait_ns);
}

Result<void> StampProber::expire(uint64_t now_ns) {
    if (auto done = UdpProber::expire(now_ns); !done)
        return done;
    if (must_close() && now_ns >= closing_due_ns_)
        close(now_ns);
    return {};
}

} // namespace

QuestionShape question_shape(const StampOptions& options, const PathOptions& path) {
    QuestionShape shape;
    if (!options.key.empty())
        shape.key = std::make_shared<const stamp::Key>(options.key);
    shape.dscp = path.dscp;
    // 0 means that there is none.
    const auto random_ssid = static_cast<uint16_t>(random_session() % UINT16_MAX + 1);
    shape.ssid = options.ssid.value_or(random_ssid);
    shape.bytes = options.bytes.value_or(static_cast<uint32_t>(base_bytes(shape)));
    return shape;
}

std::vector<std::byte> write_stamp_trial(const QuestionShape& shape) {
    StampAccount account(shape, 1);
    const Clocks now = read_clocks();
    const auto packet = account.write(
        account.ask(), {.monotonic_ns = now.monotonic_ns, .realtime_ns = now.realtime_ns},
        stamp::unknown_error);
    return {packet.begin(), packet.end()};
}

std::unique_ptr<Prober> make_stamp_prober(
    ProberSettings settings, EventLoop& loop, ProbeListener& listener) {
    return std::make_unique<StampProber>(std::move(settings), loop, listener);
}

} // namespace riposte::client
