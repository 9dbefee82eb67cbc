//! `affluent profile split`, `link`, `decisions` and `undo`.

use std::os::unix::fs::MetadataExt;

use affluent_engine::{Engine, Steward};

use crate::arguments::{DecisionCommand, StewardArguments};
use crate::failure::{Exit, Outcome};
use crate::render::decisions;
use crate::render::screen::Screen;

pub(crate) async fn run(engine: &Engine, screen: &Screen, command: &DecisionCommand) -> Outcome {
    let outcome = match command {
        DecisionCommand::Split { reference, from, steward } => {
            engine.split_profile(reference, from.as_deref(), &steward_of(steward)).await?
        }
        DecisionCommand::Link { one, other, steward } => engine.link_profiles(one, other, &steward_of(steward)).await?,
        DecisionCommand::Pin { profile, attribute, from, steward } => {
            engine.pin_value(profile, attribute, from, &steward_of(steward)).await?
        }
        DecisionCommand::Unpin { profile, attribute, by } => {
            engine.unpin_value(profile, attribute, &by.clone().unwrap_or_else(system_user)).await?
        }
        DecisionCommand::Undo { decision, by } => {
            engine.undo_decision(*decision, &by.clone().unwrap_or_else(system_user)).await?
        }
        DecisionCommand::Decisions => {
            let rows = engine.decisions()?;
            screen.result(&rows, || decisions::list(&rows))?;
            return Ok(Exit::Done);
        }
        DecisionCommand::Quarantine { limit } => {
            let rows = engine.quarantine(*limit)?;
            screen.result(&rows, || decisions::quarantine(&rows))?;
            return Ok(Exit::Done);
        }
    };
    screen.result(&outcome, || decisions::outcome(&outcome))?;
    Ok(Exit::Done)
}

fn steward_of(arguments: &StewardArguments) -> Steward {
    let by = arguments.by.clone().unwrap_or_else(system_user);
    Steward { by, reason: arguments.reason.clone() }
}

/// The name of the operating system's user, or the number where it has none.
pub(crate) fn system_user() -> String {
    let named = ["USER", "LOGNAME"].into_iter().find_map(|name| std::env::var(name).ok().filter(|name| !name.is_empty()));
    named.unwrap_or_else(|| {
        std::fs::metadata("/proc/self").map_or_else(|_| "unknown".to_owned(), |process| format!("user {}", process.uid()))
    })
}
