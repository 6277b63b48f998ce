# fish completion for riposted(8).

# SERVICE=ENDPOINT, completed from the part that is typed.
function __riposted_listen
    set -l word (commandline -ct | string replace -r -- '^--listen=' '')
    for service in hello echo discard daytime chargen time stamp
        if string match -q -- "$service=*" $word
            printf '%s\n' $service=tcp:// $service=udp://
        else
            printf '%s\n' $service=
        end
    end
end

complete -c riposted -f
complete -c riposted -s c -l config -r -F -d 'Read the configuration from a file'
complete -c riposted -l listen -x -a '(__riposted_listen)' -d 'Serve a service on an endpoint'
complete -c riposted -l backend -x -a 'auto io_uring epoll' -d 'Kernel interface for I/O'
complete -c riposted -l workers -x -d 'Worker threads, 0 is one per CPU'
complete -c riposted -l log-level -x -a 'error warning info debug' -d 'Least severe level to log'
complete -c riposted -l check -d 'Validate everything, open nothing'
complete -c riposted -l print-config -d 'Print the effective configuration and exit'
complete -c riposted -s V -l version -d 'Print the version and exit'
complete -c riposted -s h -l help -d 'Print help and exit'
