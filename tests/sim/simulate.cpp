// The simulator as a program, for a number of seeds or seconds; see simulation.h.
//
//   simulate [--seeds N] [--from SEED] [--seconds S] [--trace]
//
// Without --seeds and --seconds: 4,000 seeds. Prints how often each kind of fault was injected, and
// on the last line what was simulated. Stops at the first seed that fails, and prints how to repeat
// it: exit status 1.
#include "daemon/log/log.h"
#include "tests/sim/simulation.h"

#include <charconv>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <fmt/format.h>
#include <unistd.h>

using namespace riposte;
using namespace riposte::sim;

namespace {

constexpr uint64_t seeds_usual = 4'000;
constexpr unsigned seed_seconds_max = 300; // a seed takes milliseconds: beyond, it loops endlessly

struct Arguments {
    uint64_t from = 0;
    uint64_t seeds = never_ms;
    uint64_t seconds = never_ms;
    bool trace = false;
};

std::optional<Arguments> parse(const std::vector<std::string_view>& words) {
    Arguments arguments;
    for (size_t i = 0; i < words.size(); ++i) {
        uint64_t* number = nullptr;
        if (words[i] == "--trace")
            arguments.trace = true;
        else if (words[i] == "--seeds")
            number = &arguments.seeds;
        else if (words[i] == "--from")
            number = &arguments.from;
        else if (words[i] == "--seconds")
            number = &arguments.seconds;
        else
            return std::nullopt;
        if (number == nullptr)
            continue;
        if (++i == words.size())
            return std::nullopt;
        const std::string_view text = words[i];
        const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), *number);
        if (error != std::errc{} || end != text.data() + text.size())
            return std::nullopt;
    }
    if (arguments.seeds == never_ms && arguments.seconds == never_ms)
        arguments.seeds = seeds_usual;
    return arguments;
}

std::string how_to_repeat(uint64_t seed) {
    return fmt::format("repeat it: tests/sim/simulate --from {} --seeds 1 --trace\n", seed);
}

// For the signal handler, which must not format: its message about the current seed.
std::string last_words; // NOLINT(*-avoid-non-const-global-variables)

/// An assert of the daemon, a crash, or a turn that never returns.
extern "C" void on_death(int signal) {
    const ssize_t ignored = write(STDERR_FILENO, last_words.data(), last_words.size());
    static_cast<void>(ignored);
    std::signal(signal, SIG_DFL);
    raise(signal);
}

void print_faults(const FaultCounts& faults) {
    fmt::print("faults injected:\n");
    for (size_t kind = 0; kind < fault_kinds; ++kind)
        fmt::print("{:>14}  {}\n", faults[static_cast<Fault>(kind)], fault_names[kind]);
}

} // namespace

int main(int argc, char** argv) {
    const auto arguments = parse({argv + 1, argv + argc});
    if (!arguments) {
        fmt::print(
            stderr,
            "usage: simulate [--seeds N] [--from SEED] [--seconds S] [--trace]\n"
            "Numbers are integers; without --seeds and --seconds, {} seeds.\n",
            seeds_usual);
        return 2;
    }
    log::open(log::Sink::none);
    for (const int signal : {SIGABRT, SIGSEGV, SIGBUS, SIGALRM})
        std::signal(signal, on_death);
    const auto started = std::chrono::steady_clock::now();
    const auto is_over = [&] {
        const auto spent = std::chrono::steady_clock::now() - started;
        return arguments->seconds != never_ms && spent >= std::chrono::seconds(arguments->seconds);
    };
    Simulation::Tally tally;
    uint64_t done = 0;
    for (; done < arguments->seeds && !is_over(); ++done) {
        const uint64_t seed = arguments->from + done;
        last_words = fmt::format("seed {} did not return; {}", seed, how_to_repeat(seed));
        alarm(seed_seconds_max);
        Simulation simulation(seed, arguments->trace);
        if (const std::string failure = simulation.run(); !failure.empty()) {
            fmt::print("{}\n{}", failure, how_to_repeat(seed));
            return 1;
        }
        tally.add(simulation.tally());
    }
    print_faults(tally.faults);
    fmt::print(
        "sim: {} seeds, {} s simulated, {} connections, {} datagrams, {} faults\n", done,
        tally.simulated_ms / 1000, tally.connections, tally.asked, tally.faults.sum());
    return 0;
}
