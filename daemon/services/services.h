// One factory per service, each in the file of its name. To add a service: write its file, add a
// line here, its name and its case in service.cpp, its enumerator in ServiceKind, and its tests in
// tests/unit/daemon/test_services.cpp.
#pragma once

#include "daemon/services/service.h"

namespace riposte {

std::shared_ptr<const Service> make_hello(std::string message);
std::shared_ptr<const Service> make_echo();
std::shared_ptr<const Service> make_discard();
std::shared_ptr<const Service> make_daytime();
std::shared_ptr<const Service> make_chargen();
std::shared_ptr<const Service> make_time();
std::shared_ptr<const Service> make_stamp(const StampOptions& options);

} // namespace riposte
