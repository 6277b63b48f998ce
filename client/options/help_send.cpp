// What `riposte send --help` prints, 80 columns wide.
#include "client/options/raw_options.h"

namespace riposte::client {

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
  -I, --interface NAME send by this interface, or in this VRF
      --source ADDR[:PORT]
                       send from this local address, and this port
      --mark N         the firewall mark, for policy routing (SO_MARK)
      --dscp NAME|N    the traffic class: be, le, cs0-7, af11-43, ef, va, 0-63
      --ttl N          the time to live, or hop limit, 1 to 255
      --df             UDP: no fragments; a message that does not fit is refused
      --color WHEN     auto, always or never, on standard error [auto]
      --first          the answer ends with the first bytes that arrive
      --until BYTES|TEXT|/REGEX/
                       it ends after so many bytes, or with TEXT: --until '\n'
      --expect TEXT|/REGEX/
                       exit 1 unless the answer has it; alone, ends with it
  -q, --quiet          do not print the answer
  -v, --verbose        log each step, and how long it took, on standard error
  -h, --help           print this help and exit
  -V, --version        print the version and exit

Exit status:
  0  answered
  1  refused, timed out, reset, closed without an answer, or not as expected
  2  usage or local error

Examples:
  riposte send tcp://127.0.0.1:7001       the greeting, over TCP
  riposte send -u localhost hello         one datagram, to port 7001
  riposte send -v 'tcp://[::1]:7' hello   log each step
  riposte send server:7 - <file >copy     a file through an echo service
  riposte send -q --expect /^SSH-/ server:22 ''
                                          a check: is SSH there?
)";

} // namespace riposte::client
