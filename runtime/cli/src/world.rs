//! What a run stands in: the live world, the live world with a recorder listening, or a recording. A replay has a data
//! folder of its own that ends with it, keys drawn from the recording, the recording's time, and writes its files below
//! `.affluent/replay`: it touches nothing of the project.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use affluent_engine::Clock;
use affluent_host::{Exchanges, RandomSource, Recorder, Repeats, Replay};
use affluent_model::plan::{KeySource, Plan};
use affluent_model::{Error, Result};
use affluent_vault::{OsRandom, Random};

use crate::arguments::RunArguments;
use crate::wire::{SystemClock, make_private};

/// What the crates are wired into.
pub(crate) struct World {
    pub(crate) exchanges: Exchanges,
    /// Of the engine; the host's comes with the exchanges.
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) plugin_cache: PathBuf,
    /// Where plugins write files instead of the project.
    pub(crate) output_root: Option<PathBuf>,
    /// What keys are made of; the system's randomness when absent.
    pub(crate) key_random: Option<RandomSource>,
}

impl World {
    pub(crate) fn live(plan: &Plan) -> Self {
        Self {
            exchanges: Exchanges::Live,
            clock: Arc::new(SystemClock),
            plugin_cache: plan.project.data_dir.join("plugins"),
            output_root: None,
            key_random: None,
        }
    }

    /// The randomness that makes keys.
    pub(crate) fn randomness(&self) -> Box<dyn Random> {
        match &self.key_random {
            Some(source) => Box::new(Drawn(Arc::clone(source))),
            None => Box::new(OsRandom::new()),
        }
    }
}

/// The vault's randomness from the host's.
struct Drawn(RandomSource);

impl Random for Drawn {
    fn fill(&mut self, bytes: &mut [u8]) -> Result<()> {
        (self.0)(bytes);
        Ok(())
    }
}

/// A clock that stands still; waits on it are over at once.
pub(crate) struct FixedClock(pub(crate) i64);

impl Clock for FixedClock {
    fn now_us(&self) -> i64 {
        self.0
    }

    fn is_standing(&self) -> bool {
        true
    }
}

/// Data that ends with the command that made it.
pub(crate) struct Scratch(PathBuf);

impl Scratch {
    /// An empty folder that only its owner can read.
    ///
    /// # Errors
    /// When what is left there cannot be removed, or the folder cannot be made.
    pub(crate) fn at(folder: &Path) -> Result<Self> {
        empty(folder)?;
        Ok(Self(folder.to_owned()))
    }

    /// The plan with its data and its key in this folder.
    pub(crate) fn hold(&self, plan: &Plan) -> Plan {
        let mut plan = plan.clone();
        plan.project.data_dir.clone_from(&self.0);
        plan.project.keys = KeySource::File(self.0.join("key"));
        plan
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // What remains is emptied by the next one.
        drop(fs::remove_dir_all(&self.0));
    }
}

fn empty(folder: &Path) -> Result<()> {
    if folder.exists() {
        fs::remove_dir_all(folder)
            .map_err(|error| Error::external("E0814", format!("`{}` cannot be emptied: {error}", folder.display())))?;
    }
    make_private(folder)
}

/// How `affluent run` was asked to meet the world.
pub(crate) struct Entered {
    pub(crate) plan: Arc<Plan>,
    exchanges: Exchanges,
    _scratch: Option<Scratch>,
}

/// The world that the arguments ask for.
///
/// # Errors
/// A recording that cannot be read; folders that cannot be made.
pub(crate) fn enter(plan: &Arc<Plan>, arguments: &RunArguments) -> Result<(World, Entered)> {
    let live = World::live(plan);
    if let Some(folder) = &arguments.record {
        let random: RandomSource = Arc::new(|bytes: &mut [u8]| drop(OsRandom::new().fill(bytes)));
        let exchanges = Exchanges::Record(Arc::new(Recorder::new(folder, SystemClock.now_us(), &random)));
        let world = World { exchanges: exchanges.clone(), ..live };
        return Ok((world, Entered { plan: Arc::clone(plan), exchanges, _scratch: None }));
    }
    let Some(folder) = &arguments.replay else {
        return Ok((live, Entered { plan: Arc::clone(plan), exchanges: Exchanges::Live, _scratch: None }));
    };
    let replay = Arc::new(Replay::open(folder, Repeats::Refuse)?);
    let outputs = plan.project.data_dir.join("replay");
    empty(&outputs)?;
    let scratch = Scratch::at(&outputs.join(".data"))?;
    let exchanges = Exchanges::Replay(Arc::clone(&replay));
    let world = World {
        exchanges: exchanges.clone(),
        clock: Arc::new(FixedClock(replay.recorded_at_us())),
        output_root: Some(outputs),
        key_random: Some(replay.random()),
        ..live
    };
    Ok((world, Entered { plan: Arc::new(scratch.hold(plan)), exchanges, _scratch: Some(scratch) }))
}

impl Entered {
    /// Ends it: writes the recording, or says what the replay did not find. Gives what a person should know.
    ///
    /// # Errors
    /// `E0920` to `E0922` for a recording that was not written, `E0924` for a replay that asked for something else.
    pub(crate) fn leave(&self) -> Result<Vec<String>> {
        match &self.exchanges {
            Exchanges::Live => Ok(Vec::new()),
            Exchanges::Record(recorder) => {
                let written = recorder.write()?;
                let mut notes: Vec<String> = written.iter().map(|path| format!("recorded {}", path.display())).collect();
                notes
                    .push("personal values were replaced by pseudonyms; look through the files before you share them".to_owned());
                Ok(notes)
            }
            Exchanges::Replay(replay) => {
                replay.check()?;
                let unused = replay.unused();
                let mut notes = vec!["replayed: nothing was sent, and the project's data is as it was".to_owned()];
                if unused > 0 {
                    notes.push(format!("{unused} recorded exchanges were not asked for"));
                }
                Ok(notes)
            }
        }
    }

    /// # Errors
    /// `E0925` when this records on top of earlier runs: a replay begins from nothing, and so must what it replays.
    pub(crate) fn check_begins_from_nothing(&self, is_empty: bool) -> Result<()> {
        if is_empty || !matches!(self.exchanges, Exchanges::Record(_)) {
            return Ok(());
        }
        let message = "a recording begins from nothing, and this project holds data of earlier runs";
        Err(Error::configuration("E0925", message)
            .help("record in a copy of the project without its data folder, or remove the folder if its data may go"))
    }
}
