"""The developer's program behind `./dev`: packages, builds, the stages of the tests, roots, benchmarks.

    console    what is printed, whole blocks at a time, also from several threads
    process    commands with a log, a CPU account and an end
    packages   what is needed of Debian, and apt
    trees      the build trees below build-dev/, and who made them
    results    one row a test, the summary
    schedule   steps side by side, within two budgets: processors, and tests that mostly wait
    suites     runs Meson's tests and pytest, and collects rows
    stages     what `./dev test` consists of: the table of stages and their steps
    find       one test by its name: what to install, to build and to run for it
    budget     how long all of it may take on a machine of this speed
    lint       formatter, linters
    roots      minimal Debians in the user's cache, entered in namespaces of their own
    debs       the Debian packages, and both Debians booted
    mutate     planted faults, and the tests that catch them
    commands   build, demo, deb, bench, fuzz, soak, lint

Nothing here deletes a directory that it did not make: see trees.py. Python's standard library only, of
Debian 12 (3.11): this program is what installs everything else.
"""
