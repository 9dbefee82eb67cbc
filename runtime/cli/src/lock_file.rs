//! `affluent.lock` on disk: one writer at a time reads it, changes it and puts it back whole.

use std::fs::File;
use std::path::Path;

use affluent_config::lock::{LOCK_FILE, print};
use affluent_config::read_lock;
use affluent_model::lock::Lock;
use affluent_model::plan::Plan;
use affluent_model::{Error, Result};
use affluent_provenance::{Policy, write_new};

use crate::failure::Failure;
use crate::render::screen::Screen;

/// Held while the lock file is read, changed and written.
const GUARD_FILE: &str = "lock.guard";

/// Writes down what a run found of the program's own plugins, and tells what a person should know. A folder that cannot
/// be written to is no reason not to run: the program itself vouches for them.
///
/// # Errors
/// When the lock file was broken meanwhile.
pub(crate) fn follow(policy: &Policy, plan: &Plan, screen: &Screen) -> Result<(), Failure> {
    let changes = policy.take_changes();
    for note in policy.take_notes() {
        screen.say(&note);
    }
    if changes.is_empty() {
        return Ok(());
    }
    let count = changes.len();
    match update(plan, |lock| lock.plugins.extend(changes)) {
        Ok(()) => screen.say(&format!("{LOCK_FILE} pins {count} more plugins or versions: commit it")),
        Err(Failure::Error(error)) if error.code == "E0966" => {
            screen.say(&format!("{LOCK_FILE} stays as it is: {}", error.message));
        }
        Err(failure) => return Err(failure),
    }
    Ok(())
}

/// Changes the lock file; nothing is written when nothing changed.
///
/// # Errors
/// The mistakes of a broken lock file; `E0966` when it cannot be written.
pub(crate) fn update(plan: &Plan, change: impl FnOnce(&mut Lock)) -> Result<(), Failure> {
    let root = &plan.project.root;
    let guard = guard(&plan.project.data_dir)?;
    let before = read_lock(root).map_err(Failure::Mistakes)?;
    let mut lock = before.clone();
    change(&mut lock);
    if lock != before || !root.join(LOCK_FILE).is_file() {
        write_new(&root.join(LOCK_FILE), print(&lock).as_bytes())?;
    }
    drop(guard);
    Ok(())
}

/// Waits until no other process is changing the file; the system lets go when this one ends.
fn guard(data_dir: &Path) -> Result<File> {
    let path = data_dir.join(GUARD_FILE);
    let opened = File::options().create(true).truncate(false).write(true).open(&path);
    let guarded = opened.and_then(|file| file.lock().map(|()| file));
    guarded.map_err(|error| Error::external("E0966", format!("`{}` cannot be locked: {error}", path.display())))
}
