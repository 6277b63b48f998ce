// What `riposte probe --help` prints, 80 columns wide.
#include "client/options/raw_options.h"

namespace riposte::client {

const std::string_view probe_help = R"(Usage: riposte probe [OPTION]...

Probes the echo services of a fleet over UDP, all the time or for a while, and
counts what became of each probe once, when it is known. Targets come from files
in the format of Prometheus' file_sd, which are watched:
  [{"targets": ["a:7007", "b:7007"], "labels": {"rack": "r1"}}]

Options:
  -c, --config FILE    the configuration, in TOML [/etc/riposte/probe.toml, or
                       with --targets none]
      --targets FILE   a list of targets, beside those of the configuration; the
                       name may have wildcards: 'targets.d/*.json'. May be given
                       several times
      --listen ADDRESS serve figures over HTTP at tcp://HOST:PORT or unix:/PATH:
                       /metrics for Prometheus, / for people, /targets as JSON.
                       May be given several times
      --check          check the configuration and the lists, print what they
                       amount to, and exit
      --list           print who is probed, and why, and exit
      --for TIME       end after that time: 30s, 2m; else at INT or TERM
  -j, --json           print the results as a document, riposte/probe/1
      --fail-if CONDITIONS
                       exit 1 if a target meets one: 'p99>2ms,loss>0.1%'
      --color WHEN     auto, always or never [auto]
  -h, --help           print this help and exit
  -V, --version        print the version and exit

HUP reads the configuration and the lists again, and resets no counter of a
target that stays. QUIT prints the results so far. INT and TERM wait for what is
in flight, and print the results.

Exit status:
  0  every probe of every target was answered correctly
  1  one was not, or a target meets a condition of --fail-if
  2  usage or local error

Examples:
  riposte probe --for 30s --targets targets.json
                                          which targets lose or delay now?
  riposte probe -c probe.toml --check     is the configuration right?
  riposte probe --for 1m -j | jq '.targets[] | select(.loss_percent > 0)'
)";

} // namespace riposte::client
