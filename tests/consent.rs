//! Who may be written to: by channel, until it ends or is taken back, and never whoever is suppressed.

use libtest_mimic::{Failed, Trial};
use serde_json::Value;

use crate::support::{Project, holds, rule, same};

pub(crate) fn trials() -> Vec<Trial> {
    vec![
        rule("consent: a sync takes who granted its channel, for now, on its basis and in its places", by_channel),
        rule("consent: rows are shown by identifier with status, basis, place, end and proof", rows_are_shown),
        rule("consent: who takes it back leaves a mirror at its next run", a_withdrawal_leaves),
        rule("consent: who takes it back where nothing can be removed is told", a_withdrawal_is_told),
        rule("consent: a segment asks for one channel, where nothing said is no grant", a_segment_of_a_channel),
        rule("consent: a suppressed person leaves every sync, is kept, and may come back", suppressed_and_back),
        rule(
            "consent: who takes everything back is suppressed, also after erasure, until let back in by name",
            everything_taken_back,
        ),
        rule("consent: a person who is not known yet can be suppressed", suppressed_before_known),
        rule("consent: erased and suppressed persons do not pass straight through", nothing_passes_through),
        rule("consent: a mapping and a need that cannot be met are mistakes", mistakes_are_told),
    ]
}

const MAIL: &str = "pipelines/newsletter_by_mail.yaml";
const DECISIONS: &str = "exports/decisions.csv";

/// The example, run once.
fn consent() -> Result<Project, Failed> {
    let project = Project::copy_of("consent");
    project.affluent(&["run", "--quiet"]).expect(0)?;
    Ok(project)
}

/// What the files of a channel say, sorted: the operation, and the address or the number.
fn sent(project: &Project, channel: &str) -> Vec<String> {
    let lines = project.lines_below("out").into_iter().filter_map(|line| serde_json::from_str::<Value>(&line).ok());
    let field = if channel == "mail" { "email" } else { "phone" };
    lines.filter_map(|line| Some(format!("{} {}", line["_op"].as_str()?, line[field].as_str()?))).collect()
}

fn by_channel() -> Result<(), Failed> {
    let project = consent()?;
    // Bo took SMS back; Cy did not confirm; Di lives where it is not sent; the grant of Ed ended.
    same("mail", sent(&project, "mail"), vec!["upsert ann@x.test".to_owned(), "upsert bo@x.test".to_owned()])?;
    same("sms", sent(&project, "sms"), vec!["upsert +33612345671".to_owned()])
}

fn rows_are_shown() -> Result<(), Failed> {
    let project = consent()?;
    let (ended, export) = project.json(&["profile", "export", "email:ed@x.test"]);
    ended.expect(0)?;
    let rows = export["records"]
        .as_array()
        .into_iter()
        .flatten()
        .flat_map(|record| record["consent"].as_array().cloned().unwrap_or_default());
    let rows: Vec<Value> = rows.collect();
    let expected = serde_json::json!([{
        "subject": ["email", "ed@x.test"], "purpose": "newsletter", "channel": "email", "status": "granted", "granted": true,
        "legal_basis": "consent", "jurisdiction": "FR", "obtained_at": "2026-01-05T10:00:00Z", "expires_at": "2026-02-05T00:00:00Z",
        "evidence_ref": "raffle", "source": "crm.decisions"
    }]);
    same("rows", Value::Array(rows), expected)?;
    let shown = project.affluent(&["profile", "show", "email:ed@x.test"]).expect(0)?;
    holds(shown.stdout.contains("email ‹sealed›") && shown.stdout.contains("2026-02-05T00:00:00Z"), &shown.stdout)?;
    holds(!shown.stdout.contains("ed@x.test"), "an address was shown that nobody asked to reveal")
}

/// One more decision of Ann.
fn withdraw(project: &Project) {
    let row = "9,1,ann@x.test,+33612345671,newsletter,email,revoked,FR,2026-04-01T10:00:00Z,,mail 13\n";
    project.write(DECISIONS, &(project.read(DECISIONS) + row));
}

fn a_withdrawal_leaves() -> Result<(), Failed> {
    let project = consent()?;
    withdraw(&project);
    project.affluent(&["run", "--quiet"]).expect(0)?;
    let sent = sent(&project, "mail");
    holds(sent.contains(&"delete ann@x.test".to_owned()), format!("{sent:?}"))?;
    same("sms stays", self::sent(&project, "sms"), vec!["upsert +33612345671".to_owned()])
}

