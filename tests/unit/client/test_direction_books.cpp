// Losses, duplicates and reordering by direction (client/stamp): questions and answers of a
// simulated path and reflector, whose books say what is true.
#include "client/stamp/direction_books.h"

#include <algorithm>
#include <random>
#include <utility>
#include <vector>

#include <doctest/doctest.h>

using namespace riposte::client;

namespace {

constexpr size_t window = 1024;

struct WayFaults {
    double loss = 0;
    double duplicate = 0;
    double reorder = 0;
};

/// What is under way: a question, or its answer.
struct Packet {
    uint64_t question;
    uint32_t number = 0;
    uint64_t transmitted_ns = 0;
};

/// A path in one direction: a packet that is held back is overtaken by the next one.
class Way {
public:
    Way(WayFaults faults, unsigned seed) : faults_(faults), random_(seed) {}

    /// What arrives when this packet is sent.
    std::vector<Packet> carry(Packet packet) {
        std::vector<Packet> arrived;
        if (chance(faults_.loss)) {
            lost++;
        } else if (chance(faults_.duplicate)) {
            duplicated++;
            arrived = {packet, packet};
        } else if (held_.empty() && chance(faults_.reorder)) {
            held_.push_back(packet);
        } else {
            arrived = {packet};
        }
        if (!arrived.empty()) {
            reordered += held_.size();
            arrived.insert(arrived.end(), held_.begin(), held_.end());
            held_.clear();
        }
        return arrived;
    }
    std::vector<Packet> take_held() { return std::exchange(held_, {}); }

    uint64_t lost = 0;
    uint64_t duplicated = 0;
    uint64_t reordered = 0;

private:
    bool chance(double share) { return std::uniform_real_distribution<>(0, 1)(random_) < share; }

    WayFaults faults_;
    std::mt19937 random_;
    std::vector<Packet> held_;
};

struct BothWays {
    BothWays(WayFaults faults_there, WayFaults faults_back, unsigned seed)
        : there(faults_there, seed), back(faults_back, seed + 1000) {}

    void ask() {
        books.sent(++asked);
        now_ns += 1'000'000;
        for (const Packet& question : there.carry({.question = asked}))
            answer(question);
    }
    void answer(const Packet& question) {
        now_ns += 1000;
        const uint32_t number = copies ? static_cast<uint32_t>(question.question) : next++;
        for (const Packet& packet : back.carry({question.question, number, now_ns}))
            arrive(packet);
    }
    void arrive(const Packet& packet) {
        books.answered({packet.question, packet.number, packet.transmitted_ns});
    }
    void let_go() {
        for (const Packet& question : there.take_held())
            answer(question);
        for (const Packet& packet : back.take_held())
            arrive(packet);
    }
    void restart() { next = 0; }

    DirectionBooks books{window};
    Way there;
    Way back;
    uint64_t asked = 0;
    uint64_t now_ns = 1'000'000'000'000;
    uint32_t next = 0;
    bool copies = false;
};

} // namespace

TEST_CASE("each direction has its own losses, duplicates and reordering") {
    for (unsigned seed = 0; seed < 200; seed++) {
        CAPTURE(seed);
        const double share = seed % 4 == 0 ? 0.2 : 0.02;
        BothWays world(
            {.loss = share}, {.loss = share / 2, .duplicate = share, .reorder = share}, seed);
        for (int i = 0; i < 3000; i++)
            world.ask();
        world.books.close();
        world.let_go();
        const DirectionCounts before = world.books.counts();
        const uint64_t lost = world.there.lost + world.back.lost;
        CHECK(before.lost_there + before.lost_back + before.undecided == lost);
        // The closing questions, on a way without faults.
        world.there = Way({}, 1);
        const Way faulty = std::exchange(world.back, Way({}, 1));
        world.ask();
        const DirectionCounts counts = world.books.counts();
        CHECK(world.books.counting() == Counting::session);
        CHECK(world.books.restarts() == 0);
        CHECK(counts.sent == 3000);
        CHECK(counts.lost_back == faulty.lost);
        CHECK(counts.lost_there + faulty.lost == lost);
        CHECK(counts.undecided == 0);
        CHECK(counts.duplicated_back == faulty.duplicated);
        CHECK(counts.reordered_back == faulty.reordered);
        CHECK(counts.duplicated_there == 0);
        CHECK(counts.reordered_there == 0);
    }
}

TEST_CASE("what arrives twice or late over there is seen if the answers come") {
    for (unsigned seed = 0; seed < 200; seed++) {
        CAPTURE(seed);
        BothWays world({.loss = 0.05, .duplicate = 0.05, .reorder = 0.05}, {.reorder = 0.05}, seed);
        for (int i = 0; i < 3000; i++)
            world.ask();
        world.books.close();
        world.let_go();
        const Way faulty = std::exchange(world.there, Way({}, 1));
        world.ask();
        world.let_go();
        const DirectionCounts counts = world.books.counts();
        CHECK(counts.lost_there == faulty.lost);
        CHECK(counts.lost_back == 0);
        CHECK(counts.undecided == 0);
        CHECK(counts.duplicated_there == faulty.duplicated);
        CHECK(counts.duplicated_back == 0);
        CHECK(counts.reordered_there == faulty.reordered);
        CHECK(world.books.restarts() == 0);
    }
}

