//! One base of a CRM's contacts and a shop's customers, written to two tools at once: one that fails holds up nothing, and who opts
//! out at one of them is sent to neither.
//! One failing for ten minutes: `AFFLUENT_FAILING_MINUTES=10 cargo test --test affluent -- two_way:_while`.

use std::collections::BTreeSet;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use libtest_mimic::{Failed, Trial};
use serde_json::{Value, json};

use crate::quickstart::report_of;
use crate::support::{Ended, Project, Relay, Serving, Step, holds, rule, same, shared, wait};
use crate::vendors::{Judge, write_shop};

pub(crate) fn trials() -> Vec<Trial> {
    let is_absent = shared().is_none();
    let trials = vec![
        rule(
            "two_way: a base of two sources goes to two tools, one of them failing; an opt-out at one counts for both",
            both_ways,
        ),
        rule(
            "two_way: while one tool fails from schedule to schedule the other keeps its own, and then the first catches up",
            on_schedule,
        ),
    ];
    trials.into_iter().map(|trial| trial.with_ignored_flag(is_absent)).collect()
}

fn connection(name: &str, plugin: &str, config: &str, secret: &str, port: u16) -> String {
    format!(
        "version: 1
connection: {name}
plugin: {plugin}
config: {{ base_url: \"http://127.0.0.1:{port}{config} }}
secrets: {{ {secret}: {{ env: KEY_OF_{plugin}_IN_THE_TEST }} }}
egress: {{ private: [\"127.0.0.1:{port}\"], http: true }}
"
    )
}

/// The shop's customers have the addresses of the first 1,200 contacts, some of them in another case.
const SHOP: &str = "version: 1
pipeline: shop_to_profiles
source: { connection: shop, streams: { customers: { sync: incremental }, orders: { sync: incremental } } }
transforms:
  - filter: { stream: orders, where: \"NOT test AND cancelled_at IS NULL AND customer_id IS NOT NULL\" }
  - map: { stream: customers, set: { email: \"replace(lower(email), 'user', 'lead')\" } }
destination:
  profiles:
    customers:
      subject: id
      identifiers: { shop_customer: id, email: email }
      attributes: { last_name: last_name }
      consent: { email_marketing: { granted: \"email_marketing_state = 'SUBSCRIBED'\", at: email_marketing_updated_at } }
    orders: { subject: customer_id, order: { id: id, at: created_at, currency: currency, net: total } }
";
const CONTACTS: &str = "version: 1
pipeline: crm_to_profiles
source: { connection: crm, streams: { contacts: { sync: incremental, pii: { email: email } } } }
destination:
  profiles:
    contacts:
      subject: id
      identifiers: { crm_contact: id, email: email }
      consent: { email_marketing: { granted: \"CASE WHEN hs_email_optout THEN false END\", at: lastmodifieddate } }
";
const MEMBERS: &str = "version: 1
pipeline: mail_to_profiles
source: { connection: mail, streams: { members: { sync: incremental } } }
destination:
  profiles:
    members:
      subject: id
      identifiers: { mail_member: id, email: email_address }
      consent: { email_marketing: { granted: \"CASE WHEN status IN ('unsubscribed', 'cleaned') THEN false END\", at: last_changed } }
";

/// What is written to one tool.
fn buyers_to(name: &str, connection: &str, rest: &str) -> String {
    format!(
        "version: 1
pipeline: {name}
schedule: {{ after: [shop_to_profiles, crm_to_profiles, mail_to_profiles] }}
source: {{ profiles: {{ segment: buyers }} }}
destination:
  connection: {connection}
  purpose: email_marketing
  grants: [email, last_name]
{rest}"
    )
}

fn project(shop: &Judge, crm: &Judge, mail_port: u16) -> Project {
    let project = Project::new();
    write_shop(&project, shop);
    let identifiers =
        "shop_customer: { priority: 1 }, crm_contact: { priority: 2 }, mail_member: { priority: 3 }, email: { priority: 4 }";
    project
        .write("affluent.yaml", "version: 1\nproject: two_way\n")
        .write("connections/crm.yaml", &connection("crm", "hubspot", "\", create_properties: true", "access_token", crm.port))
        .write(
            "connections/mail.yaml",
            &connection(
                "mail",
                "mailchimp",
                "/3.0\", audience: a1, create_merge_fields: true, new_members: subscribed",
                "api_key",
                mail_port,
            ),
        )
        .write("profiles/identity.yaml", &format!("version: 1\nidentifiers: {{ {identifiers} }}\n"))
        .write("profiles/traits.yaml", "version: 1\ntraits: { orders_count: { from: orders, sql: \"count(*)\" } }\n")
        .write("profiles/segments.yaml", "version: 1\nsegments: { buyers: { where: \"orders_count >= 1\" } }\n")
        .write("pipelines/shop_to_profiles.yaml", SHOP)
        .write("pipelines/crm_to_profiles.yaml", CONTACTS)
        .write("pipelines/mail_to_profiles.yaml", MEMBERS);
    let to_crm = "  object: contacts\n  match: { email: email }\n  mode: upsert\n  map: { lastname: last_name, shop_orders: orders_count }\n";
    let to_mail = "  object: members\n  list: { name: Buyers }\n  match: { email_address: email }\n  mode: mirror\n  map: { merge_fields.LNAME: last_name, merge_fields.ORDERS: orders_count }\n";
    project
        .write("pipelines/buyers_to_crm.yaml", &buyers_to("buyers_to_crm", "crm", to_crm))
        .write("pipelines/audience_in_mail.yaml", &buyers_to("audience_in_mail", "mail", to_mail));
    project
}

const KEYS: [(&str, &str); 2] = [("KEY_OF_hubspot_IN_THE_TEST", "pat-test"), ("KEY_OF_mailchimp_IN_THE_TEST", "key-us21")];

fn command(project: &Project, arguments: &[&str]) -> Command {
    let mut command = project.command(arguments);
    command.current_dir(project.path()).envs(KEYS);
    command
}

const RUN: [&str; 4] = ["run", "--output", "json", "--quiet"];

fn report(ended: std::process::Output, code: i32) -> Result<Value, Failed> {
    let ended = Ended::of(ended).expect(code)?;
    serde_json::from_str(&ended.stdout).map_err(|_| format!("no report: {}", ended.stderr).into())
}

fn run(project: &Project, code: i32) -> Result<Value, Failed> {
    report(command(project, &RUN).output()?, code)
}

fn count(reports: &Value, pipeline: &str, what: &str) -> Result<u64, Failed> {
    Ok(report_of(reports, pipeline)?["activation"][what].as_u64().unwrap_or(0))
}

fn fault(judge: &Judge, fault: &Value) -> Result<(), Failed> {
    judge.request_with("POST", "/__judge/fault", &fault.to_string()).map(drop)
}

/// Mailchimp's answer to who changed, as long as it is not reset: one member.
fn member(mail: &Judge, email: &str, status: &str) -> Result<(), Failed> {
    let member =
        json!({ "contact_id": "m1", "email_address": email, "status": status, "last_changed": "2026-11-20T00:00:00+00:00" });
    fault(mail, &json!({ "match": "GET /lists/a1/members$", "status": 200, "times": 1_000_000, "body": { "members": [member] } }))
}

/// The addresses that a tool was sent, by what stands before them in bodies.
fn sent(judge: &Judge, key: &str, before: &str) -> Result<BTreeSet<String>, Failed> {
    let log = judge.get("/__judge/log")?;
    let bodies = log
        .as_array()
        .into_iter()
        .flatten()
        .filter(|entry| entry["key"].as_str().is_some_and(|known| known.contains(key)) && entry["status"] == 200);
    let of = |body: &str| {
        body.split(before).skip(1).filter_map(|rest| rest.split(['"', '\\']).next().map(str::to_owned)).collect::<Vec<_>>()
    };
    Ok(bodies.flat_map(|entry| of(entry["body"].as_str().unwrap_or_default())).collect())
}

/// The contacts that were written to HubSpot, by place and name.
fn written(crm: &Judge) -> Result<Vec<(u32, Value)>, Failed> {
    let truth = crm.get("/__judge/truth")?;
    let contacts = truth["contacts"].as_array().into_iter().flatten();
    let is_written = |contact: &&Value| contact["shop_orders"].as_str().is_some_and(|orders| !orders.is_empty());
    let place = |contact: &Value| contact["email"].as_str()?.strip_prefix("lead")?.split('@').next()?.parse::<u32>().ok();
    Ok(contacts.filter(is_written).filter_map(|contact| Some((place(contact)?, contact["lastname"].clone()))).collect())
}

/// Whether a customer is the only one with the address: no other one has it in another case.
fn is_alone(place: u32) -> bool {
    place % 29 != 6 && place % 29 != 7 && place % 15 != 3
}

fn both_ways() -> Result<(), Failed> {
    let shop = Judge::start("shopify", &["--bucket", "20000", "--restore", "20000"])?;
    let crm = Judge::start("hubspot", &[])?;
    let mail = Judge::start("mailchimp", &[])?;
    let is_slow = Arc::new(AtomicBool::new(true));
    let slow = Arc::clone(&is_slow);
    let relay = Relay::start(mail.port, move |_, asked| {
        let is_late = slow.load(Ordering::Relaxed) && (asked.starts_with("POST ") || asked.starts_with("PUT "));
        Step::Forward(Duration::from_secs(if is_late { 20 } else { 0 }))
    })?;
    let project = project(&shop, &crm, relay.port);
    member(&mail, "nobody@example.com", "subscribed")?;
    fault(&mail, &json!({ "match": "^(PUT|POST) /(lists|batches)", "status": 503, "times": 1_000_000 }))?;

    // Mailchimp, whose turn is first, fails again and again, each time after 20 seconds: what goes to HubSpot does not wait for it.
    let mut child = command(&project, &RUN).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    wait(&mut child, "HubSpot has the buyers", || Ok(!written(&crm)?.is_empty()))?;
    holds(child.try_wait()?.is_none(), "Mailchimp was given up before HubSpot had its turn")?;
    is_slow.store(false, Ordering::Relaxed);
    let first = report(child.wait_with_output()?, 3)?;
    let written = count(&first, "buyers_to_crm", "accepted")?;
    holds(written > 100, format!("{written} were written to HubSpot"))?;
    same("written to Mailchimp", count(&first, "audience_in_mail", "accepted")?, 0)?;
    let (ended, person) = project.json(&["profile", "show", "email:lead8@example.com"]);
    ended.expect(0)?;
    for identifier in ["shop_customer", "crm_contact"] {
        holds(person.to_string().contains(identifier), format!("Lead 8 has no {identifier}: {person}"))?;
    }

    // It is back: it gets all of them, and HubSpot nothing again.
    mail.request("POST", "/__judge/reset")?;
    member(&mail, "nobody@example.com", "subscribed")?;
    let second = run(&project, 0)?;
    same("written to Mailchimp", count(&second, "audience_in_mail", "accepted")?, written)?;
    same("written to HubSpot again", count(&second, "buyers_to_crm", "accepted")?, 0)?;

    // One person opts out at Mailchimp; they and another one change.
    let people = sent(&mail, "POST /batches", "email_address\\\":\\\"")?;
    let places = |email: &String| email.strip_prefix("lead")?.split('@').next()?.parse::<u32>().ok();
    let places: Vec<u32> = people.iter().filter_map(places).filter(|place| is_alone(*place)).take(2).collect();
    let [out, other] = places[..] else { return Err("nobody was sent".into()) };
    mail.request("POST", "/__judge/reset")?;
    mail.request("POST", &format!("/__judge/optout?email=lead{out}@example.com"))?;
    member(&mail, &format!("lead{out}@example.com"), "unsubscribed")?;
    for place in [out, other] {
        shop.request("POST", &format!("/__judge/touch?i={place}&lastName=Touched"))?;
    }
    let third = run(&project, 0)?;
    same("written to HubSpot", count(&third, "buyers_to_crm", "accepted")?, 1)?;
    same(
        "written to Mailchimp",
        (count(&third, "audience_in_mail", "accepted")?, count(&third, "audience_in_mail", "removed")?),
        (1, 1),
    )?;
    let truth = crm.get("/__judge/truth")?;
    let name_of = |place: u32| {
        let mut contacts = truth["contacts"].as_array().into_iter().flatten();
        contacts.find(|contact| contact["email"] == format!("lead{place}@example.com")).map(|contact| contact["lastname"].clone())
    };
    same("who changed", name_of(other), Some(json!("Touched")))?;
    holds(name_of(out) != Some(json!("Touched")), "who opted out was written to HubSpot")?;
    let summary = mail.get("/__judge/summary")?;
    same("violations and unknown fields", (&summary["violations"], &summary["unknownFields"]), (&json!(0), &json!(0)))
}

/// The addresses that Mailchimp took and tagged.
fn members(mail: &Judge) -> Result<BTreeSet<String>, Failed> {
    let log = mail.get("/__judge/log")?;
    let is_tagging = |entry: &&Value| {
        entry["key"].as_str().is_some_and(|key| key.starts_with("POST /lists/a1/segments/")) && entry["status"] == 200
    };
    let tagged = log.as_array().into_iter().flatten().filter(is_tagging);
    let bodies = tagged.filter_map(|entry| serde_json::from_str::<Value>(entry["body"].as_str()?).ok());
    let added = bodies.flat_map(|body| body["members_to_add"].as_array().cloned().unwrap_or_default());
    Ok(added.filter_map(|email| Some(email.as_str()?.to_owned())).collect())
}

/// Minutes for which one tool fails at least: `AFFLUENT_FAILING_MINUTES`, or as long as two changes take to reach the other.
fn failing_for() -> Duration {
    let minutes = std::env::var("AFFLUENT_FAILING_MINUTES").ok().and_then(|minutes| minutes.parse().ok()).unwrap_or(0);
    Duration::from_secs(60 * minutes)
}

/// Writes to Mailchimp that failed so far.
fn refused(mail: &Judge) -> Result<usize, Failed> {
    Ok(mail.get("/__judge/log")?.as_array().into_iter().flatten().filter(|entry| entry["status"] == 503).count())
}

/// Each minute the shop is read, and both tools are written to after it: by each schedule while one of them fails, the other gets
/// what changed before it.
#[expect(clippy::print_stderr, reason = "the long form is run for what it saw")]
fn on_schedule() -> Result<(), Failed> {
    let shop = Judge::start("shopify", &["--bucket", "20000", "--restore", "20000"])?;
    let crm = Judge::start("hubspot", &[])?;
    let mail = Judge::start("mailchimp", &[])?;
    let project = project(&shop, &crm, mail.port);
    member(&mail, "nobody@example.com", "subscribed")?;
    for pipeline in ["pipelines/buyers_to_crm.yaml", "pipelines/audience_in_mail.yaml"] {
        let text = project.read(pipeline);
        project.write(pipeline, &text.replace("[shop_to_profiles, crm_to_profiles, mail_to_profiles]", "[shop_to_profiles]"));
    }
    let first = ["run", "--quiet", "crm_to_profiles", "mail_to_profiles"];
    Ended::of(command(&project, &first).output()?).expect(0)?;
    let scheduled =
        SHOP.replace("pipeline: shop_to_profiles\n", "pipeline: shop_to_profiles\nschedule: { cron: \"* * * * *\" }\n");
    project.write("pipelines/shop_to_profiles.yaml", &scheduled);
    fault(&mail, &json!({ "match": "^(PUT|POST) /(lists|batches)", "status": 503, "times": 1_000_000 }))?;

    let mut serving = Serving::start(&project, &KEYS)?;
    serving.wait("HubSpot has the buyers", || Ok(written(&crm)?.len() > 100))?;
    let failing = Instant::now();
    let place = written(&crm)?.into_iter().map(|(place, _)| place).find(|place| is_alone(*place)).ok_or("nobody was written")?;
    let mut changes = 0;
    while changes < 2 || failing.elapsed() < failing_for() {
        changes += 1;
        let name = format!("Changed{changes}");
        shop.request("POST", &format!("/__judge/touch?i={place}&lastName={name}"))?;
        serving.wait("a change of the next schedule is at HubSpot", || Ok(written(&crm)?.contains(&(place, json!(name)))))?;
    }
    let refused = refused(&mail)?;
    holds(refused > 0, "Mailchimp was not written to meanwhile")?;
    same("written to Mailchimp meanwhile", members(&mail)?, BTreeSet::new())?;
    eprintln!("{changes} changes reached HubSpot in {} s; Mailchimp refused {refused} writes", failing.elapsed().as_secs());

    mail.request("POST", "/__judge/reset")?;
    let buyers: BTreeSet<String> = written(&crm)?.into_iter().map(|(place, _)| format!("lead{place}@example.com")).collect();
    serving.wait("Mailchimp has the buyers", || Ok(buyers.is_subset(&members(&mail)?)))?;
    same("who is at Mailchimp", members(&mail)?, buyers)
}
