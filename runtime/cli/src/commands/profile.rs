//! `affluent profile show` and `affluent profile why`.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use affluent_engine::SilentObserver;

use crate::arguments::{ProfileCommand, Shared};
use crate::failure::{Exit, Outcome};
use crate::project;
use crate::render::profile;
use crate::render::screen::Screen;
use crate::wire;

pub(crate) async fn run(shared: &Shared, screen: &Screen, command: &ProfileCommand) -> Outcome {
    let project = project::load(shared)?;
    let wired = wire::open(&project, Arc::new(SilentObserver), Arc::new(AtomicBool::new(false)))?;
    match command {
        ProfileCommand::Show { profile: reference, reveal } => {
            let view = wired.engine.profile(wired.engine.find_profile(reference)?, *reveal).await?;
            screen.result(&view, || profile::profile(&view))?;
        }
        ProfileCommand::Why { one, other } => {
            let steps = wired.engine.why(one, other)?;
            screen.result(&steps, || profile::why(steps.as_deref()))?;
        }
    }
    Ok(Exit::Done)
}
