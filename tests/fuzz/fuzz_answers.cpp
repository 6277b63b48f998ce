// Replies of a server to the client: a faithful echo, cut into any pieces, is correct; any other
// reply is damaged, short, strange or late, but each probe has one outcome and the counts balance.
//
//   ping over TCP   replies from a stream in which bytes were changed, removed and inserted
//   ping over UDP   datagrams: echoes, damaged and repeated ones, and bytes of other senders
//   load over TCP   the verdicts on a stream do not depend on its pieces
//   load over UDP   each datagram is matched with its request, once
#include "client/load/answer_checker.h"
#include "client/load/load_datagrams.h"
#include "client/ping/answer_stream.h"
#include "tests/fuzz/fuzz.h"

#include <array>
#include <deque>
#include <vector>

using namespace riposte;
using namespace riposte::client;
using fuzz::require;

namespace {

using Bytes = std::vector<std::byte>;

constexpr uint32_t steps_max = 200;
constexpr uint32_t session = 0x0badcafe;
constexpr uint64_t timeout_ns = 1'000'000;
constexpr size_t window = 64; // more probes than are sent at once

Bytes read_bytes(fuzz::Input& input, size_t max) {
    const auto bytes = std::as_bytes(input.bytes(input.below(static_cast<uint32_t>(max))));
    return {bytes.begin(), bytes.end()};
}

/// Changes, removes or inserts some bytes.
void damage(Bytes& bytes, fuzz::Input& input) {
    if (bytes.empty())
        return;
    const auto size = static_cast<uint32_t>(std::min<size_t>(bytes.size(), 65536));
    const auto at = bytes.begin() + input.below(size);
    const auto count = std::min<std::ptrdiff_t>(1 + input.below(64), bytes.end() - at);
    switch (input.below(3)) {
    case 0:
        for (auto byte = at; byte != at + count; ++byte)
            *byte ^= static_cast<std::byte>(input.byte());
        break;
    case 1:
        bytes.erase(at, at + count);
        break;
    default:
        const Bytes more = read_bytes(input, 64);
        bytes.insert(at, more.begin(), more.end());
        break;
    }
}

/// The account of ping, and its invariants.
class Books {
public:
    explicit Books(uint32_t payload_bytes)
        : account({
              .session = session,
              .payload_bytes = payload_bytes,
              .timeout_ns = timeout_ns,
              .window = window,
          }) {}

    bool room() const { return counts().undecided() < window / 2; }

    uint64_t send() {
        now_ns += 10;
        const uint64_t sequence = account.send(now_ns, now_ns);
        require(sequence == ++last_, "probes are counted from 1");
        return sequence;
    }
    Bytes payload(uint64_t sequence) {
        const auto bytes = account.payload(sequence);
        return {bytes.begin(), bytes.end()};
    }
    void expire() {
        now_ns += timeout_ns;
        while (const auto sequence = account.expire(now_ns))
            require(*sequence <= last_ && !account.waits(*sequence), "what is lost was sent");
    }
    void arrived(const ProbeOutcome& arrival) const {
        require(arrival.sequence <= last_, "an answer is to what was sent");
        const bool is_first = arrival.outcome != Outcome::pending;
        require(
            int{is_first} + int{arrival.duplicate} + int{arrival.late} <= 1,
            "an answer is one kind");
    }
    void balance() const {
        uint64_t waiting = 0;
        for (uint64_t sequence = last_ < window ? 1 : last_ - window + 1; sequence <= last_;
             sequence++)
            waiting += static_cast<uint64_t>(account.waits(sequence));
        require(counts().sent == last_, "all that was sent is counted");
        require(counts().undecided() == waiting, "each probe has one outcome");
    }
    const OutcomeCounts& counts() const { return account.result().counts; }
    uint64_t last() const { return last_; }

