//! The outbox, rule by rule.

use affluent_ledger::*;
use affluent_model::batch::RowOperation::{Delete, Upsert};
use affluent_model::identity::ProfileId;

use crate::harness::*;

fn story() -> (Store, Lease) {
    let store = Store::new();
    let lease = store.begin(PIPELINE);
    (store, lease)
}

fn retry(at_us: i64) -> RowResult {
    RowResult::Retry { at_us }
}

fn failed(code: &str) -> RowResult {
    RowResult::Failed { dead_letter: NewDeadLetter { stage: Stage::Deliver, code: code.to_owned(), ..letter("batch 1") } }
}

fn hashes(store: &Store) -> Vec<(u128, Option<u8>)> {
    store.image_rows().into_iter().map(|row| (row.key.0, row.hash.map(|hash| hash[0]))).collect()
}

#[test]
fn an_accepted_row_is_in_the_image_with_its_remote_id() {
    let (mut store, lease) = story();
    store.plan(&lease, &[upsert(1, 7)]);
    let batch = store.take(&lease, Upsert, 10).unwrap();
    store.settle(&lease, &batch, &RowResult::Accepted { remote_id: Some("r1".to_owned()) });

    store.reopen();

    let (remote_id, match_sealed) = (Some("r1".to_owned()), vec![7, 7]);
    let expected = ImageRow { key: ProfileId(1), hash: Some([7; 16]), version: 1, remote_id, match_sealed };
    assert_eq!(store.image_rows(), [expected]);
    assert_eq!(store.outbox_counts(PIPELINE).unwrap(), OutboxCounts { image: 1, ..Default::default() });
}

#[test]
fn a_later_row_keeps_the_remote_id_and_grows_the_version() {
    let (store, lease) = story();
    for (hash, remote_id) in [(7, Some("r1".to_owned())), (8, None)] {
        store.plan(&lease, &[upsert(1, hash)]);
        let batch = store.take(&lease, Upsert, 10).unwrap();
        store.settle(&lease, &batch, &RowResult::Accepted { remote_id });
    }

    let row = store.image_rows().remove(0);

    assert_eq!((row.version, row.hash, row.remote_id.as_deref()), (2, Some([8; 16]), Some("r1")));
}

#[test]
fn versions_go_on_after_a_removal() {
    let (store, lease) = story();
    let mut versions = Vec::new();
    for row in [upsert(1, 7), removal(1), upsert(1, 7)] {
        store.plan(&lease, std::slice::from_ref(&row));
        let batch = store.take(&lease, row.operation, 10).unwrap();
        versions.push(batch.rows[0].version);
        store.settle(&lease, &batch, &accepted());
    }

    assert_eq!(versions, [1, 2, 3]);
    assert_eq!(hashes(&store), [(1, Some(7))]);
}

#[test]
fn batches_keep_to_their_limits_and_their_order() {
    let (store, lease) = story();
    let rows: Vec<NewOutboxRow> = (1..=7).map(|key| upsert(key, 1)).collect();
    store.plan(&lease, &rows);

    let limited = |rows_max, bytes_max| {
        let take = TakeBatch { operation: Upsert, rows_max, bytes_max, now_us: 0 };
        store.take_batch(&lease, &take).unwrap().map(|batch| keys_of(&batch))
    };

    assert_eq!(limited(3, 1_000), Some(vec![1, 2, 3]));
    assert_eq!(limited(9, 24), Some(vec![4, 5]), "a row has 12 bytes");
    assert_eq!(limited(9, 1), Some(vec![6]), "a row that is too large goes alone");
    assert_eq!(limited(9, 1_000), Some(vec![7]));
    assert_eq!(limited(9, 1_000), None);
}

#[test]
fn upserts_and_removals_are_never_mixed() {
    let (store, lease) = story();
    store.plan(&lease, &[upsert(1, 1), removal(2), upsert(3, 1), removal(4)]);

    let removals = store.take(&lease, Delete, 10).unwrap();
    let upserts = store.take(&lease, Upsert, 10).unwrap();

    assert_eq!((keys_of(&removals), keys_of(&upserts)), (vec![2, 4], vec![1, 3]));
}

