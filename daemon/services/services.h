// One maker a service, each in the file of its name. Add a service: its file, a line here, a line
// in service.cpp, its name in ServiceKind, its tests in tests/unit/daemon/test_services.cpp.
#pragma once

#include "daemon/services/service.h"

namespace riposte {

std::shared_ptr<const Service> make_hello(std::string message);
std::shared_ptr<const Service> make_echo();
std::shared_ptr<const Service> make_discard();
std::shared_ptr<const Service> make_daytime();
std::shared_ptr<const Service> make_chargen();
std::shared_ptr<const Service> make_time();

} // namespace riposte
