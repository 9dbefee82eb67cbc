//! What stewards decide about profiles: split, link, and take back.

use libtest_mimic::{Failed, Trial};
use serde_json::Value;

use crate::support::{Project, files_below, holds, rule, same};

pub(crate) fn trials() -> Vec<Trial> {
    vec![
        rule("decisions: a split record is a person of its own until it is taken back, and ids live on", a_split_is_undone),
        rule("decisions: an identifier that was split joins nobody, whatever is read again", an_identifier_is_split),
        rule("decisions: linked records are one, whatever rules say", linked_records_are_one),
        rule("decisions: why tells what falls apart without each piece of evidence", why_tells_what_falls_apart),
        rule("decisions: why tells which record gave each attribute and which did not", why_tells_where_values_come_from),
        rule("decisions: reviewed pairs of the project's files stand until they are taken out", reviewed_pairs_stand),
        rule("decisions: a decision that says the contrary is refused", contradictions_are_refused),
        rule("decisions: what stewards decided is listed with who and why, and no file shows why", decisions_are_listed),
    ]
}

/// All profiles into one file per run.
const ALL_TO_TOOL: &str = "version: 1
pipeline: all_to_tool
schedule: { after: [shop_to_profiles] }
source: { profiles: {} }
destination:
  connection: tool
  object: file
  purpose: email_marketing
  match: { email: email }
  mode: MODE
  map: { first_name: first_name }
  grants: [email, first_name]
