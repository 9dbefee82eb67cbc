//! Grants: every personal column that leaves is named, and every name is used.

use std::collections::BTreeMap;

use affluent_model::diagnostic::Location;
use affluent_model::plan::DestinationPlan;

use super::Checker;
use crate::mistake;
use crate::near;
use crate::sources::Subject;

/// Personal columns that leave, each with the first place that sends it.
#[derive(Default)]
pub(super) struct Leaving {
    columns: BTreeMap<String, Location>,
    /// Not all that leaves is known: a grant may be used although nothing seems to use it.
    pub(super) unknown: bool,
}

impl Leaving {
    pub(super) fn add(&mut self, name: &str, at: Location) {
        self.columns.entry(name.to_owned()).or_insert(at);
    }
}

impl Checker<'_> {
    pub(super) fn grants(&mut self, plan: &DestinationPlan, subject: &Subject, leaving: Leaving) {
        for (name, at) in &leaving.columns {
            if !plan.grants.contains(name) {
                let grants: Vec<&str> = leaving.columns.keys().map(String::as_str).collect();
                let message = format!("`{name}` is personal and leaves without a grant");
                let help = format!("if it should leave, write `grants: [{}]`", grants.join(", "));
                self.add(mistake::NOT_GRANTED, message, at.clone(), help);
            }
        }
        for grant in plan.grants.iter().filter(|grant| !leaving.unknown && !leaving.columns.contains_key(*grant)) {
            let at = self.sources.locate_name(subject, &["destination", "grants"], grant);
            let known: Vec<&str> = leaving.columns.keys().map(String::as_str).collect();
            let help = match near::nearest(grant, known.iter().copied()) {
                Some(near) => format!("did you mean `{near}`?"),
                None => "remove it: a grant that nothing needs is a door left open".to_owned(),
            };
            self.add(mistake::GRANT_UNUSED, format!("nothing personal leaves under the grant `{grant}`"), at, help);
        }
    }
}