#[test]
fn a_batch_in_flight_survives_with_its_rows_order_and_token() {
    let (mut store, lease) = story();
    store.plan(&lease, &[upsert(5, 1), upsert(3, 2), upsert(4, 3)]);
    let taken = store.take(&lease, Upsert, 3).unwrap();
    store.set_token(&lease, taken.batch, "import-9").unwrap();
    assert_eq!(store.mark_resent(&lease, taken.batch).unwrap(), 2);

    store.reopen();

    assert_eq!(keys_of(&taken), [5, 3, 4]);
    let expected = OutboxBatch { token: Some("import-9".to_owned()), attempts: 2, ..taken };
    assert_eq!(store.in_flight(PIPELINE).unwrap(), [expected]);
    assert_eq!(store.outbox_counts(PIPELINE).unwrap().in_flight, 3);
}

#[test]
fn a_plan_is_invisible_until_it_is_committed() {
    let (store, lease) = story();
    let abandoned = store.begin_plan(&lease, 10).unwrap();
    store.add_plan_rows(&lease, &abandoned, &[upsert(1, 1)]).unwrap();
    assert_eq!(store.take(&lease, Upsert, 10), None);

    assert_eq!(store.plan(&lease, &[upsert(2, 1)]), 1);

    assert_eq!(store.commit_plan(&lease, abandoned).unwrap_err().code, "E0001");
    assert_eq!(keys_of(&store.take(&lease, Upsert, 10).unwrap()), [2]);
}

#[test]
fn a_newer_plan_replaces_what_is_pending() {
    let (store, lease) = story();
    store.plan(&lease, &[upsert(1, 1), upsert(2, 1), upsert(3, 1), upsert(4, 1)]);

    let pending = store.plan(&lease, &[upsert(1, 1), upsert(2, 9), removal(3)]);

    assert_eq!(pending, 3);
    let batch = store.take(&lease, Upsert, 10).unwrap();
    let rows: Vec<_> = batch.rows.iter().map(|row| (row.key.0, row.payload_hash[0], row.version)).collect();
    assert_eq!(rows, [(1, 1, 1), (2, 9, 2)], "the same state keeps its version");
    assert_eq!(keys_of(&store.take(&lease, Delete, 10).unwrap()), [3]);
}

#[test]
fn a_newer_state_waits_while_an_older_one_is_in_flight() {
    let (store, lease) = story();
    store.plan(&lease, &[upsert(1, 1), upsert(2, 1)]);
    let first = store.take(&lease, Upsert, 10).unwrap();

    assert_eq!(store.plan(&lease, &[upsert(1, 2), upsert(2, 1)]), 1, "key 2 is under way as it is");
    assert_eq!(store.take(&lease, Upsert, 10), None);
    store.settle(&lease, &first, &accepted());

    let second = store.take(&lease, Upsert, 10).unwrap();
    assert_eq!((keys_of(&second), second.rows[0].payload_hash), (vec![1], [2; 16]));
}

#[test]
fn an_older_state_that_must_be_sent_again_gives_way_to_the_newer() {
    let (store, lease) = story();
    store.plan(&lease, &[upsert(1, 1)]);
    let first = store.take(&lease, Upsert, 10).unwrap();
    store.plan(&lease, &[removal(1)]);

    store.settle(&lease, &first, &retry(0));

    assert_eq!(store.take(&lease, Upsert, 10), None);
    assert_eq!(keys_of(&store.take(&lease, Delete, 10).unwrap()), [1]);
}

