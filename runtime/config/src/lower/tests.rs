//! `tests` of a pipeline → [`PipelineTest`]. Names of streams, fields and profiles' parts are checked later, when they
//! are known.

use std::path::PathBuf;

use affluent_model::pipeline_test::{
    Expectations, ExpectedDeadLetters, ExpectedDelivery, ExpectedProfile, GivenRows, GivenStream, PipelineTest, PlacedName,
    PlacedValue,
};
use serde_json::Value;

use crate::mistake::{self, FileReport};
use crate::placed::{Named, Placed};
use crate::raw::tests::{
    RawConsentWord, RawCounts, RawExpectations, RawExpectedDeadLetters, RawExpectedDelivery, RawExpectedProfile, RawGiven,
    RawTest,
};
use crate::scalar;

pub(crate) fn lower(raw: Option<&Vec<Placed<RawTest>>>, report: &mut FileReport) -> Vec<PipelineTest> {
    raw.into_iter().flatten().map(|test| lower_one(test, report)).collect()
}

fn lower_one(raw: &Placed<RawTest>, report: &mut FileReport) -> PipelineTest {
    match (&raw.given, &raw.recording) {
        (None, None) => report.add_help(
            mistake::MISSING_KEY,
            raw.place(),
            "missing key `given` in `tests`",
            "write the records of the sources under `given`, or name a folder under `recording`",
        ),
        (Some(_), Some(recording)) => {
            report.add(mistake::COMBINATION, recording.place(), "a test has either `given` or `recording`");
        }
        _ => {}
    }
    let expect = expectations(&raw.expect, report);
    if expect == Expectations::default() && raw.expect.dead_letters.is_none() {
        report.add(mistake::MISSING_KEY, raw.expect.place(), "`expect` is empty");
    }
    PipelineTest {
        name: raw.name.trim().to_owned(),
        now_us: raw.now.as_ref().and_then(|now| scalar::since_us(now).ok()),
        times: raw.times.unwrap_or(1),
        given: raw.given.iter().flat_map(|given| given.iter()).map(|(name, rows)| given(name, rows, report)).collect(),
        recording: raw.recording.as_ref().map(|folder| PathBuf::from(folder.trim())),
        expect,
        at: report.location(raw.name.place()),
    }
}

fn given(name: &Placed<String>, rows: &RawGiven, report: &FileReport) -> GivenStream {
    let (pipeline, stream) = match name.split_once('.') {
        Some((pipeline, stream)) => (Some(pipeline.to_owned()), stream.to_owned()),
        None => (None, name.to_string()),
    };
    let rows = match rows {
        RawGiven::List(list) => GivenRows::Rows(list.iter().map(|row| values(Some(row), report)).collect()),
        RawGiven::Map(fixture) => GivenRows::Fixture(PathBuf::from(fixture.fixture.trim())),
    };
    GivenStream { pipeline, stream, rows, at: report.location(name.place()) }
}

fn expectations(raw: &RawExpectations, report: &FileReport) -> Expectations {
    let of_profile = |raw: &Placed<RawExpectedProfile>| profile(raw, report);
    let of_delivery = |raw: &Placed<RawExpectedDelivery>| delivery(raw, report);
    let of_letters = |raw: &Placed<RawExpectedDeadLetters>| dead_letters(raw, report);
    let at = raw.counts.as_ref().map(Placed::place);
    Expectations {
        profiles: raw.profiles.iter().flatten().map(of_profile).collect(),
        deliveries: raw.deliveries.iter().flatten().map(of_delivery).collect(),
        dead_letters: raw.dead_letters.iter().flatten().map(of_letters).collect(),
        counts: raw
            .counts
            .iter()
            .flat_map(|counts| named_counts(counts))
            .filter_map(|(name, count)| {
                let (name, value) = (name.to_owned(), Value::from(count?));
                Some(PlacedValue { name, value, at: report.location(at?) })
            })
            .collect(),
    }
}

fn named_counts(raw: &RawCounts) -> [(&'static str, Option<u64>); 9] {
    [
        ("profiles", raw.profiles),
        ("read", raw.read),
        ("filtered", raw.filtered),
        ("refused", raw.refused),
        ("kept", raw.kept),
        ("upserts", raw.upserts),
        ("removes", raw.removes),
        ("without_consent", raw.without_consent),
        ("without_match", raw.without_match),
    ]
}

fn profile(raw: &Placed<RawExpectedProfile>, report: &FileReport) -> ExpectedProfile {
    let word = |word: &RawConsentWord| match word {
        RawConsentWord::Granted => "granted",
        RawConsentWord::Expired => "expired",
        RawConsentWord::Pending => "pending",
        RawConsentWord::Denied => "denied",
        RawConsentWord::Unknown => "unknown",
    };
    let consent = raw.consent.iter().flat_map(Named::iter).map(|(purpose, said)| PlacedValue {
        name: purpose.to_string(),
        value: word(said).into(),
        at: report.location(purpose.place()),
    });
    ExpectedProfile {
        identifiers: values(Some(&raw.identifiers), report),
        attributes: values(raw.attributes.as_ref(), report),
        traits: values(raw.traits.as_ref(), report),
        consent: consent.collect(),
        segments: raw.segments.as_ref().map(|names| names.iter().map(|segment| name(segment, report)).collect()),
        at: report.location(raw.place()),
    }
}

fn delivery(raw: &Placed<RawExpectedDelivery>, report: &FileReport) -> ExpectedDelivery {
    let rows =
        |rows: &Option<Vec<Named<Value>>>| rows.as_ref().map(|rows| rows.iter().map(|row| values(Some(row), report)).collect());
    ExpectedDelivery {
        pipeline: raw.pipeline.as_ref().map(|pipeline| name(pipeline, report)),
        upserts: rows(&raw.upserts),
        removes: rows(&raw.removes),
        at: report.location(raw.place()),
    }
}

fn dead_letters(raw: &Placed<RawExpectedDeadLetters>, report: &FileReport) -> ExpectedDeadLetters {
    ExpectedDeadLetters {
        code: raw.code.as_ref().map(|code| code.trim().to_owned()),
        stream: raw.stream.as_ref().map(|stream| name(stream, report)),
        count: raw.count.unwrap_or(1),
        at: report.location(raw.place()),
    }
}

fn name(raw: &Placed<String>, report: &FileReport) -> PlacedName {
    PlacedName { name: raw.to_string(), at: report.location(raw.place()) }
}

fn values(map: Option<&Named<Value>>, report: &FileReport) -> Vec<PlacedValue> {
    let entries = map.into_iter().flat_map(Named::iter);
    let placed = |(name, value): (&Placed<String>, &Value)| PlacedValue {
        name: name.to_string(),
        value: value.clone(),
        at: report.location(name.place()),
    };
    entries.map(placed).collect()
}
