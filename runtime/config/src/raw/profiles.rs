//! `profiles/identity.yaml`, `profiles/traits.yaml` and `profiles/segments.yaml`.

use schemars::JsonSchema;
use serde::Deserialize;

use crate::placed::{Named, Placed};
use crate::raw::matching::{RawAttribute, RawPreset, RawRecords, RawScore, RawTest, RawVeto};

/// What makes two records one profile.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawIdentity {
    /// Version of the file format: always 1.
    #[serde(rename = "version")]
    #[schemars(extend("const" = 1))]
    pub(crate) _version: u64,
    /// Kinds of identifiers; the order of the file is their priority where `priority` is absent. May be absent where rules
    /// compare attributes alone.
    #[schemars(extend("x-keys" = "name", "minProperties" = 1))]
    pub(crate) identifiers: Option<Named<RawIdentifier>>,
    /// What rules compare besides identifiers: attributes that pipelines map, or columns of the records of `affluent resolve`.
    #[schemars(extend("x-keys" = "name"))]
    pub(crate) attributes: Option<Named<RawAttribute>>,
    /// Records that share all identifiers of a rule and pass its comparisons are one profile; one rule per identifier when
    /// absent.
    pub(crate) rules: Option<Vec<Placed<RawRule>>>,
    /// Keeps records apart that contradict each other.
    pub(crate) veto: Option<Placed<RawVeto>>,
    /// Guard rails.
    pub(crate) limits: Option<RawIdentityLimits>,
    /// Reviewed pairs of records that are one profile, whatever rules say.
    pub(crate) must_link: Option<Placed<RawPairs>>,
    /// Reviewed pairs of records that are never one profile.
    pub(crate) cannot_link: Option<Placed<RawPairs>>,
    /// Columns of the files that `affluent resolve` reads.
    pub(crate) records: Option<RawRecords>,
    /// Attribute → which value a profile shows; `default` for all others.
    #[schemars(extend("x-keys" = "name"))]
    pub(crate) survivorship: Option<Named<RawSurvivorship>>,
}

