//! Which value of an attribute survives in a profile, and what a person is told of it.

use libtest_mimic::{Failed, Trial};
use serde_json::Value;

use crate::support::{Project, holds, rule, same};

pub(crate) fn trials() -> Vec<Trial> {
    vec![
        rule("survivorship: values are chosen or combined, and the rule is told", values_are_combined_and_told),
        rule(
            "survivorship: an empty value is passed over, or counts, and one record gives what belongs together",
            empty_and_complete,
        ),
        rule("survivorship: a pinned record gives the value until the pin is taken back", a_pinned_record_gives_the_value),
        rule("survivorship: a pin that could not decide is refused", a_pin_that_could_not_decide),
    ]
}

/// One person three times in the shop and once in the crm.
fn project() -> Result<Project, Failed> {
    let project = Project::new();
    project.write("affluent.yaml", "version: 1\nproject: values\n");
    project.write(
        "profiles/identity.yaml",
        "version: 1
identifiers: { email: {} }
survivorship: { default: most_recent, tags: union, points: sum, news: consent_strictest, city: { prefer: [crm] } }
",
    );
    let header = "id,email,first_name,city,tags,points,news,seen_at";
    let shop = [
        "1,ann@x.test,Ann,Lyon,new,5,true,2024-01-01T00:00:00Z",
        "2,ann@x.test,Anna,Nice,vip,7,false,2024-01-02T00:00:00Z",
        "3,ann@x.test,Anne,Paris,new,,true,2024-01-03T00:00:00Z",
    ];
    project.write("shop.csv", &format!("{header}\n{}\n", shop.join("\n")));
    project.write("crm.csv", &format!("{header}\n9,ann@x.test,A.,Lille,,100,true,2023-12-31T00:00:00Z\n"));
    for connection in ["shop", "crm"] {
        project.write(&format!("connections/{connection}.yaml"), &CONNECTION.replace("NAME", connection));
        project.write(&format!("pipelines/{connection}.yaml"), &PIPELINE.replace("NAME", connection));
    }
    project.affluent(&["run", "--quiet"]).expect(0)?;
    Ok(project)
}

const CONNECTION: &str = "version: 1
connection: NAME
plugin: csv
files: { read: [NAME.csv] }
config:
  streams:
    records:
      files: NAME.csv
      primary_key: [id]
      cursor_field: seen_at
      columns:
        id: { type: text }
        email: { type: text, pii: email }
        first_name: { type: text, pii: name }
        city: { type: text }
        tags: { type: text }
        points: { type: integer }
        news: { type: boolean }
        seen_at: { type: timestamp }
";
const PIPELINE: &str = "version: 1
pipeline: NAME
source: { connection: NAME, streams: { records: { sync: full_refresh } } }
destination:
  profiles:
    records:
      subject: id
      identifiers: { email: email }
      attributes: { first_name: first_name, city: city, tags: tags, points: points, news: news }
";
const ATTRIBUTES: &str = "first_name: first_name, city: city, tags: tags, points: points, news: news";

/// Value and rule of an attribute, opened.
fn shown(project: &Project, attribute: &str) -> Result<(String, String), Failed> {
    let (ended, view) = project.json(&["profile", "show", "shop/1", "--reveal"]);
    ended.expect(0)?;
    let one = view["values"].as_array().into_iter().flatten().find(|one| one["name"] == attribute).cloned().unwrap_or_default();
    let text = |key: &str| one[key].as_str().unwrap_or_default().to_owned();
    Ok((text("value"), text("rule")))
}

/// By what an attribute was chosen, and how many records gave it, had a part in it, and lost.
fn lineage(project: &Project, attribute: &str) -> Result<(String, [usize; 3]), Failed> {
    let (ended, why) = project.json(&["profile", "why", "shop/1"]);
    let ended = ended.expect(0)?;
    holds(!ended.stdout.contains("Ann"), "a value was shown")?;
    let one = why["values"].as_array().into_iter().flatten().find(|one| one["name"] == attribute).cloned().unwrap_or_default();
    let count = |list: &Value| list.as_array().map_or(0, Vec::len);
    let counts = [usize::from(one["from"].is_object()), count(&one["with"]), count(&one["others"])];
    Ok((one["rule"].as_str().unwrap_or_default().to_owned(), counts))
}

fn values_are_combined_and_told() -> Result<(), Failed> {
    let project = project()?;
    let cases = [
        ("first_name", "Anne", "most_recent", [1, 0, 3]),
        ("city", "Lille", "prefer crm", [1, 0, 3]),
        ("tags", "new, vip", "union", [1, 2, 0]),
        ("points", "112", "sum", [1, 2, 0]),
        ("news", "false", "consent_strictest", [1, 0, 3]),
    ];
    for (attribute, value, rule, counts) in cases {
        same(attribute, shown(&project, attribute)?, (value.to_owned(), rule.to_owned()))?;
        same(attribute, lineage(&project, attribute)?, (rule.to_owned(), counts))?;
    }
    let ended = project.affluent(&["profile", "why", "shop/1"]).expect(0)?;
    holds(ended.stdout.contains("prefer crm") && ended.stdout.contains("consent_strictest"), ended.stdout)
}

