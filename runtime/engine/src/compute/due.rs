//! When time alone changes which profiles: written beside the rows of a snapshot, looked up before the next.

use std::sync::Arc;

use affluent_lake::{LakeFile, LakeQuery, LakeTable};
use affluent_model::identity::ProfileId;
use affluent_model::schema::{Field, FieldType};
use affluent_model::{Error, Result};
use affluent_profiles::expiries::Expiries;
use arrow::array::{AsArray as _, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::{Schema, SchemaRef};

use super::DUE;
use super::basis::Before;
use crate::engine::Engine;
use crate::inputs::People;
use crate::rows;

/// Rows of a batch.
const BATCH_ROWS: usize = 65_536;

fn schema() -> SchemaRef {
    let fields = [Field::new("profile", FieldType::Text), Field::new("at_us", FieldType::Integer)];
    Arc::new(Schema::new(fields.iter().map(Field::to_arrow).collect::<Vec<_>>()))
}

/// Writes the next times of profiles to a file; none where there are none.
///
/// # Errors
/// What the lake reports.
pub(super) fn write(engine: &Engine, people: &People, expiries: &Expiries) -> Result<Option<LakeFile>> {
    let next: Vec<(ProfileId, i64)> =
        expiries.iter().filter_map(|(place, at_us)| Some((*people.ids.get(place)?, at_us))).collect();
    if next.is_empty() {
        return Ok(None);
    }
    let mut writer = engine.lake.create_file(&engine.file_name(DUE)?, schema())?;
    for part in next.chunks(BATCH_ROWS) {
        let profiles: StringArray = part.iter().map(|(profile, _)| Some(profile.to_string())).collect();
        let times: Int64Array = part.iter().map(|(_, at_us)| Some(*at_us)).collect();
        let batch = RecordBatch::try_new(schema(), vec![Arc::new(profiles), Arc::new(times)]);
        writer.write(&batch.map_err(|error| Error::bug(error.to_string()))?)?;
    }
    writer.finish().map(Some)
}

/// The profiles that time alone may have changed since a snapshot. What was due before it was computed then, whichever file
/// names it.
///
/// # Errors
/// What the lake reports.
pub(super) async fn since(engine: &Engine, before: &Before) -> Result<Vec<ProfileId>> {
    let table = LakeTable::new(DUE.to_owned(), schema(), before.files(DUE));
    if table.files.is_empty() {
        return Ok(Vec::new());
    }
    let (from_us, until_us) = (before.basis.as_of_us, engine.now_us());
    let sql = format!("SELECT DISTINCT \"profile\" FROM \"{DUE}\" WHERE \"at_us\" >= {from_us} AND \"at_us\" <= {until_us}");
    let mut due = Vec::new();
    let mut take = |batch: RecordBatch| {
        let profiles = rows::as_text(rows::column(&batch, "profile")?)?;
        due.extend(profiles.as_string::<i32>().iter().flatten().filter_map(ProfileId::parse));
        Ok(())
    };
    engine.lake.stream(LakeQuery::new(sql, vec![table], engine.now_us()), &mut take).await?;
    Ok(due)
}
