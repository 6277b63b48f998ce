"""The developer's program behind `./dev`: packages, builds, the stages of the tests, roots, benchmarks.

    console    what is printed, whole blocks at a time, also from several threads
    process    commands with a log, a CPU account and an end
    packages   the Debian packages that each task needs, and apt
    trees      the build trees below build-dev/, and the mark of those that ./dev made
    results    one row for each test, the summary
    schedule   steps side by side, within two budgets: processors, and tests that mostly wait
    suites     runs Meson's tests and pytest, and collects rows
    stages     the table of the stages of `./dev test`, and their steps
    single     single tests: `./dev test WORD...`
    find       one test by its name: what to install, build and run for it
    budget     how much CPU time the tests may take on a machine of this speed
    lint       formatter, linters
    arrows     which folder of daemon/ may include which
    roots      minimal Debian roots in the user's cache, entered in namespaces of their own
    debs       the Debian packages, and both Debian releases booted
    mutate     planted faults, and the tests that catch them
    commands   build, bench, fuzz, soak, lint, mutate

Nothing here deletes a directory that it did not make: see trees.py. It uses only Python's standard library, as
in Debian 12 (3.11), because this program installs everything else.
"""
