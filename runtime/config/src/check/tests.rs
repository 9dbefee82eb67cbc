//! Tests of pipelines: what they give must be read by somebody, and what they expect must be able to come. A name that
//! nobody knows is a mistake here, so that no test passes because of a typing error.

use affluent_model::diagnostic::Location;
use affluent_model::pipeline_test::{ExpectedDelivery, ExpectedProfile, GivenRows, GivenStream, PipelineTest, PlacedValue};
use affluent_model::plan::{Pipeline, PipelineDestination, PipelineSource};
use affluent_model::schema::StreamSchema;

use super::Checker;
use super::columns::Columns;
use crate::mistake;
use crate::near;

/// A stream that a test may give, and its fields.
struct Readable<'a> {
    pipeline: &'a str,
    schema: &'a StreamSchema,
}

impl<'a> Checker<'a> {
    pub(super) fn tests(&mut self, columns: &Columns) {
        if self.is_partial {
            // What a name refers to may stand in a file that was left out.
            return;
        }
        let plan = self.plan;
        for pipeline in plan.pipelines.values().filter(|pipeline| !pipeline.tests.is_empty()) {
            let mut names: Vec<&str> = Vec::new();
            for test in &pipeline.tests {
                if names.contains(&test.name.as_str()) {
                    let message = format!("a test of this pipeline is named `{}` already", test.name);
                    self.add(mistake::DUPLICATE_NAME, message, test.at.clone(), "give it another name");
                }
                names.push(&test.name);
                self.test(pipeline, test, columns);
            }
        }
    }

    fn test(&mut self, pipeline: &'a Pipeline, test: &'a PipelineTest, columns: &Columns) {
        let (readable, is_known) = self.readable(pipeline);
        for given in &test.given {
            self.given(given, &readable, is_known);
        }
        for profile in &test.expect.profiles {
            self.expected_profile(profile, columns);
        }
        for delivery in &test.expect.deliveries {
            self.expected_delivery(pipeline, delivery);
        }
        let sent: Vec<&str> = self.objects();
        for letters in &test.expect.dead_letters {
            let Some(stream) = &letters.stream else { continue };
            let mut known: Vec<&str> = readable.iter().map(|one| one.schema.name.as_str()).collect();
            if is_known && !known.contains(&stream.name.as_str()) && !sent.contains(&stream.name.as_str()) {
                known.dedup();
                self.unknown(mistake::UNKNOWN_STREAM, "stream", &stream.name, &known, &stream.at);
            }
        }
    }

    /// The streams that a test of a pipeline may give; false when some source could not be asked.
    fn readable(&self, pipeline: &'a Pipeline) -> (Vec<Readable<'a>>, bool) {
        let plan = self.plan;
        let is_own = matches!(pipeline.source, PipelineSource::Connection { .. });
        let readers = plan.pipelines.values().filter(|one| {
            if is_own { one.name == pipeline.name } else { matches!(one.destination, PipelineDestination::Profiles { .. }) }
        });
        let (mut readable, mut is_known) = (Vec::new(), true);
        for reader in readers {
            let PipelineSource::Connection { connection, streams, .. } = &reader.source else { continue };
            let Some(offered) = self.catalog.streams(connection) else {
                is_known = false;
                continue;
            };
            let is_read = |schema: &&StreamSchema| {
                let parent = schema.parent.as_ref().map(|parent| &parent.stream);
                streams.iter().any(|read| read.name == schema.name || Some(&read.name) == parent)
            };
            readable.extend(offered.iter().filter(is_read).map(|schema| Readable { pipeline: &reader.name, schema }));
        }
        (readable, is_known)
    }

    fn given(&mut self, given: &GivenStream, readable: &[Readable<'_>], is_known: bool) {
        let is_meant = |one: &&Readable<'_>| {
            one.schema.name == given.stream && given.pipeline.as_deref().is_none_or(|pipeline| pipeline == one.pipeline)
        };
        let meant: Vec<&Readable<'_>> = readable.iter().filter(is_meant).collect();
        match meant.as_slice() {
            [] if is_known => {
                let whole = given.pipeline.as_ref().map(|pipeline| format!("{pipeline}.{}", given.stream));
                let known: Vec<String> = match whole {
                    Some(_) => readable.iter().map(|one| format!("{}.{}", one.pipeline, one.schema.name)).collect(),
                    None => readable.iter().map(|one| one.schema.name.clone()).collect(),
                };
                let known: Vec<&str> = known.iter().map(String::as_str).collect();
                let name = whole.as_deref().unwrap_or(&given.stream);
                self.unknown(mistake::UNKNOWN_STREAM, "stream", name, &known, &given.at);
            }
            [] => {}
            [one] => {
                let fields: Vec<&str> = one.schema.fields.iter().map(|field| field.name.as_str()).collect();
                if let GivenRows::Rows(rows) = &given.rows {
                    self.names(mistake::UNKNOWN_FIELD, "field", rows.iter().flatten(), &fields);
                }
            }
            [one, ..] => {
                let message = format!("several pipelines read a stream `{}`", given.stream);
                let help = format!("say whose it is: `{}.{}`", one.pipeline, given.stream);
                self.add(mistake::COMBINATION, message, given.at.clone(), help);
            }
        }
    }

