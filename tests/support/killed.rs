//! Processes that are killed somewhere on their way.

use std::process::Stdio;
use std::time::{Duration, Instant};

use libtest_mimic::Failed;

use super::{Project, same};

/// A process has begun by then.
const SOONEST: Duration = Duration::from_millis(20);
pub(crate) const ERASE: [&str; 5] = ["profile", "erase", "email:bo@x.test", "--yes", "--quiet"];
pub(crate) const RESUME: [&str; 4] = ["profile", "erase", "--resume", "--quiet"];

/// Runs the binary and kills it after this long; true when it had ended by itself.
pub(crate) fn killed(project: &Project, arguments: &[&str], after: Duration) -> Result<bool, Failed> {
    let mut child = project.command(arguments).stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
    std::thread::sleep(after.max(SOONEST));
    let had_ended = child.try_wait()?.is_some();
    child.kill()?;
    child.wait()?;
    Ok(had_ended)
}

/// Erases Bo in twins of a project and kills the process at points spread over the whole job, `AFFLUENT_KILLS` of them;
/// whatever goes on with it, in turn one of `going_on`, ends in the `state` of an erasure that was never killed. `prepare` is
/// called before each.
pub(crate) fn killed_while_erasing<T: PartialEq + std::fmt::Debug>(
    fresh: &Project,
    kills: u32,
    going_on: &[&[&str]],
    prepare: impl Fn(),
    state: impl Fn(&Project) -> Result<T, Failed>,
) -> Result<(), Failed> {
    let kills: u32 = std::env::var("AFFLUENT_KILLS").ok().and_then(|count| count.parse().ok()).unwrap_or(kills);
    let calm = fresh.twin();
    prepare();
    let started = Instant::now();
    calm.affluent(&ERASE).expect(0)?;
    let whole = started.elapsed();
    let expected = state(&calm)?;
    for (kill, going_on) in (1..=kills).zip(going_on.iter().cycle()) {
        let project = fresh.twin();
        prepare();
        killed(&project, &ERASE, whole.mul_f64(f64::from(kill) / f64::from(kills + 1)))?;
        let (ended, erasures) = project.json(&["profile", "erasures"]);
        ended.expect(0)?;
        if erasures.as_array().is_some_and(Vec::is_empty) {
            // Nothing was written down: the person is whole.
            project.affluent(&["profile", "show", "email:bo@x.test"]).expect(0)?;
            project.affluent(&ERASE).expect(0)?;
        } else {
            project.affluent(going_on).expect(0)?;
        }
        same(&format!("after kill {kill} of {kills}"), &state(&project)?, &expected)?;
    }
    Ok(())
}
