//! Black-box tests of the binary: one test binary, each test a rule. Tests that need the vendors' stand-ins are shown as
//! ignored where those are absent; `AFFLUENT_SHARED` names their folder (default: `../shared` beside the project).

#![expect(
    clippy::indexing_slicing,
    clippy::expect_used,
    clippy::string_slice,
    reason = "these are tests outside of `#[test]`: what is not there fails the test, as it should"
)]

mod activecampaign;
mod assess;
mod bad_input;
mod braze;
mod catalogue;
mod commands;
mod connection;
mod consent;
mod contract;
mod crash;
mod decisions;
mod erase;
mod erasure_calls;
mod erasure_files;
mod hubspot;
mod identifiers;
mod intercom;
mod keys;
mod mailchimp;
mod merges;
mod pipeline_tests;
mod plugin_author;
mod provenance;
mod purchases;
mod quickstart;
mod requests;
mod resolve;
mod salesforce;
mod sealed_rules;
mod segments;
mod sendgrid;
mod structure;
mod support;
mod survivorship;
mod tokens;
mod touched;
mod two_way;
mod vendors;
mod webhooks;

use libtest_mimic::{Arguments, Trial};

fn main() {
    let arguments = Arguments::from_args();
    let mut trials: Vec<Trial> = Vec::new();
    trials.extend(structure::trials());
    trials.extend(catalogue::trials());
    trials.extend(commands::trials());
    trials.extend(connection::trials());
    trials.extend(quickstart::trials());
    trials.extend(segments::trials());
    trials.extend(decisions::trials());
    trials.extend(erase::trials());
    trials.extend(erasure_calls::trials());
    trials.extend(erasure_files::trials());
    trials.extend(consent::trials());
    trials.extend(keys::trials());
    trials.extend(merges::trials());
    trials.extend(survivorship::trials());
    trials.extend(resolve::trials());
    trials.extend(identifiers::trials());
    trials.extend(sealed_rules::trials());
    trials.extend(assess::trials());
    trials.extend(bad_input::trials());
    trials.extend(crash::trials());
    trials.extend(pipeline_tests::trials());
    trials.extend(plugin_author::trials());
    trials.extend(provenance::trials());
    trials.extend(purchases::trials());
    trials.extend(tokens::trials());
    trials.extend(touched::trials());
    trials.extend(two_way::trials());
    trials.extend(vendors::trials());
    trials.extend(webhooks::trials());
    trials.extend(requests::trials());
    trials.extend(hubspot::trials());
    trials.extend(sendgrid::trials());
    trials.extend(braze::trials());
    trials.extend(salesforce::trials());
    trials.extend(intercom::trials());
    trials.extend(activecampaign::trials());
    trials.extend(mailchimp::trials());
    trials.extend(contract::trials());
    libtest_mimic::run(&arguments, trials).exit();
}
