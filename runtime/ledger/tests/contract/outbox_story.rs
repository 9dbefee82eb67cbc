//! Any story of plans, crashes, losses and refusals: what the image is sure of is what the destination holds, nothing that
//! the destination holds is unknown to the image, and once all goes well the destination holds what is desired.

use std::collections::{BTreeMap, BTreeSet};

use affluent_ledger::*;
use affluent_model::batch::RowOperation;
use proptest::prelude::*;

use crate::harness::*;

/// What a destination does with a row, and what we hear of it.
#[derive(Debug, Clone, Copy)]
enum Fate {
    AppliedAndHeard,
    AppliedAndLost,
    LostOnTheWay,
    Refused,
    /// Released before it was sent.
    NotSent,
}

#[derive(Debug, Clone)]
enum Step {
    /// Key → hash that is desired from now on; 0 = not desired.
    Desire(u8, u8),
    Plan,
    Take {
        removals: bool,
        rows_max: usize,
    },
    /// The oldest batch in flight reaches the destination, and no answer comes back.
    Reach,
    /// Settles the oldest batch in flight, row by row.
    Settle(Vec<Fate>),
    Crash,
}

fn any_fate() -> impl Strategy<Value = Fate> {
    prop_oneof![
        4 => Just(Fate::AppliedAndHeard),
        1 => Just(Fate::AppliedAndLost),
        1 => Just(Fate::LostOnTheWay),
        1 => Just(Fate::Refused),
        1 => Just(Fate::NotSent),
    ]
}

fn any_step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0u8..5, 0u8..4).prop_map(|(key, hash)| Step::Desire(key, hash)),
        3 => Just(Step::Plan),
        4 => (any::<bool>(), 1usize..4).prop_map(|(removals, rows_max)| Step::Take { removals, rows_max }),
        1 => Just(Step::Reach),
        3 => proptest::collection::vec(any_fate(), 4).prop_map(Step::Settle),
        1 => Just(Step::Crash),
    ]
}

struct Story {
    store: Store,
    lease: Lease,
    desired: BTreeMap<u8, u8>,
    /// What the destination really holds.
    remote: BTreeMap<u8, u8>,
    /// Batches that were handed over without an answer.
    unheard: BTreeSet<i64>,
}

impl Story {
    fn new() -> Self {
        let store = Store::new();
        let lease = store.begin(PIPELINE);
        Self { store, lease, desired: BTreeMap::new(), remote: BTreeMap::new(), unheard: BTreeSet::new() }
    }

    fn tell(&mut self, step: &Step) {
        match step {
            Step::Desire(key, 0) => {
                self.desired.remove(key);
            }
            Step::Desire(key, hash) => {
                self.desired.insert(*key, *hash);
            }
            Step::Plan => self.plan(),
            Step::Take { removals, rows_max } => {
                let operation = if *removals { RowOperation::Delete } else { RowOperation::Upsert };
                self.store.take(&self.lease, operation, *rows_max);
            }
            Step::Reach => self.reach(),
            Step::Settle(fates) => self.settle(fates),
            Step::Crash => self.store.reopen(),
        }
    }

    /// The difference between what is desired and the image, as the engine makes it.
    fn plan(&mut self) {
        let image: BTreeMap<u8, Option<u8>> =
            self.store.image_rows().into_iter().map(|row| (row.key.0 as u8, row.hash.map(|hash| hash[0]))).collect();
        let upserts = self.desired.iter().filter(|(key, hash)| image.get(*key) != Some(&Some(**hash)));
        let mut rows: Vec<NewOutboxRow> = upserts.map(|(key, hash)| upsert(u128::from(*key), *hash)).collect();
        rows.extend(image.keys().filter(|key| !self.desired.contains_key(*key)).map(|key| removal(u128::from(*key))));
        self.store.plan(&self.lease, &rows);
    }

    fn oldest_in_flight(&self) -> Option<OutboxBatch> {
        self.store.in_flight(PIPELINE).unwrap().into_iter().next()
    }

