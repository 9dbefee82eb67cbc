//! Segments: conditions over attributes and computed traits.

use affluent_model::plan::Expression;

use super::columns::Columns;
use super::{Checked, Checker, Want};

impl Checker<'_> {
    pub(super) fn segments(&mut self, columns: &Columns) {
        let plan = self.plan;
        for segment in &plan.segments {
            if let Some(checked) = self.row_of(&segment.condition, columns, Want::Boolean) {
                self.no_sealed(&segment.condition, &checked.planned.columns, columns);
            }
        }
    }

    /// Plans an expression over columns of which some may be unknown: what does not plan may be right then.
    pub(super) fn row_of(&mut self, expression: &Expression, columns: &Columns, want: Want) -> Option<Checked> {
        let planned = self.planner.row(&expression.text, &columns.schema());
        if columns.incomplete && planned.is_err() {
            return None;
        }
        self.checked(expression, planned, want)
    }
}
