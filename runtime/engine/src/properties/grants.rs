//! No row leaves without a grant: what is said of identifiers, by records of persons and of nobody else, decides round by round
//! who is sent, where a destination asks for a channel, for another, and for both identifiers.

use std::collections::{BTreeMap, BTreeSet};

use affluent_model::batch::RowOperation;
use affluent_model::pii::PiiClass;
use affluent_model::schema::{Field, FieldType, StreamSchema};
use proptest::collection::vec;
use proptest::option::of;
use proptest::prelude::*;

use super::cases::{Broken, check, holds};
use super::feed::Sent;
use super::people::{Carried, PHONES_FROM, SOURCES, any_carried, email, phone, project, row, stream};
use super::world::{DAY_US, SECOND_US, START_US, block_on, instant, laid};
use crate::rehearsal::Record;

const ROUNDS: usize = 4;
const WORDS: &str = "
version: 1
pipeline: words
source: { connection: words, streams: { decisions: { sync: incremental } } }
destination:
  profiles:
    decisions:
      identifiers: { email: email, phone: phone }
      consent:
        all: { purpose: news, status: \"CASE WHEN channel IS NULL THEN status END\", at: at, expires_at: until }
        mail: { purpose: news, channel: email, identifier: email, status: \"CASE WHEN channel = 'email' THEN status END\", at: at, expires_at: until }
        sms: { purpose: news, channel: sms, identifier: phone, status: \"CASE WHEN channel = 'sms' THEN status END\", at: at, expires_at: until }
";

/// (pipeline, what it asks for, what it is matched by, mode).
const SYNCS: [(&str, &str, &str, &str); 4] = [
    ("mail", "purpose: news\n  channel: email\n", "{ email: email }", "mirror"),
    ("sms", "purpose: news\n  channel: sms\n", "{ phone: phone }", "upsert"),
    ("both", "purpose: news\n", "{ email: email, phone: phone }", "mirror"),
    ("everybody", "", "{ email: email }", "mirror"),
];

fn sync((name, need, matches, mode): (&str, &str, &str, &str)) -> (String, String) {
    let need = if need.is_empty() { String::new() } else { format!("  {need}") };
    let guard = if mode == "mirror" { "  guard: { max_remove: 100% }\n" } else { "" };
    let text = format!(
        "version: 1\npipeline: {name}\nsource: {{ profiles: {{}} }}\ndestination:\n  connection: out\n  object: file\n{need}  match: {matches}\n  \
         mode: {mode}\n{guard}  map: {{ name: name }}\n  grants: [email, phone, name]\n"
    );
    (format!("pipelines/{name}.yaml"), text)
}

fn decisions() -> StreamSchema {
    let personal = |name: &str, class| Field::new(name, FieldType::Text).with_pii(class);
    let text = |name: &str| Field::new(name, FieldType::Text);
    let fields = vec![
        text("id"),
        personal("email", PiiClass::Email),
        personal("phone", PiiClass::Phone),
        text("channel"),
        text("status"),
        Field::new("until", FieldType::Timestamp),
    ];
    stream("decisions", "id", fields)
}

const STATUSES: [&str; 4] = ["granted", "granted", "denied", "pending"];
const CHANNELS: [Option<&str>; 3] = [None, Some("email"), Some("sms")];

/// A row of decisions; one of the same slot in a later round replaces it. Times are days from the first round.
#[derive(Debug, Clone, Copy)]
struct Word {
    round: usize,
    slot: u8,
    email: Option<u8>,
    phone: Option<u8>,
    channel: usize,
    status: usize,
    at: i64,
    until: Option<i64>,
}

#[derive(Debug, Clone)]
struct Case {
    records: Vec<Carried>,
    words: Vec<Word>,
}

fn any_case() -> impl Strategy<Value = Case> {
    let word = (0..ROUNDS, 0..6_u8, of(0..4_u8), of(0..3_u8), 0..3_usize, 0..4_usize, -2..4_i64, of(0..5_i64)).prop_map(
        |(round, slot, email, phone, channel, status, at, until)| Word { round, slot, email, phone, channel, status, at, until },
    );
    (vec(any_carried(), 1..4), vec(word, 0..10)).prop_map(|(records, words)| Case { records, words })
}

fn day(days: i64) -> i64 {
    START_US + days * DAY_US
}

fn word_row(case: usize, word: &Word) -> Record {
    let mut row = Record::new();
    let mut set = |name: &str, value: Option<String>| row.extend(value.map(|value| (name.to_owned(), value.into())));
    set("id", Some(format!("w{}-of-c{case}", word.slot)));
    set("email", word.email.map(|number| email(case, number)));
    set("phone", word.phone.map(|number| phone(case, number)));
    set("channel", CHANNELS[word.channel].map(str::to_owned));
    set("status", Some(STATUSES[word.status].to_owned()));
    set("until", word.until.map(|days| instant(day(days))));
    set("at", Some(instant(day(word.at))));
    row
}

/// By the words of the rules: of each reach the latest word counts, at the same time the strictest; all must be grants that hold.
fn is_granted(words: &[Word], channel: Option<&str>, is_about: impl Fn(&Word) -> bool, now_us: i64) -> bool {
    let mut is_any = false;
    for reach in CHANNELS.into_iter().filter(|reach| reach.is_none() || channel.is_none() || *reach == channel) {
        let about: Vec<&Word> = words.iter().filter(|word| CHANNELS[word.channel] == reach && is_about(word)).collect();
        let Some(last) = about.iter().map(|word| word.at).max() else { continue };
        let is_over = |word: &Word| word.until.is_some_and(|until| day(until) <= now_us);
        let stands = |word: &&&Word| STATUSES[word.status] == "granted" && !is_over(word) && day(word.at) <= now_us;
        if !about.iter().filter(|word| word.at == last).all(|word| stands(&word)) {
            return false;
        }
        is_any = true;
    }
    is_any
}

/// The words of a case that stand in a round: of each slot the last that was read.
fn standing(case: &Case, round: usize) -> Vec<Word> {
    let mut slots: BTreeMap<u8, Word> = BTreeMap::new();
    for at in 0..=round {
        slots.extend(case.words.iter().filter(|word| word.round == at).map(|word| (word.slot, *word)));
    }
    slots.into_values().collect()
}

fn text<'r>(row: &'r Record, field: &str) -> Option<&'r str> {
    row.get(field).and_then(serde_json::Value::as_str)
}

/// The case that a value is of.
fn case_of(row: &Record) -> usize {
    // `e2.of.c7@x.test`, `+33643210072`: what a row is matched by is always there.
    let of_email = text(row, "email").and_then(|email| email.split_once(".of.c")?.1.split_once('@')?.0.parse().ok());
    let of_phone = text(row, "phone").and_then(|phone| phone.strip_prefix("+336")?.get(..7)?.parse::<usize>().ok());
    of_email.or_else(|| Some(of_phone? - PHONES_FROM)).unwrap_or_default()
}

/// True when everything that the destination is matched by is granted.
fn may_go(case: (usize, &Case), pipeline: &str, row: &Record, (round, now_us): (usize, i64)) -> bool {
    let (number, case) = case;
    let words = standing(case, round);
    let of_email = |channel| {
        let is_about = |word: &Word| {
            CHANNELS[word.channel] != Some("sms") && word.email.map(|at| email(number, at)).as_deref() == text(row, "email")
        };
        text(row, "email").is_some() && is_granted(&words, channel, is_about, now_us)
    };
    let of_phone = |channel| {
        let is_about = |word: &Word| {
            CHANNELS[word.channel] != Some("email") && word.phone.map(|at| phone(number, at)).as_deref() == text(row, "phone")
        };
        text(row, "phone").is_some() && is_granted(&words, channel, is_about, now_us)
    };
    match pipeline {
        "mail" => of_email(Some("email")),
        "sms" => of_phone(Some("sms")),
        "both" => of_email(None) && of_phone(None),
        _ => true,
    }
}

/// What a destination holds: match values → row.
type Images = BTreeMap<String, BTreeMap<(Option<String>, Option<String>), Record>>;

fn apply(images: &mut Images, sent: &Sent) {
    let image = images.entry(sent.pipeline.clone()).or_default();
    for row in &sent.rows {
        let key = (text(row, "email").map(str::to_owned), text(row, "phone").map(str::to_owned));
        match sent.operation {
            RowOperation::Upsert => image.insert(key, row.clone()),
            RowOperation::Delete => image.remove(&key),
        };
    }
}

async fn send_round_by_round(cases: &[Case]) -> Result<(), Broken> {
    let files: Vec<(String, String)> = SYNCS.into_iter().map(sync).collect();
    let connection = |name: &str| (format!("connections/{name}.yaml"), format!("version: 1\nconnection: {name}\nplugin: feed\n"));
    let more = [connection("words"), connection("out"), ("pipelines/words.yaml".to_owned(), WORDS.to_owned())];
    let files: Vec<(&str, &str)> = files.iter().chain(&more).map(|(name, text)| (name.as_str(), text.as_str())).collect();
    let world = project(&files, vec![("words".to_owned(), decisions())]);
    let mut images = Images::new();
    for round in 0..ROUNDS {
        let mut records: [Vec<Record>; 2] = Default::default();
        let mut words = Vec::new();
        for (number, case) in cases.iter().enumerate() {
            for (at, carried) in case.records.iter().enumerate().filter(|_| round == 0) {
                records[carried.source].push(row(number, at, carried, START_US + at as i64, &[]));
            }
            // Of a slot that is said twice in a round only the last word is there.
            words.extend(standing(case, round).iter().filter(|word| word.round == round).map(|word| word_row(number, word)));
        }
        let [crm, shop] = records;
        world.lay(laid(&[("crm.people", crm), ("shop.people", shop), ("words.decisions", words)]));
        world.run(&SOURCES, false).await;
        world.run(&["words", "mail", "sms", "both", "everybody"], false).await;
        let now = (round, world.engine.now_us());
        for sent in world.sent() {
            for row in sent.rows.iter().filter(|_| sent.operation == RowOperation::Upsert) {
                let number = case_of(row);
                let is_granted = may_go((number, &cases[number]), &sent.pipeline, row, now);
                holds(number, is_granted, || format!("round {round}, {}: {row:?} without a grant", sent.pipeline))?;
            }
            apply(&mut images, &sent);
        }
        for pipeline in ["mail", "both"] {
            for row in images.entry(pipeline.to_owned()).or_default().values() {
                let number = case_of(row);
                let is_granted = may_go((number, &cases[number]), pipeline, row, now);
                holds(number, is_granted, || format!("round {round}, {pipeline} still has {row:?}"))?;
            }
        }
        // Nor is anybody kept back who granted it.
        let emails = |pipeline: &str| -> BTreeSet<String> {
            images.get(pipeline).into_iter().flatten().filter_map(|((email, _), _)| email.clone()).collect()
        };
        let (mailed, everybody) = (emails("mail"), images.get("everybody"));
        for row in everybody.into_iter().flat_map(BTreeMap::values) {
            let number = case_of(row);
            let is_there = text(row, "email").is_some_and(|email| mailed.contains(email));
            let is_granted = may_go((number, &cases[number]), "mail", row, now);
            holds(number, is_there == is_granted, || format!("round {round}, mail: {row:?} granted {is_granted}"))?;
        }
        world.pass(DAY_US - 7 * SECOND_US);
    }
    Ok(())
}

#[test]
fn no_row_leaves_without_a_grant() {
    check((20, 500), &any_case(), |cases| block_on(async || send_round_by_round(cases).await));
}
