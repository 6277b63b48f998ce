# fish completion for riposte(1).

# __riposte_command: is no command typed yet? __riposte_command NAME...: is the command one of these?
function __riposte_command
    set -l words (commandline -opc)
    if test (count $argv) -eq 0
        test (count $words) -eq 1
    else
        test (count $words) -ge 2; and contains -- $words[2] $argv
    end
end

# Is the endpoint still missing? For send, the word after it is a message.
function __riposte_wants_endpoint
    __riposte_command ping load; and return 0
    __riposte_command send; or return 1
    set -l words (commandline -opc)
    set -l skip 0
    for word in $words[3..]
        if test $skip -eq 1
            set skip 0
        else if contains -- $word -W --timeout --source --color -I --interface --mark --dscp --ttl --until --expect
            set skip 1
        else if not string match -q -- '-*' $word
            return 1
        end
    end
end

function __riposte_interfaces
    string replace -r '.*/' '' /sys/class/net/*
end

# The hosts that fish knows (/etc/hosts, ~/.ssh), behind the scheme that is typed.
function __riposte_hosts
    set -l scheme (string match -r '^(?:tcp|udp|stamp)://' -- (commandline -ct))
    for host in (__fish_print_hostnames)
        printf '%s%s\tHost\n' "$scheme" $host
    end
end

complete -c riposte -f
complete -c riposte -n __riposte_command -a send -d 'Send one message and print the reply'
complete -c riposte -n __riposte_command -a ping -d 'Probe at a fixed pace: round trips, loss, jitter'
complete -c riposte -n __riposte_command -a load -d 'Load at full speed or at a fixed rate: capacity and latency'
complete -c riposte -n __riposte_command -a probe -d 'Probe a fleet: who loses or delays, all the time'
complete -c riposte -n __riposte_command -a status -d 'Show what a daemon is doing'
complete -c riposte -n __riposte_command -a help -d 'Print help, of a command if one is named'
complete -c riposte -n __riposte_command -a version -d 'Print the version'
complete -c riposte -n '__riposte_command help; and test (count (commandline -opc)) -eq 2' \
    -a 'send ping load probe status help version'
complete -c riposte -s h -l help -d 'Print help and exit'
complete -c riposte -s V -l version -d 'Print the version and exit'
complete -c riposte -n __riposte_wants_endpoint -a 'tcp:// udp://' -d Endpoint
complete -c riposte -n '__riposte_command ping' -a 'stamp://' -d Endpoint
complete -c riposte -n __riposte_wants_endpoint -a '(__riposte_hosts)'
complete -c riposte -n '__riposte_command status' -a 'unix:/ tcp://' -d 'Metrics socket'
complete -c riposte -n '__riposte_command status' -a '(__riposte_hosts)'

set -l any '__riposte_command send ping load status'
set -l asks '__riposte_command send ping load'
complete -c riposte -n $asks -s u -d 'UDP, if the endpoint names no transport'
complete -c riposte -n $any -s 4 -d 'IPv4 only'
complete -c riposte -n $any -s 6 -d 'IPv6 only'
complete -c riposte -n $any -s W -l timeout -x -d 'The longest wait, like 500ms or 10s'
complete -c riposte -n $any -l source -x -d 'Send from this local address'
complete -c riposte -n $any -l color -x -a 'auto always never' -d Colour

complete -c riposte -n $asks -s I -l interface -x -a '(__riposte_interfaces)' -d 'Send by this interface, or in this VRF'
complete -c riposte -n $asks -l mark -x -d 'Firewall mark, for policy routing'
complete -c riposte -n $asks -l dscp -x -a 'be le cs{0,1,2,3,4,5,6,7} af{1,2,3,4}{1,2,3} ef va' -d 'Traffic class'
complete -c riposte -n $asks -l ttl -x -d 'Time to live, or hop limit'
complete -c riposte -n $asks -l df -d 'UDP: never fragment'

set -l sends '__riposte_command send'
complete -c riposte -n $sends -l first -d 'End with the first bytes of the reply'
complete -c riposte -n $sends -l until -x -d 'End after so many bytes, with a text or /regex/'
complete -c riposte -n $sends -l expect -x -d 'Exit 1 unless the reply has this text or /regex/'
complete -c riposte -n $sends -s q -l quiet -d 'Do not print the reply'
complete -c riposte -n $sends -s v -l verbose -d 'Report each step'

set -l measures '__riposte_command ping load'
complete -c riposte -n $measures -s j -l json -d 'Print one JSON document and nothing else'
complete -c riposte -n $measures -l json-lines -d 'Print what happens as lines of JSON'
complete -c riposte -n $measures -l live -d 'Show a screen that updates'
complete -c riposte -n $measures -l every -x -d 'Print a line of figures for each interval, like 10s'
complete -c riposte -n $measures -l histogram -d 'Show a histogram in the terminal'
complete -c riposte -n $measures -l hist -r -F -d 'Write the distribution in HdrHistogram format'
complete -c riposte -n $measures -l plot -r -F -d 'Write latency over time and by percentile as SVG'
complete -c riposte -n $measures -l fail-if -x -d "Exit 1 if a condition is met: 'p99>2ms,loss>0.1%'"
complete -c riposte -n $measures -s s -l size -x -d 'Bytes of each probe or request'
complete -c riposte -n $measures -l reconnect -d 'TCP: a connection for each probe or request'

set -l probes '__riposte_command probe'
complete -c riposte -n $probes -s c -l config -r -F -d 'Configuration in TOML'
complete -c riposte -n $probes -l targets -r -F -d 'List of targets'
complete -c riposte -n $probes -l listen -x -d 'Serve figures at tcp://HOST:PORT or unix:/PATH'
complete -c riposte -n $probes -l check -d 'Check configuration and lists'
complete -c riposte -n $probes -l list -d 'Print who is probed, and why'
complete -c riposte -n $probes -l for -x -d 'End after this time, like 30s'
complete -c riposte -n $probes -s j -l json -d 'Print one JSON document and nothing else'
complete -c riposte -n $probes -l fail-if -x -d "Exit 1 if a target meets a condition: 'p99>2ms,loss>0.1%'"
complete -c riposte -n $probes -l color -x -a 'auto always never' -d Colour

set -l looks '__riposte_command status'
complete -c riposte -n $looks -s j -l json -d "Print the daemon's own JSON document"
complete -c riposte -n $looks -s q -l quiet -d 'Print only what needs attention'
complete -c riposte -n $looks -s w -l watch -d 'Repeat until interrupted'
complete -c riposte -n $looks -s i -l interval -x -d 'With --watch: time between reports, like 500ms or 10s'

set -l ping '__riposte_command ping'
complete -c riposte -n $ping -s c -l count -x -d 'End after this many probes'
complete -c riposte -n $ping -s i -l interval -x -d 'Time between probes, like 200us or 10ms'
complete -c riposte -n $ping -s w -l deadline -x -d 'Stop sending after this time'
complete -c riposte -n $ping -l mtu -d 'UDP: find the path MTU'
complete -c riposte -n $ping -l flows -x -d 'this many local ports in turn'
complete -c riposte -n $ping -l key-file -r -F -d 'stamp://: sign with the key in this file'
complete -c riposte -n $ping -l ssid -x -d 'stamp://: session identifier'
complete -c riposte -n $ping -l connect -d 'TCP: connect and send nothing'
complete -c riposte -n $ping -l targets -r -F -d 'Read more endpoints from this file'
complete -c riposte -n $ping -l all-addresses -d 'Probe each address of a name'
complete -c riposte -n $ping -l resolve-every -x -d 'Look up names again, like 1m'
complete -c riposte -n $ping -l alive -d 'Print only the endpoints that answered'
complete -c riposte -n $ping -l unreachable -d 'Print only those that did not'
complete -c riposte -n $ping -s q -l quiet -d 'Print only the summary'
complete -c riposte -n $ping -s D -l timestamps -d 'Print the time before each line'

set -l load '__riposte_command load'
complete -c riposte -n $load -s c -l connections -x -d 'Connections, or sockets'
complete -c riposte -n $load -s d -l duration -x -d 'Measured time'
complete -c riposte -n $load -s n -l count -x -d 'End after this many requests'
complete -c riposte -n $load -s r -l rate -x -d 'Open loop: requests a second in total'
complete -c riposte -n $load -l depth -x -d 'Requests in flight on each connection'
complete -c riposte -n $load -l warmup -x -d 'Load before measuring'
complete -c riposte -n $load -l upload -x -d 'Send a stream to a discard service'
complete -c riposte -n $load -l download -x -d 'Read a stream from a chargen service'
complete -c riposte -n $load -l bitrate -x -d 'Bits a second to send in a stream'
complete -c riposte -n $load -l bytes -x -d 'End a stream after this many bytes'
complete -c riposte -n $load -l while-pinging -x -d 'Probe the latency before the load and beside it'
complete -c riposte -n $load -l no-verify -d 'Do not compare replies'
complete -c riposte -n $load -s q -l quiet -d 'Print one line of results'
