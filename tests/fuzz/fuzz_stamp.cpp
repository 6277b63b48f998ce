// The reflector of STAMP: an input is a policy and questions. Whatever arrives, an answer is never
// longer than its question, is recognized as an answer, and repeats what the sender wrote; and the
// table of sessions keeps to its size.
#include "common/stamp/packet.h"
#include "daemon/services/stamp_reflector.h"
#include "tests/fuzz/fuzz.h"

#include <algorithm>
#include <array>
#include <vector>

#include <netinet/in.h>

using namespace riposte;
using fuzz::require;

namespace {

constexpr uint64_t start_ns = 1'796'000'000'000'000'000;
constexpr size_t question_bytes_max = 1500;
constexpr int questions_max = 20;

struct Clock final : WallClock {
    uint64_t ns = start_ns;
    stamp::ErrorEstimate estimate = stamp::unknown_error;
    uint64_t now_ns() const noexcept override { return ns; }
    stamp::ErrorEstimate error_estimate() const noexcept override { return estimate; }
};

const std::array<std::byte, 32> key_bytes{};

StampPolicy read_policy(fuzz::Input& input) {
    StampPolicy policy;
    policy.stateful = input.flag();
    policy.authenticated_only = input.flag();
    if (policy.authenticated_only || input.flag())
        policy.keys.push_back({.ssid = {}, .key = stamp::Key(key_bytes)});
    if (input.flag())
        policy.dscp = static_cast<uint8_t>(input.below(64));
    policy.tlvs.location = static_cast<StampLocation>(input.below(3));
    policy.tlvs.dscps = input.number(8);
    policy.clock = input.flag() ? StampClock::system : StampClock::unknown;
    return policy;
}

SocketAddress read_address(fuzz::Input& input) {
    SocketAddress address;
    sockaddr_in6 host{};
    host.sin6_family = AF_INET6;
    host.sin6_port = htons(static_cast<uint16_t>(input.below(3)));
    host.sin6_addr.s6_addr[15] = input.byte();
    std::memcpy(&address.storage, &host, sizeof host);
    address.size = sizeof host;
    return address;
}

/// Half of the questions have a valid base packet in front of what the input says.
std::vector<std::byte> read_question(fuzz::Input& input, uint64_t now_ns) {
    const bool valid = input.flag();
    const auto mode = input.flag() ? stamp::Mode::open : stamp::Mode::authenticated;
    const stamp::Question question{
        .sequence = static_cast<uint32_t>(input.below(5)),
        .time = stamp::to_ntp(now_ns),
        .error_estimate = static_cast<uint16_t>(input.number(2)),
        .ssid = static_cast<uint16_t>(input.below(3))};
    std::vector<std::byte> packet(input.below(question_bytes_max + 1));
    const auto bytes = std::as_bytes(input.bytes(packet.size()));
    std::ranges::copy(bytes, packet.begin());
    const stamp::Layout& at = stamp::layout_of(mode);
    if (!valid || packet.size() < at.bytes)
        return packet;
    stamp::write_question(packet, mode, question);
    if (mode == stamp::Mode::authenticated)
        std::ranges::copy(
            stamp::Key(key_bytes).sign(std::span(packet).first(at.hmac)),
            packet.begin() + static_cast<std::ptrdiff_t>(at.hmac));
    return packet;
}

void require_answer(
    const std::vector<std::byte>& question, std::span<const std::byte> answer, bool grew) {
    require(grew || answer.size() == question.size(), "an answer is as long as its question");
    require(answer.size() >= stamp::twamp_answer_bytes, "an answer has its fields");
    const bool open = stamp::is_answer(answer, stamp::Mode::open);
    require(
        open || stamp::is_answer(answer, stamp::Mode::authenticated), "an answer is known as one");
    const auto mode = open ? stamp::Mode::open : stamp::Mode::authenticated;
    require(
        stamp::read_answer(answer, mode).question == stamp::read_question(question, mode),
        "the question is repeated");
}

} // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) { // NOLINT(*-naming)
    fuzz::Input input(data, size);
    const StampReflector reflector(read_policy(input));
    StampSessions sessions(StampSessions::ways, {1, 2});
    Clock clock;
    uint64_t now_ms = 1;
    for (int i = 0; i < questions_max; i++) {
        const DatagramArrival arrival{
            .peer = read_address(input),
            .local = read_address(input),
            .received_ns = clock.ns,
            .ttl = input.byte(),
            .traffic_class = input.byte()};
        const std::vector<std::byte> question = read_question(input, clock.ns);
        const bool may_grow = input.flag();
        std::vector<std::byte> buffer = question;
        if (may_grow)
            buffer.resize(std::max<size_t>(buffer.size(), stamp::open_layout.bytes));
        const StampReply reply = reflector.reflect(
            {.buffer = buffer, .size = question.size(), .arrival = arrival, .now_ms = now_ms},
            sessions, clock);
        require(reply.dscp <= dscp_max, "a DSCP has six bits");
        require(reply.size <= buffer.size(), "an answer fits");
        if (reply.outcome == StampOutcome::answered)
            require_answer(question, std::span(buffer).first(reply.size), may_grow);
        clock.estimate = stamp::ErrorEstimate::unpack(static_cast<uint16_t>(input.number(2)));
        clock.ns = input.flag() ? clock.ns + input.number(5) : clock.ns - input.number(4);
        now_ms += input.number(3);
    }
    return 0;
}