    PingAccount account;
    uint64_t now_ns = 1'000'000'000;

private:
    uint64_t last_ = 0;
};

void ping_stream(fuzz::Input& input) {
    const uint32_t payload_bytes = input.between(probe_header_bytes, 200);
    Books books(payload_bytes);
    AnswerStream stream(payload_bytes, session);
    stream.open(false);
    const AnswerStream::Listener listener = [&](const ProbeOutcome& arrival, ReceiveClock) {
        books.arrived(arrival);
    };
    Bytes wire; // from the echo to us
    bool faithful = true;
    const auto deliver = [&](size_t bytes) {
        const size_t wanted = stream.wanted(books.account.result());
        require(wanted >= 1 && wanted <= AnswerStream::chunk_bytes, "it wants something");
        const size_t size = std::min({bytes, wanted, wire.size()});
        if (size == 0)
            return;
        books.now_ns += 10;
        const bool goes_on = stream.take(
            std::span(wire).first(size), {.ns = books.now_ns, .clock = ReceiveClock::kernel},
            books.account, listener);
        wire.erase(wire.begin(), wire.begin() + static_cast<std::ptrdiff_t>(size));
        require(goes_on || !faithful, "a faithful echo never spoils its stream");
        if (goes_on)
            return;
        for (uint64_t each = stream.front(); each < stream.end(); each++)
            books.account.fail(each, Outcome::closed);
        wire.clear();
        stream.open(stream.echo_seen());
    };
    for (uint32_t steps = 0; steps < steps_max && !input.empty(); steps++) {
        switch (input.below(8)) {
        case 0:
        case 1:
            if (books.room() && stream.end() - stream.front() < window / 2) {
                const uint64_t sequence = books.send();
                stream.expect(sequence);
                const Bytes payload = books.payload(sequence);
                wire.insert(wire.end(), payload.begin(), payload.end());
            }
            break;
        case 2:
            damage(wire, input);
            faithful = false;
            break;
        case 3:
            if (input.below(4) == 0) {
                books.expire();
                faithful = false;
            }
            break;
        case 4:
            if (input.below(4) == 0) {
                stream.end_partial(books.account, listener);
                faithful = false;
            }
            break;
        default:
            deliver(1 + input.below(300));
            break;
        }
        books.balance();
    }
    if (!faithful)
        return;
    while (!wire.empty())
        deliver(wire.size());
    require(books.counts().answered == books.last(), "a faithful echo is all right");
    require(stream.idle() && !stream.has_partial(), "and leaves nothing over");
}

void ping_datagrams(fuzz::Input& input) {
    Books books(input.between(probe_header_bytes, 200));
    for (uint32_t steps = 0; steps < steps_max && !input.empty(); steps++) {
        const uint32_t what = input.below(8);
        if (what == 0 && books.room())
            books.send();
        else if (what == 1)
            books.expire();
        else if (what == 2)
            books.account.fail(input.below(window), Outcome::refused);
        const uint64_t last = books.last();
        if (what < 3 || last == 0) {
            books.balance();
            continue;
        }
        const uint64_t back = input.below(static_cast<uint32_t>(std::min<uint64_t>(last, window)));
        const uint64_t sequence = last - back;
        const bool waits = books.account.waits(sequence);
        Bytes bytes = what == 3 ? read_bytes(input, 300) : books.payload(sequence);
        if (what == 4)
            damage(bytes, input);
        books.now_ns += 10;
        const ProbeOutcome arrival = books.account.datagram(bytes, books.now_ns);
        books.arrived(arrival);
        if (what > 4) {
            require(arrival.sequence == sequence, "an echo finds its probe");
            require(
                !waits || arrival.outcome == Outcome::answered || arrival.late, "and answers it");
        }
        books.balance();
    }
}

void load_stream(fuzz::Input& input) {
    static const LoadPattern pattern(1, 1);
    const AnswerShape shape{.pattern = &pattern, .bytes = 1 + input.below(2000)};
    const size_t position = input.below(static_cast<uint32_t>(pattern.period()));
    Bytes echo;
    const uint32_t answers = 1 + input.below(8);
    for (size_t at = position; echo.size() < size_t{answers} * shape.bytes;) {
        const auto piece = pattern.at(at, shape.bytes);
        echo.insert(echo.end(), piece.begin(), piece.end());
        at = pattern.advance(at, shape.bytes);
    }
    const uint32_t damages = input.below(4);
    for (uint32_t i = 0; i < damages; i++)
        damage(echo, input);
    std::array<std::vector<AnswerCheck>, 2> verdicts;
    std::array<uint64_t, 2> missing{};
    for (size_t run = 0; run < verdicts.size(); run++) {
        AnswerChecker stream;
        stream.restart(position);
        const uint32_t piece_max = 1 + input.below(4000);
        for (std::span<const std::byte> rest = echo; !rest.empty();) {
            const size_t size = std::min<size_t>(1 + input.below(piece_max), rest.size());
            stream.take(shape, rest.first(size), [&](AnswerCheck check) {
                verdicts[run].push_back(check);
            });
            rest = rest.subspan(size);
        }
        missing[run] = stream.missing(shape, 1);
    }
    require(verdicts[0] == verdicts[1], "how a stream was cut does not matter");
    require(missing[0] == missing[1] && missing[0] >= 1, "nor to what is missing");
    require(verdicts[0].size() == echo.size() / shape.bytes, "an answer is so many bytes");
    const bool all_right = std::ranges::count(verdicts[0], AnswerCheck::correct) == answers;
    require(damages > 0 || all_right, "a faithful echo is all right");
}

void load_datagrams(fuzz::Input& input) {
    const uint32_t requests_max = 1 + input.below(16);
    const uint32_t bytes_each = input.between(probe_header_bytes, 200);
    const DatagramShape shape{
        .request_bytes = bytes_each,
        .answer_bytes = bytes_each,
        .echo = input.below(4) != 0,
        .compare = input.flag()};
    DatagramTracker book(session, requests_max);
    Bytes scratch(bytes_each);
    std::deque<ProbeHeader> sent; // the last requests, answered or not
    uint64_t now_ns = 1'000'000;
    for (uint32_t steps = 0; steps < steps_max && !input.empty(); steps++) {
        now_ns += 10;
        const uint64_t before = book.outstanding();
        require(before + book.room() <= requests_max, "a request waits, or there is room for it");
        require(book.is_full() == (book.room() == 0), "what is full has no room");
        require(book.kept() <= before, "only what waits keeps a place");
        const uint32_t what = input.below(8);
        if (what <= 1) {
            if (book.room() == 0)
                continue;
            sent.push_back(book.send({.intended_ns = now_ns, .sent_ns = now_ns}));
            if (sent.size() > size_t{2} * requests_max)
                sent.pop_front();
            require(book.outstanding() == before + 1, "what was sent waits");
            continue;
        }
        if (what == 2) {
            const uint64_t kept = book.kept();
            const uint64_t left = book.give_up_places(now_ns, input.below(1000));
            require(book.kept() + left == kept, "a place is given up once");
            require(book.outstanding() == before, "without a place a request waits on");
            uint32_t lost = 0;
            book.expire(now_ns, input.below(1000), [&](const RequestTimes&, uint64_t) { lost++; });
            require(book.outstanding() + lost == before, "what is lost does not wait");
            continue;
        }
        if (sent.empty())
            continue;
        const ProbeHeader& header = sent[input.below(static_cast<uint32_t>(sent.size()))];
        if (what == 3) {
            const bool failed = book.fail(header).has_value();
            require(book.outstanding() + (failed ? 1 : 0) == before, "what failed does not wait");
            continue;
        }
        Bytes bytes(bytes_each);
        write_probe(bytes, header);
        if (what == 4)
            bytes = read_bytes(input, 300);
        if (what == 5)
            damage(bytes, input);
        const DatagramArrival arrival = book.arrive(shape, bytes, scratch);
        const bool settled = arrival.kind == DatagramKind::answer ||
                             arrival.kind == DatagramKind::corrupted ||
                             arrival.kind == DatagramKind::wrong_size;
        require(book.outstanding() + (settled ? 1 : 0) == before, "an answer ends one request");
        if (what > 5 && shape.echo)
            require(
                arrival.kind != DatagramKind::corrupted &&
                    arrival.kind != DatagramKind::wrong_size &&
                    (!settled || arrival.times->sent_ns == header.sent_ns),
                "an echo answers its request, or one before");
    }
}

} // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) { // NOLINT(*-naming)
    fuzz::Input input(data, size);
    switch (input.below(4)) {
    case 0:
        ping_stream(input);
        break;
    case 1:
        ping_datagrams(input);
        break;
    case 2:
        load_stream(input);
        break;
    default:
        load_datagrams(input);
        break;
    }
    return 0;
}
