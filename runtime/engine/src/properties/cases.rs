//! Generated cases in batches that share a base. What breaks is tried alone and made smaller; the seed that it came from is told.

use std::fmt::Debug;

use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::{Config, RngSeed, TestRunner};

/// Steps by which a case that fails is made smaller.
const SMALLER_STEPS_MAX: usize = 200;

/// The case of a batch that does not hold, and why.
#[derive(Debug)]
pub(super) struct Broken {
    pub(super) case: usize,
    pub(super) why: String,
}

/// Unless the condition holds: this case is broken.
pub(super) fn holds(case: usize, condition: bool, why: impl FnOnce() -> String) -> Result<(), Broken> {
    if condition { Ok(()) } else { Err(Broken { case, why: why() }) }
}

/// How many cases: `short`, or `AFFLUENT_CASES`.
fn count(short: usize) -> usize {
    std::env::var("AFFLUENT_CASES").ok().and_then(|count| count.parse().ok()).unwrap_or(short)
}

/// Checks generated cases, `batch` of them on a base; each is looked at by itself. Fails with the smallest case found that is
/// broken alone, and with the seed: `PROPTEST_RNG_SEED` makes the same cases again.
pub(super) fn check<S: Strategy>((short, batch): (usize, usize), strategy: &S, check: impl Fn(&[S::Value]) -> Result<(), Broken>)
where
    S::Value: Debug + Clone,
{
    let mut config = Config::default();
    if config.rng_seed == RngSeed::Random {
        let nanos = std::time::UNIX_EPOCH.elapsed().map_or(0, |since| since.as_nanos());
        config.rng_seed = RngSeed::Fixed(u64::try_from(nanos & u128::from(u64::MAX)).unwrap_or_default());
    }
    let seed = config.rng_seed;
    let mut runner = TestRunner::new(config);
    let mut left = count(short);
    while left > 0 {
        let size = left.min(batch);
        let mut trees: Vec<S::Tree> = (0..size).map(|_| strategy.new_tree(&mut runner).unwrap()).collect();
        let cases: Vec<S::Value> = trees.iter().map(ValueTree::current).collect();
        if let Err(Broken { case, why }) = check(&cases) {
            let found = smallest(&mut trees[case], &check);
            let found = found.map_or_else(
                || format!("not alone; among {size}: {:?}\n{why}", cases[case]),
                |(case, why)| format!("{case:?}\n{why}"),
            );
            panic!("PROPTEST_RNG_SEED={seed}: {found}");
        }
        left -= size;
    }
}

/// The smallest case found that is broken alone, and why; `None` where it is broken only among others.
fn smallest<T: ValueTree>(tree: &mut T, check: &impl Fn(&[T::Value]) -> Result<(), Broken>) -> Option<(T::Value, String)>
where
    T::Value: Clone,
{
    let broken = |tree: &T| check(&[tree.current()]).err().map(|broken| (tree.current(), broken.why));
    let mut found = broken(tree)?;
    let mut can_go_on = tree.simplify();
    for _ in 0..SMALLER_STEPS_MAX {
        if !can_go_on {
            break;
        }
        can_go_on = match broken(tree) {
            Some(smaller) => {
                found = smaller;
                tree.simplify()
            }
            None => tree.complicate(),
        };
    }
    Some(found)
}
