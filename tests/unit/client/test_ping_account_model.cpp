// The counts of one endpoint, kept twice over a simulated network from fixed seeds: by the account,
// which sees only bytes, and by a naive model that knows the truth about every datagram and
// searches everything that it ever saw.
#include "client/measure/linger.h"
#include "client/ping/ping_account.h"
#include "tests/support/nanoseconds.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <numeric>
#include <random>
#include <vector>

#include <doctest/doctest.h>

using namespace riposte::client;

namespace {

using Bytes = std::vector<std::byte>;

using riposte::test::ms;

Bytes bytes_of(std::span<const std::byte> span) {
    return {span.begin(), span.end()};
}

/// The truth about a datagram.
struct Truth {
    uint64_t origin = 0; ///< 0: not a probe's
    bool damaged = false;
    Bytes bytes;
};

/// The same counts in the simplest way: all probes are kept, all sums are computed from lists.
class Model {
public:
    explicit Model(const PingSettings& of) : settings_(of) {}

    struct Entry {
        uint64_t intended, sent, connect;
        Outcome outcome = Outcome::pending;
        bool late_seen = false;
        uint64_t rtt = 0; ///< if answered
    };

    void send(uint64_t intended, uint64_t now, uint64_t connect) {
        entries.push_back({intended, now, connect});
        ++counts.sent;
        if (entries.size() > settings_.window) {
            Entry& oldest = entries[entries.size() - settings_.window - 1];
            if (oldest.outcome == Outcome::pending) {
                oldest.outcome = Outcome::lost;
                ++counts.lost;
            }
        }
    }

    bool remembers(uint64_t sequence) const {
        return sequence != 0 && sequence + settings_.window > entries.size();
    }

    std::vector<uint64_t> waiting() const {
        std::vector<uint64_t> found;
        for (size_t at = 0; at < entries.size(); ++at)
            if (entries[at].outcome == Outcome::pending)
                found.push_back(at + 1);
        return found;
    }

    std::vector<uint64_t> expire(uint64_t now) {
        std::vector<uint64_t> gone;
        for (const uint64_t sequence : waiting()) {
            Entry& entry = entries[sequence - 1];
            if (now >= give_up(entry)) {
                entry.outcome = Outcome::lost;
                ++counts.lost;
                gone.push_back(sequence);
            }
        }
        return gone;
    }

    bool fail(uint64_t sequence, Outcome outcome) {
        if (!remembers(sequence) || sequence > entries.size() ||
            entries[sequence - 1].outcome != Outcome::pending)
            return false;
        entries[sequence - 1].outcome = outcome;
        ++(outcome == Outcome::refused ? counts.refused : counts.closed);
        return true;
    }

    ProbeOutcome arrive(const Truth& truth, uint64_t now) {
        ProbeOutcome arrival;
        arrival.bytes = truth.bytes.size();
        if (remembers(truth.origin)) {
            const bool right_size = truth.bytes.size() == settings_.payload_bytes;
            const Outcome outcome = !right_size     ? Outcome::wrong_size
                                    : truth.damaged ? Outcome::corrupted
                                                    : Outcome::answered;
            echo_seen = echo_seen || outcome == Outcome::answered;
            return book(truth.origin, outcome, true, now, arrival);
        }
        if (!echo_seen) {
            arrival.first_of_other_service = !other_service;
            other_service = true;
            if (const auto all = waiting(); !all.empty())
                return book(all.back(), Outcome::answered, false, now, arrival);
        }
        ++counts.stray;
        return arrival;
    }

    ProbeOutcome book(
        uint64_t sequence, Outcome outcome, bool order_known, uint64_t now, ProbeOutcome arrival) {
        Entry& entry = entries[sequence - 1];
        const auto zero_or = [](int64_t value) {
            return static_cast<uint64_t>(std::max(value, int64_t{0}));
        };
        const auto at = [](uint64_t time) { return static_cast<int64_t>(time); };
        arrival.sequence = sequence;
        arrival.rtt_ns = zero_or(at(now) - at(entry.sent));
        arrival.late_by_ns = zero_or(at(entry.sent) - at(entry.intended) - at(entry.connect));
        arrival.connect_ns = entry.connect;
        const bool answered_before = entry.outcome == Outcome::answered ||
                                     entry.outcome == Outcome::corrupted ||
                                     entry.outcome == Outcome::wrong_size || entry.late_seen;
        if (answered_before) {
            arrival.duplicate = true;
            ++counts.duplicated;
            return arrival;
        }
        if (order_known) {
            arrival.reordered =
                std::ranges::any_of(order, [&](uint64_t other) { return other > sequence; });
            counts.reordered += arrival.reordered ? 1U : 0U;
            order.push_back(sequence);
        }
        if (entry.outcome != Outcome::pending) {
            entry.late_seen = true;
            arrival.late = true;
            ++counts.late;
            return arrival;
        }
        entry.outcome = outcome;
        arrival.outcome = outcome;
        if (outcome == Outcome::answered) {
            ++counts.answered;
            entry.rtt = arrival.rtt_ns;
            if (entry.rtt > 0)
                rtts.push_back(arrival.rtt_ns);
        } else {
            ++(outcome == Outcome::corrupted ? counts.corrupted : counts.wrong_size);
        }
        return arrival;
    }

