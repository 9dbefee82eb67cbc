use affluent_model::batch::Batch;
use affluent_model::connector::{FailureKind, Transform, TransformRequest};
use arrow::array::{ArrayRef, StringArray};
use arrow::record_batch::RecordBatch;

use super::*;

/// The batch with `poison` as the name of row 4.
async fn poisoned(host: &Host) -> OutgoingBatch {
    let batch = batch(host).await;
    let mut columns: Vec<ArrayRef> = batch.records.columns().to_vec();
    columns[1] = Arc::new((0..10).map(|row| Some(if row == 4 { "poison" } else { "good" })).collect::<StringArray>());
    let records = RecordBatch::try_new(batch.records.schema(), columns).unwrap();
    OutgoingBatch { records, ..batch }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_good_report_counts_every_row() {
    let (host, _) = host();

    let Outcome::Done(report) = write(&host, hostile(json!({}))).await.unwrap() else { panic!() };

    assert_eq!((report.accepted, report.failed.len()), (10, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn reports_that_lie_are_refused() {
    let (host, _) = host();
    for behaviour in ["forged_row", "row_twice", "counts_short", "counts_over", "many_errors", "forged_remote_ids", "huge_token"]
    {
        let failure = write(&host, behaving(behaviour)).await.err().unwrap();
        assert!(["E0521", "E0516", "E0512"].contains(&failure.error.code), "{behaviour}: {failure}");
        assert_eq!(failure.kind, FailureKind::Trap, "{behaviour}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn long_texts_of_a_report_are_cut() {
    let (host, _) = host();

    let Outcome::Done(report) = write(&host, behaving("huge_report_text")).await.unwrap() else { panic!() };

    let error = &report.failed[0];
    assert!(error.message.len() <= 4 << 10 && error.code.len() <= 64 && error.field.as_ref().unwrap().len() <= 128);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pending_batch_can_be_asked_after() {
    let (host, _) = host();
    let mut destination = open_destination(&host, behaving("pending_forever")).await.unwrap();

    let outcome = destination.poll("token", &batch(&host).await).await.unwrap();

    assert_eq!(outcome, Outcome::Pending { token: "token".to_owned(), after_ms: 0 });
}

#[tokio::test(flavor = "multi_thread")]
async fn poison_is_seen_as_what_it_is() {
    let (host, _) = host();
    for (behaviour, kind, code) in
        [("panic_on_poison", FailureKind::Trap, "E0510"), ("invalid_data_on_poison", FailureKind::InvalidData, "E0406")]
    {
        let batch = poisoned(&host).await;
        let failure = open_destination(&host, behaving(behaviour)).await.unwrap().write(batch).await.err().unwrap();
        assert_eq!((failure.kind, failure.error.code), (kind, code), "{behaviour}");
    }
    let batch = poisoned(&host).await;
    let Outcome::Done(report) = open_destination(&host, behaving("fail_poison")).await.unwrap().write(batch).await.unwrap()
    else {
        panic!()
    };
    assert_eq!(report.failed.iter().map(|error| error.row).collect::<Vec<_>>(), [4]);
}

async fn open_transform(host: &Host, behaviour: &str) -> Box<dyn Transform> {
    let stream = stream(host).await;
    let (pipeline, plugin, config) = ("pipe".to_owned(), "hostile".to_owned(), json!({"behaviour": behaviour}));
    host.open_transform(TransformRequest { pipeline, plugin, config, stream }).await.unwrap()
}

async fn transform(host: &Host, behaviour: &str) -> Result<(Batch, Vec<affluent_model::batch::Rejected>), Failure> {
    let OutgoingBatch { records, operation, .. } = poisoned(host).await;
    open_transform(host, behaviour).await.apply(Batch { stream: "items".to_owned(), operation, records }).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transform_gives_its_rows_and_those_it_rejects() {
    let (host, _) = host();

    let (batch, rejected) = transform(&host, "fail_poison").await.unwrap();

    assert_eq!(batch.records.num_rows(), 10);
    assert_eq!(rejected[0].place, "row 4 of the batch");
    assert!(rejected[0].raw.as_ref().is_some_and(|raw| raw.starts_with(b"{\"id\":4,\"name\":\"poison\"")));
    assert!(open_transform(&host, "well_behaved").await.finish().await.unwrap().is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transform_has_no_network_no_files_and_no_way_to_lie() {
    let (host, _) = host();
    for (behaviour, code) in [
        ("http_get", "E0409"),
        ("file_not_granted", "E0403"),
        ("output_not_granted", "E0409"),
        ("panic", "E0510"),
        ("offsets_beyond_data", "E0520"),
        ("wrong_row_count", "E0520"),
        ("garbage_ndjson", "E0520"),
        ("forged_row", "E0520"),
    ] {
        let failure = transform(&host, behaviour).await.err().unwrap();
        assert_eq!(failure.error.code, code, "{behaviour}: {failure}");
    }
}
