//! `affluent keys init`.

use affluent_model::Error;
use affluent_model::plan::KeySource;
use affluent_vault::{OsRandom, create_key_file};

use crate::arguments::{KeysCommand, Shared};
use crate::failure::{Exit, Outcome};
use crate::project;
use crate::render::screen::Screen;
use crate::wire;

pub(crate) fn run(shared: &Shared, screen: &Screen, command: &KeysCommand) -> Outcome {
    let KeysCommand::Init = command;
    let project = project::load(shared)?;
    let KeySource::File(path) = &project.plan.project.keys else {
        let what = "this project takes its key from the environment: there is no file to make";
        return Err(Error::configuration("E0611", what)
            .help("set the variable to 32 random bytes as base64 (`openssl rand -base64 32`), and keep a copy")
            .into());
    };
    wire::refuse_new_key_for_old_data(&project.plan)?;
    wire::make_parent(path)?;
    create_key_file(path, &mut OsRandom::new())?;
    screen.say(&format!("made {}: keep a copy in a safe place, without it nothing sealed can be read again", path.display()));
    Ok(Exit::Done)
}
