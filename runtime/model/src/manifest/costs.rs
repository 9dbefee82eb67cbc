//! What a plugin says its work costs in requests, so that a plan can tell before anything is sent.

use std::collections::BTreeMap;
use std::num::NonZeroU32;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Manifest, PluginKind};

const METHODS: [&str; 5] = ["GET", "POST", "PUT", "PATCH", "DELETE"];

/// What reading and writing takes in requests. Refusals, what is sent again and further questions after a job come on top.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Costs {
    /// Requests a day that the vendor grants the smallest account with access to its API. A plan is measured by it; it is the vendor
    /// that keeps it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub requests_per_day: Option<u64>,
    /// Stream, or `*` for all others → what reading all of it takes; nothing is known of a stream that is not there.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub read: BTreeMap<String, Vec<RequestCost>>,
    /// Object, or `*` for all others → what writing it takes; rows of which it says nothing take a request for each batch of them.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub write: BTreeMap<String, Vec<RequestCost>>,
}

/// Requests of one kind.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RequestCost {
    /// `METHOD /path` that they begin with, as limits name them ([`super::RateLimit::matches`]).
    pub request: String,
    /// How many.
    #[serde(default = "one", skip_serializing_if = "is_one")]
    pub requests: NonZeroU32,
    /// For each so many rows of a batch or a page, begun ones counted; once a run when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub per_rows: Option<NonZeroU32>,
    /// Only for batches of so many rows or more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from_rows: Option<NonZeroU32>,
    /// Only for batches of fewer rows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub below_rows: Option<NonZeroU32>,
    /// Which rows cost them.
    #[serde(default, skip_serializing_if = "is_handled")]
    pub of: CostOf,
}

/// The rows that cost requests.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum CostOf {
    /// Those that are read, or created or updated.
    #[default]
    Rows,
    /// The same once more, where a list is kept.
    Listed,
    /// Those that are removed.
    Removed,
}

impl Costs {
    /// The name of streams and objects that are not named themselves.
    pub const OTHERS: &str = "*";

    pub(super) fn is_unsaid(&self) -> bool {
        *self == Self::default()
    }

    /// What reading all of a stream takes; empty where nothing is known.
    #[must_use]
    pub fn of_reading(&self, stream: &str) -> &[RequestCost] {
        self.read.get(stream).or_else(|| self.read.get(Self::OTHERS)).map_or(&[], Vec::as_slice)
    }

    /// What writing an object takes, rows that are removed included.
    #[must_use]
    pub fn of_writing(&self, object: &str) -> Vec<RequestCost> {
        let said = self.write.get(object).or_else(|| self.write.get(Self::OTHERS)).map_or(&[][..], Vec::as_slice);
        let is_said = |of| said.iter().any(|cost| cost.of == of && cost.per_rows.is_some());
        let unsaid = [CostOf::Rows, CostOf::Removed].into_iter().filter(|of| !is_said(*of));
        said.iter().cloned().chain(unsaid.map(RequestCost::a_batch)).collect()
    }
}

impl RequestCost {
    /// One request for each batch: what is assumed of a destination that does not say.
    fn a_batch(of: CostOf) -> Self {
        let per_rows = Some(NonZeroU32::MAX);
        Self { request: String::new(), requests: NonZeroU32::MIN, per_rows, from_rows: None, below_rows: None, of }
    }

    /// Requests for so many rows in batches of `batch_rows`; none for no rows.
    #[must_use]
    pub fn requests_for(&self, rows: u64, batch_rows: u64) -> u64 {
        let batch_rows = batch_rows.max(1);
        let bound = |rows: Option<NonZeroU32>, none: u64| rows.map_or(none, |rows| u64::from(rows.get()));
        let costing = bound(self.from_rows, 1)..bound(self.below_rows, u64::MAX);
        let times = match self.per_rows.map(|each| u64::from(each.get())) {
            None => u64::from(rows > 0),
            Some(each) => [(batch_rows, rows / batch_rows), (rows % batch_rows, 1)]
                .into_iter()
                .filter(|(batch, _)| costing.contains(batch))
                .map(|(batch, batches)| batches * batch.div_ceil(each))
                .sum(),
        };
        times.saturating_mul(u64::from(self.requests.get()))
    }
}

impl Manifest {
    /// Every mistake in what is said of costs, with what to do.
    #[must_use]
    pub fn cost_mistakes(&self) -> Vec<String> {
        let sides = [
            ("read", &self.costs.read, PluginKind::Source, "reads"),
            ("write", &self.costs.write, PluginKind::Destination, "writes"),
        ];
        let mut found = Vec::new();
        for (side, costs, kind, does) in sides {
            if !costs.is_empty() && !self.kinds.contains(&kind) {
                found.push(format!("costs.{side}: the plugin is no {}, and {does} nothing: remove it", kind.as_str()));
            }
            for (name, cost) in costs.iter().flat_map(|(name, costs)| costs.iter().map(move |cost| (name, cost))) {
                if cost.per_rows.is_none() && (cost.from_rows.is_some() || cost.below_rows.is_some()) {
                    found.push(format!("costs.{side}.{name}: `from_rows` and `below_rows` are for batches: add `per_rows`"));
                }
                let is_request = cost.request.split_once(" /").is_some_and(|(method, _)| METHODS.contains(&method));
                if side == "read" && cost.of != CostOf::Rows {
                    found.push(format!("costs.{side}.{name}: `of` is for rows that are written: remove it"));
                }
                if !is_request {
                    let request = &cost.request;
                    found.push(format!(
                        "costs.{side}.{name}: `{request}` is no request: write `METHOD /path`, as in `GET /contacts`"
                    ));
                }
            }
        }
        found
    }
}