fn a_withdrawal_is_told() -> Result<(), Failed> {
    let project = Project::copy_of("consent");
    project.write(MAIL, &project.read(MAIL).replace("mode: mirror", "mode: upsert"));
    project.affluent(&["run", "--quiet"]).expect(0)?;
    withdraw(&project);
    let ended = project.affluent(&["run"]).expect(0)?;
    holds(ended.stdout.contains("still there  1 who may not be sent any more"), ended.stdout)
}

fn a_segment_of_a_channel() -> Result<(), Failed> {
    let project = Project::copy_of("consent");
    let segments = |of: &str| {
        format!("version: 1\nsegments:\n  reached:\n    where: \"consent('newsletter', channel => '{of}') = 'granted'\"\n")
    };
    for (channel, members) in [("email", 3), ("sms", 1)] {
        project.write("profiles/segments.yaml", &segments(channel));
        project.affluent(&["run", "--quiet"]).expect(0)?;
        let (ended, sizes) = project.json(&["segment", "size"]);
        ended.expect(0)?;
        same(channel, sizes[0]["members"].as_u64(), Some(members))?;
    }
    project.write("profiles/segments.yaml", &segments("fax"));
    let ended =
        project.affluent(&["validate"]).expect(2)?.says("no pipeline maps consent to `newsletter` for the channel `fax`")?;
    holds(ended.stderr.contains("segments.yaml:4:"), ended.stderr)
}

