// What --help prints, 80 columns wide. The completions of the shells (packaging/completions) offer
// the same options; a test holds them against each other.
#include "client/options/raw_options.h"

namespace riposte::client {

const std::string_view root_help = R"(Usage: riposte COMMAND [OPTION]... OPERAND...

Sends messages to TCP and UDP responders, prints their answers, and measures
latency, loss and throughput.

Commands:
  send                 one message, its answer on standard output
  ping                 probes at a fixed pace: round trips, loss, jitter
  load                 full speed or a fixed rate: capacity and latency
  status               what the daemon on this machine is doing

Options:
  -h, --help           print this help, or a command's, and exit
      --version        print the version and exit

Examples:
  riposte send localhost                  a greeting over TCP, to port 7001
  riposte ping -u -c 5 localhost          the round trips of five datagrams
  riposte load -d 5s localhost:7          five seconds of load on an echo
  riposte status --watch                  the daemon's status, every 2 s
  riposte ping --help                     more about this command
)";

const std::string_view send_help = R"(Usage: riposte send [OPTION]... ENDPOINT [MESSAGE|-]

Sends one message and prints the answer byte for byte on standard output.

ENDPOINT is [tcp://|udp://]HOST[:PORT]. HOST is a name, an IPv4 address or
[IPv6]. The port defaults to 7001, the scheme to TCP. Without MESSAGE, riposte
sends a greeting; - reads the message from standard input. Write a MESSAGE that
begins with a dash after --.

Options:
  -u                   UDP, unless ENDPOINT says tcp:// or udp://
  -4, -6               IPv4 only, IPv6 only
  -W, --timeout TIME   the longest wait to connect, and for more of the answer:
                       500ms, 10s, 2m; a bare number is seconds [5s]
      --source ADDR    send from this local address
      --color WHEN     auto, always or never, on standard error [auto]
  -v, --verbose        log each step on standard error
  -h, --help           print this help and exit
      --version        print the version and exit

Exit status:
  0  answered
  1  refused, timed out, reset, or closed without an answer
  2  usage or local error

Examples:
  riposte send tcp://127.0.0.1:7001       the greeting, over TCP
  riposte send -u localhost hello         one datagram, to port 7001
  riposte send -v 'tcp://[::1]:7' hello   log each step
  riposte send server:7 - <file >copy     a file through an echo service
)";

const std::string_view ping_help = R"(Usage: riposte ping [OPTION]... ENDPOINT...

Sends probes at a fixed pace and prints a line for each answer. At the end (-c,
-w or Ctrl-C) it prints a summary: losses, refusals, damage and round trips.

ENDPOINT is [tcp://|udp://]HOST[:PORT]; several are probed at once and compared.
HOST is a name, an IPv4 address or [IPv6]. The port defaults to 7001, the scheme
to TCP. TIME is 200us, 10ms, 1.5s, 2m; a bare number is seconds.

Options:
  -c, --count N        end after N probes to each ENDPOINT
  -i, --interval TIME  the time between probes; at least 100us [1s]
  -W, --timeout TIME   a probe without an answer by then is lost; whole ms [5s]
  -w, --deadline TIME  stop sending after this time
  -s, --size BYTES     the size of each probe, 24 to 65507 [56]
      --reconnect      TCP: a connection for each probe
      --df             UDP: no fragments; a probe that does not fit is too big
  -u                   UDP, unless ENDPOINT says tcp:// or udp://
  -4, -6               IPv4 only, IPv6 only
      --source ADDR    send from this local address
  -q, --quiet          print only the summary, or the table of several endpoints
  -D, --timestamps     print the time in front of each line
  -j, --json           print one JSON document (riposte/ping/2) and nothing else
      --histogram      draw the round trips as bars on a logarithmic scale
      --hist FILE      write their distribution in the format of HdrHistogram
      --plot FILE      plot them over time and by percentile, as SVG
      --fail-if CONDITIONS
                       exit with 1 if one is met: 'p99>2ms,loss>0.1%'
      --color WHEN     auto, always or never [auto]
  -h, --help           print this help and exit
      --version        print the version and exit

After the last probe ping waits for the answers in flight: 4 times the largest
round trip, at least 1s, at most -W. A probe without an answer by then is lost.

Signals: INT and TERM stop the sending; a second one ends the wait as well. QUIT
(Ctrl-\) prints a line with the figures so far.

Exit status:
  0  every probe answered correctly, no condition of --fail-if met
  1  loss, refusal, wrong answer, probe not sent, or a condition met
  2  usage or local error

Examples:
  riposte ping localhost                  one probe a second over TCP
  riposte ping -c 10 -i 100ms udp://server:7
                                          ten datagrams in a second
  riposte ping udp://a:7 udp://b:7        compare two servers
  riposte ping -q -c 1000 -i 1ms --fail-if 'p99>2ms,loss>0.1%' -u server:7
                                          a check for a script
)";

