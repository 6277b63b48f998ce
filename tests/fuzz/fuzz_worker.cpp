// A whole worker over the simulated backend, with its peers, its clock and its changes: the input
// is the seed of a run (eight bytes) and its first choices, which the fuzzer varies. The invariants
// are those of each seed of the simulator; see tests/sim/simulation.h.
//
//   RIPOSTE_SIM_TRACE=1   print each operation and event
#include "daemon/log/log.h"
#include "tests/fuzz/fuzz.h"
#include "tests/sim/simulation.h"

using namespace riposte;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) { // NOLINT(*-naming)
    static const bool silent = (log::open(log::Sink::none), true);
    fuzz::Input input(data, size);
    const uint64_t seed = input.number();
    const bool trace = std::getenv("RIPOSTE_SIM_TRACE") != nullptr; // NOLINT(concurrency-mt-unsafe)
    sim::Simulation simulation(seed, trace, input.bytes(size));
    const std::string failure = simulation.run();
    fuzz::require(silent && failure.empty(), "what holds for every run", failure);
    return 0;
}