#[test]
fn a_row_to_be_tried_again_waits_for_its_time_and_counts_the_attempt() {
    let (store, lease) = story();
    store.plan(&lease, &[upsert(1, 1)]);
    let first = store.take(&lease, Upsert, 10).unwrap();
    store.settle(&lease, &first, &retry(5_000));

    assert_eq!(store.take(&lease, Upsert, 10), None, "it is 1,000");
    assert_eq!(store.next_retry_at(PIPELINE).unwrap(), Some(5_000));
    store.plan(&lease, &[upsert(1, 1)]);
    assert_eq!(store.take(&lease, Upsert, 10), None, "a plan of the same state changes nothing");
    let take = TakeBatch { operation: Upsert, rows_max: 9, bytes_max: 999, now_us: 5_000 };
    let second = store.take_batch(&lease, &take).unwrap().unwrap();
    assert_eq!((second.rows[0].attempts, second.rows[0].version), (1, 1));
}

#[test]
fn a_key_sent_with_unknown_fate_is_in_doubt_until_a_row_of_it_is_accepted() {
    let (store, lease) = story();
    store.plan(&lease, &[upsert(1, 1), upsert(2, 1)]);
    let first = store.take(&lease, Upsert, 1).unwrap();
    assert_eq!(hashes(&store), [(1, None)], "in flight");
    store.settle(&lease, &first, &retry(0));
    assert_eq!(hashes(&store), [(1, None)], "to be tried again");

    store.plan(&lease, &[removal(1)]);
    let removals = store.take(&lease, Delete, 10).unwrap();
    store.settle(&lease, &removals, &accepted());

    assert_eq!(hashes(&store), []);
}

#[test]
fn a_newer_state_in_flight_puts_the_accepted_one_in_doubt() {
    let (store, lease) = story();
    store.plan(&lease, &[upsert(1, 1)]);
    let first = store.take(&lease, Upsert, 1).unwrap();
    store.settle(&lease, &first, &accepted());
    assert_eq!(hashes(&store), [(1, Some(1))]);

    store.plan(&lease, &[upsert(1, 2)]);
    store.take(&lease, Upsert, 1).unwrap();

    assert_eq!(hashes(&store), [(1, None)]);
}

#[test]
fn a_refusal_of_a_batch_that_was_sent_twice_leaves_doubt() {
    let (store, lease) = story();
    store.plan(&lease, &[upsert(1, 1)]);
    let batch = store.take(&lease, Upsert, 1).unwrap();
    store.mark_resent(&lease, batch.batch).unwrap();

    store.settle(&lease, &batch, &failed("x"));

    assert_eq!(hashes(&store), [(1, None)]);
}

#[test]
fn a_released_batch_is_in_doubt_only_when_it_was_sent() {
    for (was_sent, attempts, doubt) in [(false, 0, vec![]), (true, 1, vec![(1, None)])] {
        let (store, lease) = story();
        store.plan(&lease, &[upsert(1, 1)]);
        let first = store.take(&lease, Upsert, 10).unwrap();

        store.release_batch(&lease, first.batch, &BatchRelease { retry_at_us: 900, was_sent }).unwrap();

        assert_eq!(hashes(&store), doubt);
        assert_eq!(store.in_flight(PIPELINE).unwrap(), []);
        assert_eq!(store.take(&lease, Upsert, 10).unwrap().rows[0].attempts, attempts);
    }
}

#[test]
fn rows_without_an_outcome_stay_in_flight() {
    let (store, lease) = story();
    store.plan(&lease, &[upsert(1, 1), upsert(2, 1), upsert(3, 1)]);
    let batch = store.take(&lease, Upsert, 10).unwrap();

    let outcome = RowOutcome { key: ProfileId(2), result: accepted() };
    store.acknowledge(&lease, batch.batch, &[outcome], 5).unwrap();

    let left = store.in_flight(PIPELINE).unwrap().remove(0);
    assert_eq!((left.batch, keys_of(&left)), (batch.batch, vec![1, 3]));
    store.settle(&lease, &left, &accepted());
    assert_eq!(store.in_flight(PIPELINE).unwrap(), []);
}

