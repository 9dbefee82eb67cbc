//! Currencies that mappings of orders name as they are, and the rates of the project.

use affluent_model::plan::PipelineDestination;

use super::Checker;
use crate::mistake;

impl Checker<'_> {
    /// Where the project says in which currency values are told, a currency that a mapping names must have a rate.
    pub(super) fn currencies(&mut self) {
        let Some(money) = &self.plan.project.money else { return };
        for pipeline in self.plan.pipelines.values() {
            let PipelineDestination::Profiles { streams, .. } = &pipeline.destination else { continue };
            for expression in streams.values().filter_map(|mapping| mapping.order.as_ref()?.currency.as_ref()) {
                let Some(code) = named(&expression.text).filter(|code| !money.knows(code)) else { continue };
                let message = format!("orders are in `{code}`, which has no rate");
                let help = format!("add what one {code} is worth in {} to a file of `money: {{ rates: … }}`", money.currency);
                self.add(mistake::NO_RATE, message, expression.at.clone(), help);
            }
        }
    }
}

/// The code of an expression that is one and nothing else: `'USD'`.
fn named(text: &str) -> Option<&str> {
    let code = text.trim().strip_prefix('\'')?.strip_suffix('\'')?;
    (!code.contains('\'')).then_some(code)
}
