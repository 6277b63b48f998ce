#include "daemon/supervisor/signals.h"

#include <initializer_list>

#include <pthread.h>

namespace riposte {
namespace {

sigset_t set_of(std::initializer_list<int> signals) {
    sigset_t set;
    sigemptyset(&set);
    for (const int signal : signals)
        sigaddset(&set, signal);
    return set;
}

void dispose(std::initializer_list<int> signals, void (*how)(int)) {
    struct sigaction action{};
    action.sa_handler = how;
    for (const int signal : signals)
        sigaction(signal, &action, nullptr);
}

} // namespace

sigset_t read_signals() {
    return set_of({SIGTERM, SIGINT, SIGHUP, SIGUSR1});
}

sigset_t stop_signals() {
    return set_of({SIGTERM, SIGINT});
}

void take_signals() {
    const sigset_t later = set_of({SIGHUP, SIGUSR1});
    pthread_sigmask(SIG_BLOCK, &later, nullptr);
    dispose({SIGPIPE, SIGXFSZ}, SIG_IGN);
    // An ignored signal cannot be read. An ignored INT stays ignored: a shell ignores it for
    // background jobs.
    dispose({SIGHUP, SIGUSR1, SIGTERM}, SIG_DFL);
}

void block_read_signals() {
    const sigset_t all = read_signals();
    pthread_sigmask(SIG_BLOCK, &all, nullptr);
}

} // namespace riposte
