#include "tests/sim/sim_stamp.h"

#include "common/stamp/bytes.h"
#include "common/stamp/timestamp.h"
#include "common/stamp/tlv.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include <fmt/format.h>
#include <netinet/in.h>

namespace riposte::sim {

using namespace stamp;

namespace {

constexpr HashSecret secret{3, 4};
constexpr uint16_t first_sender_port = 20'000;
constexpr uint16_t first_forged_port = 30'000; ///< SimAskers has those below 20,000
constexpr uint32_t forged_ports = 30'000;
constexpr uint32_t question_bytes_max = 1'500;
constexpr uint16_t follow_up_bytes = 16;
constexpr size_t follow_up_end = open_layout.bytes + tlv_header_bytes + follow_up_bytes;

uint64_t wall_ns(const World& world) {
    return static_cast<uint64_t>(world.wall_seconds()) * 1'000'000'000 +
           world.now_ms % 1000 * 1'000'000;
}

SocketAddress forged_address(uint32_t host, uint16_t port) {
    SocketAddress address = ipv4_address(1, port);
    sockaddr_in ipv4{};
    std::memcpy(&ipv4, &address.storage, sizeof ipv4);
    ipv4.sin_addr.s_addr = htonl(0x0a000000 | (host & 0xffffff)); // 10.0.0.0/8
    std::memcpy(&address.storage, &ipv4, sizeof ipv4);
    return address;
}

} // namespace

SimStampSenders::SimStampSenders(uint64_t seed, bool hostile)
    : random_(seed ^ 0x5741'4d50), hostile_(hostile),
      sessions_(std::make_shared<StampSessions>(
          hostile ? StampSessions::ways << random_.below(4) : 64, secret)),
      left_(random_.between(10, 80)) {
    const uint32_t count = random_.between(1, 6);
    for (uint32_t i = 0; i < count; ++i) {
        const auto port = static_cast<uint16_t>(first_sender_port + i / 2);
        senders_.push_back(
            {.peer = ipv4_address(static_cast<uint8_t>(1 + i / 2), port),
             .local = ipv4_address(100, served_port),
             .ssid = static_cast<uint16_t>(i % 2)}); // two may differ by this alone
    }
}

void SimStampSenders::act(World& world, const SimListener& listener) {
    if (left_ == 0 || world.now_ms < next_ms_)
        return;
    --left_;
    const uint32_t pause_ms = random_.chance(10) ? random_.below(20'000) : random_.below(400);
    next_ms_ = world.now_ms + pause_ms;
    ask(world, listener);
    if (random_.chance(20))
        send_back(world, listener);
    if (hostile_ && random_.chance(30))
        flood(world, listener);
}

void SimStampSenders::ask(World& world, const SimListener& listener) {
    const size_t who = random_.below(static_cast<uint32_t>(senders_.size()));
    Sender& sender = senders_[who];
    Question question{
        .sender = who,
        .datagram =
            {.peer = sender.peer,
             .local = sender.local,
             .bytes =
                 std::vector<std::byte>(random_.between(open_layout.bytes, question_bytes_max)),
             .received_ns = wall_ns(world),
             .ttl = static_cast<uint8_t>(random_.between(1, 255)),
             .traffic_class = static_cast<uint8_t>(random_.below(256))},
        .asked_at = world.wall_place()};
    write_question(
        question.datagram.bytes, Mode::open,
        {.sequence = static_cast<uint32_t>(questions_.size()),
         .time = to_ntp(random_.below(UINT32_MAX)), // its clock is its own affair
         .error_estimate = 0x8501,
         .ssid = sender.ssid});
    question.follow_up = question.datagram.bytes.size() >= follow_up_end && random_.chance(50);
    if (question.follow_up) {
        write_8(question.datagram.bytes, open_layout.bytes, tlv_unrecognized);
        write_8(
            question.datagram.bytes, open_layout.bytes + 1,
            static_cast<uint8_t>(TlvType::follow_up));
        write_16(question.datagram.bytes, open_layout.bytes + 2, follow_up_bytes);
    }
    for (uint32_t i = random_.chance(10) ? 2 : 1; i > 0; --i)
        question.deliveries += world.network.ask(listener.fd, question.datagram) ? 1U : 0U;
    world.network.faults().add(Fault::datagram_twice, question.deliveries > 1);
    asked_ += question.deliveries;
    sender.pending += question.deliveries;
    questions_.push_back(std::move(question));
}

/// From sources of which each is seen once.
void SimStampSenders::flood(World& world, const SimListener& listener) {
    for (uint32_t i = random_.between(1, 40); i > 0; --i) {
        const auto port = static_cast<uint16_t>(first_forged_port + random_.below(forged_ports));
        Datagram datagram{
            .peer = forged_address(random_.below(1U << 24), port),
            .local = ipv4_address(100, served_port),
            .bytes = std::vector<std::byte>(open_layout.bytes),
            .received_ns = wall_ns(world),
            .ttl = 1};
        write_question(datagram.bytes, Mode::open, {.error_estimate = 1});
        const bool delivered = world.network.ask(listener.fd, std::move(datagram));
        asked_ += delivered ? 1 : 0;
        world.network.faults().add(Fault::stamp_flood, delivered);
    }
}

/// As a reflector does that was made to talk with ours.
void SimStampSenders::send_back(World& world, const SimListener& listener) {
    if (!answer_)
        return;
    answer_->received_ns = wall_ns(world);
    const bool delivered = world.network.ask(listener.fd, *answer_);
    asked_ += delivered ? 1 : 0;
    refused_ += delivered ? 1 : 0;
    world.network.faults().add(Fault::answer_sent_back, delivered);
}

void SimStampSenders::check_answers(World& world) {
    std::erase_if(world.network.answers(), [&](const Datagram& answer) {
        if (answer.peer.port() < first_sender_port)
            return false;
        if (fault_.empty() && answer.peer.port() < first_forged_port)
            fault_ = check(world, answer);
        return true;
    });
}

/// What is wrong with the answer; "" if nothing is.
std::string SimStampSenders::check(const World& world, const Datagram& datagram) {
    if (datagram.bytes.size() < open_layout.bytes || !is_answer(datagram.bytes, Mode::open))
        return fmt::format("{} bytes that are no answer of STAMP", datagram.bytes.size());
    const Answer answer = read_answer(datagram.bytes, Mode::open);
    if (answer.question.sequence >= questions_.size())
        return "an answer of STAMP to no question";
    Question& question = questions_[answer.question.sequence];
    Sender& sender = senders_[question.sender];
    const Datagram& asked = question.datagram;
    const auto wrong = [&](std::string_view what) {
        return fmt::format(
            "the answer of STAMP to question {} has {}", answer.question.sequence, what);
    };
    if (!same(datagram.peer, sender.peer) || !same(datagram.local, sender.local))
        return wrong("other addresses");
    if (datagram.bytes.size() != asked.bytes.size())
        return wrong("another size");
    if (answer.question != read_question(asked.bytes, Mode::open))
        return wrong("another question");
    if (answer.receive_time != to_ntp(asked.received_ns) || answer.sender_ttl != asked.ttl)
        return wrong("another time or TTL of arrival");
    if (datagram.traffic_class != (asked.traffic_class & 0xfc))
        return wrong("another DSCP");
    const auto may_be = [&](int64_t wall) { // before 1970 there is no time
        return wall < 0 ||
               to_ntp(static_cast<uint64_t>(wall) * 1'000'000'000) >> 32 == answer.time >> 32;
    };
    if (!std::ranges::any_of(world.wall_since(question.asked_at), may_be))
        return wrong("a time of sending at which it was not sent");
    if (++question.answers > question.deliveries)
        return wrong("a copy");
    ++answers_;
    --sender.pending;
    answer_ = datagram;
    if (datagram.transmitted_ns != 0)
        sender.transmitted[answer.sequence] = datagram.transmitted_ns;
    else
        sender.transmitted.erase(answer.sequence);
    if (question.follow_up && !follows_up(sender, answer.sequence, datagram.bytes))
        return wrong("a Follow-Up that is not about the answer before");
    return check_count(world, sender, answer.sequence);
}

/// Does the answer say when the one before was transmitted, or nothing?
bool SimStampSenders::follows_up(
    const Sender& sender, uint32_t sequence, std::span<const std::byte> answer) {
    const auto value = answer.subspan(open_layout.bytes + tlv_header_bytes, follow_up_bytes);
    if (std::ranges::all_of(value, [](std::byte each) { return each == std::byte{0}; }))
        return true;
    ++follow_ups_;
    const auto before = sender.transmitted.find(sequence - 1);
    return read_32(value, 0) == sequence - 1 && before != sender.transmitted.end() &&
           read_64(value, 4) == to_ntp(before->second) && read_8(value, 12) == 2;
}

/// The number of an answer goes on, or begins anew if the session may be forgotten.
std::string SimStampSenders::check_count(const World& world, Sender& sender, uint32_t sequence) {
    const uint64_t idle_ms = world.now_ms - sender.heard_ms;
    const bool goes_on = sender.last && sequence > *sender.last;
    if (!goes_on && sender.last && sender.confirmed && idle_ms < StampSessions::newcomer_ms)
        return fmt::format(
            "the session of {} begins anew at {}, after {} and {} ms", to_string(sender.peer),
            sequence, *sender.last, idle_ms);
    if (!hostile_ && sequence != (sender.last ? *sender.last + 1 : 0))
        return fmt::format("the session of {} goes on at {}", to_string(sender.peer), sequence);
    const bool paused = std::exchange(sender.paused, false);
    const bool in_a_row = goes_on && sequence == *sender.last + 1 && sender.pending == 0 && !paused;
    sender.began_ms = in_a_row ? sender.began_ms : world.now_ms;
    sender.confirmed &= goes_on;
    sender.confirmed |= world.now_ms - sender.began_ms >= StampSessions::confirm_ms;
    kept_ += goes_on ? 1 : 0;
    sender.last = sequence;
    sender.heard_ms = world.now_ms;
    return "";
}

void SimStampSenders::restart(bool handed_over) {
    const std::shared_ptr<StampSessions> before = std::exchange(
        sessions_,
        std::make_shared<StampSessions>(static_cast<uint32_t>(sessions_->places().size()), secret));
    if (handed_over)
        for (const StampSession& session : std::as_const(*before).places())
            sessions_->adopt(session);
    else
        for (Sender& sender : senders_)
            sender.confirmed = false;
}

void SimStampSenders::process_paused() {
    for (Sender& sender : senders_) {
        sender.paused = true;
        sender.confirmed = false;
    }
}

void SimStampSenders::wall_was_set() {
    for (Question& question : questions_)
        if (question.answers < question.deliveries && !question.excused) {
            question.excused = true;
            excused_ += question.deliveries - question.answers;
        }
}

uint32_t SimStampSenders::unanswered() const {
    uint32_t count = 0;
    for (const Question& question : questions_)
        count += question.excused ? 0 : question.deliveries - question.answers;
    return count;
}

} // namespace riposte::sim
