// Whole workers over the simulated backend, one schedule for each seed; see simulation.h.
//
//   RIPOSTE_SIM_SEEDS=20000   the number of seeds, instead of 4,000
//   RIPOSTE_SIM_SEED=4711     only this seed, with a trace of its operations and events
#include "daemon/log/log.h"
#include "tests/sim/simulation.h"
#include "tests/support/skip.h"

#include <charconv>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>

#include <doctest/doctest.h>

using namespace riposte;
using namespace riposte::sim;

namespace {

uint64_t number_from(const char* variable, uint64_t otherwise) {
    const char* text = std::getenv(variable); // NOLINT(concurrency-mt-unsafe): one thread
    if (text == nullptr)
        return otherwise;
    uint64_t number = otherwise;
    std::from_chars(text, text + std::strlen(text), number);
    return number;
}

constexpr uint64_t usual_seeds = 4000;

/// The seeds of one kind: all of them, or the replayed one, if it is of this kind.
struct Seeds {
    explicit Seeds(Kind kind) {
        const uint64_t replayed = number_from("RIPOSTE_SIM_SEED", never_ms);
        first = static_cast<uint64_t>(kind);
        end = number_from("RIPOSTE_SIM_SEEDS", usual_seeds);
        trace = replayed != never_ms;
        if (!trace)
            return;
        other_kind = replayed % kinds != first;
        first = replayed;
        end = replayed + 1;
    }

    /// A count must exceed this; with fewer seeds than usual, it must only exceed 0.
    uint64_t floor(uint64_t usual) const { return end < usual_seeds ? 0 : usual; }

    uint64_t first = 0;
    uint64_t end = 0;
    bool trace = false;
    bool other_kind = false; ///< the replayed seed is of another kind
};

Simulation::Tally run(const Seeds& seeds) {
    log::open(log::Sink::none);
    Simulation::Tally tally;
    for (uint64_t seed = seeds.first; seed < seeds.end; seed += kinds) {
        CAPTURE(seed); // shown also when an assert of the daemon ends the program
        Simulation simulation(seed, seeds.trace);
        const std::string failure = simulation.run();
        REQUIRE_MESSAGE(failure.empty(), failure, "; replay it: RIPOSTE_SIM_SEED=", seed);
        tally.add(simulation.tally());
    }
    return tally;
}

} // namespace

TEST_CASE("calm: every client and every datagram is answered in full") {
    const Seeds seeds(Kind::calm);
    if (seeds.other_kind)
        SKIP("another kind of seed is replayed");
    const Simulation::Tally tally = run(seeds);
    if (!seeds.trace) {
        CHECK(tally.answered > seeds.floor(1000));
        CHECK(tally.datagrams > seeds.floor(1000));
        CHECK(tally.trains > seeds.floor(500));
        CHECK(tally.forged > seeds.floor(500));
        CHECK(tally.reflected > seeds.floor(500));
        CHECK(tally.follow_ups > seeds.floor(100));
    }
}

TEST_CASE("rough: a slow, piecemeal, unordered backend with few buffers loses nothing") {
    const Seeds seeds(Kind::rough);
    if (seeds.other_kind)
        SKIP("another kind of seed is replayed");
    const Simulation::Tally tally = run(seeds);
    if (!seeds.trace) {
        CHECK(tally.answered > seeds.floor(1000));
        CHECK(tally.starved > seeds.floor(1000));
    }
}

TEST_CASE("hostile: whatever peers and the kernel do, limits hold and nothing leaks") {
    const Seeds seeds(Kind::hostile);
    if (seeds.other_kind)
        SKIP("another kind of seed is replayed");
    const Simulation::Tally tally = run(seeds);
    if (!seeds.trace) {
        CHECK(tally.proofs > seeds.floor(300));
        CHECK(tally.refused > seeds.floor(100));
        CHECK(tally.over_source > seeds.floor(100));
        CHECK(tally.relieved >= seeds.floor(1));
        CHECK(tally.over_listener > seeds.floor(100));
        CHECK(tally.evicted > seeds.floor(100));
        CHECK(tally.silent > seeds.floor(5));
        CHECK(tally.slow_senders > seeds.floor(20));
        CHECK(tally.slow_readers > seeds.floor(5));
        CHECK(tally.denied > seeds.floor(100));
        CHECK(tally.timeouts > seeds.floor(100));
        CHECK(tally.resets > seeds.floor(100));
        CHECK(tally.forged > seeds.floor(500));
        CHECK(tally.over_rate > seeds.floor(1000));
        CHECK(tally.sessions_kept > seeds.floor(500));
    }
}

TEST_CASE("changes: reloads, drains and aborts at any moment end cleanly and in time") {
    const Seeds seeds(Kind::changes);
    if (seeds.other_kind)
        SKIP("another kind of seed is replayed");
    const Simulation::Tally tally = run(seeds);
    if (!seeds.trace) {
        CHECK(tally.faults[Fault::reload] > seeds.floor(100));
        CHECK(tally.faults[Fault::drain] > seeds.floor(100));
        CHECK(tally.handed_over > seeds.floor(100));
    }
}

TEST_CASE("scarce: without descriptors or memory for a while, no client is lost") {
    const Seeds seeds(Kind::scarce);
    if (seeds.other_kind)
        SKIP("another kind of seed is replayed");
    const Simulation::Tally tally = run(seeds);
    if (!seeds.trace) {
        CHECK(tally.answered > seeds.floor(1000));
        CHECK(tally.faults[Fault::no_descriptor] > seeds.floor(100));
        CHECK(tally.faults[Fault::accept_error] > seeds.floor(100));
        CHECK(tally.faults[Fault::datagram_error] > seeds.floor(100));
    }
}

TEST_CASE("restarts: every client gets its whole reply, from either process") {
    const Seeds seeds(Kind::restarts);
    if (seeds.other_kind)
        SKIP("another kind of seed is replayed");
    const Simulation::Tally tally = run(seeds);
    if (!seeds.trace) {
        CHECK(tally.faults[Fault::restart] > seeds.floor(500));
        CHECK(tally.sessions_kept > seeds.floor(500));
        CHECK(tally.handed_over > seeds.floor(1000));
        CHECK(tally.answered > seeds.floor(1000));
    }
}

TEST_CASE("seeds that found a fault once pass") {
    if (Seeds(Kind::calm).trace)
        SKIP("one seed is replayed");
    log::open(log::Sink::none);
    // 5030726: a farewell that had waited for a buffer restarted the timeout of a peer that reads
    // nothing
    for (const uint64_t seed : {uint64_t{5030726}}) {
        CAPTURE(seed);
        CHECK(Simulation(seed, false).run().empty());
    }
}

TEST_CASE("every kind of fault is injected") {
    if (Seeds(Kind::calm).trace)
        SKIP("one seed is replayed");
    log::open(log::Sink::none);
    FaultCounts faults;
    for (uint64_t seed = 0; seed < 200 * kinds; ++seed) {
        CAPTURE(seed);
        Simulation simulation(seed, false);
        REQUIRE(simulation.run().empty());
        faults.add(simulation.tally().faults);
    }
    for (size_t kind = 0; kind < fault_kinds; ++kind) {
        CAPTURE(fault_names[kind]);
        CHECK(faults[static_cast<Fault>(kind)] > 10);
    }
}
