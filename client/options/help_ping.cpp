// What `riposte ping --help` prints, 80 columns wide.
#include "client/options/raw_options.h"

namespace riposte::client {

const std::string_view ping_help = R"(Usage: riposte ping [OPTION]... ENDPOINT...

Sends probes at a fixed pace and prints a line for each answer. At the end (-c,
-w or Ctrl-C) it prints a summary: losses, refusals, damage and round trips.

ENDPOINT is [tcp://|udp://|stamp://]HOST[:PORT]; several are probed at once and
compared. HOST is a name, an IPv4 address or [IPv6], or many: 192.0.2.0/24,
192.0.2.10-20, [2001:db8::/120]. The port defaults to 7001, the scheme to TCP.
TIME is 200us, 10ms, 1.5s, 2m; a bare number is seconds.

stamp:// is a reflector of STAMP or TWAMP Light, port 862 by default: it shows
losses, delays and hops of each direction. See riposte-stamp(7).

Options:
  -c, --count N        end after N probes to each ENDPOINT
  -i, --interval TIME  the time between probes; at least 100us [1s]
  -W, --timeout TIME   a probe without an answer by then is lost; whole ms [5s]
  -w, --deadline TIME  stop sending after this time
  -s, --size BYTES     the size of each probe, 24 to 65507 [56]; stamp:// has 44
                       or more, 112 with --key-file [the least]
      --reconnect      TCP: a connection for each probe
      --connect        TCP: connect and send nothing: is the port open?
      --mtu            UDP: find the path MTU, by sizes that pass and do not
      --flows N|A-B    probes take N local ports in turn, from 41000 or the port
                       of --source on, or ports A to B; names the bad ones
      --targets FILE   read more ENDPOINTs, one a line, from FILE or - (standard
                       input); # begins a comment
      --all-addresses  probe each address of a name as an endpoint of its own
      --resolve-every TIME
                       look up names again, and follow their addresses
      --alive          print only the endpoints that answer one of 4 probes
      --unreachable    print only those that do not
      --key-file FILE  stamp://: sign questions, and accept signed answers only
      --ssid N         stamp://: the session's number; 0 for none [random]
  -u                   UDP, unless ENDPOINT says tcp:// or udp://
  -4, -6               IPv4 only, IPv6 only
  -I, --interface NAME send by this interface, or in this VRF
      --source ADDR[:PORT]
                       send from this local address, and this port
      --mark N         the firewall mark, for policy routing (SO_MARK)
      --dscp NAME|N    the traffic class: be, le, cs0-7, af11-43, ef, va, 0-63;
                       stamp:// asks for the same of the answers
      --ttl N          the time to live, or hop limit, 1 to 255 [stamp://: 255]
      --df             UDP: no fragments; a probe that does not fit is too big
  -q, --quiet          print only the summary, or the table of several endpoints
  -D, --timestamps     print the time in front of each line
  -j, --json           print one JSON document (riposte/ping/2) and nothing else
      --json-lines     print each probe, and each interval of --every, as JSON,
                       a line each; the last line is what -j prints
      --every TIME     print a line of figures for each interval of this length
      --live           show a row for each endpoint on a screen that updates
      --histogram      draw the round trips as bars on a logarithmic scale
      --hist FILE      write their distribution in the format of HdrHistogram
      --plot FILE      plot them over time and by percentile, as SVG
      --fail-if CONDITIONS
                       exit with 1 if one is met: 'p99>2ms,loss>0.1%'; of
                       stamp:// also 'there.loss>1%,back.lost>0'
      --color WHEN     auto, always or never [auto]
  -h, --help           print this help and exit
  -V, --version        print the version and exit

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
  riposte ping --alive --connect 192.0.2.0/24:22
                                          which hosts have this port open
  riposte ping stamp://router             losses and delays of each direction
  riposte ping -q -c 1000 -i 1ms --fail-if 'p99>2ms,loss>0.1%' -u server:7
                                          a check for a script
)";

} // namespace riposte::client
