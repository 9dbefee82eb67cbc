//! What time alone changes: of each profile the next such time is known where a window or a grant ends; what reads the clock in
//! other ways has to be asked again for all.

use affluent_model::Result;
use affluent_model::plan::Measure;

use crate::engine::Engine;
use crate::segments::PreparedSegments;

/// True when time alone can change an attribute, a trait or a membership.
///
/// # Errors
/// `E0300` for a condition that does not parse.
pub(crate) fn depends_on_time(engine: &Engine) -> Result<bool> {
    let has_window = engine.plan.traits.iter().any(|one| one.window_ms.is_some());
    let segments = PreparedSegments::of_plan(engine)?;
    // A grant ends by time, and one from a day to come begins by time.
    Ok(changes_at_any_time(engine) || has_window || segments.has_window() || segments.asks_consent())
}

/// True when some value may change at a time that is not known before.
pub(super) fn changes_at_any_time(engine: &Engine) -> bool {
    let reads_clock = |text: &str| ["now(", "current_", "today("].iter().any(|word| text.to_lowercase().contains(word));
    let in_traits = engine.plan.traits.iter().any(|one| match &one.measure {
        Measure::Sql(expression) => reads_clock(&expression.text),
        Measure::MostFrequent(expression) | Measure::Recommend(expression) => {
            one.window_ms.is_some() || reads_clock(&expression.text)
        }
        // All days since the last order grow alike: nobody changes the bin.
        Measure::Rfm { .. } => false,
        Measure::Predict(_) => true,
    });
    let in_segments = engine.plan.segments.iter().any(|segment| reads_clock(&segment.condition.text));
    let in_attributes = engine.plan.identity.survivorship.values().any(|rule| rule.max_age_ms.is_some());
    in_traits || in_segments || in_attributes
}

/// True when the value of one profile is made of those of others in a way that no fit holds.
pub(super) fn is_made_of_others(engine: &Engine) -> bool {
    engine.plan.traits.iter().any(|one| matches!(one.measure, Measure::Predict(_) | Measure::Recommend(_)))
}
