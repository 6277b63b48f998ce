# bash completion for riposte(1). It needs nothing of the package bash-completion.
# shellcheck shell=bash

# Bash splits words at the characters of COMP_WORDBREAKS: tcp://host:7 and --color=always are
# several. Sets `words` to those of the command line as they were written, up to the cursor, and
# `skip` to how much of the last one stands before the part that completion replaces.
_riposte_words() {
    local i word joined=''
    words=()
    for ((i = 0; i <= COMP_CWORD; i++)); do
        word=${COMP_WORDS[i]-}
        if [[ $i -gt 0 && ($word == [:=]* || $joined == *[:=]) ]]; then
            joined+=$word
            words[${#words[@]} - 1]=$joined
        else
            joined=$word
            words+=("$joined")
        fi
    done
    word=${COMP_WORDS[COMP_CWORD]-}
    [[ $word =~ ^[:=]+$ ]] && word=''
    skip=$((${#joined} - ${#word}))
}

# _riposte_reply PREFIX COMPGEN-OPTION...: what completes `value`, with PREFIX in front, without
# what stands already.
_riposte_reply() {
    local prefix=$1 reply
    shift
    COMPREPLY=()
    while IFS= read -r reply; do
        reply=$prefix$reply
        COMPREPLY+=("${reply:skip}")
    done < <(compgen "$@" -- "$value")
}

# The names of the traffic classes.
_riposte_classes() {
    printf '%s\n' be le cs{0..7} af{1..4}{1..3} ef va
}

# The network interfaces of this machine.
_riposte_interfaces() {
    local each
    for each in /sys/class/net/*; do
        [[ -e $each ]] && printf '%s\n' "${each##*/}"
    done
}

# _riposte_endpoint SCHEMES: completes a scheme, and the host behind it. The package bash-completion
# knows more hosts (those of ~/.ssh, as for ping) than bash, which reads /etc/hosts.
_riposte_endpoint() {
    local scheme='' host known
    local -a schemes=()
    if [[ $value == unix:* ]]; then
        scheme=unix: value=${value#unix:}
        _riposte_reply "$scheme" -f
        return
    elif [[ $value == *://* ]]; then
        scheme=${value%%://*}://
    else
        _riposte_reply '' -W "$1"
        schemes=("${COMPREPLY[@]}")
    fi
    host=${value#"$scheme"}
    if declare -F _known_hosts_real >/dev/null; then
        COMPREPLY=()
        _known_hosts_real -- "$host" 2>/dev/null
    else
        mapfile -t COMPREPLY < <(compgen -A hostname -- "$host")
    fi
    known=$scheme
    COMPREPLY=("${schemes[@]}" "${COMPREPLY[@]/#/${known:skip}}")
}

# _riposte_value OPTION PREFIX: completes the option's value, where there is something to offer.
_riposte_value() {
    case $1 in
        --color) _riposte_reply "$2" -W 'auto always never' ;;
        --dscp) _riposte_reply "$2" -W "$(_riposte_classes)" ;;
        -I | --interface) _riposte_reply "$2" -W "$(_riposte_interfaces)" ;;
        --hist | --plot | --targets | --key-file | --config)
            compopt -o filenames 2>/dev/null
            _riposte_reply "$2" -f
            ;;
        --upload | --download | --while-pinging)
            compopt -o nospace 2>/dev/null
            _riposte_reply "$2" -W 'tcp:// udp://'
            ;;
    esac
}

_riposte() {
    local words skip value command i operands=0
    _riposte_words
    value=${words[${#words[@]} - 1]}
    COMPREPLY=()
    if [[ ${#words[@]} -le 2 ]]; then
        _riposte_reply '' -W 'send ping load probe status help version -h --help -V --version'
        return
    fi

    # Of each command: options that take a value, and those that take none.
    local valued='-W --timeout --source --color' flags='-u -4 -6 -h --help -V --version'
    local path='-I --interface --mark --dscp --ttl'
    command=${words[1]}
    case $command in
        send)
            valued+=" $path --until --expect"
            flags+=' --df --first -q --quiet -v --verbose'
            ;;
        ping)
            valued+=" $path"
            valued+=' --every --hist --plot --fail-if -s --size'
            valued+=' -c --count -i --interval -w --deadline --flows --targets --resolve-every --key-file --ssid'
            flags+=' -j --json --json-lines --live --histogram --reconnect --df --mtu -q --quiet -D --timestamps'
            flags+=' --connect --all-addresses --alive --unreachable'
            ;;
        load)
            valued+=" $path"
            valued+=' --every --hist --plot --fail-if -s --size'
            valued+=' -c --connections -d --duration -n --count -r --rate --depth --warmup'
            valued+=' --upload --download --bitrate --bytes --while-pinging'
            flags+=' -j --json --json-lines --live --histogram --reconnect --df --no-verify -q --quiet'
            ;;
        probe)
            valued='-c --config --targets --listen --for --fail-if --color'
            flags='--check --list -j --json -h --help -V --version'
            ;;
        status)
            valued+=' -i --interval'
            flags=${flags#-u }' -j --json -q --quiet -w --watch'
            ;;
        help | version)
            valued='' flags='-h --help -V --version'
            ;;
        *) return ;;
    esac

    # What stands before the word that is completed.
    local over='' option=''
    for ((i = 2; i < ${#words[@]} - 1; i++)); do
        if [[ $option ]]; then
            option=''
        elif [[ -z $over && ${words[i]} == -- ]]; then
            over=yes
        elif [[ -z $over && " $valued " == *" ${words[i]} "* ]]; then
            option=${words[i]}
        elif [[ $over || ${words[i]} != -* ]]; then
            operands=$((operands + 1))
        fi
    done

    # The letter of ping and load is a count.
    [[ $command == probe && $option == -c ]] && option=--config
    if [[ $option ]]; then
        _riposte_value "$option" ''
    elif [[ -z $over && $value == --*=* ]]; then
        option=${value%%=*}
        value=${value#*=}
        [[ " $valued " == *" $option "* ]] && _riposte_value "$option" "$option="
    elif [[ -z $over && $value == -* ]]; then
        _riposte_reply '' -W "$valued $flags"
    elif [[ $command == help ]]; then
        [[ $operands -eq 0 ]] && _riposte_reply '' -W 'send ping load probe status help version'
    elif [[ $command == version || $command == probe ]]; then
        return
    elif [[ $command != send || $operands -eq 0 ]]; then # the second of send is a message
        compopt -o nospace 2>/dev/null
        if [[ $command == status ]]; then
            _riposte_endpoint 'unix:/ tcp://'
        elif [[ $command == ping ]]; then
            _riposte_endpoint 'tcp:// udp:// stamp://'
        else
            _riposte_endpoint 'tcp:// udp://'
        fi
    fi
}

complete -F _riposte riposte
