// The prober's books beside a naive model that knows the truth, under seeded schedules of faults:
// datagrams that are lost, doubled, late, out of order, damaged, cut or strange, errors of ICMP
// that quote much or little, sends that fail, clocks that jump, targets that go, come back, change
// their labels and their address. At each step each probe is counted once, in target and group.
#include "client/measure/probe.h"
#include "client/probe/fleet.h"
#include "tests/unit/client/fleet_truth.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <map>
#include <random>
#include <span>
#include <string>
#include <vector>

#include <doctest/doctest.h>
#include <fmt/format.h>

using namespace riposte;
using namespace riposte::client;
using namespace riposte::client::fleet_truth;

namespace {

class Schedule {
public:
    Schedule(uint64_t seed, Seen& seen)
        : random_(seed), seen_(seen), fleet_(
                                          {.payload_bytes = payload_bytes,
                                           .timeout_ns = timeout_ns,
                                           .window = window,
                                           .grace_ns = 2000 * ms,
                                           .group = {"rack"}},
                                          static_cast<uint32_t>(seed * 77)) {
        for (size_t at = 0; at < names_max; at++)
            racks_[name_of(at)] = "r0";
        change_targets();
    }

    void run(size_t steps) {
        for (size_t step = 0; step < steps; step++) {
            const uint64_t dice = below(1000);
            now_ += dice < 990 ? below(3 * ms) : below(20'000 * ms); // a jump: it was suspended
            if (!is_behind())
                expire();
            if (dice < 450)
                send();
            else if (dice < 860)
                deliver();
            else if (dice < 900)
                fail();
            else if (dice < 930)
                stray();
            else if (dice < 950)
                change_targets();
            else if (dice < 960)
                move();
            check();
        }
        now_ += timeout_ns;
        expire();
        check();
        CHECK(fleet_.waiting() == 0);
    }

private:
    static constexpr uint64_t timeout_ns = 300 * ms;

    uint64_t below(uint64_t bound) { return random_() % bound; }
    bool one_in(uint64_t count) { return below(count) == 0; }
    static std::string name_of(size_t at) { return fmt::format("h{:02}:7", at); }
    /// For some steps in a row the prober has no CPU, and does not look what has expired.
    bool is_behind() {
        if (behind_ == 0 && one_in(20))
            behind_ = 1 + below(20);
        behind_ -= std::min<uint64_t>(behind_, 1);
        return behind_ > 0;
    }
    void note(const std::string& what) { seen_.counts[what]++; }

    void change_targets() {
        std::vector<ChosenTarget> chosen;
        for (auto& [name, rack] : racks_) {
            if (one_in(5))
                rack = fmt::format("r{}", below(3));
            if (!one_in(4))
                chosen.push_back(
                    {.target = {
                         .name = name,
                         .endpoint = {.transport = {}, .host = name},
                         .labels = {{"rack", rack}}}});
        }
        fleet_.set_targets(chosen, {.ns = now_, .seconds = 0});
        fleet_.forget_gone(now_);
        // Books of those that the fleet has forgotten begin anew.
        std::map<std::string, bool> here;
        const FleetFigures figures = fleet_.figures({});
        for (const TargetFigures& each : figures.targets)
            here[each.who->name] = true;
        for (const auto& [name, rack] : racks_)
            if (!here.contains(name) && std::erase_if(counts_, [&](const auto& entry) {
                                            return entry.first == name;
                                        }) > 0) {
                note("forgotten");
                highest_.erase(name);
                rtt_ns_.erase(name);
                addresses_.erase(name);
                for (TrueProbe& probe : probes_)
                    if (probe.target == name)
                        probe.target = "";
            }
        std::erase_if(groups_, [&](const auto& entry) {
            return std::ranges::none_of(fleet_.figures({}).groups, [&](const GroupFigures& each) {
                return each.labels.at("rack") == entry.first;
            });
        });
        for (const Fleet::Slot slot : fleet_.listed())
            if (fleet_.address(slot).size == 0)
                fleet_.set_address(slot, new_address());
    }

    SocketAddress new_address() {
        // Some share an address.
        return address_of(0x7f000001 + static_cast<uint32_t>(below(8)), 7);
    }

    void move() {
        const auto listed = fleet_.listed();
        if (!listed.empty() && !one_in(3))
            fleet_.set_address(listed[below(listed.size())], new_address());
        note("moved");
    }

    void send() {
        const auto listed = fleet_.listed();
        if (listed.empty())
            return;
        const Fleet::Slot slot = listed[below(listed.size())];
        TrueProbe probe{
            .target = fleet_.identity(slot).name,
            .rack = fleet_.identity(slot).labels.at("rack"),
            .sequence = 0,
            .sent_ns = now_,
            .to = fleet_.address(slot),
            .bytes = Bytes(payload_bytes)};
        auto& counts = counts_[probe.target];
        // What falls out of the window is lost.
        for (TrueProbe& other : probes_)
            if (other.target == probe.target && other.outcome == Outcome::pending &&
                other.sequence + window <= counts.sent + 1) {
                decide(other, Outcome::lost);
                note("displaced");
            }
        probe.sequence = fleet_.send(slot, now_, probe.bytes);
        counts.sent++;
        groups_[probe.rack].sent++;
        REQUIRE(probe.sequence == counts.sent);
        probes_.push_back(probe);
        if (one_in(15)) {
            fleet_.decide(slot, probe.sequence, Outcome::local);
            decide(probes_.back(), Outcome::local);
            note("not sent");
            return;
        }
        if (one_in(8))
            return; // lost
        for (uint64_t copies = one_in(6) ? 2 : 1; copies > 0; copies--)
            network_.push_back(
                {.origin = probes_.size() - 1, .bytes = probe.bytes, .from = probe.to});
    }

    void decide(TrueProbe& probe, Outcome outcome) {
        probe.outcome = outcome;
        counts_[probe.target].add(outcome);
        groups_[probe.rack].add(outcome);
    }

    bool remembers(const TrueProbe& probe) {
        return !probe.target.empty() && probe.sequence + window > counts_[probe.target].sent;
    }

    void expire() {
        for (TrueProbe& probe : probes_)
            if (!probe.target.empty() && probe.outcome == Outcome::pending &&
                probe.sent_ns + timeout_ns <= now_)
                decide(probe, Outcome::lost);
        const bool expired = fleet_.has_expired(now_);
        const uint64_t before = fleet_.waiting();
        fleet_.expire(now_);
        REQUIRE(expired == (fleet_.waiting() < before));
    }

    void deliver() {
        if (network_.empty())
            return;
        const size_t at = one_in(3) ? below(network_.size()) : 0;
        Datagram datagram = network_[at];
        network_.erase(network_.begin() + static_cast<std::ptrdiff_t>(at));
        if (one_in(8))
            damage(datagram);
        else if (one_in(12))
            datagram.bytes.resize(40 + below(60)); // shorter, or longer
        arrive(datagram);
    }

    void damage(Datagram& datagram) {
        for (uint64_t count = 1 + below(3); count > 0; count--)
            datagram.bytes[below(payload_bytes)] ^= std::byte{0x55}; // twice would mend it
        const Bytes& sent = probes_[datagram.origin].bytes;
        datagram.damaged = datagram.bytes != sent;
        datagram.header_damaged =
            !std::equal(sent.begin(), sent.begin() + 16, datagram.bytes.begin());
    }

    bool is_from_target(const Datagram& datagram) {
        // It may have moved twice, and then its answers are from elsewhere.
        const auto& moves = addresses_[probes_[datagram.origin].target];
        return std::ranges::find(moves, AddressKey(datagram.from)) != moves.end();
    }

    void arrive(const Datagram& datagram) {
        note_addresses();
        const uint64_t age = one_in(20) ? ms : behind_ > 0 ? below(timeout_ns) : 0;
        const uint64_t received = now_ - std::min(now_, age);
        fleet_.arrived(datagram.from, datagram.bytes, received);
        TrueProbe& probe = probes_[datagram.origin];
        const bool by_header = !datagram.header_damaged && remembers(probe);
        const bool by_likeness = remembers(probe) && probe.outcome == Outcome::pending;
        if ((!by_header && !by_likeness) || !is_from_target(datagram)) {
            strays_++;
            note("stray answer");
            return;
        }
        OutcomeCounts& counts = counts_[probe.target];
        OutcomeCounts& group = groups_[probe.rack];
        const bool answered = probe.outcome == Outcome::answered ||
                              probe.outcome == Outcome::corrupted ||
                              probe.outcome == Outcome::wrong_size;
        if (answered || probe.late_seen) {
            counts.duplicated++;
            group.duplicated++;
            note("duplicated");
            return;
        }
        uint64_t& highest = highest_[probe.target];
        if (probe.sequence < highest) {
            counts.reordered++;
            group.reordered++;
            note("reordered");
        }
        highest = std::max(highest, probe.sequence);
        if (probe.outcome == Outcome::pending && received >= probe.sent_ns + timeout_ns) {
            decide(probe, Outcome::lost);
            note("late before it was seen to be lost");
        }
        if (probe.outcome != Outcome::pending) {
            counts.late++;
            group.late++;
            probe.late_seen = true;
            note("late");
            return;
        }
        const Outcome outcome = datagram.bytes.size() != payload_bytes ? Outcome::wrong_size
                                : datagram.damaged                     ? Outcome::corrupted
                                                                       : Outcome::answered;
        note(std::string(to_key(outcome)) + (by_header ? "" : " by likeness"));
        decide(probe, outcome);
        if (outcome == Outcome::answered)
            rtt_ns_[probe.target] += received - std::min(received, probe.sent_ns);
    }

    /// An ICMP error about a probe that is under way, or was.
    void fail() {
        if (probes_.empty())
            return;
        note_addresses();
        const size_t recent = std::min<size_t>(probes_.size(), 30);
        TrueProbe* probe = &probes_[probes_.size() - 1 - below(recent)];
        const bool quotes_all = one_in(2);
        const size_t quoted = quotes_all ? payload_bytes - below(30) : below(24);
        fleet_.failed(probe->to, std::span(probe->bytes).first(quoted), Outcome::unreachable);
        const AddressKey to(probe->to);
        if (!quotes_all) { // it is the oldest one to that address, as far as is known
            const auto is_possible = [&](const TrueProbe& each) {
                const auto& moves = addresses_[each.target];
                return !each.target.empty() && each.outcome == Outcome::pending &&
                       std::ranges::find(moves, to) != moves.end();
            };
            const auto oldest = std::ranges::find_if(probes_, is_possible);
            if (oldest == probes_.end())
                return;
            probe = &*oldest;
            note("error without its probe");
        } else {
            const auto& moves = addresses_[probe->target];
            if (!remembers(*probe) || probe->outcome != Outcome::pending ||
                std::ranges::find(moves, to) == moves.end())
                return;
            note("error with its probe");
        }
        decide(*probe, Outcome::unreachable);
    }

    void stray() {
        Bytes bytes(24 + below(76)); // of fewer random bytes half may be right by chance
        for (std::byte& byte : bytes)
            byte = static_cast<std::byte>(random_() >> 56);
        if (one_in(2) && !probes_.empty()) {
            bytes = probes_.back().bytes; // the right bytes, from elsewhere
            fleet_.arrived(address_of(0x0a000001, 7), bytes, now_);
        } else {
            fleet_.arrived(new_address(), bytes, now_);
        }
        strays_++;
        note("stray");
    }

    /// The address and the one before of each target.
    void note_addresses() {
        for (const Fleet::Slot slot : fleet_.listed()) {
            auto& moves = addresses_[fleet_.identity(slot).name];
            const AddressKey now(fleet_.address(slot));
            if (moves.empty() || moves.back() != now)
                moves.push_back(now);
            if (moves.size() > 2)
                moves.erase(moves.begin());
        }
    }

    void check() {
        note_addresses();
        const FleetFigures figures = fleet_.figures({});
        uint64_t waiting = 0;
        for (const TrueProbe& probe : probes_)
            waiting += !probe.target.empty() && probe.outcome == Outcome::pending ? 1U : 0U;
        REQUIRE(fleet_.waiting() == waiting);
        REQUIRE(fleet_.stray() == strays_);
        uint64_t undecided = 0;
        for (const TargetFigures& each : figures.targets) {
            CAPTURE(each.who->name);
            REQUIRE((each.counts == counts_[each.who->name]));
            REQUIRE(each.counts.sent == each.counts.decided() + each.counts.undecided());
            REQUIRE(each.rtt.count == each.counts.answered);
            REQUIRE(each.rtt.sum_ns == rtt_ns_[each.who->name]);
            undecided += each.counts.undecided();
        }
        REQUIRE(undecided == waiting);
        for (const GroupFigures& each : figures.groups) {
            CAPTURE(each.labels.at("rack"));
            REQUIRE((each.counts == groups_[each.labels.at("rack")]));
            REQUIRE(each.rtt.count == each.counts.answered);
        }
    }

    std::mt19937_64 random_;
    Seen& seen_;
    uint64_t now_ = 1000 * ms;
    uint64_t behind_ = 0; ///< steps
    Fleet fleet_;
    std::map<std::string, std::string> racks_;
    std::vector<TrueProbe> probes_;
    std::vector<Datagram> network_;
    std::map<std::string, OutcomeCounts> counts_;
    std::map<std::string, OutcomeCounts> groups_;
    std::map<std::string, uint64_t> highest_;
    std::map<std::string, uint64_t> rtt_ns_;
    std::map<std::string, std::vector<AddressKey>> addresses_;
    uint64_t strays_ = 0;
};

} // namespace

TEST_CASE("over random networks and fleets the books equal a naive model that knows the truth") {
    Seen seen;
    for (uint64_t seed = 1; seed <= 20; seed++) {
        CAPTURE(seed);
        Schedule(seed, seen).run(1000);
    }
    for (const char* const what :
         {"answered", "corrupted", "corrupted by likeness", "wrong_size", "duplicated", "reordered",
          "late", "late before it was seen to be lost", "stray", "stray answer", "not sent",
          "error with its probe", "error without its probe", "moved", "forgotten"}) {
        CAPTURE(what);
        CHECK(seen.counts[what] > 20);
    }
}