#[test]
fn a_refused_row_is_remembered_and_a_failed_one_is_a_dead_letter() {
    let (store, lease) = story();
    store.plan(&lease, &[upsert(1, 1), NewOutboxRow { attempts_before: 2, ..upsert(2, 1) }]);
    let batch = store.take(&lease, Upsert, 10).unwrap();
    let skipped = RowResult::Skipped { code: "suppressed".to_owned(), message: "is suppressed".to_owned() };
    let outcomes = [(1, skipped), (2, failed("invalid_email"))];
    let outcomes = outcomes.map(|(key, result)| RowOutcome { key: ProfileId(key), result });

    store.acknowledge(&lease, batch.batch, &outcomes, 5).unwrap();

    let refusals: Vec<_> = store.refusal_rows().into_iter().map(|row| (row.key.0, row.is_skip, row.attempts, row.code)).collect();
    assert_eq!(refusals, [(1, true, 1, "suppressed".to_owned()), (2, false, 3, "invalid_email".to_owned())]);
    assert_eq!(store.dead_letter_counts().unwrap()[0].count, 1);
    assert_eq!(hashes(&store), []);
    assert_eq!(store.outbox_counts(PIPELINE).unwrap(), OutboxCounts { refused: 2, ..Default::default() });
}

#[test]
fn a_refusal_is_forgotten_when_the_key_is_accepted_or_on_demand() {
    let (store, lease) = story();
    store.plan(&lease, &[upsert(1, 1), upsert(2, 1)]);
    let batch = store.take(&lease, Upsert, 10).unwrap();
    store.settle(&lease, &batch, &failed("x"));
    store.plan(&lease, &[upsert(1, 2)]);
    let batch = store.take(&lease, Upsert, 10).unwrap();
    store.settle(&lease, &batch, &accepted());

    let left: Vec<u128> = store.refusal_rows().into_iter().map(|row| row.key.0).collect();

    assert_eq!(left, [2]);
    assert_eq!(store.forget_refusals(PIPELINE).unwrap(), 1);
    assert_eq!(store.refusal_rows(), []);
}

#[test]
fn outcomes_of_a_batch_or_key_that_is_not_in_flight_change_nothing() {
    let (store, lease) = story();
    store.plan(&lease, &[upsert(1, 1), upsert(2, 1)]);
    let batch = store.take(&lease, Upsert, 1).unwrap();
    let outcome = |key| RowOutcome { key: ProfileId(key), result: failed("x") };

    assert_eq!(store.acknowledge(&lease, batch.batch, &[outcome(1), outcome(2)], 5).unwrap_err().code, "E0001");
    assert_eq!(store.acknowledge(&lease, batch.batch + 1, &[outcome(1)], 5).unwrap_err().code, "E0001");
    let stranger = store.begin("stranger");
    assert_eq!(store.acknowledge(&stranger, batch.batch, &[outcome(1)], 5).unwrap_err().code, "E0001");

    assert_eq!(store.in_flight(PIPELINE).unwrap(), [batch]);
    assert_eq!(store.dead_letter_counts().unwrap(), []);
}

#[test]
fn a_zombie_cannot_settle_what_it_took() {
    let store = Store::new();
    let zombie = store.begin(PIPELINE);
    store.plan(&zombie, &[upsert(1, 1)]);
    let batch = store.take(&zombie, Upsert, 1).unwrap();
    let next = store.begin_run(&RunStart { replaces_fence: Some(1), ..start(PIPELINE, 1) }).unwrap();

    let outcome = RowOutcome { key: ProfileId(1), result: accepted() };
    assert_eq!(store.acknowledge(&zombie, batch.batch, &[outcome], 5).unwrap_err().code, "E0706");
    assert_eq!(store.set_token(&zombie, batch.batch, "t").unwrap_err().code, "E0706");

    store.settle(&next, &batch, &accepted());
    assert_eq!(hashes(&store), [(1, Some(1))]);
}

#[test]
fn a_reset_forgets_a_sync_and_no_other() {
    let (store, lease) = story();
    let other = store.begin("other");
    for lease in [&lease, &other] {
        store.plan(lease, &[upsert(1, 1), upsert(2, 1)]);
        let batch = store.take(lease, Upsert, 1).unwrap();
        store.settle(lease, &batch, &accepted());
    }

    store.reset_sync(&lease).unwrap();

    assert_eq!(store.outbox_counts(PIPELINE).unwrap(), OutboxCounts::default());
    assert_eq!(store.outbox_counts("other").unwrap(), OutboxCounts { pending: 1, image: 1, ..Default::default() });
}

