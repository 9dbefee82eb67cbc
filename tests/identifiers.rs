//! Limits of identifiers: too many values of a kind leave the worst identifier out and the rest of the record joins, in a file
//! and in a project, whatever the order of arrival.

use std::collections::BTreeMap;

use libtest_mimic::{Failed, Trial};
use serde_json::Value;

use crate::support::{Project, holds, rule, same};

pub(crate) fn trials() -> Vec<Trial> {
    vec![
        rule("identifiers: too many values leave the one seen last out and the rest joins", a_file_with_too_many_values),
        rule("identifiers: in a project the same is left out in any batches, and told", a_project_with_too_many_values),
        rule("identifiers: a mailbox of a function joins with another piece of evidence", a_mailbox_of_a_function),
        rule("identifiers: a line of a house joins only where something else agrees", a_line_of_a_house),
        rule("identifiers: values are made equal as the project says", values_are_made_equal_as_the_project_says),
        rule("identifiers: a kind of any name may hold addresses or telephone numbers", a_kind_says_what_it_is),
        rule("identifiers: a device belongs to the person first seen with it, in any batches", a_device_of_two_persons),
    ]
}

const RULES: &str = "version: 1
identifiers:
  account: { unique: true }
  email: { max_per_profile: 2 }
  device: { max_per_profile: { max: 2, per: week } }
records: { at: seen_at }
";
const HEADER: &str = "id,account,email,device,seen_at";
/// One account with three addresses and with three devices in a week, a fourth later, and two strangers who share the last ones.
const RECORDS: [&str; 6] = [
    "a,u1,one@x.test,d1,2024-01-01",
    "b,u1,two@x.test,d2,2024-01-02T10:00:00Z",
    "c,u1,three@x.test,d3,2024-01-03",
    "d,u1,one@x.test,d4,2024-02-01",
    "x,,three@x.test,,2024-01-05",
    "y,,,d3,2024-01-06",
];
const REASONS: [&str; 2] = ["`device` would have more than 2 values a week", "`email` would have more than 2 values"];

fn a_file_with_too_many_values() -> Result<(), Failed> {
    let project = Project::new();
    for round in 0..RECORDS.len() {
        let mut rows = RECORDS.to_vec();
        rows.rotate_left(round);
        project.write("rules.yaml", RULES).write("records.csv", &format!("{HEADER}\n{}\n", rows.join("\n")));
        let (value, groups) = groups_of_file(&project)?;
        let reasons = value["identifiers_refused"].as_array().into_iter().flatten();
        let reasons: Vec<&str> = reasons.filter_map(|one| one["reason"].as_str()).collect();
        same("why", reasons, REASONS.to_vec())?;
        same("the groups", groups, vec!["abcd".to_owned(), "x".to_owned(), "y".to_owned()])?;
    }
    Ok(())
}

fn a_project_with_too_many_values() -> Result<(), Failed> {
    let orders: [&[&[usize]]; 3] = [&[&[0, 1, 2, 3, 4, 5]], &[&[3], &[2, 5], &[4], &[1], &[0]], &[&[5, 4], &[0, 2], &[1, 3]]];
    for batches in orders {
        let project = project_of(RULES);
        run_in_batches(&project, &RECORDS, batches)?;
        is_told(&project).map_err(|failed| format!("{batches:?}: {}", failed.message().unwrap_or_default()))?;
    }
    Ok(())
}

/// Two persons log in on a device that is used without an account before and after.
const VISITS: [&str; 4] = [
    "p,u1,,d1,2024-01-03T00:00:00Z",
    "n,,,d1,2024-01-01T00:00:00Z",
    "q,u2,,d1,2024-01-02T00:00:00Z",
    "m,,,d1,2024-01-09T00:00:00Z",
];

