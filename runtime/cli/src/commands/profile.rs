//! `affluent profile show`, `why`, `diff`, `export`, `erase`, `erasures`, `suppress` and `unsuppress`; decisions of stewards are in
//! `decide`.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use affluent_config::{Inputs, read_identity};
use affluent_engine::{Engine, SilentObserver};
use affluent_model::Error;
use affluent_model::plan::IdentityRules;

use crate::arguments::{Output, ProfileCommand, Shared};
use crate::commands::decide;
use crate::failure::{Exit, Failure, Outcome};
use crate::project;
use crate::render::profile as render;
use crate::render::rules_diff;
use crate::render::screen::Screen;
use crate::wire;

pub(crate) async fn run(shared: &Shared, screen: &Screen, command: &ProfileCommand) -> Outcome {
    let project = project::load(shared)?;
    let wired = wire::open(&project, Arc::new(SilentObserver), Arc::new(AtomicBool::new(false)))?;
    match command {
        ProfileCommand::Show { profile: reference, reveal } => {
            let view = wired.engine.profile(wired.engine.find_profile(reference)?, *reveal).await?;
            screen.result(&view, || render::profile(&view))?;
        }
        ProfileCommand::Why { one, other: Some(other) } => {
            let why = wired.engine.why(one, other).await?;
            screen.result(&why, || render::why(why.as_ref()))?;
        }
        ProfileCommand::Why { one, other: None } => {
            let why = wired.engine.lineage(wired.engine.find_profile(one)?).await?;
            screen.result(&why, || render::lineage(&why))?;
        }
        ProfileCommand::Diff { rules } => {
            let diff = wired.engine.diff_rules(read_rules(shared, rules.as_deref())?.as_ref()).await?;
            screen.result(&diff, || rules_diff::text(&diff))?;
        }
        ProfileCommand::Export { profile } => {
            let export = wired.engine.export_person(profile).await?;
            Screen { output: Output::Json, ..*screen }.result(&export, String::new)?;
        }
        ProfileCommand::Erase { profile, yes, .. } => {
            let erasures = match profile {
                Some(reference) if *yes => vec![wired.engine.erase_person(reference).await?],
                Some(reference) => return Err(not_erased(&wired.engine, reference).into()),
                None => wired.engine.resume_erasures().await?,
            };
            screen.result(&erasures, || render::erasures(&erasures))?;
        }
        ProfileCommand::Suppress { profile } => {
            let done = wired.engine.suppress_person(profile).await?;
            screen.result(&done, || render::suppression(&done))?;
        }
        ProfileCommand::Unsuppress { profile } => {
            let done = wired.engine.unsuppress_person(profile).await?;
            screen.result(&done, || render::suppression(&done))?;
        }
        ProfileCommand::Erasures => {
            let erasures = wired.engine.erasures()?;
            screen.result(&erasures, || render::erasures(&erasures))?;
        }
        ProfileCommand::Decide(command) => return decide::run(&wired.engine, screen, command).await,
    }
    Ok(Exit::Done)
}

/// The rules of a file, where one is named.
fn read_rules(shared: &Shared, file: Option<&Path>) -> Result<Option<IdentityRules>, Failure> {
    let Some(file) = file else { return Ok(None) };
    let environment = |name: &str| std::env::var(name).ok();
    let inputs = Inputs { variables: project::variables(shared)?, environment: &environment };
    read_identity(file, &inputs).map(Some).map_err(Failure::Mistakes)
}

/// Why nothing was erased: nobody is meant, or nobody said yes.
fn not_erased(engine: &Engine, reference: &str) -> Error {
    match engine.find_profile(reference) {
        Ok(id) => Error::configuration("E0825", format!("profile {id} would be erased for good; nothing was done"))
            .help("look at `affluent profile export` first; `--yes` erases"),
        Err(error) => error,
    }
}
