//! `affluent init`: the smallest project that runs, with a file to read and a place to write.

use std::fs;
use std::path::Path;

use affluent_model::Error;

use crate::failure::{Exit, Failure, Outcome};
use crate::render::screen::Screen;

/// Files of a new project.
const FILES: [(&str, &str); 5] = [
    ("affluent.yaml", include_str!("../../templates/init/affluent.yaml")),
    ("pipelines/people.yaml", include_str!("../../templates/init/pipelines/people.yaml")),
    ("profiles/identity.yaml", include_str!("../../templates/init/profiles/identity.yaml")),
    ("exports/people.csv", include_str!("../../templates/init/exports/people.csv")),
    (".gitignore", include_str!("../../templates/init/gitignore")),
];

pub(crate) fn run(directory: &Path, screen: &Screen) -> Outcome {
    if directory.join("affluent.yaml").exists() {
        return Err(Error::configuration("E0816", format!("`{}` holds a project already", directory.display())).into());
    }
    for (name, text) in FILES {
        write(&directory.join(name), text)?;
    }
    let shown = directory.display();
    screen.say(&format!("made {shown}: affluent.yaml, a pipeline, identity rules and a small export to read"));
    screen.say(&format!("next: affluent validate --project {shown}, then affluent run --project {shown}"));
    Ok(Exit::Done)
}

fn write(path: &Path, text: &str) -> Result<(), Failure> {
    let written = path.parent().map_or(Ok(()), fs::create_dir_all).and_then(|()| fs::write(path, text));
    Ok(written.map_err(|error| Error::external("E0814", format!("`{}` cannot be written: {error}", path.display())))?)
}
