//! What a destination should hold: the rows of a segment in the columns of the mapping, personal values opened for this
//! purpose, people without consent or without anything to match by left out and counted.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;

use affluent_lake::{LakeQuery, LakeTable, RowProgram, RowStep};
use affluent_model::identity::ProfileId;
use affluent_model::pii::PiiClass;
use affluent_model::plan::{DestinationPlan, Expression, IdentifierRule};
use affluent_model::report::ActivationReport;
use affluent_model::schema::{Field, FieldType, PII_KEY};
use affluent_model::{Error, Result};
use affluent_profiles::source::TableSource;
use affluent_vault::Purpose;
use arrow::array::{Array, ArrayRef, AsArray, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field as ArrowField, Schema, SchemaRef};

use crate::compute::{current_snapshot, normalised};
use crate::consent::Consent;
use crate::engine::Engine;
use crate::opener::AttributeOpener;
use crate::origins::{Lineage, Origins};
use crate::row_codec::Column;
use crate::rows;
use crate::suppressed::Suppressed;
use crate::tables::profile_tables;
use crate::verdict::{Restraints, Verdict};

/// Forms in which a sealed attribute may leave, and the function that makes each.
const FORMS: [(&str, &str); 4] = [("sha256", "sha256_hex"), ("lower", "lower"), ("upper", "upper"), ("e164", "e164")];

/// How the rows of one activation are made.
pub(crate) struct DesiredRows<'a> {
    engine: &'a Engine,
    outputs: Vec<Output>,
    /// Applies delivery forms to the opened columns.
    forms: Option<RowProgram>,
    restraints: Restraints,
    snapshot: LakeTable,
    origins: Origins,
    members: Option<Vec<ProfileId>>,
    /// Match columns first, then the mapped ones.
    pub(crate) fields: Vec<Field>,
    /// Names of `fields` that the destination's plugin may see in the clear.
    pub(crate) plaintext: Vec<String>,
    pub(crate) match_count: usize,
}

struct Output {
    source: OutputSource,
    /// Set for a match column that is an identifier: its value is delivered in canonical form.
    identifier: Option<IdentifierRule>,
}

enum OutputSource {
    /// SQL over the snapshot.
    Clear(String),
    Sealed {
        attribute: String,
        kind: FieldType,
    },
}

/// Some rows for a destination.
pub(crate) struct DesiredBatch {
    pub(crate) keys: Vec<ProfileId>,
    /// Left out for lack of consent, or because they are suppressed.
    pub(crate) withheld: Vec<ProfileId>,
    /// One array per field of [`DesiredRows::fields`].
    pub(crate) columns: Vec<ArrayRef>,
}

impl<'a> DesiredRows<'a> {
    /// Prepares the rows of an activation.
    ///
    /// # Errors
    /// `E0807` without a snapshot; what the stores report.
    pub(crate) async fn prepare(engine: &'a Engine, plan: &DestinationPlan, segment: Option<&str>) -> Result<Self> {
        let (_, snapshot) = current_snapshot(engine)?;
        let (sources, tables): (Vec<TableSource>, Vec<LakeTable>) =
            profile_tables(engine).await?.into_iter().map(|one| (one.source, one.table)).unzip();
        let classes = attribute_classes(&sources, &tables);
        let sealed = sealed_kinds(&sources);
        let (mut outputs, mut fields, mut forms) = (Vec::new(), Vec::new(), Vec::new());
        let mut plaintext = Vec::new();
        let match_count = plan.match_by.len();
        for (place, named) in plan.match_by.iter().chain(&plan.map).enumerate() {
            let (output, mut field, form) =
                output_of(engine, &snapshot.schema, &sealed, &named.name, &named.expression, place < match_count)?;
            let (class, is_plaintext) = exposure_of(&output, &classes, plan, engine, &snapshot.schema);
            field.pii = class.filter(|_| field.kind != FieldType::Boolean);
            plaintext.extend(is_plaintext.then(|| named.name.clone()));
            if let Some(function) = form {
                forms.push((named.name.clone(), format!("{function}(\"{}\")", named.name)));
            }
            outputs.push(output);
            fields.push(field);
        }
        let forms = compile_forms(engine, &fields, forms)?;
        let consent = match &plan.consent {
            Some(need) => {
                let matches = outputs.iter().take(match_count).map(|output| output.identifier.as_ref());
                Some(Consent::read(engine, need, matches, &sources, &tables).await?)
            }
            None => None,
        };
        let members = match segment {
            Some(segment) => Some(engine.ledger.members(segment)?),
            None => None,
        };
        let identifiers = outputs.iter().take(match_count).map(|output| output.identifier.clone()).collect();
        let restraints = Restraints { consent, suppressed: Suppressed::for_delivery(engine)?, identifiers };
        let origins = Origins::of(&snapshot.schema)?;
        Ok(Self { engine, outputs, forms, restraints, snapshot, origins, members, fields, plaintext, match_count })
    }

