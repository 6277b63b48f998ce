// riposte status: what a daemon is doing, from its metrics socket.
//
// Without an endpoint the two usual places are tried, the unix socket of the package first. Rates
// need two samples: one a second after the other, or with --watch one at each refresh. Exit::failed
// if the daemon does not answer, or not correctly (with --watch: if it did not at the end).
#pragma once

#include "client/options/options.h"

namespace riposte::client {

Result<Exit> status(const CommonOptions& common, const StatusOptions& options);

} // namespace riposte::client
