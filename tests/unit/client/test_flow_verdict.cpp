// Which flows are named as bad: those with a planted fault, and only they, over many seeds.
#include "client/measure/flow_verdict.h"

#include <algorithm>
#include <cmath>
#include <deque>
#include <random>
#include <span>
#include <vector>

#include <doctest/doctest.h>

using namespace riposte::client;

namespace {

constexpr uint64_t us = 1000;
constexpr uint64_t ms = 1'000'000;

/// Flows whose probes are lost, or late, as a test says.
class Bundle {
public:
    explicit Bundle(size_t flows) : rtts_(flows) {
        for (size_t i = 0; i < flows; i++)
            figures_.push_back(
                {.port = static_cast<uint16_t>(41000 + i),
                 .decided = 0,
                 .unanswered = 0,
                 .refused = 0,
                 .answered = 0,
                 .repaired = 0,
                 .failure_runs = {},
                 .rtt = &rtts_[i]});
    }

    void lose(size_t flow, uint64_t lost, uint64_t of) {
        figures_[flow].decided += of;
        figures_[flow].unanswered += lost;
    }
    void repair(size_t flow, uint64_t repairs, uint64_t of) {
        figures_[flow].answered += of;
        figures_[flow].repaired += repairs;
    }
    /// The flow is one connection, with this many runs of unanswered probes.
    void stand(size_t flow, uint64_t runs) { figures_[flow].failure_runs = runs; }
    void refuse(size_t flow, uint64_t refused) { figures_[flow].refused += refused; }
    void lose_at_random(double share, uint64_t probes, std::mt19937_64& random) {
        std::binomial_distribution<uint64_t> losses(probes, share);
        for (size_t i = 0; i < figures_.size(); i++)
            lose(i, losses(random), probes);
    }
    /// Of a long-tailed network: an exponential above the least.
    void delay(size_t flow, uint64_t probes, uint64_t least_ns, std::mt19937_64& random) {
        std::exponential_distribution<double> more(1 / 3e6);
        for (uint64_t i = 0; i < probes; i++)
            rtts_[flow].record(least_ns + static_cast<uint64_t>(more(random)));
    }
    void record(size_t flow, uint64_t rtt_ns) { rtts_[flow].record(rtt_ns); }
    FlowVerdict judge() const { return judge_flows(figures_); }

private:
    std::deque<Histogram> rtts_;
    std::vector<FlowFigures> figures_;
};

using Ports = std::vector<uint16_t>;

} // namespace

TEST_CASE("Fisher's exact test has the values of the tables") {
    CHECK(fisher_exact(0, 10, 0, 10) == doctest::Approx(1));
    // The lady tasting tea: 4 of 4 right, of 8 cups; and 3 of 4.
    CHECK(fisher_exact(4, 4, 0, 4) == doctest::Approx(1 / 70.0));
    CHECK(fisher_exact(3, 4, 1, 4) == doctest::Approx(17 / 70.0));
    CHECK(fisher_exact(0, 4, 4, 4) == doctest::Approx(1));
    CHECK(fisher_exact(10, 10, 0, 10) == doctest::Approx(1 / 184756.0));
}

TEST_CASE("two flows that lose are named with their loss, and the others with theirs") {
    Bundle bundle(32);
    for (size_t i = 0; i < 32; i++)
        bundle.lose(i, i == 3 || i == 19 ? 31 : 0, 100);
    const FlowVerdict verdict = bundle.judge();
    REQUIRE(verdict.lossy.size() == 1);
    CHECK(verdict.lossy[0].ports == Ports{41003, 41019});
    CHECK(verdict.lossy[0].percent == doctest::Approx(31));
    CHECK(verdict.others_loss_percent == 0);
    CHECK(verdict.slow.empty());
}

