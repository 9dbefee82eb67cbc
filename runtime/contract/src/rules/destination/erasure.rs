//! A destination that says it erases is asked to, as the engine asks: with deletions that hold what people are matched by.
//! Only made-up people are named, who were written a moment before, and one who never was.

use affluent_model::batch::RowOperation;
use affluent_model::connector::DestinationRequest;
use affluent_model::manifest::{ERASE_MODE, VERIFY_ERASURE_MODE};
use affluent_model::schema::Field;
use arrow::array::RecordBatch;

use super::super::ids;
use super::{PLACE, Target, once, upsert};
use crate::bench::Bench;
use crate::reading::told;
use crate::report::Findings;
use crate::rows;
use crate::samples;
use crate::writing::{Fate, Sending, Written};

const FIRST_PERSON: usize = 9_000;
const STRANGER: usize = 9_500;

pub(super) async fn check(bench: &Bench, target: &Target, findings: &mut Findings) {
    if !target.erases {
        return findings.skip_all(&ids("erase."), "the object does not say that it erases");
    }
    let fields: Vec<Field> =
        target.fields.iter().filter(|field| target.request.match_fields.contains(&field.name)).cloned().collect();
    if fields.is_empty() {
        return findings.skip_all(&ids("erase."), "what people are matched by is no field");
    }
    let people = target.many(FIRST_PERSON, 2);
    let stranger = target.many(STRANGER, 1);
    let all = [people.as_slice(), &stranger].concat();
    let batches = samples::batch(&target.fields, &people)
        .and_then(|written| Ok((written, samples::batch(&fields, &all)?, samples::batch(&fields, &stranger)?)));
    let (written, asked, stranger) = match batches {
        Ok(batches) => batches,
        Err(reason) => return findings.skip_all(&ids("erase."), &reason),
    };
    bench.heard(|heard| heard.personal.extend(rows::personal(&written, &target.fields)));
    if let Err(failure) = once(bench, target, upsert("to-be-erased", written)).await {
        return findings.skip_all(&ids("erase."), &format!("nobody can be written: {}", told(&failure)));
    }
    for key in ["erase", "erase-again"] {
        findings.judge("erase.accepts", ask(bench, target, (ERASE_MODE, key), &fields, asked.clone()).await);
    }
    if !target.verifies {
        return findings.skip("erase.verifies", "the object does not say that it can be looked up who was erased");
    }
    findings.judge("erase.verifies", ask(bench, target, (VERIFY_ERASURE_MODE, "verify"), &fields, stranger).await);
}

/// Why not all of these people are taken; `None` when they are.
async fn ask(bench: &Bench, target: &Target, (mode, key): (&str, &str), fields: &[Field], people: RecordBatch) -> Option<String> {
    let request = DestinationRequest { mode: mode.to_owned(), list: None, fields: fields.to_vec(), ..target.request.clone() };
    let asking = Target { request, fields: fields.to_vec(), rows: Vec::new(), ..*target };
    let sending = Sending { place: PLACE, key: key.to_owned(), operation: RowOperation::Delete, records: people };
    match once(bench, &asking, sending).await {
        Ok(Written { fates, .. }) => {
            let refused = fates.iter().filter(|fate| **fate != Fate::Accepted).count();
            (refused > 0).then(|| format!("{key}: {refused} of {} people are not accepted", fates.len()))
        }
        Err(failure) => Some(format!("{key}: {}", told(&failure))),
    }
}