    uint64_t longest_rtt() const { return rtts.empty() ? 0 : *std::ranges::max_element(rtts); }

    uint64_t give_up(const Entry& entry) const {
        const uint64_t timed_out = entry.sent + settings_.timeout_ns;
        if (!lingers)
            return timed_out;
        const uint64_t patience = linger_ns(settings_.timeout_ns, longest_rtt());
        return std::min(timed_out, std::max(lingers_from, entry.sent + patience));
    }

    double rfc3550_jitter() const {
        double value = 0;
        for (size_t at = 1; at < rtts.size(); ++at) {
            const double difference =
                static_cast<double>(rtts[at]) - static_cast<double>(rtts[at - 1]);
            value += (std::fabs(difference) - value) / 16.0;
        }
        return value;
    }

    /// Of all neighbours, over the whole run.
    std::vector<double> ipdv() const {
        std::vector<double> differences;
        for (size_t at = 1; at < entries.size(); ++at)
            if (entries[at].rtt > 0 && entries[at - 1].rtt > 0)
                differences.push_back(std::fabs(
                    static_cast<double>(entries[at].rtt) -
                    static_cast<double>(entries[at - 1].rtt)));
        return differences;
    }

    std::vector<Entry> entries;
    std::vector<uint64_t> order; ///< of first answers, as they arrived
    std::vector<uint64_t> rtts;
    OutcomeCounts counts;
    bool lingers = false;
    uint64_t lingers_from = 0;
    bool echo_seen = false;
    bool other_service = false;

private:
    PingSettings settings_;
};

/// A network that loses, duplicates, delays beyond the timeout, reorders, damages, truncates and
/// lengthens datagrams.
class Schedule {
public:
    Schedule(const PingSettings& of, uint64_t seed)
        : settings_(of), account_(of), model_(of), random_(seed) {}

    void run(size_t steps) {
        for (size_t step = 0; step < steps; ++step) {
            now_ += below(20 * ms);
            expire();
            const uint64_t dice = below(100);
            if (dice < 50)
                send();
            else if (dice < 95 && !network_.empty())
                deliver();
            else if (dice < 97)
                fail();
            else
                deliver({.origin = 0, .damaged = false, .bytes = noise(below(120))});
            check();
        }
        linger();
    }

    const OutcomeCounts& counts() const { return account_.result().counts; }

private:
    uint64_t below(uint64_t bound) { return random_() % bound; }
    bool one_in(uint64_t count) { return below(count) == 0; }

    Bytes noise(size_t size) {
        Bytes bytes(size);
        for (std::byte& byte : bytes)
            byte = static_cast<std::byte>(random_() >> 56);
        return bytes;
    }

    void send() {
        const uint64_t connect = one_in(4) ? below(ms) : 0;
        const uint64_t late = one_in(4) ? below(3 * ms) : 0;
        const uint64_t intended = now_ - std::min(now_, connect + late);
        const uint64_t sequence = account_.send(intended, now_, connect);
        model_.send(intended, now_, connect);
        REQUIRE(sequence == model_.entries.size());
        const Bytes bytes = bytes_of(account_.payload(sequence));
        if (one_in(8))
            return; // lost
        for (uint64_t copies = one_in(8) ? 2 : 1; copies > 0; --copies)
            network_.push_back({.origin = sequence, .damaged = false, .bytes = bytes});
    }

    /// One of the datagrams in flight, most often an early one.
    void deliver() {
        const size_t at = one_in(3) ? below(network_.size()) : 0;
        Truth truth = network_[at];
        network_.erase(network_.begin() + static_cast<std::ptrdiff_t>(at));
        if (one_in(6))
            damage(truth);
        if (one_in(10))
            resize(truth);
        deliver(truth);
    }

    void damage(Truth& truth) {
        truth.damaged = true;
        if (one_in(4)) { // a run of bytes, perhaps the header's
            const size_t from = below(80);
            for (size_t at = from; at < from + 20; ++at)
                truth.bytes[at] ^= std::byte{0xff};
            return;
        }
        std::vector<size_t> places;
        for (uint64_t count = 1 + below(4); count > 0; --count) {
            const size_t at = one_in(2) ? below(probe_header_bytes) : below(truth.bytes.size());
            if (std::ranges::find(places, at) == places.end())
                truth.bytes[at] ^= static_cast<std::byte>(1U << below(8));
            places.push_back(at);
        }
    }

    void resize(Truth& truth) {
        if (one_in(2)) {
            const Bytes more = noise(1 + below(40));
            truth.bytes.insert(truth.bytes.end(), more.begin(), more.end());
            return;
        }
        // If shorter, a damaged answer or a forgotten probe's can look like another's.
        const bool clear = model_.remembers(truth.origin) && !truth.damaged;
        const size_t least = clear ? 16 : 80;
        truth.bytes.resize(least + below(truth.bytes.size() - least));
    }

