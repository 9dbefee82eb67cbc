//! `affluent schema`: JSON Schemas for editors, with the configuration of every plugin at hand merged in.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use affluent_config::json_schemas;
use affluent_model::Error;
use affluent_model::connector::Connectors;

use crate::arguments::Shared;
use crate::failure::{Exit, Failure, Outcome};
use crate::render::screen::Screen;
use crate::wire;

pub(crate) async fn run(_shared: &Shared, screen: &Screen, directory: &Path, check: bool) -> Outcome {
    let host = wire::bare_host(Arc::new(AtomicBool::new(false)))?;
    let mut manifests = Vec::new();
    for plugin in host.plugins() {
        manifests.push(host.manifest(&plugin).await?.as_ref().clone());
    }
    let mut stale = Vec::new();
    for (name, schema) in json_schemas(&manifests) {
        let text = serde_json::to_string_pretty(&schema).map_err(|error| Error::bug(error.to_string()))? + "\n";
        let path = directory.join(&name);
        if check {
            if fs::read_to_string(&path).ok().as_deref() != Some(&text) {
                stale.push(name);
            }
        } else {
            write(&path, &text)?;
        }
    }
    if !stale.is_empty() {
        return Err(Error::configuration("E0823", format!("not up to date: {}", stale.join(", ")))
            .help("run `affluent schema`")
            .into());
    }
    screen.say(if check { "all schemas are up to date" } else { "schemas written" });
    Ok(Exit::Done)
}

fn write(path: &Path, text: &str) -> Result<(), Failure> {
    let written = path.parent().map_or(Ok(()), fs::create_dir_all).and_then(|()| fs::write(path, text));
    Ok(written.map_err(|error| Error::external("E0814", format!("`{}` cannot be written: {error}", path.display())))?)
}
