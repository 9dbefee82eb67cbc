//! What the plugin said in the whole suite, and what it used.

use std::fs;

use crate::bench::{Bench, Heard};
use crate::reading::WasRead;
use crate::report::{Figures, Findings};

/// Lines that need no rows to explain them.
const LINES_FREE: u64 = 100;
/// Secrets shorter than this turn up by chance.
const SECRET_BYTES_MIN: usize = 4;

pub(crate) fn check(bench: &Bench, findings: &mut Findings, figures: &mut Figures) {
    bench.heard(|heard| {
        figures.memory_peak_bytes = heard.memory_peak_bytes;
        figures.log_lines = heard.log_lines;
        let secrets = std::mem::take(&mut heard.secrets);
        let secrets = secrets.iter().filter(|secret| secret.len() >= SECRET_BYTES_MIN);
        findings.judge("hygiene.secrets", leak(heard, secrets));
        let mut personal = std::mem::take(&mut heard.personal);
        personal.sort();
        personal.dedup();
        let repeated =
            heard.texts.iter().find(|(place, text)| !place.contains("of check") && text.contains(crate::proxy::CANARY));
        let repeated = repeated.map(|(place, _)| format!("{place} repeats the service's answer"));
        findings.judge("hygiene.personal", leak(heard, personal.iter()).or(repeated));
        let allowed = LINES_FREE + heard.rows / 10;
        let flood = heard.log_lines > allowed;
        let evidence = if heard.log_dropped {
            Some("more than 100 lines a second: some were dropped".to_owned())
        } else {
            flood.then(|| format!("{} lines for {} rows", heard.log_lines, heard.rows))
        };
        findings.judge("hygiene.log_volume", evidence);
        findings.pass("hygiene.no_trap");
        for trap in &heard.traps {
            findings.fail("hygiene.no_trap", trap.clone());
        }
    });
}

/// Where one of the values turns up; never the value.
fn leak<'a>(heard: &Heard, values: impl Iterator<Item = &'a String>) -> Option<String> {
    let values: Vec<&String> = values.collect();
    let found = heard.texts.iter().find(|(_, text)| values.iter().any(|value| text.contains(value.as_str())));
    found.map(|(place, _)| format!("in {place}"))
}

/// Processor time of this process so far, milliseconds; `None` where the system does not say.
pub(crate) fn processor_ms() -> Option<f64> {
    let mut nanoseconds = 0u64;
    for task in fs::read_dir("/proc/self/task").ok()? {
        let text = fs::read_to_string(task.ok()?.path().join("schedstat")).ok()?;
        nanoseconds += text.split_whitespace().next()?.parse::<u64>().ok()?;
    }
    #[expect(clippy::cast_precision_loss, reason = "a figure for people")]
    let milliseconds = nanoseconds as f64 / 1e6;
    Some(milliseconds)
}

impl Figures {
    /// Counts an undisturbed reading.
    pub(crate) fn add(&mut self, whole: &WasRead, started: Option<f64>, requests: usize) {
        let rows = whole.pages.iter().map(|page| page.rows.len()).sum();
        self.pages += u64::try_from(whole.pages.len()).unwrap_or(0);
        self.add_rows(rows, started, requests);
    }

    pub(crate) fn add_rows(&mut self, rows: usize, started: Option<f64>, requests: usize) {
        let rows = u64::try_from(rows).unwrap_or(0);
        self.requests += u64::try_from(requests).unwrap_or(0);
        let spent = processor_ms().zip(started).map(|(now, started)| now - started);
        #[expect(clippy::cast_precision_loss, reason = "a figure for people")]
        if let Some(spent) = spent.filter(|_| rows > 0) {
            let before = self.cpu_ms_per_1000_rows.unwrap_or(0.0) * self.rows as f64;
            self.cpu_ms_per_1000_rows = Some((before + spent * 1_000.0) / (self.rows + rows) as f64);
        }
        self.rows += rows;
    }
}
