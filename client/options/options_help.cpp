// What --help prints, 80 columns wide. The completions of the shells (packaging/completions) offer
// the same options; a test holds them against each other.
#include "client/options/raw_options.h"

namespace riposte::client {

const std::string_view root_help = R"(Usage: riposte COMMAND [OPTION]... OPERAND...

Sends messages to TCP and UDP responders, shows what they answer, and measures
how fast, how reliably and how much.

Commands:
  send                 one message, its answer on standard output
  ping                 probes at a fixed pace: round trips, loss, jitter
  load                 as many requests as go, or as asked for: what it bears
  status               what a daemon on this machine is doing

Options:
  -h, --help           print this help, or a command's, and exit
      --version        print the version and exit

Examples:
  riposte send localhost                  say hello over TCP, port 7001
  riposte ping -u -c 5 localhost          five datagrams, and how long they took
  riposte load -d 5s localhost:7          five seconds of load on an echo
  riposte status --watch                  the daemon's doings, every 2 s
  riposte ping --help                     more about this command
)";

const std::string_view send_help = R"(Usage: riposte send [OPTION]... ENDPOINT [MESSAGE|-]

Sends one message, and prints its answer byte for byte on standard output.

ENDPOINT is [tcp://|udp://]HOST[:PORT]. HOST is a name, an IPv4 address or
[IPv6]; without a port it is 7001, without a scheme TCP. Without MESSAGE a
greeting is sent; - reads the message from standard input. A MESSAGE that
begins with a dash stands after --.

Options:
  -u                   UDP, where ENDPOINT does not say tcp:// or udp://
  -4, -6               IPv4 only, IPv6 only
  -W, --timeout TIME   wait that long to connect, and for the answer to go on:
                       500ms, 10s, 2m; a bare number is seconds [5s]
      --source ADDR    send from this local address
      --color WHEN     auto, always or never, on standard error [auto]
  -v, --verbose        tell on standard error what happens
  -h, --help           print this help and exit
      --version        print the version and exit

Exit status:
  0  answered
  1  refused, timed out, reset, or closed without an answer
  2  usage or local error

Examples:
  riposte send tcp://127.0.0.1:7001       the greeting, over TCP
  riposte send -u localhost hello         one datagram, to port 7001
  riposte send -v 'tcp://[::1]:7' hello   tell what happens
  riposte send server:7 - <file >copy     a file through an echo service
)";

const std::string_view ping_help = R"(Usage: riposte ping [OPTION]... ENDPOINT...

Sends probes at a fixed pace and tells of each answer; at the end (after -c, -w
or Ctrl-C) of all: what was lost, refused or damaged, and how long it took.

ENDPOINT is [tcp://|udp://]HOST[:PORT]; several are probed at once and compared.
HOST is a name, an IPv4 address or [IPv6]; without a port it is 7001, without a
scheme TCP. TIME is 200us, 10ms, 1.5s, 2m; a bare number is seconds.

Options:
  -c, --count N        end after N probes to each ENDPOINT
  -i, --interval TIME  from probe to probe; at least 100us [1s]
  -W, --timeout TIME   what takes longer is lost; no finer than 1ms [5s]
  -w, --deadline TIME  send nothing after that long
  -s, --size BYTES     of each probe, 24 to 65507 [56]
      --reconnect      TCP: a connection for each probe
      --df             UDP: never in fragments; what does not fit is too big
  -u                   UDP, where ENDPOINT does not say tcp:// or udp://
  -4, -6               IPv4 only, IPv6 only
      --source ADDR    send from this local address
  -q, --quiet          only the summary; of several endpoints only their table
  -D, --timestamps     the time in front of each line
  -j, --json           nothing but one JSON document, riposte/ping/2
      --histogram      the round trips as bars, on a logarithmic scale
      --hist FILE      their distribution in the format of HdrHistogram
      --plot FILE      them over time and by percentile, as SVG
      --fail-if CONDITIONS
                       exit 1 if one is met: 'p99>2ms,loss>0.1%'
      --color WHEN     auto, always or never [auto]
  -h, --help           print this help and exit
      --version        print the version and exit

After the last probe ping lingers for what is under way: 4 times the largest
round trip, at least 1s, at most -W. What has not come by then is lost.

Signals: INT and TERM end it so, a second one ends the lingering; QUIT (Ctrl-\)
prints a line on how it stands.

Exit status:
  0  every probe answered rightly, no condition of --fail-if met
  1  loss, refusal, wrong answer, or a condition met
  2  usage or local error

Examples:
  riposte ping localhost                  one probe a second over TCP
  riposte ping -c 10 -i 100ms udp://server:7
                                          ten datagrams in a second
  riposte ping udp://a:7 udp://b:7        which of the two is nearer?
  riposte ping -q -c 1000 -i 1ms --fail-if 'p99>2ms,loss>0.1%' -u server:7
                                          a check for a script
)";