#[test]
fn a_reset_waits_for_batches_in_flight() {
    let (store, lease) = story();
    store.plan(&lease, &[upsert(1, 1)]);
    store.take(&lease, Upsert, 1).unwrap();

    assert_eq!(store.reset_sync(&lease).unwrap_err().code, "E0001");
}

#[test]
fn held_rows_change_places_with_their_remote_ids() {
    let (store, lease) = story();
    store.plan(&lease, &[upsert(1, 7), upsert(2, 8), upsert(3, 9)]);
    let batch = store.take(&lease, Upsert, 10).unwrap();
    let accepted =
        |row: &OutboxRow| RowOutcome { key: row.key, result: RowResult::Accepted { remote_id: Some(format!("r{}", row.key.0)) } };
    store.acknowledge(&lease, batch.batch, &batch.rows.iter().map(accepted).collect::<Vec<_>>(), 2).unwrap();
    let moves = [(1, 2), (2, 1), (3, 4)].map(|(from, to)| ImageMove {
        from: profile(from),
        to: profile(to),
        match_sealed: vec![to as u8],
        former_of: None,
    });

    store.move_images(&lease, &moves).unwrap();

    let held: Vec<(u128, Option<String>, Vec<u8>)> =
        store.image_rows().into_iter().map(|row| (row.key.0, row.remote_id, row.match_sealed)).collect();
    let row = |key: u128, remote: &str| (key, Some(remote.to_owned()), vec![key as u8]);
    assert_eq!(held, [row(1, "r2"), row(2, "r1"), row(4, "r3")]);
    assert_eq!(hashes(&store), [(1, Some(8)), (2, Some(7)), (4, Some(9))]);
}

#[test]
fn a_former_row_follows_its_profile_until_it_is_removed() {
    let (store, lease) = story();
    store.plan(&lease, &[upsert(1, 7)]);
    let batch = store.take(&lease, Upsert, 10).unwrap();
    store.settle(&lease, &batch, &accepted());
    let former = ProfileId::of_former_row([9; 16]);
    let (from, match_sealed) = (profile(1), vec![9]);
    store.move_images(&lease, &[ImageMove { from, to: former, match_sealed, former_of: Some(from) }]).unwrap();
    assert_eq!(store.absorbed_images(PIPELINE).unwrap(), [(former, profile(1))]);

    let aliases = vec![(profile(1), profile(4))];
    store.commit_resolution(&lease, &ResolutionCommit { aliases, ..Default::default() }).unwrap();
    assert_eq!(store.absorbed_images(PIPELINE).unwrap(), [(former, profile(4))]);

    store.plan(&lease, &[NewOutboxRow { key: former, ..removal(1) }]);
    let batch = store.take(&lease, Delete, 10).unwrap();
    store.settle(&lease, &batch, &accepted());
    assert_eq!((store.image_rows(), store.absorbed_images(PIPELINE).unwrap()), (vec![], vec![]));
    assert_eq!(store.resolve_alias(former).unwrap(), former);
}

#[test]
fn rows_of_profiles_that_were_merged_away_are_known() {
    let (store, lease) = story();
    store.plan(&lease, &[upsert(4, 7), upsert(5, 8)]);
    let batch = store.take(&lease, Upsert, 10).unwrap();
    store.settle(&lease, &batch, &accepted());
    let aliases = vec![(profile(5), profile(4)), (profile(6), profile(4))];
    store.commit_resolution(&lease, &ResolutionCommit { aliases, ..Default::default() }).unwrap();

    assert_eq!(store.absorbed_images(PIPELINE).unwrap(), [(profile(5), profile(4))]);
    assert_eq!(store.absorbed_images("another").unwrap(), []);
}
