//! `affluent segment size`.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use affluent_engine::SilentObserver;
use affluent_model::Error;

use crate::arguments::{SegmentCommand, Shared};
use crate::failure::{Exit, Outcome};
use crate::project;
use crate::render::screen::{Screen, number, table};
use crate::wire;

pub(crate) async fn run(shared: &Shared, screen: &Screen, command: &SegmentCommand) -> Outcome {
    let SegmentCommand::Size { segment } = command;
    let project = project::load(shared)?;
    let names: Vec<String> = project.plan.segments.iter().map(|known| known.name.clone()).collect();
    if let Some(asked) = segment.as_ref().filter(|asked| !names.contains(asked)) {
        return Err(Error::configuration("E0822", format!("there is no segment `{asked}`"))
            .help(format!("this project has {}", names.join(", ")))
            .into());
    }
    let wired = wire::open(&project, Arc::new(SilentObserver), Arc::new(AtomicBool::new(false)))?;
    let mut sizes = Vec::new();
    for name in names.into_iter().filter(|name| segment.as_ref().is_none_or(|asked| asked == name)) {
        let members = wired.engine.segment_size(&name).await?;
        sizes.push((name, members));
    }
    screen.result(&sizes, || {
        let mut rows = table(&["segment", "members"]);
        for (name, members) in &sizes {
            rows.add_row([name.clone(), number(*members)]);
        }
        rows.to_string()
    })?;
    Ok(Exit::Done)
}
