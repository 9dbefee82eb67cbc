//! Destinations: objects and fields that exist, modes they know, and personal values that leave only whole, in a
//! delivery form, and by name.

use affluent_model::manifest::{ERASE_MODE, TargetSchema, VERIFY_ERASURE_MODE};
use affluent_model::plan::{DestinationPlan, Expression, NamedExpression, Pipeline, PipelineSource};

use super::columns::Columns;
use super::grants::Leaving;
use super::streams::Ingest;
use super::traits::word_offset;
use super::{Checker, Want};
use crate::mistake;
use crate::near;
use crate::sources::Subject;

/// Forms in which a sealed value may leave: `email|sha256`.
const FORMS: [&str; 4] = ["sha256", "lower", "upper", "e164"];

impl<'a> Checker<'a> {
    pub(super) fn activation(&mut self, pipeline: &Pipeline, plan: &DestinationPlan, ingests: &[Ingest<'_>], profiles: &Columns) {
        let subject = Subject::Pipeline(pipeline.name.clone());
        let target = self.target(plan, &subject);
        if let Some(target) = target {
            self.abilities(plan, target, &subject);
            self.target_fields(plan, target, &subject);
        }
        self.sent_twice(plan, &subject);
        let mut leaving = Leaving::default();
        match &pipeline.source {
            PipelineSource::Profiles { .. } => {
                leaving.unknown = profiles.incomplete;
                for named in plan.match_by.iter().chain(&plan.map) {
                    leaving.begin_field(&named.name);
                    self.of_profiles(named, profiles, &mut leaving);
                }
            }
            PipelineSource::Connection { connection, .. } => {
                leaving.unknown = self.catalog.streams(connection).is_none();
                for ingest in ingests.iter().filter(|ingest| ingest.pipeline.name == pipeline.name && ingest.parent.is_none()) {
                    self.pass_through(plan, ingest, target, &mut leaving);
                }
            }
        }
        if let Some(target) = target {
            self.plaintext(plan, target, &subject, &leaving);
        }
        self.grants(plan, &subject, leaving);
    }

    fn target(&mut self, plan: &DestinationPlan, subject: &Subject) -> Option<&'a TargetSchema> {
        let targets = self.catalog.targets(&plan.connection)?;
        let target = targets.iter().find(|target| target.name == plan.object);
        if target.is_none() {
            let names: Vec<&str> = targets.iter().map(|target| target.name.as_str()).collect();
            let at = self.sources.locate(subject, ["destination", "object"]);
            let help = near::suggestion(&plan.object, &format!("`{}` writes", plan.connection), &names);
            self.add(mistake::UNKNOWN_OBJECT, format!("`{}` has no object `{}`", plan.connection, plan.object), at, help);
        }
        target
    }

    fn abilities(&mut self, plan: &DestinationPlan, target: &TargetSchema, subject: &Subject) {
        let mode = plan.mode.as_str();
        if !target.modes.iter().any(|known| known == mode) {
            let at = self.sources.locate(subject, ["destination", "mode"]);
            let message = format!("the object `{}` cannot be written in mode `{mode}`", target.name);
            let is_written = |mode: &&String| ![ERASE_MODE, VERIFY_ERASURE_MODE].contains(&mode.as_str());
            let modes: Vec<&str> = target.modes.iter().filter(is_written).map(String::as_str).collect();
            self.add(mistake::WRITE_MODE, message, at, format!("its modes are {}", modes.join(", ")));
        }
        if plan.list.is_some() && !target.lists {
            let at = self.sources.locate_key(subject, &["destination"], "list");
            let message = format!("the object `{}` has no lists", target.name);
            self.add(mistake::WRITE_MODE, message, at, "remove `list`");
        }
    }

    fn target_fields(&mut self, plan: &DestinationPlan, target: &TargetSchema, subject: &Subject) {
        for named in &plan.match_by {
            if target.match_fields.is_empty() || target.match_fields.contains(&named.name) {
                continue;
            }
            let known: Vec<&str> = target.match_fields.iter().map(String::as_str).collect();
            let at = self.sources.locate_key(subject, &["destination", "match"], &named.name);
            let message = format!("`{}` cannot be matched by `{}`", target.name, named.name);
            self.add(mistake::UNKNOWN_FIELD, message, at, near::suggestion(&named.name, "it is matched by", &known));
        }
        for named in plan.map.iter().filter(|named| !has_field(target, &named.name)) {
            let at = self.sources.locate_key(subject, &["destination", "map"], &named.name);
            self.unknown_field(target, &named.name, at);
        }
    }

    fn unknown_field(&mut self, target: &TargetSchema, name: &str, at: affluent_model::diagnostic::Location) {
        let mut known: Vec<&str> = target.fields.iter().map(|field| field.name.as_str()).collect();
        let open: Vec<String> = target.open_fields.iter().map(|prefix| format!("{prefix}*")).collect();
        known.extend(open.iter().map(String::as_str));
        let help = near::suggestion(name, "its fields are", &known);
        self.add(mistake::UNKNOWN_FIELD, format!("the object `{}` has no field `{name}`", target.name), at, help);
    }

