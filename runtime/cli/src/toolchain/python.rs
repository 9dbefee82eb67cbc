//! Python: pip puts the pinned tools into `.venv`, and the folder's `build.py` makes the component.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use affluent_model::Result;

use super::step::{Tool, build_failed, install_failed, run};
use super::written;
use crate::render::screen::Screen;

const PYTHON: Tool =
    Tool { program: "python3", install: "install Python 3.10 or newer with its venv module: https://python.org" };
/// The requirements that were installed last.
const INSTALLED: &str = ".venv/installed.txt";
const BUILT: &str = ".venv/built.wasm";

pub(super) fn build(folder: &Path, screen: &Screen) -> Result<PathBuf> {
    install(folder, screen)?;
    screen.say("building with componentize-py");
    drop(fs::remove_file(folder.join(BUILT)));
    let mut python = in_venv(folder);
    python.args(["build.py", BUILT]);
    run(python, PYTHON.install, screen, &build_failed("python"))?;
    written(folder.join(BUILT))
}

/// Makes the environment and installs what `requirements.txt` pins, unless that was done.
fn install(folder: &Path, screen: &Screen) -> Result<()> {
    let wanted = fs::read(folder.join("requirements.txt")).unwrap_or_default();
    if fs::read(folder.join(INSTALLED)).is_ok_and(|installed| installed == wanted) {
        return Ok(());
    }
    screen.say("installing the tools that requirements.txt pins");
    let failed = install_failed("the tools of requirements.txt");
    let mut venv = PYTHON.command(folder);
    venv.args(["-m", "venv", ".venv"]);
    run(venv, PYTHON.install, screen, &failed)?;
    let mut pip = in_venv(folder);
    pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-r", "requirements.txt"]);
    run(pip, PYTHON.install, screen, &failed)?;
    // Only a hint for the next build, which installs again without it.
    drop(fs::write(folder.join(INSTALLED), wanted));
    Ok(())
}

fn in_venv(folder: &Path) -> Command {
    let absolute = folder.canonicalize().unwrap_or_else(|_| folder.to_owned());
    let mut command = Command::new(absolute.join(".venv/bin/python"));
    command.current_dir(folder);
    command
}