    /// Visits the desired rows, each profile once, in the order of profile ids.
    ///
    /// # Errors
    /// What lake and vault report, and what `visit` returns.
    pub(crate) async fn visit(
        &self,
        report: &mut ActivationReport,
        visit: &mut (dyn FnMut(DesiredBatch) -> Result<()> + Send),
    ) -> Result<()> {
        let mut opener = AttributeOpener::new(self.engine, Purpose::Activation);
        let mut matched: HashSet<Vec<u8>> = HashSet::new();
        let query = self.query()?;
        let mut take = |batch: RecordBatch| {
            let desired = self.desired(&batch, &mut opener)?;
            let desired = self.admissible(desired, report, &mut matched)?;
            if desired.keys.is_empty() && desired.withheld.is_empty() { Ok(()) } else { visit(desired) }
        };
        self.engine.lake.stream(query, &mut take).await?;
        Ok(())
    }

    fn query(&self) -> Result<LakeQuery> {
        let (mut columns, mut origins) = (vec!["\"profile\"".to_owned()], BTreeSet::new());
        for (place, output) in self.outputs.iter().enumerate() {
            match &output.source {
                OutputSource::Clear(sql) => columns.push(format!("({sql}) AS \"c{place}\"")),
                OutputSource::Sealed { attribute, .. } => {
                    columns.push(format!("\"{attribute}\" AS \"c{place}\""));
                    origins.insert(format!("\"{}\"", self.origins.column(attribute)));
                }
            }
        }
        columns.extend(origins);
        let columns = columns.join(", ");
        let mut memory = Vec::new();
        let mut sql = match &self.members {
            None => format!("SELECT {columns} FROM \"profiles\""),
            Some(members) => {
                memory.push(members_table(members)?);
                // The narrow side first: it is the one that is held in memory.
                format!(
                    "SELECT {columns} FROM (SELECT p.* FROM \"members\" AS m JOIN \"profiles\" AS p ON m.\"member\" = p.\"profile\")"
                )
            }
        };
        sql.push_str(" ORDER BY \"profile\"");
        Ok(LakeQuery { memory, ..LakeQuery::new(sql, vec![self.snapshot.clone()], self.engine.now_us()) })
    }

    /// The rows of a query batch, opened and in their delivery forms.
    fn desired(&self, batch: &RecordBatch, opener: &mut AttributeOpener<'_>) -> Result<DesiredBatch> {
        let profiles = rows::as_text(rows::column(batch, "profile")?)?;
        let keys = profiles
            .as_string::<i32>()
            .iter()
            .flatten()
            .map(|text| ProfileId::parse(text).ok_or_else(|| Error::bug("a profile id in the lake is not a UUID")));
        let keys = keys.collect::<Result<Vec<_>>>()?;
        let mut columns = Vec::with_capacity(self.outputs.len());
        for (place, (output, field)) in self.outputs.iter().zip(&self.fields).enumerate() {
            let array = rows::column(batch, &format!("c{place}"))?;
            let column = match &output.source {
                OutputSource::Clear(_) => rows::cast_to(array, &field.kind.to_arrow())?,
                OutputSource::Sealed { attribute, kind } => {
                    let lineage = self.origins.lineage(batch, attribute)?;
                    let lineage = lineage.ok_or_else(|| Error::bug(format!("`{attribute}` is an attribute of the snapshot")))?;
                    open_column(array, lineage, *kind, opener)?
                }
            };
            columns.push(match &output.identifier {
                Some(rule) => canonical_column(&column, rule)?,
                None => column,
            });
        }
        if let Some(forms) = &self.forms {
            let opened =
                RecordBatch::try_new(forms_schema(&self.fields), columns).map_err(|error| Error::bug(error.to_string()))?;
            columns = forms.apply(&opened, self.engine.now_us())?.0.columns().to_vec();
        }
        Ok(DesiredBatch { keys, withheld: Vec::new(), columns })
    }

