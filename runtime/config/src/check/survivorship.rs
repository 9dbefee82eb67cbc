//! Whether the rules that choose an attribute's value can work with its values.

use affluent_model::schema::FieldType;
use affluent_model::survivorship::DEFAULT;

use super::Checker;
use super::columns::Columns;
use crate::mistake;
use crate::sources::Subject;

impl Checker<'_> {
    /// Checks the rules of single attributes; the one for all others leaves alone what it cannot choose.
    pub(super) fn survivorship(&mut self, attributes: &Columns) {
        let plan = self.plan;
        for (name, rule) in plan.identity.survivorship.iter().filter(|(name, _)| *name != DEFAULT) {
            let Some(field) = attributes.get(name) else { continue };
            let at = self.sources.locate_key(&Subject::Identity, &["survivorship"], name);
            let word = rule.strategy.as_str();
            if rule.strategy.compares_values() && self.is_sealed(field.pii) {
                let message = format!("`{name}` is personal and sealed: `{word}` would have to compare its values");
                let help = "choose it by `most_recent`, `first_seen`, `most_complete_record` or `prefer`: what chooses holds no keys, and equal values do not \
                            look equal when they are sealed";
                self.add(mistake::PERSONAL_USE, message, at, help);
            } else if !rule.strategy.fits(field.kind) {
                let kinds: Vec<&str> = rule.strategy.kinds().iter().copied().map(FieldType::as_str).collect();
                let kinds = kinds.join(" or ");
                let message = format!("`{word}` works with values of type {kinds}, and `{name}` is {}", field.kind.as_str());
                self.add(mistake::TYPE_CONFLICT, message, at, "choose another strategy, or cast the attribute in its mapping");
            }
        }
    }
}