";
const TOOL: &str = "version: 1
connection: tool
plugin: jsonl
files: { write: [tool] }
config: { path: \"tool/{run}.jsonl\" }
";

/// Accounts 1 and 6 of the shop have one address, and all profiles go to a tool.
pub(crate) fn two_accounts(mode: &str) -> Result<Project, Failed> {
    let project = Project::copy_of("lifecycle");
    let customers = format!("{}6,ann@x.test,Anna,false,true,2024-01-06T00:00:00Z\n", project.read("exports/customers.csv"));
    project.write("exports/customers.csv", &customers).write("connections/tool.yaml", TOOL);
    project.write("pipelines/all_to_tool.yaml", &ALL_TO_TOOL.replace("MODE", mode));
    project.affluent(&["run", "--quiet"]).expect(0)?;
    Ok(project)
}

/// The id of the profile that a reference means.
pub(crate) fn id(project: &Project, reference: &str) -> Result<String, Failed> {
    let (ended, view) = project.json(&["profile", "show", reference]);
    ended.expect(0)?;
    Ok(view["profile"].as_str().unwrap_or_default().to_owned())
}

fn profiles_now(project: &Project) -> Result<u64, Failed> {
    let (ended, status) = project.json(&["status"]);
    ended.expect(0)?;
    Ok(status["profiles"].as_u64().unwrap_or_default())
}

fn a_split_is_undone() -> Result<(), Failed> {
    let project = two_accounts("upsert")?;
    let one = id(&project, "shop/1")?;
    same("one profile", id(&project, "shop/6")?, one.clone())?;

    let (ended, outcome) = project.json(&["profile", "split", "shop/6"]);
    ended.expect(0)?;
    same("profiles named", outcome["profiles"].as_array().map(Vec::len), Some(2))?;
    let ids = [&outcome["profiles"][0][0], &outcome["profiles"][1][0]].map(|id| id.as_str().unwrap_or_default().to_owned());
    holds(ids[0] == one, format!("the profile of the founder keeps its id: {ids:?}, not {one}"))?;
    let (ended, apart) = project.json(&["profile", "quarantine"]);
    ended.expect(0)?;
    same("why they are kept apart", apart[0]["reason"].as_str(), Some("somebody decided that they are two"))?;
    let (ended, reports) = project.json(&["run", "all_to_tool"]);
    ended.expect(0)?;
    same("profiles computed anew", reports[0]["profiles"]["profiles"].as_u64(), Some(6))?;
    let mut now = [id(&project, "shop/1")?, id(&project, "shop/6")?];
    now.sort();
    same("the two", &now, &ids)?;
    project.affluent(&["run", "--full", "--quiet"]).expect(0)?;
    same("it stands when all is read again", profiles_now(&project)?, 6)?;

    project.affluent(&["profile", "undo", "1"]).expect(0)?;
    project.affluent(&["profile", "undo", "1"]).expect(2)?.says("E0872")?;
    let (ended, reports) = project.json(&["run", "all_to_tool"]);
    ended.expect(0)?;
    same("profiles computed anew", reports[0]["profiles"]["profiles"].as_u64(), Some(5))?;
    same("one again", id(&project, "shop/6")?, one.clone())?;
    same("the other's id leads to it", id(&project, &ids[1])?, one)
}

fn an_identifier_is_split() -> Result<(), Failed> {
    let project = two_accounts("upsert")?;
    project.affluent(&["profile", "split", "email:ann@x.test"]).expect(0)?;
    project.affluent(&["run", "--full", "--quiet"]).expect(0)?;
    same("profiles", profiles_now(&project)?, 6)?;
    project.affluent(&["profile", "split", "email:bo@x.test"]).expect(2)?.says("E0870")?;
    project.affluent(&["profile", "split", "shop/2", "--from", "email:ann@x.test"]).expect(2)?.says("E0870")?;
    project.affluent(&["profile", "split", "email:none@x.test"]).expect(2)?.says("E0813")?;
    let line = "7,ann@x.test,Anne,false,true,2024-01-07T00:00:00Z\n";
    let customers = format!("{}{line}", project.read("exports/customers.csv"));
    project.write("exports/customers.csv", &customers);
    project.affluent(&["run", "--quiet"]).expect(0)?;
    same("a new record with it joins none of them", profiles_now(&project)?, 7)
}

fn linked_records_are_one() -> Result<(), Failed> {
    let project = two_accounts("upsert")?;
    let (ann, ed) = (id(&project, "shop/1")?, id(&project, "shop/5")?);
    project.affluent(&["profile", "link", "shop/5", "email:ann@x.test", "--by", "kim"]).expect(0)?;
    project.affluent(&["run", "--full", "--quiet"]).expect(0)?;
    same("profiles", profiles_now(&project)?, 4)?;
    same("the eldest survives", id(&project, "shop/5")?, ann.min(ed))?;
    let (ended, why) = project.json(&["profile", "why", "shop/5", "shop/6"]);
    ended.expect(0)?;
    holds(why["steps"].to_string().contains("must link"), why.to_string())?;
    let parts: Vec<(&str, Option<bool>)> = why["without"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|one| Some((one["without"].as_str()?, one["is_two"].as_bool())))
        .collect();
    let by_decision = parts.iter().filter(|(without, _)| *without == "the decision of a steward");
    same("without the decision", by_decision.copied().collect::<Vec<_>>(), vec![("the decision of a steward", Some(true))])
}

fn why_tells_what_falls_apart() -> Result<(), Failed> {
    let project = two_accounts("upsert")?;
    let ended = project.affluent(&["profile", "why", "shop/1", "shop/6"]).expect(0)?;
    holds(ended.stdout.contains("without email ") && ended.stdout.contains("… they are two profiles"), ended.stdout)?;
    project.affluent(&["profile", "link", "shop/1", "shop/6"]).expect(0)?;
    let ended = project.affluent(&["profile", "why", "shop/1", "shop/6"]).expect(0)?;
    holds(ended.stdout.contains("no single piece of this evidence parts them"), ended.stdout)
}

fn why_tells_where_values_come_from() -> Result<(), Failed> {
    let project = two_accounts("upsert")?;
    let (ended, fields) = project.json(&["profile", "why", "shop/1"]);
    let ended = ended.expect(0)?;
    let name = fields["values"]
        .as_array()
        .into_iter()
        .flatten()
        .find(|field| field["name"] == "first_name")
        .cloned()
        .unwrap_or_default();
    let day = |source: &Value| source["at_us"].as_i64().unwrap_or_default() / 86_400_000_000;
    // 2024-01-06 wins over 2024-01-01.
    same("the winner", day(&name["from"]), 19_728)?;
    same("the losers", name["others"].as_array().into_iter().flatten().map(day).collect::<Vec<_>>(), vec![19_723])?;
    same("their table", name["from"]["table"].as_str(), Some("shop.customers"))?;
    same("by", name["rule"].as_str(), Some("most_recent"))?;
    holds(!ended.stdout.contains("Ann"), "a value was shown")
}

fn contradictions_are_refused() -> Result<(), Failed> {
    let project = two_accounts("upsert")?;
    project.affluent(&["profile", "link", "shop/1", "shop/2"]).expect(0)?;
    project.affluent(&["profile", "link", "shop/2", "shop/3"]).expect(0)?;
    project.affluent(&["profile", "split", "shop/3", "--from", "shop/1"]).expect(2)?.says("E0871")?.says("1, 2")?;
    project.affluent(&["profile", "undo", "2"]).expect(0)?;
    project.affluent(&["profile", "split", "shop/3", "--from", "shop/1"]).expect(0)?;
    project.affluent(&["profile", "link", "shop/2", "shop/3"]).expect(2)?.says("E0871")?.says("N`: 3")?;
    project.affluent(&["profile", "link", "shop/2", "shop/2"]).expect(2)?.says("E0870")?;
    Ok(())
}

fn decisions_are_listed() -> Result<(), Failed> {
    let project = two_accounts("upsert")?;
    let why = "Anna is the sister of Ann";
    project.affluent(&["profile", "split", "shop/6", "--by", "kim", "--reason", why]).expect(0)?;
    project.affluent(&["profile", "undo", "1", "--by", "lee"]).expect(0)?;
    let (ended, rows) = project.json(&["profile", "decisions"]);
    ended.expect(0)?;
    let row: &Value = &rows[0];
    let said = [&row["by"], &row["reason"], &row["undone_by"], &row["verdict"]].map(|one| one.as_str().unwrap_or_default());
    same("what is told", said, ["kim", why, "lee", "split"])?;
    let ended = project.affluent(&["profile", "decisions"]).expect(0)?;
    holds(ended.stdout.contains("taken back by lee"), ended.stdout)?;
    for file in files_below(&project.path().join(".affluent")) {
        let bytes = std::fs::read(&file)?;
        let shows = bytes.windows(why.len()).any(|window| window == why.as_bytes());
        holds(!shows, format!("{} shows the reason", file.display()))?;
    }
    Ok(())
}

fn reviewed_pairs_stand() -> Result<(), Failed> {
    let project = two_accounts("upsert")?;
    let file = "profiles/identity.yaml";
    let rules = project.read(file);
    let pairs = "must_link: { pairs: [[shop/2, shop/5], [shop/3, shop/99]] }\ncannot_link: { files: [reviewed.csv] }\n";
    project.write("reviewed.csv", "one,other\nshop/1,shop/6\n").write(file, &format!("{rules}{pairs}"));
    project.affluent(&["run", "all_to_tool", "--quiet"]).expect(0)?;
    same("2 is 5, 1 is not 6", profiles_now(&project)?, 5)?;
    same("one", id(&project, "shop/2")?, id(&project, "shop/5")?)?;
    holds(id(&project, "shop/1")? != id(&project, "shop/6")?, "1 and 6 are one")?;
    project.affluent(&["profile", "split", "shop/2", "--from", "shop/5"]).expect(2)?.says("E0871")?;

    // A record that is named before it comes in is joined when it does.
    let line = "99,zed@x.test,Zed,false,true,2024-01-07T00:00:00Z\n";
    project.write("exports/customers.csv", &format!("{}{line}", project.read("exports/customers.csv")));
    project.affluent(&["run", "--quiet"]).expect(0)?;
    same("one", id(&project, "shop/99")?, id(&project, "shop/3")?)?;

    project.write(file, &rules);
    project.affluent(&["run", "all_to_tool", "--quiet"]).expect(0)?;
    same("as the rules have it", profiles_now(&project)?, 6)
}