    /// Leaves out rows that may not or cannot be sent, and counts why.
    fn admissible(
        &self,
        mut desired: DesiredBatch,
        report: &mut ActivationReport,
        matched: &mut HashSet<Vec<u8>>,
    ) -> Result<DesiredBatch> {
        let mut keep = Vec::with_capacity(desired.keys.len());
        let matches: Vec<ArrayRef> = desired.columns.iter().take(self.match_count).map(rows::as_text).collect::<Result<_>>()?;
        for (row, key) in desired.keys.iter().enumerate() {
            let verdict = self.restraints.verdict(*key, &matches, row);
            let is_kept = verdict == Verdict::MaySend && matched.insert(match_bytes(&matches, row));
            match verdict {
                Verdict::Suppressed => report.suppressed += 1,
                Verdict::WithoutMatch => report.without_match += 1,
                Verdict::WithoutConsent => report.without_consent += 1,
                Verdict::MaySend if is_kept => report.desired += 1,
                Verdict::MaySend => report.duplicate_match += 1,
            }
            if matches!(verdict, Verdict::Suppressed | Verdict::WithoutConsent) {
                desired.withheld.push(*key);
            }
            keep.push(is_kept);
        }
        if keep.iter().all(|kept| *kept) {
            return Ok(desired);
        }
        let filter = arrow::array::BooleanArray::from(keep.clone());
        let columns = desired
            .columns
            .iter()
            .map(|column| arrow::compute::filter(column, &filter).map_err(|error| Error::bug(error.to_string())));
        let columns = columns.collect::<Result<Vec<_>>>()?;
        let keys = desired.keys.into_iter().zip(keep).filter_map(|(key, kept)| kept.then_some(key)).collect();
        Ok(DesiredBatch { keys, withheld: desired.withheld, columns })
    }
}

/// The members of a segment as a table of the query.
fn members_table(members: &[ProfileId]) -> Result<(String, SchemaRef, Vec<RecordBatch>)> {
    let schema = Arc::new(Schema::new(vec![ArrowField::new("member", DataType::Utf8, false)]));
    let ids: StringArray = members.iter().map(|id| Some(id.to_string())).collect();
    let batch = RecordBatch::try_new(Arc::clone(&schema), vec![Arc::new(ids)]).map_err(|error| Error::bug(error.to_string()))?;
    Ok(("members".to_owned(), schema, vec![batch]))
}

/// Attribute → type of its plaintext, for the sealed ones.
fn sealed_kinds(sources: &[TableSource]) -> BTreeMap<String, FieldType> {
    let attributes = sources.iter().flat_map(|source| &source.attributes).filter(|attribute| attribute.sealed);
    attributes.map(|attribute| (attribute.name.clone(), attribute.kind)).collect()
}

/// Attribute → its class of personal data, where it has one.
fn attribute_classes(sources: &[TableSource], tables: &[LakeTable]) -> BTreeMap<String, PiiClass> {
    let mut classes = BTreeMap::new();
    for (source, table) in sources.iter().zip(tables) {
        for attribute in &source.attributes {
            let field = table.schema.field_with_name(&attribute.column).ok();
            let class = field.and_then(|field| field.metadata().get(PII_KEY)).and_then(|word| PiiClass::from_word(word));
            // What is sealed is personal, whatever else is known of it.
            if let Some(class) = class.or_else(|| attribute.sealed.then_some(PiiClass::FreeText)) {
                classes
                    .entry(attribute.name.clone())
                    .and_modify(|known| {
                        if *known != class {
                            *known = PiiClass::FreeText;
                        }
                    })
                    .or_insert(class);
            }
        }
    }
    classes
}

/// The class of what leaves, and whether all of it is granted in the clear.
fn exposure_of(
    output: &Output,
    classes: &BTreeMap<String, PiiClass>,
    plan: &DestinationPlan,
    engine: &Engine,
    snapshot: &SchemaRef,
) -> (Option<PiiClass>, bool) {
    let columns = match &output.source {
        OutputSource::Sealed { attribute, .. } => vec![attribute.clone()],
        OutputSource::Clear(sql) => engine.expressions.plan_row(sql, snapshot).map(|planned| planned.columns).unwrap_or_default(),
    };
    let personal: Vec<&String> = columns.iter().filter(|name| classes.contains_key(*name)).collect();
    let class = personal.iter().filter_map(|name| classes.get(*name).copied());
    let class = class.reduce(|one, other| if one == other { one } else { PiiClass::FreeText });
    (class, class.is_some() && personal.iter().all(|name| plan.plaintext.contains(name)))
}

