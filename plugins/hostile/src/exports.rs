//! The contract, implemented below the SDK's traits.

use std::cell::RefCell;

use affluent_sdk::bindings::destination_exports::exports::affluent::plugin::destination;
use affluent_sdk::bindings::imports::affluent::plugin::types::PluginError;
use affluent_sdk::bindings::plugin_exports::exports::affluent::plugin::plugin;
use affluent_sdk::bindings::source_exports::exports::affluent::plugin::source;
use affluent_sdk::bindings::transform_exports::exports::affluent::plugin::transform;
use affluent_sdk::manifest::{DestinationInfo, Durable, Idempotence, TargetSchema, WriteMode};
use affluent_sdk::{Batch, Error, Limits, Outcome, Output, Page, Payload, Position, Report};
use serde::Serialize;

use crate::acts::{act, huge_text};
use crate::dump;
use crate::reports::{outcome, poison};
use crate::{Behaviour, Call, Config, manifest, pages};

/// Records of the stream if the configuration does not say.
const RECORDS: u32 = 10;

/// The component.
#[derive(Debug)]
pub struct Hostile;

#[derive(Default)]
struct Open {
    config: Config,
    /// The next record of the source.
    next: u32,
}

thread_local! {
    static OPEN: RefCell<Open> = RefCell::default();
}

fn open(config: &str, next: u32) -> Result<Config, PluginError> {
    let config = Config::read(config)?;
    OPEN.with_borrow_mut(|open| *open = Open { config: config.clone(), next });
    Ok(config)
}

/// The behaviour in this call, after the acts that do not need the call's data.
fn behave(call: Call) -> Result<Behaviour, PluginError> {
    let config = OPEN.with_borrow(|open| open.config.clone());
    let behaviour = config.behaviour_in(call);
    act(behaviour, &config)?;
    Ok(behaviour)
}

/// The JSON of a good value, or what the behaviour makes of it.
fn json(behaviour: Behaviour, value: &impl Serialize) -> Result<String, PluginError> {
    Ok(match behaviour {
        Behaviour::GarbageJson => "{\"name\": ".to_owned(),
        Behaviour::HugeJson => format!("[\"{}\"]", huge_text()),
        Behaviour::DeepJson => "[".repeat(1_000_000),
        Behaviour::WrongJson => r#"{"durable": "never", "idempotent": 7, "name": []}"#.to_owned(),
        _ => serde_json::to_string(value).map_err(|error| Error::internal(error.to_string()))?,
    })
}

impl plugin::Guest for Hostile {
    fn manifest() -> String {
        serde_json::to_string(&manifest()).unwrap_or_default()
    }

    fn check(config: String) -> Result<String, PluginError> {
        open(&config, 0)?;
        json(behave(Call::Check)?, &affluent_sdk::CheckReport::default())
    }
}

impl source::Guest for Hostile {
    fn discover(config: String) -> Result<String, PluginError> {
        open(&config, 0)?;
        json(behave(Call::Discover)?, &[pages::stream()])
    }

    fn open(config: String, _stream_spec: String, state: Option<Vec<u8>>) -> Result<(), PluginError> {
        let next = state.and_then(|state| String::from_utf8(state).ok()).and_then(|state| state.parse().ok());
        open(&config, next.unwrap_or_default())?;
        behave(Call::Open)?;
        Ok(())
    }

    fn next(limits: Limits) -> Result<Page, PluginError> {
        let behaviour = behave(Call::Next)?;
        let (start, all) = OPEN.with_borrow(|open| (open.next, open.config.records.unwrap_or(RECORDS)));
        let end = start.saturating_add(limits.max_rows).min(all).max(start);
        OPEN.with_borrow_mut(|open| open.next = end);
        let never_ends = matches!(behaviour, Behaviour::SameState | Behaviour::NothingForever);
        Ok(Page {
            parts: pages::parts(behaviour, start, end, limits.max_rows)?,
            rejected: pages::rejected(behaviour),
            state: pages::state(behaviour, end),
            position: if end >= all && !never_ends { Position::End } else { Position::More },
        })
    }

    fn close() {
        // There is no error to return: what it does is trap, loop or wait.
        drop(behave(Call::Close));
    }
}

impl transform::Guest for Hostile {
    fn open(config: String, input_schema: String) -> Result<String, PluginError> {
        open(&config, 0)?;
        let schema: serde_json::Value =
            serde_json::from_str(&input_schema).map_err(|error| Error::internal(error.to_string()))?;
        json(behave(Call::Open)?, &schema)
    }

