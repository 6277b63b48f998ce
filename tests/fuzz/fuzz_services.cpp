// The services, by their contract (daemon/services/service.h): for any bytes, in any pieces and
// with any room, the reply is that of the service's RFC, which is implemented a second time here
// and in tests/sim/sim_answers.h.
//
//   streams    two runs over the same bytes, each cut in its own way; both must give the model's
//              reply. A reply fits into its buffer, and the bytes behind it and behind the input do
//              not change. Where a service says that another process could continue, another one
//              does: its state is discarded.
//   datagrams  several are adjacent in one buffer, as in a train; a reply is no longer than its
//              request, and changes neither the bytes behind it nor its neighbours.
#include "daemon/services/service.h"
#include "tests/fuzz/fuzz.h"
#include "tests/sim/sim_answers.h"

#include <memory>
#include <vector>

using namespace riposte;
using fuzz::require;

namespace {

constexpr size_t payload_bytes_max = 4096;
constexpr size_t generated_bytes_max = 32'768; // chargen is endless
constexpr uint32_t calls_max = 64;
constexpr size_t datagrams_max = 64;
constexpr std::byte untouched{0xa5};

struct Subject {
    ServiceKind kind;
    std::string message;
    ServiceContext context;
    std::shared_ptr<const Service> service;
};

Subject read_subject(fuzz::Input& input) {
    Subject subject{
        .kind = static_cast<ServiceKind>(input.below(6)),
        .message = {},
        .context = {},
        .service = {}};
    // 34,000 years, more than a clock knows.
    subject.context.wall_seconds = static_cast<int64_t>(input.number(5)) * (input.flag() ? -1 : 1);
    subject.message = input.text(1 + input.below(message_bytes_max));
    if (subject.message.empty())
        subject.message = "x";
    subject.service = make_service(subject.kind, {.message = subject.message});
    return subject;
}

// Streams -----------------------------------------------------------------------------------------

/// One connection, and its result.
class Run {
public:
    Run(const Subject& subject, fuzz::Input& choices) : subject_(subject), choices_(choices) {}

    void go(std::span<const uint8_t> payload) {
        bool generating = subject_.service->speaks_first();
        for (uint32_t calls = 0; !finished_ && (generating || !payload.empty()); calls++) {
            if (calls == calls_max)
                return; // in the middle
            if (generating && (payload.empty() || choices_.flag())) {
                generating = generate();
                continue;
            }
            const size_t size = std::min<size_t>(1 + choices_.below(600), payload.size());
            arrive(payload.first(size));
            payload = payload.subspan(size);
        }
        if (!finished_)
            peer_finishes();
    }

    /// The replies, concatenated.
    const std::vector<std::byte>& answered() const { return answered_; }
    size_t received() const { return received_; } ///< bytes
    bool finished() const { return finished_; }
    size_t room() const { return room_; } ///< of the last call

private:
    bool generate() {
        const StreamReply reply = call(0, [&](auto buffer) {
            return subject_.service->writable(subject_.context, state_, buffer);
        });
        return reply.size > 0 && !reply.finish && answered_.size() < generated_bytes_max;
    }

    void arrive(std::span<const uint8_t> bytes) {
        arrived_ = std::as_bytes(bytes);
        received_ += bytes.size();
        call(bytes.size(), [&](auto buffer) {
            return subject_.service->arrived(subject_.context, state_, buffer, bytes.size());
        });
    }

    void peer_finishes() {
        call(0, [&](auto buffer) {
            return subject_.service->peer_finished(subject_.context, state_, buffer);
        });
        finished_ = true;
    }

    /// A buffer of its own for each call, so that AddressSanitizer sees its end.
    template<class Call>
    StreamReply call(size_t size, Call&& ask) {
        if (subject_.service->resumable(state_) && choices_.flag())
            state_ = StreamState{}; // another process
        room_ = std::max<size_t>(size, 1 + choices_.below(2 * message_bytes_max));
        std::vector<std::byte> buffer(room_, untouched);
        std::ranges::copy(arrived_.first(size), buffer.begin());
        const StreamReply reply = ask(std::span(buffer));
        require(reply.size <= room_, "an answer fits into its buffer");
        for (size_t at = std::max<size_t>(size, reply.size); at < room_; at++)
            require(buffer[at] == untouched, "what is behind the answer stays as it was");
        answered_.insert(answered_.end(), buffer.begin(), buffer.begin() + reply.size);
        finished_ = reply.finish;
        return reply;
    }

