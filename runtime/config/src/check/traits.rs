//! Computed traits: aggregates over the records of a stream, over all connections, with the canonical columns of an order.

use affluent_model::pii::PiiPolicy;
use affluent_model::plan::{ComputedTrait, Expression, Measure, PipelineDestination, PipelineSource};
use affluent_model::schema::FieldType;

use super::columns::{Columns, common_kind};
use super::streams::Ingest;
use super::{Checker, Want};
use crate::mistake;
use crate::near;
use crate::sources::Subject;

/// Canonical columns of an order, as `profiles` names them.
const ORDER_COLUMNS: [(&str, FieldType); 5] = [
    ("id", FieldType::Text),
    ("at", FieldType::Timestamp),
    ("currency", FieldType::Text),
    ("net", FieldType::Decimal),
    ("status", FieldType::Text),
];
/// Those of them that the lines of an order have too.
const LINE_COLUMNS: [&str; 3] = ["at", "currency", "status"];

impl Checker<'_> {
    /// The columns of profiles: attributes, then computed traits.
    pub(super) fn profile_columns(&mut self, ingests: &[Ingest<'_>], attributes: Columns) -> Columns {
        let mut columns = attributes;
        let plan = self.plan;
        for computed in &plan.traits {
            if columns.get(&computed.name).is_some() {
                let message = format!("`{}` is an attribute or identifier already", computed.name);
                self.add(mistake::DUPLICATE_NAME, message, computed.at.clone(), "give the computed trait another name");
                continue;
            }
            match self.trait_kind(computed, ingests) {
                Some(kind) => columns.put(&computed.name, kind, None),
                None => columns.incomplete = true,
            }
        }
        columns
    }

    /// True when a source of profiles could not be asked for its streams, or lacks one that a pipeline reads.
    pub(super) fn has_unasked_sources(&self) -> bool {
        self.is_partial
            || self.plan.pipelines.values().any(|pipeline| match (&pipeline.source, &pipeline.destination) {
                (PipelineSource::Connection { connection, .. }, PipelineDestination::Profiles { .. }) => {
                    self.catalog.streams(connection).is_none()
                }
                _ => false,
            })
    }

    fn trait_kind(&mut self, computed: &ComputedTrait, ingests: &[Ingest<'_>]) -> Option<FieldType> {
        let expression = match &computed.measure {
            Measure::Sql(expression) | Measure::MostFrequent(expression) | Measure::Recommend(expression) => expression,
            Measure::Rfm { .. } => return self.kind_of_orders(computed, FieldType::Integer),
            Measure::Predict(predict) => return self.kind_of_orders(computed, predict.value.kind()),
        };
        let columns = self.stream_columns(computed, ingests)?;
        if columns.incomplete {
            return None;
        }
        let schema = columns.schema();
        let planned = if matches!(computed.measure, Measure::Sql(_)) {
            self.planner.aggregate(&expression.text, &schema)
        } else {
            self.planner.row(&expression.text, &schema)
        };
        let checked = self.checked(expression, planned, Want::Anything)?;
        let kind = if matches!(computed.measure, Measure::Recommend(_)) { FieldType::Text } else { checked.kind };
        self.no_sealed(expression, &checked.planned.columns, &columns).then_some(kind)
    }

    /// What is made of orders needs a pipeline that says which records are orders.
    fn kind_of_orders(&mut self, computed: &ComputedTrait, kind: FieldType) -> Option<FieldType> {
        let has_orders = self.plan.pipelines.values().any(|pipeline| match &pipeline.destination {
            PipelineDestination::Profiles { streams, .. } => streams.values().any(|mapping| mapping.order.is_some()),
            PipelineDestination::Connection(_) => false,
        });
        if !has_orders {
            let message = format!("the trait `{}` is made of orders, and no pipeline leads orders into profiles", computed.name);
            let help = "say in a pipeline's mapping what an order is: `order: { id: …, at: …, currency: …, net: … }`";
            self.add(mistake::UNKNOWN_STREAM, message, computed.at.clone(), help);
        }
        has_orders.then_some(kind)
    }

    /// The columns of all records of the stream; `None` when no pipeline leads it into profiles.
    pub(super) fn stream_columns(&mut self, computed: &ComputedTrait, ingests: &[Ingest<'_>]) -> Option<Columns> {
        let from = computed.from.as_str();
        let members: Vec<&Ingest<'_>> =
            ingests.iter().filter(|ingest| ingest.stream == from && is_in_profiles(ingest, ingests)).collect();
        if members.is_empty() {
            if !self.has_unasked_sources() {
                let mut known: Vec<&str> = ingests
                    .iter()
                    .filter(|ingest| is_in_profiles(ingest, ingests))
                    .map(|ingest| ingest.stream.as_str())
                    .collect();
                known.dedup();
                let at = self.sources.locate(&Subject::Traits, ["traits", &computed.name, "from"]);
                let help = near::suggestion(from, "streams that lead into profiles are", &known);
                self.add(mistake::UNKNOWN_STREAM, format!("no pipeline leads a stream `{from}` into profiles"), at, help);
            }
            return None;
        }
        let mut columns = Columns::default();
        for ingest in &members {
            columns.incomplete |= ingest.columns.incomplete;
            for field in &ingest.columns.fields {
                self.join(computed, &mut columns, field);
            }
        }
        let is_dropped = |class| self.policy(class) == PiiPolicy::Drop;
        columns.fields.retain(|field| !field.pii.is_some_and(is_dropped));
        add_canonical(&mut columns, &members, ingests);
        Some(columns)
    }

    fn join(&mut self, computed: &ComputedTrait, columns: &mut Columns, field: &affluent_model::schema::Field) {
        let known = columns.get(&field.name).map(|known| (known.kind, known.pii));
        let Some((kind, pii)) = known else {
            columns.put(&field.name, field.kind, field.pii);
            return;
        };
        match common_kind(kind, field.kind) {
            Some(common) => columns.put(&field.name, common, pii.or(field.pii)),
            None => {
                let message = format!(
                    "the column `{}` of `{}` is {} in one pipeline and {} in another",
                    field.name,
                    computed.from,
                    kind.as_str(),
                    field.kind.as_str()
                );
                let help = "cast it in a `map` transform of one of the pipelines";
                self.add(mistake::TYPE_CONFLICT, message, computed.at.clone(), help);
            }
        }
    }

    /// Reports a sealed column in an expression that is computed in the lake; false when there is one.
    pub(super) fn no_sealed(&mut self, expression: &Expression, used: &[String], columns: &Columns) -> bool {
        let sealed = used.iter().find(|name| columns.get(name).is_some_and(|field| self.is_sealed(field.pii)));
        let Some(name) = sealed else { return true };
        let offset = word_offset(&expression.text, name);
        let at = self.sources.inside(expression, offset, name.chars().count());
        let message = format!("`{name}` is personal and sealed: nothing can be computed from it here");
        let help = "compute what you need in a `map` transform, where values are in the clear, and use that column";
        self.add(mistake::PERSONAL_USE, message, at, help);
        false
    }
}

/// True when the stream is mapped, or holds the lines of a mapped order.
pub(super) fn is_in_profiles(ingest: &Ingest<'_>, ingests: &[Ingest<'_>]) -> bool {
    ingest.mapping().is_some() || order_of_lines(ingest, ingests)
}

fn order_of_lines(ingest: &Ingest<'_>, ingests: &[Ingest<'_>]) -> bool {
    let Some(parent) = &ingest.parent else { return false };
    let lines = |other: &Ingest<'_>| other.mapping().and_then(|mapping| mapping.order.as_ref()?.lines.clone());
    let same = |other: &&Ingest<'_>| std::ptr::eq(other.pipeline, ingest.pipeline) && other.stream == *parent;
    ingests.iter().filter(same).any(|other| lines(other).as_deref() == Some(ingest.stream.as_str()))
}

/// Canonical columns win over the stream's own.
fn add_canonical(columns: &mut Columns, members: &[&Ingest<'_>], ingests: &[Ingest<'_>]) {
    let is_order = members.iter().any(|ingest| ingest.mapping().is_some_and(|mapping| mapping.order.is_some()));
    let is_lines = members.iter().any(|ingest| order_of_lines(ingest, ingests));
    let has_time = columns.get("at").is_some_and(|field| field.kind == FieldType::Timestamp && field.pii.is_none());
    for (name, kind) in ORDER_COLUMNS {
        let wanted = is_order || (is_lines && LINE_COLUMNS.contains(&name)) || (!is_lines && name == "at" && !has_time);
        if wanted {
            columns.put(name, kind, None);
        }
    }
}

/// Where `name` stands in the text as a word of its own, in characters.
pub(super) fn word_offset(text: &str, name: &str) -> Option<usize> {
    let is_word = |character: char| character.is_alphanumeric() || character == '_';
    text.match_indices(name).find_map(|(index, found)| {
        let before = text.get(..index)?;
        let after = text.get(index + found.len()..)?;
        let alone = !before.ends_with(is_word) && !after.starts_with(is_word);
        alone.then(|| before.chars().count())
    })
}