    fn apply(batch: Payload) -> Result<Output, PluginError> {
        let behaviour = behave(Call::Apply)?;
        let rejected = poison(behaviour, &batch)?;
        let payload = match batch {
            Payload::Columns(columns) => pages::forge(behaviour, columns),
            Payload::Ndjson(lines) => Payload::Ndjson(lines),
        };
        let Outcome::Done(Report { failed, .. }) = outcome(behaviour, 0) else { return Ok(Output { payload, rejected }) };
        Ok(Output { payload, rejected: [rejected, failed].concat() })
    }

    fn finish() -> Result<Option<Output>, PluginError> {
        behave(Call::Finish)?;
        Ok(None)
    }
}

impl destination::Guest for Hostile {
    fn discover(config: String) -> Result<String, PluginError> {
        open(&config, 0)?;
        let target = TargetSchema {
            name: "items".to_owned(),
            fields: pages::stream().fields,
            any_fields: true,
            open_fields: Vec::new(),
            match_fields: Vec::new(),
            modes: vec![WriteMode::Append, WriteMode::Upsert, WriteMode::Mirror],
            lists: true,
            plaintext: Vec::new(),
            max_rows: None,
        };
        json(behave(Call::Discover)?, &[target])
    }

    fn open(config: String, _target: String) -> Result<String, PluginError> {
        open(&config, 0)?;
        json(behave(Call::Open)?, &DestinationInfo::new(Durable::Write, Idempotence::ByKey))
    }

    fn write(batch: Batch) -> Result<Outcome, PluginError> {
        let behaviour = behave(Call::Write)?;
        if behaviour == Behaviour::DumpEverything {
            return Ok(dump::write(&batch, &OPEN.with_borrow(|open| open.config.clone()))?);
        }
        let rows = match &batch.payload {
            Payload::Columns(columns) => columns.rows,
            Payload::Ndjson(lines) => u32::try_from(lines.split(|byte| *byte == b'\n').count()).unwrap_or(u32::MAX),
        };
        let failed = poison(behaviour, &batch.payload)?;
        if failed.is_empty() {
            return Ok(outcome(behaviour, rows));
        }
        Ok(Outcome::Done(Report { failed, ..Report::accepted(0) }.counted(rows)))
    }

    fn poll(token: String) -> Result<Outcome, PluginError> {
        match behave(Call::Poll)? {
            Behaviour::DumpEverything => Ok(dump::poll(&token)?),
            behaviour => Ok(outcome(behaviour, 10)),
        }
    }

    fn close() -> Result<(), PluginError> {
        behave(Call::Close)?;
        Ok(())
    }
}

#[cfg(target_arch = "wasm32")]
mod component {
    use super::Hostile;

    affluent_sdk::export_raw!(Hostile: plugin, source, transform, destination);
}

#[cfg(test)]
mod tests {
    use super::*;
    use affluent_sdk::ErrorKind;

    const LIMITS: Limits = Limits { max_rows: 4, max_bytes: 1 << 20 };

    #[test]
    fn a_well_behaved_source_gives_its_records_and_ends() {
        <Hostile as source::Guest>::open("{}".to_owned(), "{}".to_owned(), Some(b"4".to_vec())).unwrap();

        let pages: Vec<Page> = (0..2).map(|_| <Hostile as source::Guest>::next(LIMITS).unwrap()).collect();

        assert_eq!((pages[0].position, pages[1].position), (Position::More, Position::End));
        assert_eq!(pages[1].state.as_deref(), Some(b"10".as_slice()));
    }

    #[test]
    fn errors_come_from_the_chosen_call_only() {
        let config = r#"{"behaviour": "auth_error", "call": "next"}"#;
        <Hostile as source::Guest>::open(config.to_owned(), "{}".to_owned(), None).unwrap();

        assert_eq!(<Hostile as source::Guest>::next(LIMITS).unwrap_err().kind, ErrorKind::Auth);
    }

    #[test]
    fn poison_fails_its_row_only() {
        let mut columns = pages::records(0, 3).unwrap();
        let names = columns.columns.iter_mut().find(|column| column.name == "name").unwrap();
        let bytes = affluent_sdk::columns::BytesColumn { offsets: vec![0, 1, 7, 8], data: b"apoisonb".to_vec() };
        names.data = affluent_sdk::columns::ColumnData::Texts(bytes);
        let config = r#"{"behaviour": "fail_poison"}"#.to_owned();
        <Hostile as destination::Guest>::open(config, "{}".to_owned()).unwrap();
        let batch =
            Batch { idempotency_key: "k".to_owned(), op: affluent_sdk::RowOp::Upsert, payload: Payload::Columns(columns) };

        let Outcome::Done(report) = <Hostile as destination::Guest>::write(batch).unwrap() else { panic!("done") };

        assert_eq!((report.accepted, report.failed.len(), report.failed[0].row), (2, 1, 1));
    }
}