    void deliver(const Truth& truth) {
        // The clock of arrival may be slightly behind that of sending.
        const uint64_t received = one_in(20) ? now_ - std::min(now_, ms) : now_;
        const ProbeOutcome booked = account_.datagram(truth.bytes, received);
        const ProbeOutcome right = model_.arrive(truth, received);
        REQUIRE(booked.sequence == right.sequence);
        REQUIRE(booked.outcome == right.outcome);
        REQUIRE(booked.duplicate == right.duplicate);
        REQUIRE(booked.reordered == right.reordered);
        REQUIRE(booked.late == right.late);
        REQUIRE(booked.first_of_other_service == right.first_of_other_service);
        REQUIRE(booked.rtt_ns == right.rtt_ns);
        REQUIRE(booked.late_by_ns == right.late_by_ns);
        REQUIRE(booked.connect_ns == right.connect_ns);
        REQUIRE(booked.bytes == right.bytes);
    }

    void fail() {
        const uint64_t sequence = below(model_.entries.size() + 2);
        const Outcome outcome = one_in(2) ? Outcome::refused : Outcome::closed;
        REQUIRE(account_.fail(sequence, outcome) == model_.fail(sequence, outcome));
    }

    /// Nothing more is sent.
    void linger() {
        account_.linger(now_, true);
        model_.lingers = true;
        model_.lingers_from = now_;
        while (!model_.waiting().empty()) {
            now_ += below(100 * ms);
            expire();
            if (!network_.empty() && one_in(2))
                deliver();
            check();
        }
    }

    void expire() {
        std::vector<uint64_t> gone;
        while (const auto sequence = account_.expire(now_))
            gone.push_back(*sequence);
        REQUIRE((gone == model_.expire(now_)));
    }

    void check() {
        const PingResult& result = account_.result();
        REQUIRE((result.counts == model_.counts));
        const auto waiting = model_.waiting();
        REQUIRE(result.counts.undecided() == waiting.size());
        REQUIRE(account_.oldest_waiting().value_or(0) == (waiting.empty() ? 0 : waiting.front()));
        REQUIRE(account_.latest_waiting().value_or(0) == (waiting.empty() ? 0 : waiting.back()));
        if (!waiting.empty()) {
            const Model::Entry& oldest = model_.entries[waiting.front() - 1];
            REQUIRE(account_.next_expiry_ns() == model_.give_up(oldest));
        }
        REQUIRE(result.other_service == model_.other_service);
        REQUIRE(result.rfc3550_jitter_ns == doctest::Approx(model_.rfc3550_jitter()));
        check_ipdv(result.ipdv);
        REQUIRE(result.rtt.count() == model_.rtts.size());
        REQUIRE(result.lateness.count() == model_.entries.size());
        REQUIRE(result.rtt.max_ns() == model_.longest_rtt());
    }

    /// Only the model has a pair of which one probe was forgotten when the other's answer arrived;
    /// with a window that holds all neighbours there is none.
    void check_ipdv(const Histogram& ipdv) const {
        const std::vector<double> right = model_.ipdv();
        if (settings_.window < 64) {
            REQUIRE(ipdv.count() <= right.size());
            return;
        }
        REQUIRE(ipdv.count() == right.size());
        if (right.empty())
            return;
        const double sum = std::accumulate(right.begin(), right.end(), 0.0);
        REQUIRE(ipdv.mean_ns() == doctest::Approx(sum / static_cast<double>(right.size())));
        REQUIRE(static_cast<double>(ipdv.max_ns()) == *std::ranges::max_element(right));
    }

    PingSettings settings_;
    PingAccount account_;
    Model model_;
    std::mt19937_64 random_;
    std::vector<Truth> network_;
    uint64_t now_ = 1000 * ms;
};

} // namespace

TEST_CASE("over random networks the account equals a naive model that knows the truth") {
    OutcomeCounts seen;
    for (const size_t window : {8U, 64U, 1024U}) {
        for (uint64_t seed = 1; seed <= 12; ++seed) {
            CAPTURE(window);
            CAPTURE(seed);
            const PingSettings net{
                .session = static_cast<uint32_t>(seed * 2654435761U),
                .payload_bytes = 100,
                .timeout_ns = window == 1024 && seed % 2 == 0 ? 3000 * ms : 300 * ms,
                .window = window};
            Schedule schedule(net, seed);
            schedule.run(600);
            const OutcomeCounts& counts = schedule.counts();
            seen.answered += counts.answered;
            seen.lost += counts.lost;
            seen.corrupted += counts.corrupted;
            seen.wrong_size += counts.wrong_size;
            seen.refused += counts.refused;
            seen.duplicated += counts.duplicated;
            seen.reordered += counts.reordered;
            seen.late += counts.late;
            seen.stray += counts.stray;
        }
    }
    // The seeds cover everything that is compared.
    for (const uint64_t count :
         {seen.answered, seen.lost, seen.corrupted, seen.wrong_size, seen.refused, seen.duplicated,
          seen.reordered, seen.late, seen.stray})
        CHECK(count > 20);
}
