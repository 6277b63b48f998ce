// What the daemon logs: one event for each line that an operator may want to look up, and the id
// under which the journal and its catalog know it (MESSAGE_ID, systemd.journal-fields(7)).
//
//     journalctl -x -u riposted                   each line with its explanation
//     journalctl MESSAGE_ID=... RIPOSTE_PEER=...  one kind of line, one peer
//
// An id is made once (systemd-id128 new) and means its event forever: monitoring depends on it.
// Each has an entry in packaging/systemd/riposted.catalog, which names the fields that its lines
// have; tests/unit/daemon/test_log_events.cpp holds the two together.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>

namespace riposte::log {

enum class Event : uint8_t {
    start_failed,         ///< the program ends, with RIPOSTE_EXIT as its status
    ready,                ///< everything is up
    listening,            ///< a socket is served from now on
    not_listening,        ///< a socket is served no more
    memory_bound,         ///< what the process takes at most
    backend_fallback,     ///< epoll, because io_uring is not available
    ring_lacks,           ///< an older io_uring
    ring_not_limited,     ///< the rings take every operation
    seccomp_off,          ///< the process is not sealed
    sealed,               ///< the process is sealed
    descriptors_few,      ///< fewer than 'connections' needs
    adopted,              ///< connections of the previous process continue
    adoption_problem,     ///< one of them cannot
    adopted_finished,     ///< one of them is ended with FIN
    store_unconfirmed,    ///< the service manager may still hold them
    sessions_adopted,     ///< sessions of stamp continue
    sessions_lost,        ///< they begin anew
    reload_done,          ///< the new configuration holds
    reload_failed,        ///< the old configuration stays
    restart_needed,       ///< a key that no reload changes
    draining,             ///< told to stop
    aborting,             ///< told twice
    handed_over,          ///< connections wait for the next process
    not_handed_over,      ///< they end here
    sessions_handed_over, ///< sessions of stamp wait for the next process
    statistics,           ///< what was done so far
    stopped,              ///< the end, as asked
    accepting_paused,     ///< no descriptors or memory for a connection
    receiving_paused,     ///< a datagram socket fails
    connection_refused,   ///< a limit, or 'deny'
    connection_evicted,   ///< idle, closed for a new connection
    connection_stalled,   ///< reset for the buffers that it holds
    access_connection,    ///< one line of the access log
    access_datagram,      ///< one line of the access log
    access_left_out,      ///< more than its rate
    log_lines_lost,       ///< dropped, because the sink did not accept them in time
    metrics_inherited,    ///< [metrics] listen is not used
    ipv6_missing,         ///< an address is served without it
    wrong_process,        ///< sockets or a watchdog of another process
};

struct EventName {
    Event event;
    std::string_view name; ///< RIPOSTE_EVENT
    std::string_view id;   ///< MESSAGE_ID
};

inline constexpr auto event_names = std::to_array<EventName>({
    {Event::start_failed, "start_failed", "ff2dddc71903401f9288424336c58090"},
    {Event::ready, "ready", "ab9295090f594209ab85f1dc865d455a"},
    {Event::listening, "listening", "fa14ba9956c04808bc72cf3403d0b6d8"},
    {Event::not_listening, "not_listening", "314c0bb3b5b64f95824e65ce0efd9bd7"},
    {Event::memory_bound, "memory_bound", "e7ba3db6612e41b0b920a34fef1aa053"},
    {Event::backend_fallback, "backend_fallback", "6bef36f8bf414716a081604f945ca911"},
    {Event::ring_lacks, "ring_lacks", "03cba117cace4fdaa7168627b382421a"},
    {Event::ring_not_limited, "ring_not_limited", "2b3769595db14d99b2383edaf078a81e"},
    {Event::seccomp_off, "seccomp_off", "7b8ebdf6b40d40bda4ffe94c7d56c07c"},
    {Event::sealed, "sealed", "ca5b5c242595483f805961b740a31de8"},
    {Event::descriptors_few, "descriptors_few", "0ea7d0e47add4c338d6cdff350510e2e"},
    {Event::adopted, "adopted", "7e10af032c154238bc9a629375ec3a3e"},
    {Event::adoption_problem, "adoption_problem", "1769f8585bc64071b3cfbe578c6bbbfe"},
    {Event::adopted_finished, "adopted_finished", "1937b5cbf39f470a9ba8d8a5aa7f2d23"},
    {Event::store_unconfirmed, "store_unconfirmed", "5236af573a7b4e39bbb93155ce14bf55"},
    {Event::sessions_adopted, "sessions_adopted", "b1de742e1e6f79ab5155af4e0955d8c1"},
    {Event::sessions_lost, "sessions_lost", "afdeb5521456da0f53a4857d6deffc91"},
    {Event::reload_done, "reload_done", "c8cbfcce6ca9408c9df1e133f5a17f96"},
    {Event::reload_failed, "reload_failed", "81288fa6c1244a62bd6aaa0cf294a400"},
    {Event::restart_needed, "restart_needed", "4fcb175376f544c88ea8cf90f0a26356"},
    {Event::draining, "draining", "5f8e7c33f71848dcaa3209ad0edc59a8"},
    {Event::aborting, "aborting", "a08469f69ef84303929caaaf49d35947"},
    {Event::handed_over, "handed_over", "365cadb8233449c1bc9798bcf144c321"},
    {Event::not_handed_over, "not_handed_over", "fc46cbd51c0544809b17fbfb2bfa76a2"},
    {Event::sessions_handed_over, "sessions_handed_over", "5bb706afe7651ac2e41e29a34969ef70"},
    {Event::statistics, "statistics", "4c79ac133e344d148c6571f9ffc9d6de"},
    {Event::stopped, "stopped", "6e5fc58bcdb249bfb578f9f46e3d7ecf"},
    {Event::accepting_paused, "accepting_paused", "0a40559b753048a38262e20e2369c5b7"},
    {Event::receiving_paused, "receiving_paused", "5db32eea386044868b65fbaa86935b80"},
    {Event::connection_refused, "connection_refused", "cc8c17e99b0b41fca1d3dadd525f5061"},
    {Event::connection_evicted, "connection_evicted", "ac92123db5e740248375cc09c612ab4f"},
    {Event::connection_stalled, "connection_stalled", "cb9706aeafc04d638ba4cbebaa3977f8"},
    {Event::access_connection, "access_connection", "7c1661e018e049b6b0af5a856ed3b763"},
    {Event::access_datagram, "access_datagram", "5fa7df9098fe4e08a18285e611d59a75"},
    {Event::access_left_out, "access_left_out", "ccd0236453b8456db48bc77de594a4ed"},
    {Event::log_lines_lost, "log_lines_lost", "e1ffc97512c74857a1999be71630ed2f"},
    {Event::metrics_inherited, "metrics_inherited", "22db9b562f574b1faa75eff629ae1b8e"},
    {Event::ipv6_missing, "ipv6_missing", "d5c1215ac4e143fda03130ddfbea512c"},
    {Event::wrong_process, "wrong_process", "2c2c016134824abeb1460f5f38ac623a"},
});

constexpr const EventName& name_of(Event event) {
    return event_names[static_cast<size_t>(event)];
}

static_assert(
    [] {
        for (size_t i = 0; i < event_names.size(); ++i)
            if (event_names[i].event != static_cast<Event>(i))
                return false;
        return event_names.back().event == Event::wrong_process;
    }(),
    "one line for each event, in their order");

} // namespace riposte::log
