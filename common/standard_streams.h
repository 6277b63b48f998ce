// Standard input, output and error of a program whose caller may have closed some of them.
#pragma once

namespace riposte {

/// Takes the numbers of those of 0, 1 and 2 that are closed, so that nothing which is opened later
/// gets one and is written to as if it were a terminal. Using them fails with EBADF, as if they
/// were still closed. The first thing in main. False if the numbers could not be taken; then
/// nothing may be opened.
bool reserve_standard_streams();

/// Was this one given by the caller, to be written to?
bool is_writable_stream(int fd);

} // namespace riposte
