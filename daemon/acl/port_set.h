// A set of UDP ports.
#pragma once

#include <bitset>

namespace riposte {

using PortSet = std::bitset<65'536>;

} // namespace riposte