    const Subject& subject_;
    fuzz::Input& choices_;
    StreamState state_{};
    std::span<const std::byte> arrived_;
    std::vector<std::byte> answered_;
    size_t received_ = 0;
    size_t room_ = 0;
    bool finished_ = false;
};

bool starts_with(std::string_view whole, std::span<const std::byte> answered, size_t room) {
    return sim::text_of(answered) == whole.substr(0, room);
}

void require_answer(const Subject& subject, std::span<const uint8_t> payload, const Run& run) {
    const std::vector<std::byte>& answered = run.answered();
    switch (subject.kind) {
    case ServiceKind::hello:
        require(run.finished(), "hello finishes with its greeting");
        require(starts_with(subject.message, answered, run.room()), "hello greets, once");
        break;
    case ServiceKind::echo:
        require(
            std::ranges::equal(answered, std::as_bytes(payload.first(run.received()))),
            "echo gives what it got");
        break;
    case ServiceKind::discard:
    case ServiceKind::stamp: // it has a target of its own, fuzz_stamp
        require(answered.empty(), "discard says nothing");
        break;
    case ServiceKind::daytime:
        if (run.finished())
            require(
                starts_with(sim::daytime_line(subject.context.wall_seconds), answered, run.room()),
                "daytime says the time, once");
        break;
    case ServiceKind::chargen:
        for (size_t at = 0; at < answered.size(); at++)
            require(answered[at] == sim::chargen_byte(at), "chargen keeps to its pattern");
        break;
    case ServiceKind::time:
        if (run.finished())
            require(
                starts_with(sim::time_bytes(subject.context.wall_seconds), answered, run.room()),
                "time says the time, once");
        break;
    }
}

void streams(const Subject& subject, fuzz::Input& input) {
    const auto payload = input.bytes(input.below(payload_bytes_max));
    for (int runs = 0; runs < 2; runs++) {
        Run run(subject, input);
        run.go(payload);
        require_answer(subject, payload, run);
    }
}

// Datagrams ---------------------------------------------------------------------------------------

/// The whole reply to one request; nothing if there is none.
std::optional<std::string> right_answer(const Subject& subject, std::string_view question) {
    std::string answer;
    switch (subject.kind) {
    case ServiceKind::hello:
    case ServiceKind::echo:
        return std::string(question);
    case ServiceKind::discard:
    case ServiceKind::stamp:
        return std::nullopt;
    case ServiceKind::chargen:
        for (size_t at = 0; at < std::min<size_t>(question.size(), 512); at++)
            answer += static_cast<char>(sim::chargen_byte(at));
        return answer;
    case ServiceKind::daytime:
        return sim::daytime_line(subject.context.wall_seconds);
    case ServiceKind::time:
        return sim::time_bytes(subject.context.wall_seconds);
    }
    return std::nullopt;
}

/// For peers that may get more than they sent.
void require_longer(const Subject& subject, std::string_view right) {
    std::vector<std::byte> room(payload_bytes_max, untouched);
    const uint32_t size = subject.service->longer_reply(subject.context, LongerReplyBuffer(room));
    require(size == right.size(), "the long answer has its size");
    require(sim::text_of(std::span(room).first(size)) == right, "the long answer");
    require(room[size] == untouched, "what is behind the long answer stays as it was");
}

void require_reply(
    const Subject& subject, std::string_view question, const DatagramReply& reply,
    std::string_view left) {
    const auto right = right_answer(subject, question);
    std::string expected(question);
    if (!right) {
        require(reply.verdict == DatagramReply::Verdict::drop, "nothing is answered to this");
    } else if (right->size() > question.size()) {
        require(reply.verdict == DatagramReply::Verdict::too_long, "no longer than its question");
        require_longer(subject, *right);
    } else {
        require(reply.verdict == DatagramReply::Verdict::send, "it is answered");
        require(reply.size == right->size(), "with its size");
        expected.replace(0, right->size(), *right);
    }
    require(reply.size <= question.size(), "no longer than its question");
    require(left == expected, "the answer, and behind it what was there");
}

void datagrams(const Subject& subject, fuzz::Input& input) {
    const size_t step = 1 + input.below(1500);
    const std::string asked = input.text(step * datagrams_max);
    std::vector<std::byte> buffer(asked.size());
    std::ranges::copy(std::as_bytes(std::span(asked)), buffer.begin());
    std::string expected = asked; // all of the buffer, as it should be so far
    size_t at = 0;
    do { // an empty one is one, too
        const size_t size = std::min(step, buffer.size() - at);
        const DatagramReply reply =
            subject.service->datagram(subject.context, std::span(buffer).subspan(at, size));
        const std::string_view left = sim::text_of(std::span(buffer).subspan(at, size));
        require_reply(subject, std::string_view(asked).substr(at, size), reply, left);
        expected.replace(at, size, left);
        require(sim::text_of(buffer) == expected, "the neighbours stay as they were");
        at += size;
    } while (at < buffer.size());
}

} // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) { // NOLINT(*-naming)
    fuzz::Input input(data, size);
    const Subject subject = read_subject(input);
    if (input.flag())
        datagrams(subject, input);
    else
        streams(subject, input);
    return 0;
}
