//! One step of a build: a program that is run in the plugin's folder, its talk shown on stderr.

use std::io::ErrorKind;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use affluent_model::{Error, Result};

use crate::render::screen::{Screen, complain};

/// A tool that a build needs.
#[derive(Debug, Clone, Copy)]
pub(super) struct Tool {
    pub(super) program: &'static str,
    /// What to do where it is missing.
    pub(super) install: &'static str,
}

impl Tool {
    /// The tool about to be run in a folder.
    pub(super) fn command(self, folder: &Path) -> Command {
        let mut command = Command::new(self.program);
        command.current_dir(folder);
        command
    }
}

/// Runs a step to its end and gives what it printed on stdout. What it says on stderr is passed on, at once, or when it
/// fails where the user asked for quiet.
///
/// # Errors
/// `E0904` when the program is not there, with `install` as help; `failed` when it fails.
pub(super) fn run(mut command: Command, install: &str, screen: &Screen, failed: &Error) -> Result<Vec<u8>> {
    let program = command.get_program().to_string_lossy().into_owned();
    command.stdin(Stdio::null()).stdout(Stdio::piped());
    command.stderr(if screen.quiet { Stdio::piped() } else { Stdio::inherit() });
    let ended = command.spawn().and_then(std::process::Child::wait_with_output);
    match ended {
        Ok(Output { status, stdout, .. }) if status.success() => Ok(stdout),
        Ok(Output { stderr, .. }) => {
            if screen.quiet {
                complain(String::from_utf8_lossy(&stderr).trim_end());
            }
            Err(failed.clone())
        }
        Err(error) if error.kind() == ErrorKind::NotFound => {
            Err(Error::configuration("E0904", format!("`{program}` is not installed")).help(install))
        }
        Err(error) => Err(Error::external("E0904", format!("`{program}` cannot be run: {error}")).help(install)),
    }
}

/// The build of the plugin itself failed; its tool has said why.
pub(super) fn build_failed(tool: &str) -> Error {
    Error::configuration("E0906", format!("{tool} could not build the plugin")).help("its messages stand above")
}

/// Tools could not be fetched from their registry.
pub(super) fn install_failed(what: &str) -> Error {
    Error::external("E0908", format!("{what} could not be installed into the plugin's folder"))
        .help("its messages stand above; the build needs the registry once, the next one does not")
}
