//! Builds the plugin of a folder with its language's own tools, which are found by the files that are there.

mod javascript;
mod python;
mod rust;
mod step;

use std::path::{Path, PathBuf};

use affluent_model::{Error, Result};

use crate::render::screen::Screen;

/// The component that the folder's tools made; it lies where they put it.
///
/// # Errors
/// `E0903` when the folder holds no plugin, `E0904` and `E0905` when a tool is missing, `E0906` when the build fails,
/// `E0907` when it makes no component, `E0908` when tools cannot be installed.
pub(crate) fn build(folder: &Path, screen: &Screen) -> Result<PathBuf> {
    let has = |name: &str| folder.join(name).is_file();
    if has("Cargo.toml") {
        rust::build(folder, screen)
    } else if has("package.json") {
        javascript::build(folder, screen)
    } else if has("requirements.txt") && has("build.py") {
        python::build(folder, screen)
    } else {
        let message = format!("`{}` holds no plugin: there is no Cargo.toml, package.json or build.py", folder.display());
        Err(Error::configuration("E0903", message).help("go into a plugin's folder, or make one with `affluent plugin new`"))
    }
}

/// The file that a build script was told to write.
fn written(path: PathBuf) -> Result<PathBuf> {
    if path.is_file() {
        return Ok(path);
    }
    let message = format!("the build ended well and wrote no `{}`", path.display());
    Err(Error::configuration("E0907", message).help("the build script must write the component to the path it is given"))
}
