//! The contract suite's report as text: one line for each rule, then what to mend, then figures.

use affluent_contract::{Finding, Report, Verdict};

use crate::render::screen::{number, table};

pub(crate) fn report(report: &Report) -> String {
    let mut text = format!("{} {} (sha256 {})\n\n", report.plugin, report.version, report.digest.get(..12).unwrap_or_default());
    let mut rows = table(&["rule", "verdict", "what it asks"]);
    for finding in &report.rules {
        rows.add_row([finding.rule, word(finding.verdict), finding.says]);
    }
    text.push_str(&format!("{rows}\n"));
    for finding in report.rules.iter().filter(|finding| finding.verdict == Verdict::Failed) {
        text.push_str(&broken(finding));
    }
    let skipped: Vec<&Finding> = report.rules.iter().filter(|finding| finding.verdict == Verdict::Skipped).collect();
    if !skipped.is_empty() {
        text.push_str("\nskipped, because\n");
        for finding in skipped {
            text.push_str(&format!("  {:<26} {}\n", finding.rule, finding.because.join("; ")));
        }
    }
    text.push_str(&figures(report));
    text.push_str(&format!("\n{} rules kept, {} broken, {} skipped", report.passed, report.failed, report.skipped));
    text
}

fn word(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Passed => "kept",
        Verdict::Failed => "BROKEN",
        Verdict::Skipped => "skipped",
    }
}

fn broken(finding: &Finding) -> String {
    let mut text = format!("\nbroken: {}\n", finding.rule);
    for because in &finding.because {
        text.push_str(&format!("  found   {because}\n"));
    }
    text.push_str(&format!("  mend    {}\n", finding.mend));
    text
}

fn figures(report: &Report) -> String {
    let figures = &report.figures;
    let cpu = figures.cpu_ms_per_1000_rows.map_or_else(|| "unknown".to_owned(), |ms| format!("{ms:.1} ms"));
    format!(
        "\ncomponent {} bytes · peak memory {} bytes · processor time per 1,000 rows {cpu} · {} rows, {} pages, {} requests, {} log lines\n",
        number(figures.component_bytes),
        number(figures.memory_peak_bytes),
        number(figures.rows),
        number(figures.pages),
        number(figures.requests),
        number(figures.log_lines),
    )
}
