//! What a person may ask for: everything held of them, and to be forgotten, by a process that may be killed anywhere.

use libtest_mimic::{Failed, Trial};
use serde_json::Value;

use crate::support::{Project, RESUME, holds, killed_while_erasing, rule, same};

pub(crate) fn trials() -> Vec<Trial> {
    vec![
        rule(
            "erase: an export holds identifiers, records, consent, segments and recipients of the person alone",
            an_export_is_whole,
        ),
        rule(
            "erase: an erased person is gone, told to destinations and stays out of every full sync",
            an_erased_person_stays_out,
        ),
        rule("erase: what was bought as a guest is erased and stays out too", guests_are_erased),
        rule("erase: an erased address stays out under every identifier of addresses", addresses_by_other_names),
        rule("erase: a destination without a way to remove is not supported", what_cannot_be_told),
        rule("erase: killed anywhere and resumed ends as if never killed", killed_anywhere),
    ]
}

/// The example, run once.
fn lifecycle() -> Result<Project, Failed> {
    let project = Project::copy_of("lifecycle");
    project.affluent(&["run", "--quiet"]).expect(0)?;
    Ok(project)
}

fn an_export_is_whole() -> Result<(), Failed> {
    let project = lifecycle()?;
    let (ended, export) = project.json(&["profile", "export", "email:bo@x.test"]);
    let ended = ended.expect(0)?;
    same("identifiers", export["identifiers"].to_string().as_str(), r#"[["email","bo@x.test"],["shop_customer","2"]]"#)?;
    let sources: Vec<&str> =
        export["records"].as_array().into_iter().flatten().filter_map(|one| one["source"].as_str()).collect();
    same("sources", sources, vec!["shop.customers", "shop.orders", "shop.visits"])?;
    same("field", export["records"][0]["fields"]["first_name"].as_str(), Some("Bo"))?;
    same("consent", export["records"][0]["consent"][0]["granted"].as_bool(), Some(true))?;
    let segments: Vec<&str> =
        export["segments"].as_array().into_iter().flatten().filter_map(|one| one["segment"].as_str()).collect();
    same("segments", segments, vec!["lapsed", "visit_then_order", "win_back"])?;
    let recipient = &export["recipients"][0];
    same("recipient", recipient["connection"].as_str(), Some("email_tool"))?;
    same("purpose", recipient["purpose"].as_str(), Some("email_marketing"))?;
    same("fields", recipient["fields"].to_string().as_str(), r#"["email","first_name","properties.spent"]"#)?;
    holds(!ended.stdout.contains("ann@x.test"), "the export holds another person's address")
}

/// What must hold of everybody else, and of the erased.
fn end_state(project: &Project) -> Result<Value, Failed> {
    project.affluent(&["profile", "show", "email:bo@x.test"]).expect(2)?.says("E0813")?;
    project.affluent(&["profile", "show", "email:ann@x.test"]).expect(0)?;
    let (ended, status) = project.json(&["status"]);
    ended.expect(0)?;
    let (ended, erasures) = project.json(&["profile", "erasures"]);
    ended.expect(0)?;
    let states: Vec<&Value> = erasures.as_array().into_iter().flatten().map(|one| &one["receipts"][0]["state"]).collect();
    holds(erasures[0]["forgotten_at"].is_string(), format!("not forgotten: {erasures}"))?;
    Ok(serde_json::json!([status["profiles"], status["segments"], states, project.lines_below("out")]))
}

fn an_erased_person_stays_out() -> Result<(), Failed> {
    let project = lifecycle()?;
    project.affluent(&["profile", "erase", "email:bo@x.test"]).expect(2)?.says("E0825")?;
    project.affluent(&["profile", "show", "email:bo@x.test"]).expect(0)?;
    let ended = project.affluent(&["profile", "erase", "email:bo@x.test", "--yes"]).expect(0)?;
    holds(ended.stdout.contains("removed_not_supported"), ended.stdout)?;
    let state = end_state(&project)?;
    same("profiles", state[0].as_u64(), Some(4))?;
    let removals = |lines: &[String]| lines.iter().filter(|line| line.contains("bo@x.test")).count();
    let sent = project.lines_below("out");
    same("rows about the person: sent once, removed once", removals(&sent), 2)?;
    for _ in 0..3 {
        let ended = project.affluent(&["run", "--full"]).expect(0)?;
        holds(ended.stdout.contains("3 records of erased persons were dropped"), ended.stdout)?;
        same("state after a full sync", end_state(&project)?, state.clone())?;
    }
    same("rows about the person", project.lines_below("out"), sent)
}

fn guests_are_erased() -> Result<(), Failed> {
    let project = Project::copy_of("quickstart");
    project.affluent(&["run", "--quiet"]).expect(0)?;
    let orders = project.read("exports/shop_orders.csv");
    let guest = orders.lines().find(|line| line.contains(",,")).and_then(|line| line.split(',').nth(2)).unwrap_or_default();
    let reference = format!("email:{guest}");
    let (ended, export) = project.json(&["profile", "export", &reference]);
    ended.expect(0)?;
    holds(export["records"].as_array().is_some_and(|records| !records.is_empty()), "a guest has an order")?;
    let exports =
        ["shop_orders", "shop_customers", "crm_contacts", "newsletter"].map(|name| project.read(&format!("exports/{name}.csv")));
    let lines = exports.iter().flat_map(|export| export.lines());
    let records = lines.filter(|line| line.to_lowercase().contains(&guest.to_lowercase())).count();
    project.affluent(&["profile", "erase", &reference, "--yes", "--quiet"]).expect(0)?;
    let ended = project.affluent(&["run", "--full"]).expect(0)?;
    holds(ended.stdout.contains(&format!("{records} records of erased persons were dropped")), ended.stdout)?;
    project.affluent(&["profile", "show", &reference]).expect(2)?.says("E0813")?;
    Ok(())
}

/// Two lists, whose addresses have names of their own.
fn addresses_by_other_names() -> Result<(), Failed> {
    let project = Project::new();
    let stream =
        |name: &str| format!("{name}: {{ files: \"{name}.csv\", primary_key: [id], columns: {{ id: {{ type: text }} }} }}");
    project.write("affluent.yaml", "version: 1\nproject: names\n").write(
        "connections/lists.yaml",
        &format!(
            "version: 1\nconnection: lists\nplugin: csv\nfiles: {{ read: [\"*.csv\"] }}\nconfig: {{ streams: {{ {}, {} }} }}\n",
            stream("people"),
            stream("staff")
        ),
    );
    let rules = "version: 1\nidentifiers: { email: {}, work_email: { is: email }, login: { is: id } }\n";
    project.write("profiles/identity.yaml", rules).write(
        "pipelines/lists.yaml",
        "version: 1\npipeline: lists\nsource: { connection: lists, streams: { people: {}, staff: {} } }\ndestination:\n  profiles:\n    \
         people: { identifiers: { email: mail } }\n    staff: { identifiers: { work_email: mail, login: login } }\n",
    );
    project.write("people.csv", "id,mail\n1,ann@x.test\n2,bo@x.test\n").write("staff.csv", "id,mail,login\n7,di@x.test,di\n");
    project.affluent(&["run", "--quiet"]).expect(0)?;
    project.affluent(&["profile", "erase", "email:bo@x.test", "--yes", "--quiet"]).expect(0)?;

    project.write("staff.csv", "id,mail,login\n7,di@x.test,di\n8, Bo@X.test,bo\n9,,bo@x.test\n");
    let ended = project.affluent(&["run", "--full"]).expect(0)?;

    holds(ended.stdout.contains("2 records of erased persons were dropped"), ended.stdout)?;
    project.affluent(&["profile", "show", "work_email:bo@x.test"]).expect(2)?.says("E0813")?;
    for stays in ["email:ann@x.test", "work_email:di@x.test", "login:bo@x.test"] {
        project.affluent(&["profile", "show", stays]).expect(0)?;
    }
    Ok(())
}

fn what_cannot_be_told() -> Result<(), Failed> {
    let project = Project::copy_of("lifecycle");
    let file = "pipelines/win_back_to_email_tool.yaml";
    project.write(file, &project.read(file).replace("mode: mirror", "mode: upsert"));
    project.affluent(&["run", "--quiet"]).expect(0)?;
    let (ended, erased) = project.json(&["profile", "erase", "email:bo@x.test", "--yes"]);
    ended.expect(0)?;
    same("receipt", erased[0]["receipts"][0]["state"].as_str(), Some("not_supported"))
}

fn killed_anywhere() -> Result<(), Failed> {
    killed_while_erasing(&lifecycle()?, 5, &[&["run", "--quiet"], &RESUME], || {}, end_state)
}
