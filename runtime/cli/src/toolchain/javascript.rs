//! JavaScript: npm puts the pinned tools into `node_modules`, and the folder's `build.mjs` makes the component.

use std::path::{Path, PathBuf};

use affluent_model::Result;

use super::step::{Tool, build_failed, install_failed, run};
use super::written;
use crate::render::screen::Screen;

const NODE: Tool = Tool { program: "node", install: "install Node.js 20 or newer: https://nodejs.org" };
const NPM: Tool = Tool { program: "npm", install: "install npm, which comes with Node.js: https://nodejs.org" };

pub(super) fn build(folder: &Path, screen: &Screen) -> Result<PathBuf> {
    install(folder, screen)?;
    screen.say("building with componentize-js; this takes half a minute");
    let component = folder.join("node_modules/.cache/affluent/built.wasm");
    drop(std::fs::remove_file(&component));
    let mut node = NODE.command(folder);
    node.args(["build.mjs", "node_modules/.cache/affluent/built.wasm"]);
    run(node, NODE.install, screen, &build_failed("node"))?;
    written(component)
}

/// What npm installed says which lock file it was; nothing is fetched again while that is the newer of the two.
fn install(folder: &Path, screen: &Screen) -> Result<()> {
    let changed = |name: &str| std::fs::metadata(folder.join(name)).and_then(|file| file.modified()).ok();
    let (lock, installed) = (changed("package-lock.json"), changed("node_modules/.package-lock.json"));
    if installed.is_some() && installed >= lock.max(changed("package.json")) {
        return Ok(());
    }
    screen.say("installing the tools that package-lock.json pins");
    let mut npm = NPM.command(folder);
    npm.args([if lock.is_some() { "ci" } else { "install" }, "--no-audit", "--no-fund", "--loglevel", "error"]);
    run(npm, NPM.install, screen, &install_failed("the tools of package.json")).map(drop)
}
