//! What the suite found: one verdict for each rule of the plugin's kinds, and figures.

use std::collections::BTreeMap;

use affluent_model::manifest::PluginKind;
use serde::Serialize;

use crate::rules::RULES;

/// Pieces of evidence kept for one rule.
const EVIDENCE_MAX: usize = 5;

/// What became of a rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    Skipped,
    Passed,
    Failed,
}

/// One rule and what became of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// Stable: `read.resume`.
    pub rule: &'static str,
    /// What the rule asks for.
    pub says: &'static str,
    pub verdict: Verdict,
    /// Why it failed, or why it was skipped: names, numbers and places, never a value of a record.
    pub because: Vec<String>,
    /// What to do about a failure.
    pub mend: &'static str,
}

/// Figures of the plugin, for comparison between versions; no rule depends on them.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Figures {
    pub component_bytes: u64,
    /// Most memory that one instance held.
    pub memory_peak_bytes: u64,
    /// Processor time of the whole process per thousand rows of the undisturbed pass; absent where the system does not say.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu_ms_per_1000_rows: Option<f64>,
    /// Rows of the undisturbed pass: read, written or transformed.
    pub rows: u64,
    pub pages: u64,
    /// Requests of the undisturbed pass; 0 when they did not pass through the suite.
    pub requests: u64,
    /// Lines that the plugin logged in the whole suite.
    pub log_lines: u64,
}

/// The whole result.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Report {
    pub plugin: String,
    pub version: String,
    /// SHA-256 of the component, hex.
    pub digest: String,
    pub passed: usize,
    pub failed: usize,
    pub skipped: usize,
    pub rules: Vec<Finding>,
    pub figures: Figures,
}

impl Report {
    /// The rules that were broken.
    #[must_use]
    pub fn broken(&self) -> Vec<&'static str> {
        self.rules.iter().filter(|finding| finding.verdict == Verdict::Failed).map(|finding| finding.rule).collect()
    }
}

/// Collects verdicts; a rule may be looked at several times, the worst verdict stands.
#[derive(Debug, Default)]
pub(crate) struct Findings(BTreeMap<&'static str, (Verdict, Vec<String>)>);

impl Findings {
    pub(crate) fn pass(&mut self, rule: &'static str) {
        self.note(rule, Verdict::Passed, None);
    }

    pub(crate) fn fail(&mut self, rule: &'static str, evidence: impl Into<String>) {
        self.note(rule, Verdict::Failed, Some(evidence.into()));
    }

    pub(crate) fn skip(&mut self, rule: &'static str, reason: impl Into<String>) {
        self.note(rule, Verdict::Skipped, Some(reason.into()));
    }

    /// Passes without evidence, fails with it.
    pub(crate) fn judge(&mut self, rule: &'static str, evidence: Option<String>) {
        match evidence {
            None => self.pass(rule),
            Some(evidence) => self.fail(rule, evidence),
        }
    }

    pub(crate) fn skip_all(&mut self, rules: &[&'static str], reason: &str) {
        for rule in rules {
            self.skip(rule, reason);
        }
    }

    fn note(&mut self, rule: &'static str, verdict: Verdict, text: Option<String>) {
        let (known, because) = self.0.entry(rule).or_insert((verdict, Vec::new()));
        if verdict > *known {
            *known = verdict;
            because.clear();
        }
        if verdict == *known
            && because.len() < EVIDENCE_MAX
            && let Some(text) = text
            && !because.contains(&text)
        {
            because.push(text);
        }
    }

    /// The findings in the order of the rules, those of other kinds left out; `unreached` is why a rule has no verdict.
    pub(crate) fn finish(mut self, kinds: &[PluginKind], unreached: &str) -> Vec<Finding> {
        let applies = |kind: Option<PluginKind>| kind.is_none_or(|kind| kinds.contains(&kind));
        let findings = RULES.iter().filter(|rule| applies(rule.kind)).map(|rule| {
            let (verdict, because) = self.0.remove(rule.id).unwrap_or((Verdict::Skipped, vec![unreached.to_owned()]));
            Finding { rule: rule.id, says: rule.says, verdict, because, mend: rule.mend }
        });
        findings.collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_worst_verdict_of_a_rule_stands_with_its_own_evidence() {
        let mut findings = Findings::default();
        findings.skip("read.ends", "no stream");
        findings.pass("read.ends");
        findings.fail("read.ends", "stream a");
        findings.pass("read.ends");

        let all = findings.finish(&[PluginKind::Source], "not reached");
        let ends = all.iter().find(|finding| finding.rule == "read.ends").unwrap();

        assert_eq!((ends.verdict, ends.because.clone()), (Verdict::Failed, vec!["stream a".to_owned()]));
        assert!(all.iter().any(|finding| finding.because == ["not reached"]));
    }

    #[test]
    fn rules_of_other_kinds_are_left_out() {
        let all = Findings::default().finish(&[PluginKind::Transform], "");

        assert!(all.iter().all(|finding| !finding.rule.starts_with("read.") && !finding.rule.starts_with("write.")));
    }
}