const std::string_view load_help = R"(Usage: riposte load [OPTION]... ENDPOINT

Sends each request when an answer has arrived (closed loop) or, with -r, at a
fixed rate (open loop), and reports throughput, latency and errors.

ENDPOINT is [tcp://|udp://]HOST[:PORT]. HOST is a name, an IPv4 address or
[IPv6]. The port defaults to 7001, the scheme to TCP. TIME is 500ms, 10s, 2m; a
bare number is seconds.

Options:
  -c, --connections N  connections (UDP: sockets), 1 to 100000 [10]
  -d, --duration TIME  measured time; 0 means until -n or an interrupt [10s]
  -n, --count N        end after N measured requests; without -d, only then
  -r, --rate N         open loop: N requests a second in total, evenly spaced;
                       latency counts from the time at which a request was due;
                       the latency from its sending is printed as well
  -s, --size BYTES     of each request: TCP 1 to 16MiB, UDP 24 to 65507 [64]
      --depth N        outstanding requests on each connection, 1 to 4096
                       [1; with -r 64]; not with -r over UDP, which has no limit
                       below 4 million outstanding requests (200 MB)
      --warmup TIME    not measured [a tenth of -d, at most 1s; none with -n
                       and without -d]
      --reconnect      TCP: a connection for each request
      --no-verify      count the bytes of answers without comparing them
  -W, --timeout TIME   the longest wait to connect, and for each answer [5s]
  -u                   UDP, unless ENDPOINT says tcp:// or udp://
  -4, -6               IPv4 only, IPv6 only
      --source ADDR    send from this local address
  -j, --json           print one JSON document (riposte/load/2) and nothing else
      --histogram      draw the latency as bars on a logarithmic scale
      --hist FILE      write its distribution in the format of HdrHistogram
      --plot FILE      plot it over time and by percentile, as SVG
      --fail-if CONDITIONS
                       exit with 1 if one is met: 'p99>2ms,rate<10000'
      --color WHEN     auto, always or never [auto]
  -h, --help           print this help and exit
      --version        print the version and exit

Signals: INT and TERM stop the sending; load waits for the answers in flight
(about a second), and the rest is lost. A second one ends that wait. QUIT
(Ctrl-\) prints a line with the figures so far.

Exit status:
  0  every request answered correctly, no condition of --fail-if met
  1  loss, refusal, wrong answer, request not sent, or a condition met
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

Reads the metrics socket of riposted and prints its status: backend, limits and
their use, listeners with counts and rates, latency, refusals and their reasons.

ENDPOINT is unix:/PATH or [tcp://]HOST[:PORT]; the default port is 9701. Without
ENDPOINT it is unix:/run/riposte/metrics.sock, or else 127.0.0.1:9701. Rates are
measured over one second; with --watch, over the interval.

Options:
  -w, --watch          repeat until Ctrl-C
  -i, --interval TIME  with --watch: how often, 500ms, 10s, 2m [2s]
  -j, --json           print the daemon's document, riposte/status/1; with
                       --watch a line each time
  -W, --timeout TIME   the longest wait to connect, and for the answer [5s]
  -4, -6               IPv4 only, IPv6 only
      --source ADDR    ask from this local address
      --color WHEN     auto, always or never [auto]
  -h, --help           print this help and exit
      --version        print the version and exit

Metrics are off by default. Switch them on with systemctl enable --now
riposted-metrics.socket, or without systemd in riposted.toml: [metrics]
listen = "tcp://127.0.0.1:9701".

Exit status:
  0  the daemon answered
  1  no answer, or not a status document (with --watch: at the end)
  2  usage or local error

Examples:
  riposte status                          the status now
  riposte status -w                       the status every 2 s
  riposte status -j | jq .listeners       for programs
)";

} // namespace riposte::client
