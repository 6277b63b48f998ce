// The main function of every doctest program, and the reporter that prints TAP version 13.
//
// One line per test case, so that Meson counts cases and not programs; failures, with their file,
// line and values, are in `# ` lines before it. The plan comes last. A program that runs no case
// at all has failed: a filter that matches nothing must not look like success.
//
//     unit_common                        all
//     unit_common 'a bare number'        the cases whose name contains the words
//     unit_common -sf='*test_units*'     the cases of a file
//     unit_common -tc='*seconds*' -s     doctest's own flags; -r=console for its own reporter
#define DOCTEST_CONFIG_IMPLEMENT
#include "tests/support/skip.h"

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <mutex>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

#include <doctest/doctest.h>

namespace {

// The reporter belongs to doctest's context, which deletes it before main can read its results.
struct Run {
    std::mutex mutex; // any thread of a test case may assert
    std::string skip_reason;
    bool ended = false;
    unsigned cases = 0;
};

Run& current_run() {
    static Run run;
    return run;
}

// One line of TAP: no line break inside, and no '#', which would start a directive.
std::string tap_name(const char* text) {
    std::string name;
    for (const char* at = text; *at != '\0'; ++at) {
        if (*at == '#')
            name += "\\#";
        else if (*at == '\n' || *at == '\r')
            name += ' ';
        else
            name += *at;
    }
    return name;
}

class TapReporter : public doctest::IReporter {
public:
    explicit TapReporter(const doctest::ContextOptions& options) : options_(options) {}

    void report_query(const doctest::QueryData& query) override {
        doctest::ConsoleReporter(options_).report_query(query);
    }

    void test_run_start() override { out() << "TAP version 13\n" << std::flush; }

    void test_run_end(const doctest::TestRunStats& /*stats*/) override {
        const std::lock_guard lock(current_run().mutex);
        current_run().ended = true;
        current_run().cases = cases_ - marked_;
        if (cases_ == marked_)
            out() << "Bail out! no test case was run: none matches the filter\n";
        else
            out() << "1.." << cases_ << '\n';
        out() << std::flush;
    }

    void test_case_start(const doctest::TestCaseData& test) override {
        const std::lock_guard lock(current_run().mutex);
        test_ = &test;
        subcases_.clear();
        current_run().skip_reason.clear();
    }

    void test_case_reenter(const doctest::TestCaseData& /*test*/) override { subcases_.clear(); }

    void test_case_end(const doctest::CurrentTestCaseStats& stats) override {
        const std::lock_guard lock(current_run().mutex);
        ++cases_;
        out() << (stats.testCaseSuccess ? "ok " : "not ok ") << cases_ << " - "
              << tap_name(test_->m_name);
        if (stats.testCaseSuccess && !current_run().skip_reason.empty())
            out() << " # SKIP " << tap_name(current_run().skip_reason.c_str());
        out() << '\n' << std::flush;
    }

    void test_case_exception(const doctest::TestCaseException& exception) override {
        const std::lock_guard lock(current_run().mutex);
        detail(
            test_->m_file.c_str(), static_cast<int>(test_->m_line),
            std::string(exception.is_crash ? "crashed: " : "threw: ") +
                exception.error_string.c_str());
    }

    void subcase_start(const doctest::SubcaseSignature& signature) override {
        const std::lock_guard lock(current_run().mutex);
        subcases_.emplace_back(signature.m_name.c_str());
    }

    void subcase_end() override {
        // A leaf's name is kept for later reports; entering the next one replaces it.
    }

    void log_assert(const doctest::AssertData& check) override {
        if (!check.m_failed)
            return;
        std::ostringstream text;
        text << doctest::assertString(check.m_at) << "( " << check.m_expr << " )";
        if (check.m_threw)
            text << "\nthrew: " << check.m_exception.c_str();
        else if (check.m_decomp.size() > 0)
            text << "\nvalues: " << check.m_decomp.c_str();
        const std::lock_guard lock(current_run().mutex);
        detail(check.m_file, check.m_line, text.str());
    }

    void log_message(const doctest::MessageData& message) override {
        const std::lock_guard lock(current_run().mutex);
        detail(message.m_file, message.m_line, message.m_string.c_str());
    }

    void test_case_skipped(const doctest::TestCaseData& test) override {
        // Also called for every case that a filter leaves out: only cases marked so are skips.
        if (!test.m_skip)
            return;
        const std::lock_guard lock(current_run().mutex);
        ++cases_;
        ++marked_;
        out() << "ok " << cases_ << " - " << tap_name(test.m_name)
              << " # SKIP marked to be skipped\n"
              << std::flush;
    }

private:
    std::ostream& out() { return *options_.cout; }

    void comment(const std::string& text) {
        std::istringstream lines(text);
        for (std::string line; std::getline(lines, line);)
            out() << "# " << line << '\n';
    }

    void detail(const char* file, int line, const std::string& text) {
        out() << "# " << file << ':' << line << ": in \"" << (test_ ? test_->m_name : "") << "\"\n";
        for (const std::string& subcase : subcases_)
            comment("  subcase: " + subcase);
        comment(text);
        const auto* contexts = get_active_contexts();
        for (int i = 0; i < get_num_active_contexts(); ++i) {
            std::ostringstream context;
            contexts[i]->stringify(&context);
            comment("with: " + context.str());
        }
        for (int i = get_num_stringified_contexts(); i > 0; --i)
            comment(std::string("with: ") + get_stringified_contexts()[i - 1].c_str());
        out() << std::flush;
    }

    const doctest::ContextOptions& options_;
    const doctest::TestCaseData* test_ = nullptr;
    std::vector<std::string> subcases_;
    unsigned cases_ = 0;  // reported
    unsigned marked_ = 0; // of these, skipped by doctest because they are marked so
};

DOCTEST_REGISTER_REPORTER("tap", 0, TapReporter);

} // namespace

void riposte::test::mark_skipped(std::string reason) {
    const std::lock_guard lock(current_run().mutex);
    current_run().skip_reason = reason.empty() ? "no reason given" : std::move(reason);
}

int main(int argc, char** argv) {
    doctest::Context context;
    context.setOption("reporters", "tap");
    context.setOption("no-colors", true);
    context.applyCommandLine(argc, argv);
    for (int i = 1; i < argc; ++i) {
        if (argv[i][0] != '-')
            context.addFilter("test-case", ("*" + std::string(argv[i]) + "*").c_str());
    }
    const int result = context.run();
    if (context.shouldExit()) // --help, --list-test-cases and the like: no case was requested
        return result;
    const bool nothing_ran = current_run().ended && current_run().cases == 0;
    return nothing_ran ? EXIT_FAILURE : result;
}