const std::string_view load_help = R"(Usage: riposte load [OPTION]... ENDPOINT

Sends as many requests as the answers let through (closed loop) or, with -r, as
many as asked for at their times (open loop), and tells rate, latency, errors.

ENDPOINT is [tcp://|udp://]HOST[:PORT]. HOST is a name, an IPv4 address or
[IPv6]; without a port it is 7001, without a scheme TCP. TIME is 500ms, 10s, 2m;
a bare number is seconds.

Options:
  -c, --connections N  connections (UDP: sockets), 1 to 100000 [10]
  -d, --duration TIME  measured time; 0 is until -n, or interrupted [10s]
  -n, --count N        end after N measured requests; without -d, only then
  -r, --rate N         open loop: N requests a second in all, evenly spaced;
                       latency counts from the time at which each was due, and
                       stands beside that from its sending
  -s, --size BYTES     of each request: TCP 1 to 16MiB, UDP 24 to 65507 [64]
      --depth N        outstanding requests on each connection, 1 to 4096
                       [1; with -r 64]; not with -r over UDP, where nothing is
                       held back until 4 million (200 MB) are outstanding
      --warmup TIME    before measuring [a tenth of -d, at most 1s; without
                       -d and with -n none]
      --reconnect      TCP: a connection for each request
      --no-verify      count the answers' bytes, do not compare them
  -W, --timeout TIME   to connect, and for each answer [5s]
  -u                   UDP, where ENDPOINT does not say tcp:// or udp://
  -4, -6               IPv4 only, IPv6 only
      --source ADDR    send from this local address
  -j, --json           nothing but one JSON document, riposte/load/2
      --histogram      the latency as bars, on a logarithmic scale
      --hist FILE      its distribution in the format of HdrHistogram
      --plot FILE      it over time and by percentile, as SVG
      --fail-if CONDITIONS
                       exit 1 if one is met: 'p99>2ms,rate<10000'
      --color WHEN     auto, always or never [auto]
  -h, --help           print this help and exit
      --version        print the version and exit

Signals: INT and TERM end: what is under way is lingered for (about a second),
and then lost. A second one ends that at once. QUIT (Ctrl-\) prints a line on
how it stands.

Exit status:
  0  every request answered rightly, no condition of --fail-if met
  1  loss, refusal, wrong answer, or a condition met
  2  usage or local error
  130  a second INT or TERM

Examples:
  riposte load server:7                   ten connections for ten seconds
  riposte load -r 5000 -d 1m server:7     latency at 5,000 requests a second
  riposte load --reconnect -c 50 server   connections a second
  riposte load -n 100000 -j server:7 >load.json
  riposte load -u -r 20000 -s 1200 --fail-if 'loss>0.01%' server:7
)";

const std::string_view status_help = R"(Usage: riposte status [OPTION]... [ENDPOINT]

Tells what riposted is doing, from its metrics socket: backend, limits and how
near they are, listeners with counts and rates, latency, what is refused and why.

ENDPOINT is unix:/PATH or [tcp://]HOST[:PORT], without a port 9701. Without
ENDPOINT it is unix:/run/riposte/metrics.sock, or else 127.0.0.1:9701. Rates are
those of one second between two looks; with --watch, since the last one.

Options:
  -w, --watch          again and again, until Ctrl-C
  -i, --interval TIME  with --watch: how often, 500ms, 10s, 2m [2s]
  -j, --json           the daemon's own document, riposte/status/1; with
                       --watch a line each time
  -W, --timeout TIME   to connect, and for the answer [5s]
  -4, -6               IPv4 only, IPv6 only
      --source ADDR    ask from this local address
      --color WHEN     auto, always or never [auto]
  -h, --help           print this help and exit
      --version        print the version and exit

Metrics are off unless asked for: systemctl enable --now riposted-metrics.socket
or, without systemd, in riposted.toml: [metrics] listen = "tcp://127.0.0.1:9701".

Exit status:
  0  it told
  1  nobody answers there, or not rightly (with --watch: at the end)
  2  usage or local error

Examples:
  riposte status                          how is it?
  riposte status -w                       and how does it go on?
  riposte status -j | jq .listeners       for programs
)";

} // namespace riposte::client
