"""Phrases that make a native reader stop: searched in product code, packaging and documents.

`PHRASES` says what stands for each kind of odd English and what to write instead. It cannot find every riddle;
it keeps those that were removed from coming back. In C++ only comments and string literals are searched, in
Markdown everything but code (names of tests and keys are what they are). A blank in a pattern also matches the
end of a line with the comment sign of the next one.

`PLACES` lists what is searched. A folder is added when it is clean, and never removed.
"""

import pathlib
import re

PHRASES = {
    r"who(m|so)?ever": "name the actor: the peer, the client, the caller",
    r"(no|some|any|every)body": "name the actor: no peer, a process, all clients",
    r"can not": "cannot",
    r"in vain": "say what failed",
    r"(is|are|was|were|be|been|not) told(?! to )": "report, log, print, or who passes what to whom",
    r"(tell|tells|telling) (of|people|whoever|what|how|why|if|whether)": "report, print, say",
    r"bears?": "tolerate, have, carry",
    r"(is|are|was|were|not|be|delay|delays) laid to": "counted against, blamed on",
    r"what there is (to|of)": "name it",
    r"at home (under|on|in)": "integrates with",
    r"in (next to no )?need of": "needs",
    r"ow(e|es|ed)": "pending; has a reply pending",
    r"(for|of|to|from|by|with|than|as|lets?) who\b": "name the actor",
    r"who takes nothing": "peers that do not read",
    r"(makes?|made|making) way": "evict, close, release",
    r"to and fro": "back and forth",
    r"(goes|go|going|gone|went) on with": "continue",
    r"the why of": "why, the reason for",
    r"(to|can|could|may) be had": "is available",
    r"for want of": "for lack of",
    r"for ever": "forever",
    r"as ever": "as usual",
    r"(comes?|came) on top": "is additional",
    r"(come|comes|came) to (its|an|the) end": "end, finish",
    r"(one in|at most|in|a limit of) so (many|much)": "this many, N",
    r"the process before( this| it)?": "the previous process",
    r"is no (echo|regular|listener|prefix|hint)": "is not a",
    r"rightly": "correctly",
    r"newcomers?": "new connections, new prefixes",
    r"pett?(ed|ing|s)": "notify the watchdog",
    r"(keeps?|keeping|kept|of) the books": "count, track",
    r"gets? by with": "can do",
    r"a word of it": "silently",
    r"without a word": "silently",
    r"as far as they let": "as far as possible",
    r"stands? in (its|their) place": "is printed instead, replaces",
    r"nothing needs to be done": "no action is needed",
    r"no longer than (that|is needed)": "at most",
}
#: A sentence with a relative for its subject: "Who came while it was off is not logged." A question is none.
HEADLESS = re.compile(r"(?:^|(?<=[.:!?;|*\"] ))Who(?:ever)? [^.?!:;|\n]*(?:[.!:;|]|$)", re.MULTILINE)
HEADLESS_ADVICE = "begin with the actor: 'Peers that ...', 'Connections opened while ...'"

#: What is searched: files, and folders with all that is text in them.
PLACES = ["README.md", "CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md", "docs", "packaging", "meson.build", "client",
          "common", "daemon", "tests/bench", "tests/conformance", "tests/fuzz", "tests/link", "tests/sim", "tests/soak",
          "tests/unit"]
#: Inputs of fuzzers are bytes, not prose.
NOT_SEARCHED = pathlib.PurePath("tests/fuzz/corpus")
SUFFIXES = {".md", ".scd", ".toml", ".conf", ".yml", ".json", ".service", ".socket", ".catalog", ".fish", ".bash",
            ".h", ".cpp", ".build", ""}

_PATTERNS = [(re.compile(r"(?<![\w/-])(?:" + pattern + r")(?![\w-])", re.IGNORECASE), advice)
             for pattern, advice in PHRASES.items()]
#: A comment or a string literal of C++; a raw string is one, too. A digit separator (1'000) does not begin one.
_CPP = re.compile(r'R"(?P<end>\w*)\((?P<raw>.*?)\)(?P=end)"|"(?P<text>(?:\\.|[^"\\\n])*)"'
                  r"|(?<![0-9A-Fa-f])'(?:\\.|[^'\\\n])*'|(?P<line>//[^\n]*)|(?P<block>/\*.*?\*/)", re.DOTALL)
_MARKDOWN_CODE = re.compile(r"^```.*?^```|``[^`\n]*``|`[^`]*`", re.DOTALL | re.MULTILINE)
#: Stands for what is not searched: no phrase goes on over it.
_CUT = "\x01"
#: What is between two words: blanks, ends of lines, and the sign of the next line's comment.
_GAP = re.compile(rf"[\s{_CUT}]+(?:(?://+[!<]*|#+|\*)[\s{_CUT}]+)*")


def _blank(text):
    """As long, with lines where they were."""
    first = re.search(r"\S", text)
    blank = re.sub(r"[^\n]", " ", text)
    return blank[:first.start()] + _CUT + blank[first.end():] if first else text


def prose(name, text):
    """What of a file people read, each character at its place; the rest is blank."""
    suffix = pathlib.PurePath(name).suffix
    if suffix == ".md":
        return _MARKDOWN_CODE.sub(lambda match: _blank(match[0]), text)
    if suffix not in (".h", ".cpp"):
        return text
    kept, end = [], 0
    for match in _CPP.finditer(text):
        is_read = match["line"] or match["block"] or match["text"] or match["raw"]
        kept += [_blank(text[end:match.start()]), match[0] if is_read else _blank(match[0])]
        end = match.end()
    return "".join(kept) + _blank(text[end:])


def sentences(text):
    """Words with single blanks between them, and a line for each paragraph; and the line of each character."""
    words, lines, line, end = [], [], 1, 0
    for match in _GAP.finditer(text + "\n"):
        word, gap = text[end:match.start()], match[0]
        words += [word, "\n" if _CUT in gap or gap.count("\n") > 1 else " "]
        lines += [line] * (len(word) + 1)
        line += gap.count("\n")
        end = match.end()
    return "".join(words), lines


def findings_in(name, text):
    """A line for each phrase: "FILE:LINE: 'phrase': what to write instead"."""
    text, lines = sentences(prose(name, text))
    found = [(match.start(), match[0], advice) for pattern, advice in _PATTERNS
             for match in pattern.finditer(text)]
    found += [(match.start(), " ".join(match[0].split()[:4]) + " ...", HEADLESS_ADVICE)
              for match in HEADLESS.finditer(text)]
    for start, phrase, advice in sorted(found):
        yield f"{name}:{lines[start]}: '{phrase}': {advice}"


def files(top=".", places=None):
    for place in PLACES if places is None else places:
        path = pathlib.Path(top, place)
        below = sorted(path.rglob("*")) if path.is_dir() else [path]
        yield from (each for each in below if each.is_file() and each.suffix in SUFFIXES
                    and not each.relative_to(top).is_relative_to(NOT_SEARCHED))


def findings(top=".", places=None):
    for path in files(top, places):
        yield from findings_in(str(path.relative_to(top)), path.read_text(encoding="utf-8"))
