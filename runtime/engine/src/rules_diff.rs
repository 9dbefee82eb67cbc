//! What other rules of identity would make of the profiles: the whole graph is resolved in memory by them and compared with
//! the profiles as they are. It writes nothing but the audit of what it opened.

mod changes;

use affluent_model::identifier_rule::mark_of;
use affluent_model::plan::{IdentityRules, PipelineDestination};
use affluent_model::report::ProfilesReport;
use affluent_model::{Error, Result};
use serde::Serialize;

use crate::engine::Engine;
use crate::evidence::EvidenceReader;
use crate::mapping::attributes_of;
use crate::unify::{Ground, Part, kind_names, read_identifiers};

use changes::changes;

/// Changes that are told one by one; the others are counted.
const CHANGES_MAX: usize = 50;

/// What a run under the rules would report, and the largest changes.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct RulesDiff {
    pub profiles_before: u64,
    pub profiles_after: u64,
    pub created: u64,
    /// Profiles that become part of another.
    pub merged: u64,
    /// Parts that leave a profile, for a new one or another.
    pub split: u64,
    pub links_refused: u64,
    pub identifiers_blocked: u64,
    /// The largest first.
    pub changes: Vec<ProfileChange>,
    /// How many more there are.
    pub changes_more: u64,
}

/// What would become of one profile.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ProfileChange {
    pub change: ChangeKind,
    pub profile: String,
    /// Records of the profile.
    pub records_before: u64,
    pub records_after: u64,
    /// The profiles that it takes in, or that its records go to, with so many records.
    pub others: Vec<(String, u64)>,
    /// Rules that join, or why links are refused.
    pub because: Vec<String>,
    /// Identifiers that join: kind and first digits of the blind index.
    pub identifiers: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ChangeKind {
    /// Takes in others, which are its aliases then.
    Merge,
    /// Records leave it for profiles that are new.
    Split,
    /// Records leave it for profiles that exist.
    Move,
}

impl Engine {
    /// Compares the profiles as they are with those that `rules` make of the same records; `None` = the project's rules.
    ///
    /// # Errors
    /// `E0211` when the rules compare an attribute that no pipeline maps; what the stores report.
    pub async fn diff_rules(&self, rules: Option<&IdentityRules>) -> Result<RulesDiff> {
        let rules = rules.unwrap_or(&self.plan.identity);
        self.refuse_unknown_attributes(rules)?;
        let names = kind_names(self)?;
        let is_ruled = |name: &str| rules.identifiers.iter().any(|rule| rule.name == name || mark_of(&rule.name) == name);
        let kinds: Vec<(String, u16)> =
            (0..).zip(&names).filter(|(_, name)| is_ruled(name)).map(|(at, name)| (name.clone(), at)).collect();
        let files = self.ledger.unresolved_files()?;
        let found = read_identifiers(self, &files, &kinds)?;
        let mut part = Part { files: &files, found, is_whole: true, change: None };
        let ground = Ground::of(self, &mut part)?;
        let mut evidence = EvidenceReader::new(self, rules);
        let said = evidence.read(&ground.nodes).await;
        evidence.audit()?;
        let resolution = ground.resolve(&part.found, rules, &names, said?.as_ref());
        let mut report = ProfilesReport::default();
        ground.count(&resolution, &mut report);
        let mut changes = changes(&ground.nodes, &resolution, &names);
        let more = changes.len().saturating_sub(CHANGES_MAX);
        changes.truncate(CHANGES_MAX);
        let profiles_before = self.ledger.profile_count()?;
        Ok(RulesDiff {
            profiles_before,
            profiles_after: (profiles_before + report.created).saturating_sub(report.merged),
            created: report.created,
            merged: report.merged,
            split: report.split,
            links_refused: report.links_refused,
            identifiers_blocked: report.identifiers_blocked,
            changes,
            changes_more: u64::try_from(more).unwrap_or(u64::MAX),
        })
    }

    /// Rules from outside of the project were not checked against its pipelines.
    fn refuse_unknown_attributes(&self, rules: &IdentityRules) -> Result<()> {
        let mut given: Vec<&str> = Vec::new();
        for pipeline in self.plan.pipelines.values() {
            if let PipelineDestination::Profiles { streams, .. } = &pipeline.destination {
                given.extend(streams.values().flat_map(attributes_of).map(|(name, _)| name));
            }
        }
        given.sort_unstable();
        given.dedup();
        match rules.attributes.iter().find(|one| !given.contains(&one.name.as_str())) {
            None => Ok(()),
            Some(one) => Err(Error::configuration("E0211", format!("no pipeline maps the attribute `{}`", one.name))
                .help(format!("pipelines map {}", given.join(", ")))),
        }
    }
}