fn suppressed_and_back() -> Result<(), Failed> {
    let project = consent()?;
    let (ended, done) = project.json(&["profile", "suppress", "email:ann@x.test"]);
    ended.expect(0)?;
    same("held by", done["held_by"].to_string().as_str(), r#"["newsletter_by_mail","newsletter_by_sms"]"#)?;
    let ended = project.affluent(&["run", "--full"]).expect(0)?;
    holds(ended.stdout.contains("1 suppressed"), ended.stdout)?;
    let (mail, sms) = (sent(&project, "mail"), sent(&project, "sms"));
    holds(mail.contains(&"delete ann@x.test".to_owned()), format!("{mail:?}"))?;
    holds(sms.contains(&"delete +33612345671".to_owned()), format!("{sms:?}"))?;
    project.affluent(&["profile", "show", "email:ann@x.test"]).expect(0)?;
    project.affluent(&["profile", "unsuppress", "email:ann@x.test"]).expect(0)?;
    project.affluent(&["run", "--quiet"]).expect(0)?;
    same("sent again", sent(&project, "mail").iter().filter(|line| *line == "upsert ann@x.test").count(), 2)
}

/// Adds decisions of a person about the newsletter by mail, and runs.
fn decide(project: &Project, rows: &[&str]) -> Result<String, Failed> {
    let rows: String = rows.iter().map(|row| format!("{row}\n")).collect();
    project.write(DECISIONS, &(project.read(DECISIONS) + &rows));
    Ok(project.affluent(&["run"]).expect(0)?.stdout)
}

fn everything_taken_back() -> Result<(), Failed> {
    let project = consent()?;
    let all = "version: 1
pipeline: everybody_to_mail_tool
schedule: { after: [crm_to_profiles] }
source: { profiles: {} }
destination: { connection: everybody, object: file, match: { email: email }, mode: mirror, grants: [email] }
";
    let everybody =
        "version: 1\nconnection: everybody\nplugin: jsonl\nfiles: { write: [all] }\nconfig: { path: \"all/{batch}.jsonl\" }\n";
    project.write("pipelines/everybody_to_mail_tool.yaml", all).write("connections/everybody.yaml", everybody);
    project.affluent(&["run", "--quiet"]).expect(0)?;
    let lines = || project.lines_below("all");
    let about_ann = || lines().into_iter().filter(|line| line.contains("ann@x.test")).count();
    same("sent without a purpose", about_ann(), 1)?;

    // Her number is granted still, so only her address is suppressed: by mail, and where no purpose is named.
    let told = decide(&project, &["9,1,ann@x.test,+33612345671,newsletter,email,revoked,FR,2026-04-01T10:00:00Z,,mail 13"])?;
    holds(told.contains("suppressed   1 identifiers for which every purpose was withdrawn"), told)?;
    same("removed", about_ann(), 2)?;
    same("sms", sent(&project, "sms"), vec!["upsert +33612345671".to_owned()])?;

    let again = "10,1,ann@x.test,+33612345671,newsletter,email,granted,FR,2026-05-01T10:00:00Z,,form 9";
    let told = decide(&project, &[again])?;
    holds(told.contains("1 suppressed"), told)?;
    project.affluent(&["profile", "unsuppress", "email:ann@x.test"]).expect(0)?;
    project.affluent(&["run", "--quiet"]).expect(0)?;
    same("let back in", about_ann(), 3)?;

    decide(&project, &["11,1,ann@x.test,+33612345671,newsletter,email,revoked,FR,2026-06-01T10:00:00Z,,mail 14"])?;
    same("taken back again", about_ann(), 4)?;
    project.affluent(&["profile", "erase", "crm_person:1", "--yes", "--quiet"]).expect(0)?;
    let another = "12,77,ann@x.test,,newsletter,email,granted,FR,2026-07-01T10:00:00Z,,form 9";
    decide(&project, &[another])?;
    same("after erasure", about_ann(), 4)
}

fn suppressed_before_known() -> Result<(), Failed> {
    let project = Project::copy_of("consent");
    project.affluent(&["run", "crm_to_profiles", "--quiet"]).expect(0)?;
    project.affluent(&["profile", "suppress", "email:zoe@x.test"]).expect(0)?;
    project.affluent(&["profile", "suppress", "nothing"]).expect(2)?.says("E0813")?;
    let row = "9,6,zoe@x.test,+33612345676,newsletter,email,granted,FR,2026-04-01T10:00:00Z,,form 7\n";
    project.write(DECISIONS, &(project.read(DECISIONS) + row));
    project.affluent(&["run", "--quiet"]).expect(0)?;
    project.affluent(&["profile", "show", "email:zoe@x.test"]).expect(0)?;
    same("mail", sent(&project, "mail"), vec!["upsert ann@x.test".to_owned(), "upsert bo@x.test".to_owned()])
}

fn nothing_passes_through() -> Result<(), Failed> {
    let project = consent()?;
    project.write(
        "connections/copy.yaml",
        "version: 1\nconnection: copy\nplugin: jsonl\nfiles: { write: [copied] }\nconfig: { path: \"copied/people-{batch}.jsonl\" }\n",
    );
    project.write(
        "pipelines/people_to_copy.yaml",
        "version: 1\npipeline: people_to_copy\nsource: { connection: crm, streams: [people] }\ndestination:\n  connection: copy\n  object: file\n  grants: [email, phone, first_name]\n",
    );
    project.affluent(&["run", "people_to_copy", "--quiet"]).expect(0)?;
    // Bo took back all that was granted for the number that stands in the record.
    same("people", project.lines_below("copied").len(), 4)?;
    project.affluent(&["profile", "suppress", "email:di@x.test"]).expect(0)?;
    project.affluent(&["profile", "erase", "email:cy@x.test", "--yes", "--quiet"]).expect(0)?;
    let ended = project.affluent(&["run", "people_to_copy"]).expect(0)?;
    holds(ended.stdout.contains('2') && !ended.stdout.contains("bo@x.test"), &ended.stdout)?;
    let lines = project.lines_below("copied");
    let about = |who: &str| lines.iter().filter(|line| line.contains(who)).count();
    same("sent of Ann, Bo and Cy", (about("ann@x.test"), about("bo@x.test"), about("cy@x.test")), (2, 0, 1))?;
    same("sent of Di", about("di@x.test"), 1)
}

fn mistakes_are_told() -> Result<(), Failed> {
    let cases = [
        (MAIL, "  channel: email", "  channel: fax", "no pipeline maps consent to `newsletter` for the channel `fax`"),
        (MAIL, "  purpose: newsletter\n", "", "`channel` needs `purpose`"),
        (MAIL, "not_in: [US-CA]", "not_in: [California]", "is not a place"),
        (
            "pipelines/crm_to_profiles.yaml",
            "identifier: phone",
            "identifier: fax",
            "`decisions` does not give the identifier `fax`",
        ),
        ("pipelines/crm_to_profiles.yaml", "jurisdiction: place", "jurisdiction: email", "would be decided by a sealed value"),
        (
            "pipelines/crm_to_profiles.yaml",
            "          expires_after: 3650d\n",
            "          granted: \"true\"\n",
            "exactly one of the keys granted, status",
        ),
    ];
    for (file, before, after, expected) in cases {
        let project = Project::copy_of("consent");
        let text = project.read(file);
        holds(text.contains(before), before)?;
        project.write(file, &text.replace(before, after));
        project.affluent(&["validate"]).expect(2)?.says(expected)?;
    }
    Ok(())
}
