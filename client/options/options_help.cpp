// What `riposte --help` prints, 80 columns wide. The help of a command is in help_COMMAND.cpp. The
// completions of the shells (packaging/completions) offer the same options; a test holds them
// against each other.
#include "client/options/raw_options.h"

namespace riposte::client {

const std::string_view root_help = R"(Usage: riposte COMMAND [OPTION]... OPERAND...

Sends messages to TCP and UDP responders, prints their answers, and measures
latency, loss and throughput.

Commands:
  send                 one message, its answer on standard output
  ping                 probes at a fixed pace: round trips, loss, jitter
  load                 full speed or a fixed rate: capacity and latency
  probe                a fleet: who loses or delays, all the time, from lists
  status               what the daemon on this machine is doing
  help [COMMAND]       print this help, or a command's
  version              print the version

Options:
  -h, --help           print this help, or a command's, and exit
  -V, --version        print the version and exit

Examples:
  riposte send localhost                  a greeting over TCP, to port 7001
  riposte ping -u -c 5 localhost          the round trips of five datagrams
  riposte load -d 5s localhost:echo       five seconds of load on an echo
  riposte status --watch                  the daemon's status, every 2 s
  riposte help ping                       more about this command
)";

} // namespace riposte::client
