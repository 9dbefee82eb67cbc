//! Grants: every personal column that leaves is named, and every name is used.

use std::collections::BTreeMap;

use affluent_model::diagnostic::Location;
use affluent_model::manifest::TargetSchema;
use affluent_model::plan::DestinationPlan;

use super::Checker;
use crate::mistake;
use crate::near;
use crate::sources::Subject;

/// Personal columns that leave, each with the first place that sends it.
#[derive(Default)]
pub(super) struct Leaving {
    columns: BTreeMap<String, Location>,
    /// The field that is looked at, and what leaves in each.
    field: String,
    by_field: Vec<(String, String)>,
    /// Not all that leaves is known: a grant may be used although nothing seems to use it.
    pub(super) unknown: bool,
}

impl Leaving {
    pub(super) fn add(&mut self, name: &str, at: Location) {
        self.columns.entry(name.to_owned()).or_insert(at);
        self.by_field.push((self.field.clone(), name.to_owned()));
    }

    /// What is added from now on leaves in this field of the destination.
    pub(super) fn begin_field(&mut self, field: &str) {
        field.clone_into(&mut self.field);
    }
}

impl Checker<'_> {
    /// Fields that the plugin cannot write blind need their columns in the clear.
    pub(super) fn plaintext(&mut self, plan: &DestinationPlan, target: &TargetSchema, subject: &Subject, leaving: &Leaving) {
        let needed = leaving.by_field.iter().filter(|(field, _)| target.plaintext.contains(field));
        for (field, column) in needed.filter(|(_, column)| !plan.plaintext.contains(column)) {
            let message = format!("`{}` needs `{field}` in the clear, and `{column}` reaches it as a token", plan.connection);
            let help = format!("if its plugin may see the values, write `plaintext: [{column}]`");
            let at = self.sources.locate(subject, ["destination", "grants"]);
            self.add(mistake::PLAINTEXT_NEEDED, message, at, help);
        }
    }

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