    fn expected_profile(&mut self, profile: &ExpectedProfile, columns: &Columns) {
        let plan = self.plan;
        let identifiers: Vec<&str> = plan.identity.identifiers.iter().map(|rule| rule.name.as_str()).collect();
        self.names(mistake::UNKNOWN_IDENTIFIER, "identifier", profile.identifiers.iter(), &identifiers);
        let traits: Vec<&str> = plan.traits.iter().map(|computed| computed.name.as_str()).collect();
        self.names(mistake::UNKNOWN_ATTRIBUTE, "computed trait", profile.traits.iter(), &traits);
        if !columns.incomplete {
            let attributes: Vec<&str> = columns.names().into_iter().filter(|name| !traits.contains(name)).collect();
            self.names(mistake::UNKNOWN_ATTRIBUTE, "attribute", profile.attributes.iter(), &attributes);
        }
        let mut purposes: Vec<&str> = Vec::new();
        for pipeline in plan.pipelines.values() {
            if let PipelineDestination::Profiles { streams, .. } = &pipeline.destination {
                purposes
                    .extend(streams.values().flat_map(|mapping| &mapping.consent).map(|consent| consent.terms.purpose.as_str()));
            }
        }
        purposes.sort_unstable();
        purposes.dedup();
        self.names(mistake::UNKNOWN_PURPOSE, "purpose", profile.consent.iter(), &purposes);
        let segments: Vec<&str> = plan.segments.iter().map(|segment| segment.name.as_str()).collect();
        for segment in profile.segments.iter().flatten() {
            if !segments.contains(&segment.name.as_str()) {
                self.unknown(mistake::UNKNOWN_SEGMENT, "segment", &segment.name, &segments, &segment.at);
            }
        }
    }

    fn expected_delivery(&mut self, own: &Pipeline, delivery: &ExpectedDelivery) {
        let plan = self.plan;
        let name = delivery.pipeline.as_ref().map_or(&own.name, |pipeline| &pipeline.name);
        let at = delivery.pipeline.as_ref().map_or(&delivery.at, |pipeline| &pipeline.at);
        let senders = plan.pipelines.values().filter_map(|pipeline| match &pipeline.destination {
            PipelineDestination::Connection(destination) => Some((pipeline.name.as_str(), destination)),
            PipelineDestination::Profiles { .. } => None,
        });
        let senders: Vec<_> = senders.collect();
        let Some((_, destination)) = senders.iter().find(|(sender, _)| sender == name) else {
            let known: Vec<&str> = senders.iter().map(|(sender, _)| *sender).collect();
            if delivery.pipeline.is_some() {
                self.unknown(mistake::UNKNOWN_PIPELINE, "sending pipeline", name, &known, at);
            } else {
                let help = format!("name the one that does: `pipeline: {}`", known.first().unwrap_or(&"…"));
                self.add(mistake::MISSING_KEY, format!("`{name}` sends nothing"), at.clone(), help);
            }
            return;
        };
        if delivery.upserts.is_none() && delivery.removes.is_none() {
            self.add(mistake::MISSING_KEY, "nothing is expected of this delivery", at.clone(), "write `upserts` or `removes`");
        }
        let fields: Vec<&str> = destination.match_by.iter().chain(&destination.map).map(|field| field.name.as_str()).collect();
        let rows = delivery.upserts.iter().chain(&delivery.removes).flatten().flatten();
        self.names(mistake::UNKNOWN_FIELD, "field", rows, &fields);
    }

    /// What destinations call the rows they refuse.
    fn objects(&self) -> Vec<&'a str> {
        let plan = self.plan;
        let object = |pipeline: &'a std::sync::Arc<Pipeline>| match &pipeline.destination {
            PipelineDestination::Connection(destination) => Some(destination.object.as_str()),
            PipelineDestination::Profiles { .. } => None,
        };
        plan.pipelines.values().filter_map(object).collect()
    }

    /// Reports each name among the values that is not known, once.
    fn names<'v>(&mut self, code: &'static str, what: &str, values: impl Iterator<Item = &'v PlacedValue>, known: &[&str]) {
        let mut told: Vec<&str> = Vec::new();
        for value in values {
            if !known.contains(&value.name.as_str()) && !told.contains(&value.name.as_str()) {
                told.push(&value.name);
                self.unknown(code, what, &value.name, known, &value.at);
            }
        }
    }

    fn unknown(&mut self, code: &'static str, what: &str, name: &str, known: &[&str], at: &Location) {
        let help = near::suggestion(name, "known:", known);
        self.add(code, format!("unknown {what} `{name}`"), at.clone(), help);
    }
}
