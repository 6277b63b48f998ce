# bash completion for riposted(8). It needs nothing of the package bash-completion.
# shellcheck shell=bash

# The words as they were written: bash splits them at ":" and "=". Sets `words`, and `skip` to how
# much of the last one stands before the part that completion replaces.
_riposted_words() {
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

# _riposted_reply PREFIX COMPGEN-OPTION...: what completes `value`, with PREFIX in front, without
# what stands already.
_riposted_reply() {
    local prefix=$1 reply
    shift
    COMPREPLY=()
    while IFS= read -r reply; do
        reply=$prefix$reply
        COMPREPLY+=("${reply:skip}")
    done < <(compgen "$@" -- "$value")
}

# _riposted_value OPTION PREFIX: completes the option's value; false if it takes none.
_riposted_value() {
    local services='hello echo discard daytime chargen time stamp'
    case $1 in
        -c | --config)
            compopt -o filenames 2>/dev/null
            _riposted_reply "$2" -f
            ;;
        --backend) _riposted_reply "$2" -W 'auto io_uring epoll' ;;
        --log-level) _riposted_reply "$2" -W 'error warning info debug' ;;
        --workers) COMPREPLY=() ;;
        --listen)
            compopt -o nospace 2>/dev/null
            if [[ $value == *=* ]]; then
                local service=${value%%=*}
                value=${value#*=}
                _riposted_reply "$2$service=" -W 'tcp:// udp://'
            else
                _riposted_reply "$2" -S = -W "$services"
            fi
            ;;
        *) return 1 ;;
    esac
}

_riposted() {
    local words skip value previous
    _riposted_words
    value=${words[${#words[@]} - 1]}
    previous=${words[${#words[@]} - 2]}
    COMPREPLY=()
    if ((${#words[@]} > 2)) && _riposted_value "$previous" ''; then
        return
    fi
    if [[ $value == --*=* ]]; then
        previous=${value%%=*}
        value=${value#*=}
        _riposted_value "$previous" "$previous="
    else
        _riposted_reply '' -W '-c --config --listen --backend --workers --log-level --check
            --print-config -V --version -h --help'
    fi
}

complete -F _riposted riposted
