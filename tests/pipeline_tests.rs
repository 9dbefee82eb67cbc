//! `affluent test`: the tests that stand in pipelines.

use libtest_mimic::{Failed, Trial};
use serde_json::Value;

use crate::support::{Project, holds, rule, same};

pub(crate) fn trials() -> Vec<Trial> {
    vec![
        rule("pipeline tests: the tests of every example pass and leave no data", examples_pass),
        rule("pipeline tests: a wrong expectation fails with what was found", a_wrong_expectation_fails),
        rule("pipeline tests: a typing error in a test is a mistake and never passes", a_typing_error_is_a_mistake),
        rule("pipeline tests: a record that does not fit, and a name that no test has, are told", what_cannot_run_is_told),
    ]
}

fn examples_pass() -> Result<(), Failed> {
    for (example, count) in [
        ("quickstart", 2),
        ("shopify-to-klaviyo", 3),
        ("lifecycle", 1),
        ("consent", 2),
        ("hubspot", 2),
        ("salesforce", 2),
        ("sendgrid", 2),
        ("activecampaign", 2),
        ("braze", 2),
        ("intercom", 2),
        ("mailchimp", 2),
    ] {
        let project = Project::copy_of(example);
        let (ended, tested) = project.json(&["test", "--var", "shop=demo"]);
        ended.expect(0)?;
        same("tests", tested.as_array().map_or(0, Vec::len), count)?;
        for left in [".affluent/test", ".affluent/ledger.sqlite", "out"] {
            holds(!project.path().join(left).exists(), format!("{left} is left behind"))?;
        }
    }
    Ok(())
}

/// The mismatches of the only test whose name holds a text.
fn mismatches(project: &Project, name: &str) -> Result<Vec<Value>, Failed> {
    let (ended, tested) = project.json(&["test", "--name", name]);
    ended.expect(4)?;
    Ok(tested[0]["mismatches"].as_array().cloned().unwrap_or_default())
}

fn a_wrong_expectation_fails() -> Result<(), Failed> {
    let project = Project::copy_of("quickstart");
    let file = "pipelines/lapsed_vip_to_email_tool.yaml";
    let text = project.read(file);
    for (right, wrong, what, found) in [
        ("properties.spent: 120", "properties.spent: 121", "properties.spent of the row", "120"),
        ("without_consent: 1", "without_consent: 0", "count without_consent", "1"),
        ("segments: [lapsed_vip]", "segments: []", "segments", "[lapsed_vip]"),
        ("removes: []", "removes: [ { email: bo@x.test } ]", "delete: a row", "nothing sent"),
    ] {
        holds(text.contains(right), format!("the example lacks `{right}`"))?;
        project.write(file, &text.replace(right, wrong));
        let mismatches = mismatches(&project, "a good buyer")?;
        let is_told = |mismatch: &&Value| {
            let says = |key: &str, text: &str| mismatch[key].as_str().unwrap_or_default().contains(text);
            says("what", what) && says("found", found)
        };
        holds(mismatches.iter().any(|mismatch| is_told(&mismatch)), format!("{wrong}: {mismatches:?}"))?;
    }
    let shown = project.affluent(&["test", "--name", "a good buyer"]).expect(4)?.says("✗")?.says("- expected")?;
    holds(shown.stdout.contains("1 of 1 test failed"), shown.stdout)
}

fn a_typing_error_is_a_mistake() -> Result<(), Failed> {
    let project = Project::copy_of("quickstart");
    let file = "pipelines/shop_to_profiles.yaml";
    let text = project.read(file);
    for (right, wrong, code) in [
        ("orders_count: 2", "order_count: 2", "E0211"),
        ("      customers:\n        - { customer_id: c1, email", "      custmers:\n        - { customer_id: c1, email", "E0203"),
        ("order_id: o2, email", "order_id: o2, emial", "E0210"),
        ("segments: []", "segment: []", "E0150"),
    ] {
        holds(text.contains(right), format!("the example lacks `{right}`"))?;
        project.write(file, &text.replace(right, wrong));
        project.affluent(&["test"]).expect(2)?.says(code)?.says("did you mean")?;
        project.affluent(&["validate"]).expect(2)?.says(code)?;
    }
    Ok(())
}

fn what_cannot_run_is_told() -> Result<(), Failed> {
    let project = Project::copy_of("quickstart");
    let file = "pipelines/shop_to_profiles.yaml";
    let text = project.read(file);
    project.affluent(&["test", "--name", "no such name"]).expect(2)?.says("E0926")?;
    project.write(file, &text.replace("total: 22.50", "total: much"));
    holds(!mismatches(&project, "a guest")?.is_empty(), "a total of `much` passed")?;
    project.write("fixtures/orders.csv", "order_id,total\no1\n");
    project.affluent(&["test", "--name", "a good buyer"]).expect(2)?.says("E0927")?.says("line 2")?;
    Ok(())
}
