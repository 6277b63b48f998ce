// What the words of `riposte probe` mean.
#include "client/options/options_conditions.h"
#include "client/options/options_values.h"
#include "client/options/raw_options.h"

#include <string>
#include <utility>

#include <unistd.h>

namespace riposte::client {

Result<Options> read_probe(const RawProbe& words) {
    RawCommon common_words;
    common_words.color = words.color;
    auto common = read_common(common_words);
    if (!common)
        return std::unexpected(common.error());
    RawReport report_words;
    report_words.json = words.json;
    report_words.fail_if = words.fail_if;
    auto report = read_report(report_words);
    if (!report)
        return std::unexpected(report.error());
    ProbeOptions probe;
    probe.json = report->json;
    probe.fail_if = std::move(report->fail_if);
    if (auto read = read_duration_ms("--for", words.duration, false, probe.duration_ms); !read)
        return std::unexpected(read.error());
    if (words.check && words.list)
        return usage("--check and --list exclude each other; --list checks as well");
    if (words.check || words.list) {
        if (words.duration || words.json || words.fail_if || !words.listen.empty())
            return usage(
                "--check and --list probe nothing; leave out --for, --listen, -j and --fail-if");
        probe.action = words.check ? ProbeAction::check : ProbeAction::list;
    }
    for (const std::string& pattern : words.targets) {
        if (pattern.empty())
            return usage("--targets: the file's name is empty");
        probe.lists.push_back(pattern);
    }
    for (const std::string& text : words.listen) {
        auto address = parse_http_address(text);
        if (!address)
            return usage("--listen: " + address.error().message);
        probe.listen.push_back(*std::move(address));
    }
    if (words.config)
        probe.config = *words.config;
    else if (words.targets.empty())
        probe.config = probe_config_file;
    if (words.config && words.config->empty())
        return usage("--config: the file's name is empty");
    if (auto checked = check_conditions(probe); !checked)
        return std::unexpected(checked.error());
    return Options{.common = std::move(*common), .command = std::move(probe)};
}

} // namespace riposte::client