TEST_CASE("half of the flows may be bad") {
    std::mt19937_64 random(7);
    std::binomial_distribution<uint64_t> losses(100, 0.3);
    Bundle bundle(16);
    Ports bad;
    for (size_t i = 0; i < 16; i++) {
        bundle.lose(i, i % 2 == 0 ? losses(random) : i % 4 / 3, 100);
        if (i % 2 == 0)
            bad.push_back(static_cast<uint16_t>(41000 + i));
    }
    const FlowVerdict verdict = bundle.judge();
    REQUIRE(verdict.lossy.size() == 1);
    CHECK(verdict.lossy[0].ports == bad);
}

TEST_CASE("members that differ in how bad they are are named one after the other") {
    Bundle bundle(16);
    for (size_t i = 0; i < 16; i++)
        bundle.lose(i, i < 2 ? 200 : i < 4 ? 40 : 1, 200);
    const FlowVerdict verdict = bundle.judge();
    REQUIRE(verdict.lossy.size() == 2);
    CHECK(verdict.lossy[0].ports == Ports{41000, 41001});
    CHECK(verdict.lossy[0].percent == doctest::Approx(100));
    CHECK(verdict.lossy[1].ports == Ports{41002, 41003});
    CHECK(verdict.lossy[1].percent == doctest::Approx(20));
    CHECK(verdict.others_loss_percent == doctest::Approx(0.5));
}

TEST_CASE("nothing is named without losses, without probes, or of one flow") {
    CHECK(judge_flows(std::span<const FlowFigures>{}).lossy.empty());
    Bundle none(8);
    CHECK(none.judge().lossy.empty());
    for (size_t i = 0; i < 8; i++)
        none.lose(i, 0, 1000);
    CHECK(none.judge().lossy.empty());
    Bundle one(1);
    one.lose(0, 50, 100);
    CHECK(one.judge().lossy.empty());
    CHECK(one.judge().others_loss_percent == doctest::Approx(50));
    Bundle all(8);
    for (size_t i = 0; i < 8; i++)
        all.lose(i, 100, 100);
    CHECK(all.judge().lossy.empty());
}

TEST_CASE("losses that all flows share name none of them: few false verdicts in many runs") {
    // By the rule one run of a thousand may name a flow; 3 of 600 would be two too many.
    int wrong = 0;
    for (uint64_t seed = 1; seed <= 200; seed++)
        for (const double share : {0.005, 0.05, 0.5}) {
            std::mt19937_64 random(seed);
            Bundle bundle(seed % 2 == 0 ? 32 : 8);
            bundle.lose_at_random(share, seed % 3 == 0 ? 10 : 100, random);
            wrong += bundle.judge().lossy.empty() ? 0 : 1;
        }
    CHECK(wrong <= 2);
}

TEST_CASE("bad flows among others that lose by chance are named, and only they") {
    int complete = 0;
    int wrong = 0;
    for (uint64_t seed = 1; seed <= 200; seed++) {
        std::mt19937_64 random(seed);
        Bundle bundle(32);
        bundle.lose_at_random(0.02, 200, random);
        std::binomial_distribution<uint64_t> more(200, 0.28);
        bundle.lose(5, more(random), 200);
        bundle.lose(9, more(random), 200);
        const FlowVerdict verdict = bundle.judge();
        Ports named;
        for (const BadFlows& bad : verdict.lossy)
            named.insert(named.end(), bad.ports.begin(), bad.ports.end());
        std::ranges::sort(named);
        complete += std::ranges::includes(named, Ports{41005, 41009}) ? 1 : 0;
        wrong += named.size() > 2 ? 1 : 0;
    }
    CHECK(complete == 200);
    CHECK(wrong <= 4); // at most 1% for all flows together
}

