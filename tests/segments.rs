//! Segments: sizes before they are written down, members by time, alerts of size.

use libtest_mimic::{Failed, Trial};
use serde_json::Value;

use crate::support::{Project, holds, rule, same};

pub(crate) fn trials() -> Vec<Trial> {
    vec![
        rule("segments: a condition is counted before it is written down and a mistake in it is told", a_condition_is_counted),
        rule("segments: a mistake inside a call is told at its place", a_mistake_has_its_place),
        rule("segments: who left is known at the time they were members", members_have_a_history),
        rule("segments: a change of size above the alert is told in report, status and exit code", a_change_of_size_is_told),
    ]
}

fn size(project: &Project, name: &str) -> Result<Value, Failed> {
    let (ended, sizes) = project.json(&["segment", "size", name]);
    ended.expect(0)?;
    Ok(sizes[0].clone())
}

fn a_condition_is_counted() -> Result<(), Failed> {
    let project = Project::copy_of("lifecycle");
    project.affluent(&["run", "--quiet"]).expect(0)?;
    let (ended, sizes) = project.json(&["segment", "size", "--where", "did('orders', net >= 50) >= 1 AND NOT is_staff"]);
    ended.expect(0)?;
    same("members", sizes[0]["members"].as_u64(), Some(2))?;
    same("profiles", sizes[0]["profiles"].as_u64(), Some(5))?;
    for (wrong, says) in [
        ("did('order') > 1", "did you mean `orders`?"),
        ("orders_counts > 1", "did you mean `orders_count`?"),
        ("orders_count", "true or false"),
        ("email = 'ann@x.test'", "email"),
    ] {
        project.affluent(&["segment", "size", "--where", wrong]).expect(2)?.says("E0300")?.says(says)?;
    }
    Ok(())
}

fn a_mistake_has_its_place() -> Result<(), Failed> {
    let project = Project::copy_of("lifecycle");
    let file = "profiles/segments.yaml";
    let text = project.read(file);
    for (right, wrong, says) in [
        ("net >= 100", "nett >= 100", "segments.yaml:9:58"),
        ("in_segment('lapsed')", "in_segment('lapst')", "there is no segment `lapst`"),
        ("consent('email_marketing')", "consent('email')", "there is no purpose with consent `email`"),
        ("[champions, loyal,", "[champions, loyale,", "did you mean `loyal`?"),
        ("where: \"is_staff\"", "where: \"in_segment('champions')\"", "E0206"),
        ("did('visits', '30d')", "did('customers', email = 'a')", "E0167"),
    ] {
        holds(text.contains(right), format!("the example lacks `{right}`"))?;
        project.write(file, &text.replace(right, wrong));
        let ended = project.affluent(&["validate"]).expect(2);
        ended.map_err(|failed| format!("{wrong}: {failed:?}"))?.says(says)?;
    }
    Ok(())
}

fn members_have_a_history() -> Result<(), Failed> {
    let project = Project::copy_of("lifecycle");
    project.affluent(&["run", "--quiet"]).expect(0)?;
    let before = size(&project, "win_back")?;
    same("members", before["members"].as_u64(), Some(3))?;
    let at = chrono::Utc::now().to_rfc3339();
    let customers = project.read("exports/customers.csv");
    let denied = customers.replace("Bo,false,true,2024-01-02", "Bo,false,false,2024-02-02");
    holds(denied != customers, "the example has Bo")?;
    project.write("exports/customers.csv", &denied);
    project.affluent(&["run", "--quiet"]).expect(0)?;
    for (arguments, expected) in [
        (vec!["segment", "members", "win_back"], 2),
        (vec!["segment", "members", "win_back", "--at", at.as_str()], 3),
        (vec!["segment", "members", "win_back", "--at", "2020-01-01"], 0),
    ] {
        let (ended, members) = project.json(&arguments);
        ended.expect(0)?;
        same("members", members["members"].as_u64(), Some(expected))?;
    }
    project.affluent(&["segment", "members", "win_back", "--at", "yesterday"]).expect(2)?.says("E0822")?;
    Ok(())
}

fn a_change_of_size_is_told() -> Result<(), Failed> {
    let project = Project::copy_of("lifecycle");
    let file = "profiles/segments.yaml";
    let text = project.read(file);
    project.write(file, &text.replace("min_members: 100", "min_members: 2"));
    project.affluent(&["run", "--quiet"]).expect(0)?;
    let orders = project.read("exports/orders.csv");
    let fewer: Vec<&str> = orders.lines().filter(|line| !line.starts_with("12,") && !line.starts_with("13,")).collect();
    project.write("exports/orders.csv", &fewer.join("\n"));
    let ended = project.affluent(&["run"]).expect(4)?;
    holds(ended.stdout.contains("alert        lapsed went from"), ended.stdout)?;
    let (ended, status) = project.json(&["status"]);
    ended.expect(0)?;
    same("alerts", status["alerts"][0]["segment"].as_str(), Some("lapsed"))?;
    project.affluent(&["run", "--quiet"]).expect(0)?;
    let (_, status) = project.json(&["status"]);
    same("alerts", status["alerts"].as_array().map(Vec::len), Some(0))
}
