//! The reading: members by when they changed, oldest change first. A search gives what changed *after* a second.

use affluent_sdk::changes::{Changes, Found, Objects, Seconds, Span};
use affluent_sdk::json::required_text;
use affluent_sdk::{Field, Result, values};
use serde_json::Value;

use crate::Api;
use crate::fields::{PAGE_RECORDS, column};

impl Changes for Api {
    /// What changed in the minute before is looked for again: others write to the audience at the same time.
    const OBJECTS: &'static [Objects] = &[Objects::new("members", "last_changed").lag_ms(60_000).only_searched()];

    fn fields(&self, _: &Objects) -> Result<Vec<Field>> {
        self.columns()
    }

    fn changed(&self, objects: &Objects, fields: &[&str], span: Span<'_>) -> Result<Found> {
        objects.by_offset(span, PAGE_RECORDS, |seconds| self.page(fields, seconds))
    }
}

impl Api {
    fn page(&self, fields: &[&str], seconds: Seconds) -> Result<Found> {
        let time = |seconds: i64| values::timestamp_text(seconds.saturating_mul(1_000_000)).replace('Z', "+00:00");
        let own = fields.iter().filter(|name| !name.starts_with(&column(""))).map(|name| format!("members.{name}"));
        let wanted: Vec<String> = own.chain(["members.contact_id", "members.merge_fields"].map(str::to_owned)).collect();
        let parameters = [
            ("sort_field", Some("last_changed".to_owned())),
            ("sort_dir", Some("ASC".to_owned())),
            ("count", Some(PAGE_RECORDS.to_string())),
            ("offset", Some(seconds.offset.to_string())),
            ("fields", Some(wanted.join(","))),
            ("since_last_changed", Some(seconds.from - 1).filter(|since| *since > 0).map(time)),
            ("before_last_changed", seconds.until.map(|until| time(until + 1))),
        ];
        let parameters = parameters.into_iter().filter_map(|(name, value)| Some((name, value?)));
        let request = parameters.fold(self.service.get("/members"), |request, (name, value)| request.query(name, &value));
        let mut found = Found::read(&self.service.send(request)?, "/members", "/-")?;
        found.records.iter_mut().try_for_each(flatten)?;
        Ok(found)
    }
}

/// Gives a member its id, which is no hash of its address, and its merge fields as columns.
fn flatten(record: &mut Value) -> Result<()> {
    let id = required_text(record, "/contact_id")?;
    let Some(record) = record.as_object_mut() else { return Ok(()) };
    record.insert("id".to_owned(), id.into());
    if let Some(Value::Object(merged)) = record.remove("merge_fields") {
        record.extend(merged.into_iter().map(|(tag, value)| (column(&tag), value)));
    }
    Ok(())
}
