// What `riposte load --help` prints, 80 columns wide.
#include "client/options/raw_options.h"

namespace riposte::client {

const std::string_view load_help = R"(Usage: riposte load [OPTION]... ENDPOINT
       riposte load [OPTION]... --upload ENDPOINT | --download ENDPOINT

Sends each request when an answer has arrived (closed loop) or, with -r, at a
fixed rate (open loop), and reports throughput, latency and errors. With
--upload or --download, or both, it transfers streams and reports Mbit/s.

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
      --upload ENDPOINT
                       how much goes there: a stream to a discard service [port
                       9]; counts what the peer acknowledges
      --download ENDPOINT
                       how much comes back: from a chargen service [port 19]
                       streams: -c 1 by default; -s of a write [128KiB] or a
                       datagram [1400, down 512]; no -n, -r and --depth
      --bitrate BITS   of a stream, bits a second: 100M, 2.5G; needed over UDP
      --bytes SIZE     end a stream after so many bytes; without -d, only then
      --while-pinging ENDPOINT
                       probe this echo or hello service before the load and
                       beside it: latency idle and working, responsiveness
  -W, --timeout TIME   the longest wait to connect, and for each answer [5s]
  -u                   UDP, unless ENDPOINT says tcp:// or udp://
  -4, -6               IPv4 only, IPv6 only
  -I, --interface NAME send by this interface, or in this VRF
      --source ADDR[:PORT]
                       send from this local address, and this port
      --mark N         the firewall mark, for policy routing (SO_MARK)
      --dscp NAME|N    the traffic class: be, le, cs0-7, af11-43, ef, va, 0-63
      --ttl N          the time to live, or hop limit, 1 to 255
      --df             UDP: no fragments; a request that does not fit is too big
  -q, --quiet          print one line, and notes if something limited the run
  -j, --json           print one JSON document (riposte/load/2, of a stream
                       riposte/throughput/1) and nothing else
      --json-lines     print each interval of --every as JSON, a line each; the
                       last line is what -j prints
      --every TIME     print a line of figures for each interval of this length
      --live           show rate and latency on a screen that updates
      --histogram      draw the latency as bars on a logarithmic scale
      --hist FILE      write its distribution in the format of HdrHistogram
      --plot FILE      plot it over time and by percentile, as SVG
      --fail-if CONDITIONS
                       exit with 1 if one is met: 'p99>2ms,rate<10000'
      --color WHEN     auto, always or never [auto]
  -h, --help           print this help and exit
  -V, --version        print the version and exit

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
  riposte load --download server --fail-if 'mbits<900'
  riposte load --upload udp://server --bitrate 50M
  riposte load --upload server --while-pinging server:7      bufferbloat
)";

} // namespace riposte::client