fn a_device_of_two_persons() -> Result<(), Failed> {
    let cases = [
        ("first", ["mnq", "p"].as_slice(), "`device` joins no other person than the first seen with it"),
        ("never", &["mn", "p", "q"], "`device` joins anonymous records alone"),
    ];
    for (when, expected, reason) in cases {
        let rules = RULES.replace("max_per_profile: { max: 2, per: week }", &format!("anonymous: {when}"));
        let file = Project::new();
        file.write("rules.yaml", &rules).write("records.csv", &format!("{HEADER}\n{}\n", VISITS.join("\n")));
        same("the groups of a file", groups_of_file(&file)?.1, expected.iter().map(|ids| (*ids).to_owned()).collect())?;
        for batches in [&[[0, 1, 2, 3].as_slice()][..], &[&[0, 3], &[2], &[1]], &[&[1, 3], &[0], &[2]]] {
            let project = project_of(&rules);
            run_in_batches(&project, &VISITS, batches)?;
            for ids in expected {
                let first = format!("shop/{}", &ids[..1]);
                let (ended, view) = project.json(&["profile", "show", &first]);
                ended.expect(0)?;
                same(
                    &format!("records of {first} ({when}, {batches:?})"),
                    view["records"].as_array().map(Vec::len),
                    Some(ids.len()),
                )?;
            }
            let (ended, apart) = project.json(&["profile", "quarantine"]);
            ended.expect(0)?;
            same("why they are apart", apart[0]["reason"].as_str(), Some(reason))?;
        }
    }
    Ok(())
}

/// Two who agree by name share an office's mailbox with a stranger and with one who says nothing; two others share an address.
const OFFICE: [&str; 6] = [
    "a,,info@x.test,,2024-01-01T00:00:00Z,Ann,Lee",
    "b,,Info@X.test,,2024-01-02T00:00:00Z,Ann,Lee",
    "c,,info@x.test,,2024-01-03T00:00:00Z,Bo,Fox",
    "d,,info@x.test,,2024-01-04T00:00:00Z,,",
    "e,,eve@x.test,,2024-01-05T00:00:00Z,Eve,Day",
    "f,,eve@x.test,,2024-01-06T00:00:00Z,,",
];

fn a_mailbox_of_a_function() -> Result<(), Failed> {
    let rules = |preset: &str| {
        format!(
            "version: 1\nidentifiers:\n  account: {{}}\n  email: {{ presets: [{preset}] }}\n  device: {{}}\n\
             attributes: {{ given: {{ is: given_name }}, family: {{ is: family_name }} }}\n\
             rules: [{{ name: same email, all: [email], compare: {{ names: compatible }} }}]\n"
        )
    };
    let header = format!("{HEADER},given,family");
    let cases = [("weak_role_mailboxes", ["ab", "c", "d", "ef"].as_slice()), ("role_mailboxes", &["a", "b", "c", "d", "ef"])];
    for (preset, expected) in cases {
        let file = Project::new();
        file.write("rules.yaml", &rules(preset)).write("records.csv", &format!("{header}\n{}\n", OFFICE.join("\n")));
        same(preset, groups_of_file(&file)?.1, expected.iter().map(|ids| (*ids).to_owned()).collect())?;
    }
    only_namesakes_share("email", &rules("weak_role_mailboxes"), &[&OFFICE[2..], &OFFICE[..1], &OFFICE[1..2]])
}

/// Read batch by batch into a project, of the records that share a value of a kind only the namesakes `a` and `b` are one; so are `e` and
/// `f`, whose value is a person's own.
fn only_namesakes_share(kind: &str, rules: &str, batches: &[&[&str]]) -> Result<(), Failed> {
    let project = project_of(rules);
    let pipeline = project.read("pipelines/in.yaml").replace("seen_at: seen_at }", "given: given, family: family }");
    let names = "        given: { type: text, pii: name }\n        family: { type: text, pii: name }\n";
    let connection = format!("{}{names}", project.read("connections/shop.yaml"));
    project.write("pipelines/in.yaml", &pipeline.replace("email", kind));
    project.write("connections/shop.yaml", &connection.replace("email", kind));
    let header = format!("{HEADER},given,family").replace("email", kind);
    for (at, rows) in batches.iter().enumerate() {
        project.write(&format!("batch-{at}.csv"), &format!("{header}\n{}\n", rows.join("\n")));
        project.affluent(&["run", "--quiet"]).expect(0)?;
    }
    for (first, records) in [("shop/a", 2), ("shop/c", 1), ("shop/d", 1), ("shop/e", 2)] {
        let (ended, view) = project.json(&["profile", "show", first]);
        ended.expect(0)?;
        same(first, view["records"].as_array().map(Vec::len), Some(records))?;
        same("identifiers", &view["identifiers"], &serde_json::json!([[kind, 1]]))?;
    }
    Ok(())
}

/// Two who agree by name, a stranger and one who says nothing share the line of a house; two others share a mobile.
const HOUSE: [&str; 6] = [
    "a,,01 42 68 53 00,,2024-01-01T00:00:00Z,Ann,Lee",
    "b,,+33 (0)1 42 68 53 00,,2024-01-02T00:00:00Z,Ann,Lee",
    "c,,0142685300,,2024-01-03T00:00:00Z,Bo,Fox",
    "d,,0033142685300,,2024-01-04T00:00:00Z,,",
    "e,,06 98 76 12 34,,2024-01-05T00:00:00Z,Eve,Day",
    "f,,+33698761234,,2024-01-06T00:00:00Z,,",
];