/// At least one of the keys.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawPairs {
    /// CSV files of the project with a header; their first two columns are records: `shop/1234`.
    #[schemars(extend("minItems" = 1))]
    pub(crate) files: Option<Vec<Placed<String>>>,
    /// Lists of two records: `[shop/1234, crm/77]`.
    #[schemars(extend("minItems" = 1))]
    pub(crate) pairs: Option<Vec<Placed<Vec<Placed<String>>>>>,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawIdentifier {
    /// What its values are, which says how they are written; when absent, of the kinds `email` and `phone` what their names say, and
    /// of others `id`: text that is trimmed.
    pub(crate) is: Option<RawIdentifierForm>,
    /// Rank among identifiers, 1 = best; the place in the file when absent.
    #[schemars(range(min = 1))]
    pub(crate) priority: Option<u32>,
    /// Values that one profile may have; 5 when absent. Where better identifiers join records that have more, the values that
    /// were seen first stay and the others are refused.
    pub(crate) max_per_profile: Option<RawMaximum>,
    /// Two values are two persons, unless a better identifier says that they are one: then the value seen first stays.
    pub(crate) unique: Option<bool>,
    /// Records that one value may point to before it is blocked; `identifier_fanout` when absent.
    #[schemars(range(min = 1))]
    pub(crate) max_fanout: Option<u32>,
    /// Never joins records on its own.
    pub(crate) weak: Option<bool>,
    /// Marks an identifier of a device or a browser, and says what it joins when a known person is seen with it: `join`
    /// everybody; `first` anonymous records and the person first seen with it, no later one; `never` anonymous records alone. A
    /// record is known when it has an identifier without this mark; rules that ask for one of those too are not concerned.
    pub(crate) anonymous: Option<RawWhenKnown>,
    /// How values are made equal that are written in several ways. Of records that were read before, after `run --full`.
    pub(crate) normalize: Option<RawNormalize>,
    /// ISO 3166 region of phone numbers without a country: `FR`.
    #[schemars(extend("x-affluent" = "region"))]
    pub(crate) region: Option<Placed<String>>,
    /// Values that join nothing; `*` stands for any text: `noreply@*`.
    #[schemars(extend("items" = { "type": "string", "x-affluent": "filled" }))]
    pub(crate) block: Option<Vec<Placed<String>>>,
    /// Shipped lists of values that join nothing, or not on their own.
    pub(crate) presets: Option<Vec<RawPreset>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum RawIdentifierForm {
    Email,
    Phone,
    Id,
}

/// A number, for ever, or a number and a period.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename = "$kind", rename_all = "snake_case")]
#[schemars(untagged)]
pub(crate) enum RawMaximum {
    #[schemars(extend("minimum" = 1))]
    Text(u32),
    Map(RawMaximumPer),
}

#[derive(Debug, Clone, Copy, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawMaximumPer {
    /// Values of a profile that were first seen within the same period.
    #[schemars(range(min = 1))]
    pub(crate) max: u32,
    /// Any 7, 30 or 365 days; for ever when absent.
    pub(crate) per: Option<RawPeriod>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum RawWhenKnown {
    Join,
    First,
    Never,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum RawPeriod {
    Ever,
    Week,
    Month,
    Year,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawNormalize {
    /// Of e-mail addresses: `strip` removes what mail providers ignore: `+tag` at Gmail, Outlook, iCloud, Fastmail and Proton, `-tag` at
    /// Yahoo; `keep` when absent.
    pub(crate) plus_tags: Option<Placed<RawStrip>>,
    /// Of e-mail addresses: `strip` removes the dots of gmail addresses; `keep` when absent.
    pub(crate) gmail_dots: Option<Placed<RawStrip>>,
    /// Of e-mail addresses: domain → the domain whose mailboxes are the same: `{ googlemail.com: gmail.com, pm.me: proton.me }`.
    #[schemars(extend("x-keys" = "mail_domain", "additionalProperties" = { "type": "string", "x-affluent": "mail_domain" }))]
    pub(crate) domain_aliases: Option<Named<Placed<String>>>,
    /// Whether the case of letters tells two values apart: `lower` or `preserve`, of e-mail addresses before the `@`. When absent,
    /// `lower` of those, and `preserve` of others.
    pub(crate) case: Option<RawCase>,
}

/// A word, or domains.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename = "$kind", rename_all = "snake_case")]
#[schemars(untagged)]
pub(crate) enum RawCase {
    Text(RawCaseWord),
    Map(RawCaseAt),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum RawCaseWord {
    Lower,
    Preserve,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawCaseAt {
    /// Of e-mail addresses: domains whose mailboxes are told apart by case.
    #[schemars(extend("minItems" = 1, "items" = { "type": "string", "x-affluent": "mail_domain" }))]
    pub(crate) preserve: Vec<Placed<String>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum RawStrip {
    Strip,
    Keep,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawRule {
    /// Shown where a profile is explained.
    #[schemars(extend("x-affluent" = "words"))]
    pub(crate) name: Placed<String>,
    /// Identifiers that must all be equal; may be absent beside `compare`, and is beside `score`.
    #[schemars(extend("minItems" = 1))]
    pub(crate) all: Option<Vec<Placed<String>>>,
    /// `names` (given and family name together) or an attribute → what a pair must show.
    #[schemars(extend("x-keys" = "name", "minProperties" = 1))]
    pub(crate) compare: Option<Named<RawTest>>,
    /// Attributes weighed together, instead of `all` and `compare`.
    pub(crate) score: Option<Placed<RawScore>>,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawIdentityLimits {
    /// Records in one profile; 200 when absent.
    #[schemars(range(min = 1))]
    pub(crate) profile_records: Option<u32>,
    /// Records that one identifier may point to; 50 when absent.
    #[schemars(range(min = 1))]
    pub(crate) identifier_fanout: Option<u32>,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename = "$kind", rename_all = "snake_case")]
#[schemars(untagged)]
pub(crate) enum RawSurvivorship {
    Text(RawSurvivorshipWord),
    Map(RawPrefer),
}

#[derive(Debug, Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum RawSurvivorshipWord {
    MostRecent,
    FirstSeen,
    MostCompleteRecord,
    MostFrequent,
    Longest,
    Min,
    Max,
    AnyTrue,
    AllTrue,
    Union,
    Sum,
    ConsentStrictest,
}

/// Strategies that compare or combine values are not for attributes whose values are sealed; under `default`, those show
/// their most recent value.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawPrefer {
    /// Connections, best first.
    #[schemars(extend("minItems" = 1))]
    pub(crate) prefer: Option<Vec<Placed<String>>>,
    /// How the value is chosen, or made, within the best connection; `most_recent` when absent. `most_complete_record` takes it of
    /// the record that has most of the attributes with this strategy, so that what belongs together comes from one.
    /// `consent_strictest` hears all records: it goes with neither `prefer` nor `max_age`.
    pub(crate) strategy: Option<RawSurvivorshipWord>,
    /// Values of older records are not shown: `365d`.
    #[schemars(extend("x-affluent" = "duration"))]
    pub(crate) max_age: Option<Placed<String>>,
    /// `false` lets the record that is chosen show that it says nothing, by `most_recent` or `most_complete_record`. When absent,
    /// records without a value are passed over, and those with an empty text, list or document.
    pub(crate) ignore_empty: Option<Placed<bool>>,
}

/// Values computed for every profile.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawTraits {
    /// Version of the file format: always 1.
    #[serde(rename = "version")]
    #[schemars(extend("const" = 1))]
    pub(crate) _version: u64,
    /// Computed trait → how it is computed.
    #[schemars(extend("x-keys" = "name"))]
    pub(crate) traits: Named<Placed<RawTrait>>,
}

/// Exactly one of `sql` and `most_frequent` with `from`, or of `rfm` and `predict`, which are made of all orders.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawTrait {
    /// Stream whose records are counted, such as `orders`; of an order also id, at, currency, net and status.
    pub(crate) from: Option<Placed<String>>,
    /// One SQL aggregate: `sum(net)`.
    #[schemars(extend("x-affluent" = "filled"))]
    pub(crate) sql: Option<Placed<String>>,
    /// The value of this column, or expression, that most records have; ties: the smaller.
    #[schemars(extend("x-affluent" = "filled"))]
    pub(crate) most_frequent: Option<Placed<String>>,
    /// The value of this column, or expression, that the profile has not, and that goes best with those it has: the highest lift
    /// among pairs that ten profiles share and chance does not explain.
    #[schemars(extend("x-affluent" = "filled"))]
    pub(crate) recommend: Option<Placed<String>>,
    /// Only records of this last time: `90d`.
    #[schemars(extend("x-affluent" = "duration"))]
    pub(crate) window: Option<Placed<String>>,
    /// Bins by last order, number of orders and net revenue, as the number `100 R + 10 F + M`; the best bin is the highest.
    pub(crate) rfm: Option<RawRfm>,
    /// What a model of repeat buying expects of the customer; null where the data are too few, with the reason in the model card.
    pub(crate) predict: Option<Placed<RawPredict>>,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawRfm {
    /// Bins of each of the three; 5 when absent. Equal values share a bin.
    #[schemars(range(min = 2, max = 9))]
    pub(crate) bins: Option<u32>,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawPredict {
    /// What the trait shows; `lifetime_value` when `gamma_gamma` is among the models, else `expected_orders`.
    pub(crate) value: Option<RawPredictedValue>,
    /// One model of repeat buying, and `gamma_gamma` for values; `mbg_nbd` when absent.
    #[schemars(extend("minItems" = 1))]
    pub(crate) model: Option<Vec<RawModel>>,
    /// How far ahead, in whole days: `90d`, which it is when absent.
    #[schemars(extend("x-affluent" = "duration"))]
    pub(crate) horizon: Option<Placed<String>>,
    /// Part of the revenue that a lifetime value counts; `100%` when absent.
    #[schemars(extend("x-affluent" = "percent"))]
    pub(crate) margin: Option<Placed<String>>,
    /// What money loses in a month; `1%` when absent.
    #[schemars(extend("x-affluent" = "percent"))]
    pub(crate) discount_monthly: Option<Placed<String>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum RawPredictedValue {
    /// Days with orders within the horizon.
    ExpectedOrders,
    /// Discounted margin of the orders within the horizon; needs `gamma_gamma`.
    LifetimeValue,
    /// Probability of no order within the horizon.
    Churn,
    /// Probability that the customer has not stopped.
    Alive,
    /// Date of the next order, by the customer's own rhythm and that of all.
    NextOrder,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum RawModel {
    /// May stop after any order.
    MbgNbd,
    /// May stop after a repeat order only.
    BgNbd,
    /// May stop at any time.
    ParetoNbd,
    /// Values of orders.
    GammaGamma,
}

/// Rules over profiles.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawSegments {
    /// Version of the file format: always 1.
    #[serde(rename = "version")]
    #[schemars(extend("const" = 1))]
    pub(crate) _version: u64,
    /// Segment → who belongs to it.
    #[schemars(extend("x-keys" = "name"))]
    pub(crate) segments: Named<Placed<RawSegment>>,
    /// List → segments, first first: a profile is a member of the first one of a list that it fits, and of no other of it.
    #[schemars(extend("x-keys" = "name"))]
    pub(crate) priority_lists: Option<Named<Vec<Placed<String>>>>,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawSegment {
    /// For people.
    pub(crate) description: Option<String>,
    /// SQL condition over attributes and computed traits, and what `did`, `did_not`, `did_sequence`, `consent` and
    /// `in_segment` say: `did('orders', '90d', net >= 50) >= 2`.
    #[serde(rename = "where")]
    #[schemars(extend("x-affluent" = "filled"))]
    pub(crate) condition: Placed<String>,
    /// Members of these segments are left out.
    pub(crate) exclude: Option<Vec<Placed<String>>>,
    /// Tells in the report of a run when the size changed by more than this.
    pub(crate) alert: Option<Placed<RawAlert>>,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawAlert {
    /// Share of the members before the run that may enter or leave, on balance.
    #[schemars(extend("x-affluent" = "percent"))]
    pub(crate) change: Placed<String>,
    /// The share is not looked at while there are fewer members, before and after; 100 when absent.
    pub(crate) min_members: Option<u64>,
}