fn empty_and_complete() -> Result<(), Failed> {
    let project = project()?;
    let attributes =
        "first_name: first_name, city: \"coalesce(city, '')\", tags: \"coalesce(tags, '')\", points: points, news: news";
    project.write("pipelines/shop.yaml", &PIPELINE.replace("NAME", "shop").replace(ATTRIBUTES, attributes));
    let late = "4,ann@x.test,,,,,,2024-02-01T00:00:00Z";
    project.write("shop.csv", &format!("{}{late}\n", project.read("shop.csv")));
    let cases = [
        ("default: most_recent", ["Anne", "Paris", "new", "7"]),
        ("default: { ignore_empty: false }", ["", "", "", ""]),
        ("default: { ignore_empty: false, prefer: [crm] }", ["A.", "Lille", "", "100"]),
        ("default: most_complete_record", ["Anna", "Nice", "vip", "7"]),
        ("default: most_complete_record, points: most_recent", ["Anne", "Paris", "new", "7"]),
    ];
    for (rules, expected) in cases {
        project.write(
            "profiles/identity.yaml",
            &format!("version: 1\nidentifiers: {{ email: {{}} }}\nsurvivorship: {{ {rules} }}\n"),
        );
        project.affluent(&["run", "--full", "--quiet"]).expect(0)?;
        for (attribute, value) in ["first_name", "city", "tags", "points"].into_iter().zip(expected) {
            same(&format!("{attribute} by {rules}"), shown(&project, attribute)?.0, value.to_owned())?;
        }
    }
    same("who lost", lineage(&project, "city")?, ("most_complete_record".to_owned(), [1, 0, 3]))
}

fn pin(project: &Project, attribute: &str, from: &str) -> Result<(), Failed> {
    project.affluent(&["profile", "pin", "email:ann@x.test", attribute, "--from", from, "--by", "kim"]).expect(0)?;
    project.affluent(&["run", "shop", "--quiet"]).expect(0).map(drop)
}

fn a_pinned_record_gives_the_value() -> Result<(), Failed> {
    let project = project()?;
    let is = |attribute: &str, value: &str, rule: &str| {
        same(attribute, shown(&project, attribute)?, (value.to_owned(), rule.to_owned()))
    };
    project.affluent(&["profile", "pin", "shop/2", "first_name", "--from", "shop/1", "--by", "kim"]).expect(0)?;
    pin(&project, "city", "shop/2")?;
    is("first_name", "Ann", "pinned by kim, decision 1")?;
    is("city", "Nice", "pinned by kim, decision 2")?;
    same("who lost", lineage(&project, "city")?.1, [1, 0, 3])?;

    pin(&project, "city", "shop/1")?;
    is("city", "Lyon", "pinned by kim, decision 3")?;
    // What the record says later is what is shown.
    project.write("shop.csv", &project.read("shop.csv").replace("Lyon", "Lens"));
    project.affluent(&["run", "shop", "--quiet"]).expect(0)?;
    is("city", "Lens", "pinned by kim, decision 3")?;

    project.affluent(&["profile", "undo", "3"]).expect(0)?;
    project.affluent(&["profile", "unpin", "shop/9x", "city"]).expect(2)?.says("E0813")?;
    project.affluent(&["profile", "unpin", "crm/9", "first_name"]).expect(0)?;
    project.affluent(&["run", "shop", "--quiet"]).expect(0)?;
    is("city", "Nice", "pinned by kim, decision 2")?;
    is("first_name", "Anne", "most_recent")?;
    project.affluent(&["profile", "unpin", "shop/1", "first_name"]).expect(2)?.says("E0872")?;
    let ended = project.affluent(&["profile", "decisions"]).expect(0)?;
    let listed = ended.stdout.contains("city is what shop record") && ended.stdout.contains("taken back");
    holds(listed && !ended.stdout.contains("Nice"), ended.stdout)
}

fn a_pin_that_could_not_decide() -> Result<(), Failed> {
    let project = project()?;
    let cases = [
        ("city", "shop/77", "no record of this profile"),
        ("city", "email:ann@x.test", "no record of this profile"),
        ("tags", "crm/9", "says nothing of `tags`"),
        ("news", "shop/1", "a single no wins"),
        ("town", "shop/1", "no pipeline maps the attribute `town`"),
    ];
    for (attribute, from, why) in cases {
        project.affluent(&["profile", "pin", "shop/1", attribute, "--from", from]).expect(2)?.says("E0873")?.says(why)?;
    }
    let (ended, decisions) = project.json(&["profile", "decisions"]);
    ended.expect(0)?;
    same("decisions", decisions.as_array().map(Vec::len), Some(0))
}