TEST_CASE("flows that are slower are named with by how much") {
    std::mt19937_64 random(11);
    Bundle bundle(16);
    for (size_t i = 0; i < 16; i++)
        bundle.delay(i, 100, i == 4 || i == 5 ? 32 * ms : 20 * ms, random);
    const FlowVerdict verdict = bundle.judge();
    REQUIRE(verdict.slow.size() == 1);
    CHECK(verdict.slow[0].ports == Ports{41004, 41005});
    CHECK(static_cast<double>(verdict.slow[0].slower_ns) == doctest::Approx(12e6).epsilon(0.1));
    CHECK(verdict.lossy.empty());
}

TEST_CASE("flows that are as slow as chance permits, or by microseconds, are not named") {
    int wrong = 0;
    for (uint64_t seed = 1; seed <= 300; seed++) {
        std::mt19937_64 random(seed);
        Bundle bundle(32);
        for (size_t i = 0; i < 32; i++)
            bundle.delay(i, 5 + seed % 50, seed % 2 == 0 ? 200 * us : 20 * ms, random);
        wrong += bundle.judge().slow.empty() ? 0 : 1;
    }
    CHECK(wrong <= 1);
    Bundle queues(8);
    for (size_t i = 0; i < 8; i++)
        for (uint64_t probe = 0; probe < 1000; probe++)
            queues.record(i, (i == 0 ? 150 : 90) * us + probe); // 60 us: of the queue of a card
    CHECK(queues.judge().slow.empty());
}

TEST_CASE("over TCP, flows with more repairs are named, although nothing is lost") {
    Bundle bundle(16);
    for (size_t i = 0; i < 16; i++) {
        bundle.lose(i, 0, 40);
        bundle.repair(i, i == 2 || i == 5 ? 18 : i % 2, 58);
    }
    const FlowVerdict verdict = bundle.judge();
    REQUIRE(verdict.repairing.size() == 1);
    CHECK(verdict.repairing[0].ports == Ports{41002, 41005});
    CHECK(verdict.repairing[0].percent == doctest::Approx(31.03).epsilon(0.001));
    CHECK(verdict.others_repairs_percent == doctest::Approx(100 * 7.0 / (14 * 58)));
    CHECK(verdict.lossy.empty());
}

TEST_CASE("a flow whose probes are refused is named with the part that was") {
    Bundle bundle(8);
    for (size_t i = 0; i < 8; i++)
        bundle.lose(i, 0, 100);
    bundle.lose(6, 60, 60);
    bundle.refuse(6, 40);
    const FlowVerdict verdict = bundle.judge();
    REQUIRE(verdict.lossy.size() == 1);
    CHECK(verdict.lossy[0].ports == Ports{41006});
    CHECK(verdict.lossy[0].percent == doctest::Approx(37.5));
    CHECK(verdict.lossy[0].refused_percent == doctest::Approx(25));
}

TEST_CASE("on a standing connection a run of losses is one, and many runs are many") {
    Bundle bundle(8);
    for (size_t i = 0; i < 8; i++) {
        bundle.lose(i, i == 3 ? 40 : 0, 100);
        bundle.stand(i, i == 3 ? 1 : 0);
    }
    CHECK(bundle.judge().lossy.empty()); // all of them waited behind one
    bundle.stand(3, 6);
    const FlowVerdict verdict = bundle.judge();
    REQUIRE(verdict.lossy.size() == 1);
    CHECK(verdict.lossy[0].ports == Ports{41003});
    CHECK(verdict.lossy[0].percent == doctest::Approx(40));
}

TEST_CASE("on a standing connection a flow that is slow only at times is not named") {
    Bundle bundle(8);
    for (size_t i = 0; i < 8; i++) {
        bundle.lose(i, 0, 100);
        bundle.stand(i, 0);
        for (int probe = 0; probe < 100; probe++)
            bundle.record(i, (i == 5 && probe < 60) || i == 6 ? 40 * ms : 10 * ms);
    }
    const FlowVerdict verdict = bundle.judge();
    REQUIRE(verdict.slow.size() == 1);
    CHECK(verdict.slow[0].ports == Ports{41006});
}