fn a_line_of_a_house() -> Result<(), Failed> {
    let rules = |presets: &str| {
        format!(
            "version: 1\nidentifiers:\n  account: {{}}\n  phone: {{ region: FR, presets: [{presets}] }}\n  device: {{}}\n\
             attributes: {{ given: {{ is: given_name }}, family: {{ is: family_name }} }}\n\
             rules: [{{ name: same name, all: [phone], compare: {{ names: agree }} }}, {{ name: same phone, all: [phone] }}]\n"
        )
    };
    let header = format!("{HEADER},given,family").replace("email", "phone");
    for (presets, expected) in [("junk", ["abcd", "ef"].as_slice()), ("junk, weak_fixed_lines", &["ab", "c", "d", "ef"])] {
        let file = Project::new();
        file.write("rules.yaml", &rules(presets)).write("records.csv", &format!("{header}\n{}\n", HOUSE.join("\n")));
        same(presets, groups_of_file(&file)?.1, expected.iter().map(|ids| (*ids).to_owned()).collect())?;
    }
    only_namesakes_share("phone", &rules("weak_fixed_lines"), &[&HOUSE[2..], &HOUSE[..2]])
}

fn values_are_made_equal_as_the_project_says() -> Result<(), Failed> {
    let records = [
        "a,C-1,j.doe@googlemail.com,,2024-01-01",
        "b,,jdoe+shop@gmail.com,,2024-01-01",
        "c,c-1,,,2024-01-01",
        "d,,ann-shop@yahoo.fr,,2024-01-01",
        "e,,Ann@Yahoo.fr,,2024-01-01",
        "f,,Bo@Case.test,,2024-01-01",
        "g,,bo@case.test,,2024-01-01",
        "h,,bo@old.test,,2024-01-01",
        "i,,Bo@new.test,,2024-01-01",
        "j,,,X,2024-01-01",
        "k,,,x,2024-01-01",
    ];
    let normalize =
        "{ plus_tags: strip, gmail_dots: strip, case: { preserve: [case.test] }, domain_aliases: { OLD.test: new.test } }";
    let cases = [
        ("{}", "{}", ["a", "b", "c", "d", "e", "fg", "h", "i", "j", "k"].as_slice()),
        ("{ case: lower }", normalize, &["abc", "de", "f", "g", "hi", "j", "k"]),
        ("{ case: preserve }", "{ case: preserve }", &["a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k"]),
    ];
    for (account, email, expected) in cases {
        let file = Project::new();
        let identifiers = format!("account: {{ normalize: {account} }}, email: {{ normalize: {email} }}, device: {{}}");
        file.write("rules.yaml", &format!("version: 1\nidentifiers: {{ {identifiers} }}\n"));
        file.write("records.csv", &format!("{HEADER}\n{}\n", records.join("\n")));
        same(email, groups_of_file(&file)?.1, expected.iter().map(|ids| (*ids).to_owned()).collect())?;
    }
    Ok(())
}

fn a_kind_says_what_it_is() -> Result<(), Failed> {
    let records = [
        "a,Ann@X.test,",
        "b,ann@x.test ,06 12 34 56 78",
        "c,,+33612345678",
        "d,Cy@X.test,000",
        "e,cy@x.test,",
        "f,test@test.com,0033 6 12 34 56 79",
        "g,test@test.com,",
    ];
    let cases = [
        ("{}", "{}", ["a", "b", "c", "d", "e", "fg"].as_slice()),
        ("{ is: email, presets: [junk] }", "{ is: phone, region: FR }", &["abc", "de", "f", "g"]),
        ("{ is: id, normalize: { case: lower } }", "{ is: id }", &["ab", "c", "de", "fg"]),
    ];
    for (login, mobile, expected) in cases {
        let file = Project::new();
        file.write("rules.yaml", &format!("version: 1\nidentifiers: {{ login: {login}, mobile: {mobile} }}\n"));
        file.write("records.csv", &format!("id,login,mobile\n{}\n", records.join("\n")));
        same(login, groups_of_file(&file)?.1, expected.iter().map(|ids| (*ids).to_owned()).collect())?;
    }
    Ok(())
}

