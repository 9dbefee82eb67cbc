//! What conditions of segments ask of records and consent, answered for all profiles at once.

use std::sync::Arc;

use affluent_lake::Lookup;
use affluent_model::Result;
use affluent_model::expression::SegmentCall;
use affluent_profiles::call_table::{CallCounts, StrictestWords};
use affluent_profiles::events::{CallPass, IdentifierKind, call_function, call_passes};
use affluent_profiles::expiries::Expiries;

use crate::engine::Engine;
use crate::inputs::Inputs;

/// The functions that the query of memberships calls.
///
/// # Errors
/// `E0760`, `E0762`, `E0765`; what the lake reports.
pub(crate) async fn answers(
    engine: &Engine,
    inputs: &Inputs,
    calls: &[SegmentCall],
    expiries: &mut Expiries,
) -> Result<Vec<Lookup>> {
    let mut lookups = inputs.lookups();
    for pass in call_passes(calls, &inputs.sources)? {
        match pass {
            CallPass::Records { calls, sql } => {
                let windows = calls.iter().map(|(_, window_ms)| *window_ms).collect();
                let mut counts = CallCounts::new(windows, inputs.people.ids.len());
                engine.lake.stream(inputs.query(engine, sql), &mut |rows| counts.take(&rows, expiries)).await?;
                let answers = calls.iter().zip(counts.finish());
                lookups.extend(answers.map(|((call, _), answers)| Lookup::numbers(&call_function(*call), Arc::new(answers))));
            }
            CallPass::Consent { call, kinds } => {
                let words = strictest(engine, inputs, kinds, expiries).await?;
                lookups.push(Lookup::numbers(&call_function(call), Arc::new(words)));
            }
        }
    }
    Ok(lookups)
}

async fn strictest(engine: &Engine, inputs: &Inputs, kinds: Vec<IdentifierKind>, expiries: &mut Expiries) -> Result<Vec<u32>> {
    let mut words = StrictestWords::new(inputs.people.ids.len());
    for IdentifierKind { said, carriers } in kinds {
        engine.lake.stream(inputs.query(engine, said), &mut |rows| words.take_said(&rows)).await?;
        engine.lake.stream(inputs.query(engine, carriers), &mut |rows| words.take_carriers(&rows)).await?;
        words.settle(expiries);
    }
    Ok(words.finish())
}