fn one() -> NonZeroU32 {
    NonZeroU32::MIN
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands over a reference")]
fn is_one(requests: &NonZeroU32) -> bool {
    *requests == NonZeroU32::MIN
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands over a reference")]
fn is_handled(of: &CostOf) -> bool {
    *of == CostOf::Rows
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn cost(per_rows: Option<u32>, requests: u32) -> RequestCost {
        serde_json::from_value(json!({ "request": "GET /a", "requests": requests, "per_rows": per_rows })).unwrap()
    }

    #[test]
    fn requests_are_counted_batch_by_batch() {
        for (cost, rows, batch_rows, expected) in [
            (cost(None, 2), 1_000, 75, 2),
            (cost(None, 2), 0, 75, 0),
            (cost(Some(75), 1), 1_000, 75, 14),
            (cost(Some(75), 1), 1_000, 10, 100),
            (cost(Some(1), 1), 1_000, 50, 1_000),
            // Ten batches of 100 rows, of which each is looked for 40 at a time.
            (cost(Some(40), 1), 1_000, 100, 30),
            (RequestCost::a_batch(CostOf::Removed), 1_001, 1_000, 2),
        ] {
            assert_eq!(cost.requests_for(rows, batch_rows), expected, "{cost:?} {rows} {batch_rows}");
        }
    }

    #[test]
    fn small_batches_may_cost_something_else() {
        let one_by_one: RequestCost =
            serde_json::from_value(json!({ "request": "POST /a", "per_rows": 1, "below_rows": 10 })).unwrap();
        let jobs: RequestCost =
            serde_json::from_value(json!({ "request": "POST /b", "per_rows": 250, "from_rows": 10 })).unwrap();

        let of = |rows| (one_by_one.requests_for(rows, 250), jobs.requests_for(rows, 250));

        assert_eq!([0, 9, 10, 250, 259].map(of), [(0, 0), (9, 0), (0, 1), (0, 1), (9, 1)]);
        assert_eq!(one_by_one.requests_for(20, 5), 20);
    }

    #[test]
    fn what_is_not_named_costs_what_the_others_do_and_unsaid_rows_a_request_a_batch() {
        let costs: Costs = serde_json::from_value(json!({
            "read": { "people": [{ "request": "GET /people", "per_rows": 100 }], "*": [{ "request": "GET /all" }] },
            "write": { "people": [{ "request": "GET /fields" }, { "request": "DELETE /people", "per_rows": 1, "of": "removed" }] },
        }))
        .unwrap();

        assert_eq!(costs.of_reading("people")[0].request, "GET /people");
        assert_eq!(costs.of_reading("orders")[0].request, "GET /all");
        let said = &costs.write["people"];
        let rows = RequestCost::a_batch(CostOf::Rows);
        assert_eq!(costs.of_writing("people"), [said[0].clone(), said[1].clone(), rows.clone()]);
        assert_eq!(costs.of_writing("orders"), [rows, RequestCost::a_batch(CostOf::Removed)]);
        assert_eq!(Costs::default().of_reading("people"), []);
    }

    fn mistakes(kind: &str, costs: &Value) -> Vec<String> {
        let manifest = json!({
            "manifest_version": 1, "name": "shop", "version": "0.1.0", "kinds": [kind], "config_schema": {}, "costs": costs,
        });
        serde_json::from_value::<Manifest>(manifest).unwrap().cost_mistakes()
    }

    #[test]
    fn costs_that_cannot_be_are_told_with_all_mistakes() {
        let of = |request: &str| json!({ "people": [{ "request": request }] });
        for (kind, costs, expected) in [
            ("source", json!({}), 0),
            ("source", json!({ "read": of("GET /people") }), 0),
            ("destination", json!({ "write": of("PATCH /people") }), 0),
            ("source", json!({ "read": of("/people") }), 1),
            ("source", json!({ "read": of("get /people") }), 1),
            ("source", json!({ "read": { "people": [{ "request": "GET /people", "of": "removed" }] } }), 1),
            ("source", json!({ "read": { "people": [{ "request": "GET /people", "below_rows": 10 }] } }), 1),
            ("transform", json!({ "read": of("GET people"), "write": of("POST /people") }), 3),
        ] {
            assert_eq!(mistakes(kind, &costs).len(), expected, "{kind} {costs}");
        }
    }
}