fn run_in_batches(project: &Project, records: &[&str], batches: &[&[usize]]) -> Result<(), Failed> {
    for (at, batch) in batches.iter().enumerate() {
        let rows: Vec<String> = batch.iter().filter_map(|row| records.get(*row)).map(|row| with_time(row)).collect();
        project.write(&format!("batch-{at}.csv"), &format!("{HEADER}\n{}\n", rows.join("\n")));
        project.affluent(&["run", "--quiet"]).expect(0)?;
    }
    Ok(())
}

/// What `affluent resolve` tells, and the groups: ids of each in one word.
fn groups_of_file(project: &Project) -> Result<(Value, Vec<String>), Failed> {
    let path = |name: &str| project.path().join(name).display().to_string();
    let (rules, records, out) = (path("rules.yaml"), path("records.csv"), path("groups.csv"));
    let (ended, value) = project.json(&["resolve", "--rules", &rules, "--in", &records, "--out", &out]);
    ended.expect(0)?;
    let mut groups = BTreeMap::<String, Vec<String>>::new();
    for line in project.read("groups.csv").lines().skip(1) {
        let (id, group) = line.split_once(',').ok_or("a row has two columns")?;
        groups.entry(group.to_owned()).or_default().push(id.to_owned());
    }
    groups.values_mut().for_each(|ids| ids.sort());
    let mut groups: Vec<String> = groups.into_values().map(|ids| ids.concat()).collect();
    groups.sort();
    Ok((value, groups))
}

/// What a person sees of the profile of records a to d.
fn is_told(project: &Project) -> Result<(), Failed> {
    let (ended, view) = project.json(&["profile", "show", "shop/c"]);
    ended.expect(0)?;
    same("records", view["records"].as_array().map(Vec::len), Some(4))?;
    let counts = serde_json::json!([["account", 1], ["email", 2], ["device", 3]]);
    let mut counted: Vec<Value> = view["identifiers"].as_array().cloned().unwrap_or_default();
    counted.sort_by_key(|one| one[0] != "account");
    same("identifiers", &Value::Array(counted), &counts)?;

    let (ended, apart) = project.json(&["profile", "quarantine"]);
    ended.expect(0)?;
    let told: Vec<(&str, Option<usize>)> = apart
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|row| Some((row["reason"].as_str()?, row["profiles"].as_array().map(Vec::len))))
        .collect();
    same("the quarantine", told, REASONS.iter().map(|reason| (*reason, Some(1))).collect())?;

    let (ended, why) = project.json(&["profile", "why", "shop/a"]);
    ended.expect(0)?;
    let mut reasons: Vec<&str> =
        why["refused"].as_array().into_iter().flatten().filter_map(|one| one["reason"].as_str()).collect();
    reasons.sort_unstable();
    same("why", reasons, REASONS.to_vec())?;
    let ended = project.affluent(&["profile", "why", "shop/a", "shop/x"]).expect(0)?;
    holds(ended.stdout.contains("they are two profiles; refused was") && ended.stdout.contains(REASONS[1]), ended.stdout)?;
    // An identifier leads to the profile in which it stands.
    let (ended, view) = project.json(&["profile", "show", "email:three@x.test"]);
    ended.expect(0)?;
    same("records with the address", view["records"].as_array().map(Vec::len), Some(1))
}

/// The record with its time in full, as a column of timestamps wants it.
fn with_time(row: &str) -> String {
    if row.ends_with('Z') { row.to_owned() } else { format!("{row}T00:00:00Z") }
}

/// A project that reads `batch-*.csv` of a shop.
fn project_of(rules: &str) -> Project {
    let project = Project::new();
    project.write("affluent.yaml", "version: 1\nproject: limits\n").write("profiles/identity.yaml", rules);
    project.write(
        "connections/shop.yaml",
        "version: 1
connection: shop
plugin: csv
files: { read: [\"batch-*.csv\"] }
config:
  streams:
    records:
      files: \"batch-*.csv\"
      primary_key: [id]
      cursor_field: seen_at
      columns:
        id: { type: text }
        account: { type: text }
        email: { type: text, pii: email }
        device: { type: text, pii: online_id }
        seen_at: { type: timestamp }
",
    );
    project.write(
        "pipelines/in.yaml",
        "version: 1
pipeline: in
source: { connection: shop, streams: { records: { sync: full_refresh } } }
destination:
  profiles:
    records:
      subject: id
      identifiers: { account: account, email: email, device: device }
      attributes: { seen_at: seen_at }
",
    );
    project
}