TEST_CASE("a reflector that is restarted begins another life, and losses stay where they were") {
    for (unsigned seed = 0; seed < 200; seed++) {
        CAPTURE(seed);
        BothWays world(
            {.loss = 0.05, .reorder = 0.02}, {.loss = 0.05, .duplicate = 0.02, .reorder = 0.02},
            seed);
        uint64_t undecided_max = 0;
        for (int life = 0; life < 4; life++) {
            for (int i = 0; i < 500; i++)
                world.ask();
            world.let_go();
            undecided_max += world.books.counts().undecided - undecided_max;
            world.restart();
        }
        world.books.close();
        const uint64_t lost_there = world.there.lost;
        const uint64_t lost_back = world.back.lost;
        world.there = Way({}, 1);
        world.back = Way({}, 1);
        world.ask();
        const DirectionCounts counts = world.books.counts();
        CHECK(world.books.restarts() == 4);
        CHECK(world.books.lives().size() == 5);
        CHECK(counts.sent == 2000);
        CHECK(counts.lost_there <= lost_there);
        CHECK(counts.lost_back <= lost_back);
        CHECK(counts.lost_there + counts.lost_back + counts.undecided == lost_there + lost_back);
        // Only behind the last answer of a life: some few.
        CHECK(counts.undecided <= undecided_max);
        CHECK(counts.undecided < 40);
    }
}

TEST_CASE("losses are decided as soon as a later answer comes") {
    BothWays world({}, {}, 1);
    const auto ask = [&](bool reaches, bool returns) {
        world.books.sent(++world.asked);
        world.now_ns += 1000;
        if (!reaches)
            return;
        const uint32_t number = world.next++;
        if (returns)
            world.arrive({world.asked, number, world.now_ns});
    };
    ask(true, true);
    ask(false, false);
    ask(true, false);
    DirectionCounts counts = world.books.counts();
    CHECK(counts.undecided == 2);
    CHECK(counts.lost_there + counts.lost_back == 0);
    ask(true, true);
    counts = world.books.counts();
    CHECK(counts.undecided == 0);
    CHECK(counts.lost_there == 1);
    CHECK(counts.lost_back == 1);
}

TEST_CASE("closing questions are in no figure") {
    BothWays world({}, {}, 1);
    world.ask();
    world.books.sent(++world.asked);
    CHECK(world.books.has_tail());
    for (int i = 0; i < 3; i++) {
        world.books.close();
        world.books.sent(++world.asked);
    }
    CHECK(world.books.counts() == DirectionCounts{.sent = 2, .undecided = 1});
}

TEST_CASE("closing questions settle the tail, also when some of them are lost") {
    for (const bool first_reaches : {false, true}) {
        BothWays world({}, {}, 1);
        world.ask();
        world.books.sent(++world.asked); // lost there
        world.books.sent(++world.asked); // lost there
        world.books.close();
        world.books.sent(++world.asked); // lost
        world.next += first_reaches ? 1 : 0;
        world.ask();
        const DirectionCounts counts = world.books.counts();
        CHECK(counts.sent == 3);
        // Two of three, or three of three, were lost there.
        CHECK(counts.lost_there == (first_reaches ? 1 : 2));
        CHECK(counts.lost_back == 0);
        CHECK(counts.undecided == (first_reaches ? 1 : 0));
    }
}

TEST_CASE("questions that were refused are not lost") {
    BothWays world({}, {}, 1);
    world.ask();
    for (int i = 0; i < 5; i++) {
        world.books.sent(++world.asked);
        if (i % 2 == 0)
            world.books.failed(world.asked);
    }
    world.ask();
    CHECK(world.books.counts() == DirectionCounts{.sent = 4, .lost_there = 2});
    world.books.failed(3); // after the answer that decided it
    CHECK(world.books.counts() == DirectionCounts{.sent = 3, .lost_there = 1});
}

TEST_CASE("a reflector that copies numbers is known at its first answer") {
    BothWays world({.loss = 0.1}, {.loss = 0.1}, 5);
    CHECK(world.books.counting() == Counting::unknown);
    world.copies = true;
    for (int i = 0; i < 100; i++)
        world.ask();
    CHECK(world.books.counting() == Counting::copy);
    BothWays counting({}, {.loss = 0.1}, 5);
    counting.ask();
    CHECK(counting.books.counting() == Counting::session);
}

TEST_CASE("a session that the reflector knows already begins in its middle") {
    BothWays world({}, {}, 1);
    world.next = 5000;
    world.books.sent(++world.asked); // lost, unknown where
    for (int i = 0; i < 10; i++)
        world.ask();
    const DirectionCounts counts = world.books.counts();
    CHECK(counts == DirectionCounts{.sent = 11, .undecided = 1});
}

TEST_CASE("the numbers of answers wrap at 32 bits") {
    BothWays world({.loss = 0.05}, {.loss = 0.05, .reorder = 0.05}, 3);
    world.next = UINT32_MAX - 500;
    for (int i = 0; i < 2000; i++)
        world.ask();
    world.let_go();
    const DirectionCounts counts = world.books.counts();
    CHECK(world.books.restarts() == 0);
    CHECK(
        counts.lost_there + counts.lost_back + counts.undecided ==
        world.there.lost + world.back.lost);
    CHECK(counts.undecided <= 3);
    CHECK(counts.reordered_back == world.back.reordered);
}

TEST_CASE("an old answer that comes very late begins no life") {
    BothWays world({}, {}, 1);
    for (int i = 0; i < 100; i++)
        world.ask();
    world.books.answered({50, 49, 1'000'050'000'000});
    CHECK(world.books.restarts() == 0);
    CHECK(world.books.counts().duplicated_back == 1);
}

TEST_CASE("a reflector that leaves out any number of answers takes no time") {
    DirectionBooks books(window);
    uint32_t number = 0;
    for (uint64_t question = 1; question <= 1000; question++) {
        books.sent(question);
        books.answered({question, number, 1'000'000'000'000 + question});
        number += (1U << 30) + 1;
        const DirectionCounts counts = books.counts();
        CHECK(counts.reordered_there == 0);
        CHECK(counts.reordered_back == 0);
    }
}