    fn sent_twice(&mut self, plan: &DestinationPlan, subject: &Subject) {
        for named in plan.map.iter().filter(|named| plan.match_by.iter().any(|other| other.name == named.name)) {
            let at = self.sources.locate_key(subject, &["destination", "map"], &named.name);
            let message = format!("`{}` is sent already: it is under `match`", named.name);
            self.add(mistake::DUPLICATE_NAME, message, at, "remove it from `map`");
        }
    }

    /// One field of a profile that leaves.
    fn of_profiles(&mut self, named: &NamedExpression, profiles: &Columns, leaving: &mut Leaving) {
        let expression = &named.expression;
        if let Some((column, form)) = delivery_form(&expression.text)
            && (profiles.get(column).is_some() || FORMS.contains(&form))
        {
            self.in_form(expression, column, form, profiles, leaving);
            return;
        }
        let Some(checked) = self.row_of(expression, profiles, Want::Anything) else {
            leaving.unknown = true;
            return;
        };
        let personal: Vec<&String> =
            checked.planned.columns.iter().filter(|name| profiles.get(name).is_some_and(|field| field.pii.is_some())).collect();
        let whole = expression.text.trim().trim_matches('"');
        if personal.iter().any(|name| *name != whole && profiles.get(name).is_some_and(|field| self.is_sealed(field.pii))) {
            self.computed_from_sealed(expression, &personal);
        }
        for name in personal {
            leaving.add(name, expression.at.clone());
        }
    }

    fn in_form(&mut self, expression: &Expression, column: &str, form: &str, profiles: &Columns, leaving: &mut Leaving) {
        let Some(field) = profiles.get(column) else {
            if !profiles.incomplete {
                let at = self.sources.inside(expression, word_offset(&expression.text, column), column.chars().count());
                let help = near::suggestion(column, "profiles have", &profiles.names());
                self.add(mistake::EXPRESSION, format!("unknown column `{column}`"), at, help);
            }
            leaving.unknown = true;
            return;
        };
        if field.pii.is_some() {
            leaving.add(column, expression.at.clone());
        }
        if !FORMS.contains(&form) {
            let at = self.sources.inside(expression, word_offset(&expression.text, form), form.chars().count());
            self.add(
                mistake::DELIVERY_FORM,
                format!("unknown delivery form `{form}`"),
                at,
                near::suggestion(form, "forms are", &FORMS),
            );
        } else if !self.is_sealed(field.pii) {
            let message = format!("`{column}` is not sealed and has no delivery form");
            self.add(
                mistake::DELIVERY_FORM,
                message,
                expression.at.clone(),
                "write a function instead, such as `sha256_hex(…)` or `lower(…)`",
            );
        }
    }

    fn computed_from_sealed(&mut self, expression: &Expression, personal: &[&String]) {
        let Some(name) = personal.first() else { return };
        let at = self.sources.inside(expression, word_offset(&expression.text, name), name.chars().count());
        let message = format!("`{name}` is personal and sealed: it leaves whole or not at all");
        let help =
            format!("write `{name}` or a form of it, such as `{name}|sha256`; expressions over it belong into a `map` transform");
        self.add(mistake::PERSONAL_USE, message, at, help);
    }

    /// Records that go straight to the destination: their values are in the clear, all columns leave unless mapped.
    fn pass_through(
        &mut self,
        plan: &DestinationPlan,
        ingest: &Ingest<'_>,
        target: Option<&TargetSchema>,
        leaving: &mut Leaving,
    ) {
        leaving.unknown |= ingest.columns.incomplete;
        if plan.map.is_empty() && plan.match_by.is_empty() {
            for field in &ingest.columns.fields {
                if let Some(target) = target.filter(|target| !has_field(target, &field.name)) {
                    self.unknown_field(target, &field.name, plan.at.clone());
                }
                if field.pii.is_some() {
                    leaving.begin_field(&field.name);
                    leaving.add(&field.name, plan.at.clone());
                }
            }
            return;
        }
        for named in plan.match_by.iter().chain(&plan.map) {
            leaving.begin_field(&named.name);
            let Some(checked) = self.row_of(&named.expression, &ingest.columns, Want::Anything) else {
                leaving.unknown = true;
                continue;
            };
            for name in &checked.planned.columns {
                if ingest.columns.get(name).is_some_and(|field| field.pii.is_some()) {
                    leaving.add(name, named.expression.at.clone());
                }
            }
        }
    }
}

fn has_field(target: &TargetSchema, name: &str) -> bool {
    let is_open = target.open_fields.iter().any(|prefix| name.starts_with(prefix.as_str()) && name.len() > prefix.len());
    target.any_fields || is_open || target.fields.iter().any(|field| field.name == name)
}

/// `email|sha256` as its two words; SQL's `||` and longer operands are not one.
fn delivery_form(text: &str) -> Option<(&str, &str)> {
    let (column, form) = text.split_once('|')?;
    let (column, form) = (column.trim().trim_matches('"'), form.trim());
    let is_word = |text: &str| !text.is_empty() && text.chars().all(|c| c.is_alphanumeric() || c == '_' || c == '-');
    (is_word(column) && is_word(form)).then_some((column, form))
}
