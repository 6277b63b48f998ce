// What `riposte status --help` prints, 80 columns wide.
#include "client/options/raw_options.h"

namespace riposte::client {

const std::string_view status_help = R"(Usage: riposte status [OPTION]... [ENDPOINT]

Reads the metrics socket of riposted and prints its status: backend, limits and
their use, listeners with counts and rates, latency, refusals and their reasons.

ENDPOINT is unix:/PATH or [tcp://]HOST[:PORT]; the default port is 9701. Without
ENDPOINT it is unix:/run/riposte/metrics.sock, or else 127.0.0.1:9701. Rates are
measured over one second; with --watch, over the interval.

Options:
  -w, --watch          repeat until Ctrl-C
  -i, --interval TIME  with --watch: how often, 500ms, 10s, 2m [2s]
  -q, --quiet          print only what needs attention: nothing if all is well
  -j, --json           print the daemon's document, riposte/status/1; with
                       --watch a line each time
  -W, --timeout TIME   the longest wait to connect, and for the answer [5s]
  -4, -6               IPv4 only, IPv6 only
      --source ADDR    ask from this local address
      --color WHEN     auto, always or never [auto]
  -h, --help           print this help and exit
  -V, --version        print the version and exit

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