    fn reach(&mut self) {
        let Some(batch) = self.oldest_in_flight() else {
            return;
        };
        if self.unheard.contains(&batch.batch) {
            self.store.mark_resent(&self.lease, batch.batch).unwrap();
        }
        self.unheard.insert(batch.batch);
        for row in &batch.rows {
            self.apply(row);
        }
    }

    fn apply(&mut self, row: &OutboxRow) {
        match row.operation {
            RowOperation::Upsert => self.remote.insert(row.key.0 as u8, row.payload_hash[0]),
            RowOperation::Delete => self.remote.remove(&(row.key.0 as u8)),
        };
    }

    fn settle(&mut self, fates: &[Fate]) {
        let Some(batch) = self.oldest_in_flight() else {
            return;
        };
        if self.unheard.contains(&batch.batch) {
            self.store.mark_resent(&self.lease, batch.batch).unwrap();
        }
        if let Some(Fate::NotSent) = fates.first() {
            let release = BatchRelease { retry_at_us: 0, was_sent: false };
            return self.store.release_batch(&self.lease, batch.batch, &release).unwrap();
        }
        let outcomes: Vec<RowOutcome> = batch.rows.iter().zip(fates).filter_map(|(row, fate)| self.meet(row, *fate)).collect();
        self.store.acknowledge(&self.lease, batch.batch, &outcomes, 5).unwrap();
    }

    /// `None` = no answer: the row stays in flight.
    fn meet(&mut self, row: &OutboxRow, fate: Fate) -> Option<RowOutcome> {
        if matches!(fate, Fate::AppliedAndHeard | Fate::AppliedAndLost) {
            self.apply(row);
        }
        let result = match fate {
            Fate::AppliedAndHeard => accepted(),
            Fate::AppliedAndLost | Fate::LostOnTheWay => RowResult::Retry { at_us: 0 },
            Fate::Refused => RowResult::Skipped { code: "no".to_owned(), message: "refused".to_owned() },
            Fate::NotSent => return None,
        };
        Some(RowOutcome { key: row.key, result })
    }

    /// Runs until nothing is left, with a destination that takes all.
    fn finish(&mut self) {
        for _ in 0..3 {
            while !self.store.in_flight(PIPELINE).unwrap().is_empty() {
                self.settle(&[Fate::AppliedAndHeard; 8]);
            }
            self.plan();
            for operation in [RowOperation::Delete, RowOperation::Upsert] {
                while self.store.take(&self.lease, operation, 4).is_some() {
                    self.settle(&[Fate::AppliedAndHeard; 8]);
                }
            }
        }
    }

    fn check(&self) -> Result<(), TestCaseError> {
        let image: BTreeMap<u8, Option<u8>> =
            self.store.image_rows().into_iter().map(|row| (row.key.0 as u8, row.hash.map(|hash| hash[0]))).collect();
        for (key, hash) in &image {
            if let Some(hash) = hash {
                prop_assert_eq!(self.remote.get(key), Some(hash), "the image is sure of key {}", key);
            }
        }
        prop_assert!(self.remote.keys().all(|key| image.contains_key(key)), "{:?} is in {:?}", self.remote, image);
        let mut sent: Vec<u128> = self.store.in_flight(PIPELINE).unwrap().iter().flat_map(keys_of).collect();
        let in_flight = sent.len();
        sent.sort_unstable();
        sent.dedup();
        prop_assert_eq!(sent.len(), in_flight, "a key is in flight once");
        Ok(())
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(80))]

    #[test]
    fn the_image_tells_the_truth_and_the_destination_ends_as_desired(steps in proptest::collection::vec(any_step(), 1..40)) {
        let mut story = Story::new();
        for step in &steps {
            story.tell(step);
            story.check()?;
        }

        story.finish();

        story.check()?;
        prop_assert_eq!(&story.remote, &story.desired);
        prop_assert_eq!(story.store.outbox_counts(PIPELINE).unwrap().pending, 0);
    }
}