fn output_of(
    engine: &Engine,
    snapshot: &SchemaRef,
    sealed: &BTreeMap<String, FieldType>,
    name: &str,
    expression: &Expression,
    is_match: bool,
) -> Result<(Output, Field, Option<&'static str>)> {
    let (attribute, form) = match split_form(&expression.text) {
        Some((attribute, function)) if sealed.contains_key(&attribute) => (attribute, Some(function)),
        _ => (expression.text.trim().trim_matches('"').to_owned(), None),
    };
    let rule = engine.plan.identity.identifiers.iter().find(|rule| is_match && form.is_none() && rule.name == attribute);
    let identifier = rule.cloned();
    if let Some(kind) = sealed.get(&attribute) {
        let delivered = if form.is_some() || identifier.is_some() { FieldType::Text } else { *kind };
        let source = OutputSource::Sealed { attribute, kind: *kind };
        return Ok((Output { source, identifier }, Field::new(name, delivered), form));
    }
    let sql = normalised(engine, &expression.text)?;
    let planned = engine.expressions.plan_row(&sql, snapshot).map_err(|mistake| {
        Error::configuration("E0300", format!("`{name}` cannot be computed from the profiles: {}", mistake.message))
            .help("run `affluent validate`")
    })?;
    let kind = FieldType::from_arrow(&planned.data_type).ok_or_else(|| {
        Error::configuration("E0300", format!("`{name}` has a type that cannot be sent: {}", planned.data_type))
    })?;
    let kind = if identifier.is_some() { FieldType::Text } else { kind };
    Ok((Output { source: OutputSource::Clear(sql), identifier }, Field::new(name, kind), None))
}

/// `email|sha256` → the attribute and the function of the form.
fn split_form(text: &str) -> Option<(String, &'static str)> {
    let (attribute, form) = text.split_once('|')?;
    let function = FORMS.iter().find(|(name, _)| *name == form.trim())?.1;
    Some((attribute.trim().trim_matches('"').to_owned(), function))
}

fn compile_forms(engine: &Engine, fields: &[Field], forms: Vec<(String, String)>) -> Result<Option<RowProgram>> {
    if forms.is_empty() {
        return Ok(None);
    }
    Ok(Some(engine.expressions.compile(forms_schema(fields), vec![RowStep::Set(forms)])?))
}

fn forms_schema(fields: &[Field]) -> SchemaRef {
    Arc::new(Schema::new(fields.iter().map(Field::to_arrow).collect::<Vec<_>>()))
}

fn open_column(array: &ArrayRef, lineage: Lineage, kind: FieldType, opener: &mut AttributeOpener<'_>) -> Result<ArrayRef> {
    let array = rows::cast_to(array, &DataType::Binary)?;
    let sealed = array.as_binary::<i32>();
    let lineages = [lineage];
    opener.prepare(&lineages)?;
    let [lineage] = &lineages;
    let mut column = Column::new(kind);
    for row in 0..sealed.len() {
        if sealed.is_null(row) {
            column.push(None);
            continue;
        }
        let opened = opener.open(sealed.value(row), lineage, row)?;
        column.push(opened.as_ref().map(affluent_vault::OpenedValue::value));
    }
    column.finish()
}

/// The canonical form of an identifier, as it is matched by; what is no usable value becomes null.
fn canonical_column(column: &ArrayRef, rule: &IdentifierRule) -> Result<ArrayRef> {
    let texts = rows::as_text(column)?;
    let options = rule.normalize.to_tell();
    let canonical: StringArray =
        texts.as_string::<i32>().iter().map(|value| value.and_then(|value| rule.canonical_with(value, &options))).collect();
    Ok(Arc::new(canonical))
}

fn match_bytes(matches: &[ArrayRef], row: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    for column in matches {
        bytes.extend_from_slice(column.as_string::<i32>().value(row).as_bytes());
        bytes.push(0x1f);
    }
    bytes
}
