//! What services ask of a person by webhooks: answered, shown until it is closed, and closed by what answers it.

use libtest_mimic::{Failed, Trial};
use serde_json::Value;

use crate::support::{Project, Serving, files_below, holds, rule, same};
use crate::webhooks::{SECRET, serve, signature};

pub(crate) fn trials() -> Vec<Trial> {
    vec![
        rule("requests: what a shop asks by law is answered, told once and shown until it is closed", asked_by_law),
        rule("requests: one is closed by the export or the erasure that answers it, or by a reason", closed_by_answers),
    ]
}

/// A shop whose webhooks are taken and one whose are not; neither is in reach, nor needs to be.
pub(crate) fn shops() -> Project {
    let project = Project::new();
    project.write("affluent.yaml", "version: 1\nproject: shops\n");
    let shop = |name: &str, secret: &str| {
        let text = format!(
            "version: 1\nconnection: {name}\nplugin: shopify\nconfig: {{ shop: acme, base_url: \"http://127.0.0.1:9\" }}
secrets: {{ access_token: {{ env: TOKEN_OF_shopify }}{secret} }}\negress: {{ private: [\"127.0.0.1:9\"], http: true }}\n"
        );
        project.write(&format!("connections/{name}.yaml"), &text);
    };
    shop("shop", ", client_secret: { env: SECRET_OF_THE_TEST }");
    shop("quiet", "");
    project
}

const DATA: (&str, &str) = (
    "customers/data_request",
    r#"{"shop_id":954889,"customer":{"id":191167,"email":"ann@people.test"},"data_request":{"id":9999}}"#,
);
const REDACT: (&str, &str) =
    ("customers/redact", r#"{"shop_id":954889,"customer":{"id":191167,"email":"ann@people.test"},"orders_to_redact":[299938]}"#);
const SHOP: (&str, &str) = ("shop/redact", r#"{"shop_id":954889,"shop_domain":"acme.myshopify.com"}"#);

fn send(serving: &Serving, (topic, body): (&str, &str), secret: &str) -> Result<u16, Failed> {
    let signature = signature(secret, &[body]);
    let headers = [("X-Shopify-Hmac-Sha256", signature.as_str()), ("X-Shopify-Topic", topic)];
    serving.ask("POST", "/webhooks/shop", &headers, body.as_bytes()).map(|(status, _)| status)
}

/// What a command lists: number, what is asked and about whom.
fn listed(project: &Project, arguments: &[&str]) -> Result<(Vec<String>, Value), Failed> {
    let (ended, value) = project.json(arguments);
    ended.expect(0)?;
    let requests = if arguments == ["status"] { value["requests"].clone() } else { value };
    let short = |one: &Value| format!("{} {} {}", one["request"], one["topic"], one["about"]).replace('"', "");
    Ok((requests.as_array().into_iter().flatten().map(short).collect(), requests))
}

fn asked_by_law() -> Result<(), Failed> {
    let project = shops();
    let serving = serve(&project)?;
    same("forged", send(&serving, REDACT, "another")?, 401)?;
    same("genuine", send(&serving, REDACT, SECRET)?, 200)?;
    same("sent again", send(&serving, REDACT, SECRET)?, 200)?;
    let log = Serving::log(&project);
    holds(log.contains("the service of shop asks: customers/redact about 191167"), format!("nobody is told:\n{log}"))?;
    drop(serving);

    let serving = serve(&project)?;
    same("sent again to another process", send(&serving, REDACT, SECRET)?, 200)?;
    same("of a whole shop", send(&serving, SHOP, SECRET)?, 200)?;
    let (asked, requests) = listed(&project, &["status"])?;
    same("asked", asked, vec!["1 customers/redact 191167".to_owned(), "2 shop/redact null".to_owned()])?;
    let days = |one: &Value| -> Result<i64, Failed> {
        let day = |at: &Value| chrono::DateTime::parse_from_rfc3339(at.as_str().unwrap_or_default());
        Ok((day(&one["due_at"])? - day(&one["asked_at"])?).num_days())
    };
    same("days to answer", days(&requests[0])?, 30)?;
    same("its time is over", &requests[0]["is_overdue"], &Value::Bool(false))?;
    let text = project.affluent(&["status"]).expect(0)?.stdout;
    holds(text.contains("request       1  connection shop: customers/redact about 191167"), text.clone())?;
    let log = Serving::log(&project);
    holds(!format!("{log}{text}{requests}").contains("ann@"), "an address was told")
}

/// A project that holds one customer of the shop.
fn shop_with_a_customer() -> Result<Project, Failed> {
    let project = shops();
    project
        .write("people.csv", "id,email\n191167,ann@people.test\n191168,bo@people.test\n")
        .write("profiles/identity.yaml", "version: 1\nidentifiers: { shop_customer: { priority: 1 }, email: { priority: 2 } }\n")
        .write(
            "pipelines/people_to_profiles.yaml",
            "version: 1
pipeline: people_to_profiles
source:
  connection: { plugin: csv, files: { read: [people.csv] }, config: { streams: { people: { files: people.csv } } } }
  streams: { people: { sync: full_refresh, pii: { email: email } } }
destination: { profiles: { people: { subject: id, identifiers: { shop_customer: id, email: email } } } }
",
        );
    project.affluent(&["run", "--quiet"]).expect(0)?;
    Ok(project)
}

fn closed_by_answers() -> Result<(), Failed> {
    let project = shop_with_a_customer()?;
    let serving = serve(&project)?;
    for asked in [DATA, REDACT, SHOP] {
        same(asked.0, send(&serving, asked, SECRET)?, 200)?;
    }
    let ann = "shop_customer:191167";
    let refused = |arguments: &[&str], reason: &str| project.affluent(arguments).expect(2)?.says(reason).map(drop);
    refused(&["requests", "close", "1"], "required")?;
    refused(&["requests", "close", "1", "--export", ann, "--because", "kept-by-law"], "cannot be used with")?;
    refused(&["requests", "close", "1", "--export", ann], "was not exported since the request")?;
    refused(&["requests", "close", "2", "--erasure", "1"], "there is no erasure 1")?;
    refused(&["requests", "close", "9", "--because", "nothing-held"], "E0830")?;

    let (bo, of_another) = ("shop_customer:191168", "is not known to be of 191167, whom request");
    project.affluent(&["profile", "export", bo]).expect(0)?;
    refused(&["requests", "close", "1", "--export", ann], "was not exported since the request")?;
    refused(&["requests", "close", "1", "--export", bo], of_another)?;
    project.affluent(&["profile", "export", ann]).expect(0)?;
    project.affluent(&["requests", "close", "1", "--export", ann, "--by", "cy"]).expect(0)?;
    project.affluent(&["profile", "erase", bo, "--yes", "--quiet"]).expect(0)?;
    refused(&["requests", "close", "2", "--erasure", "1"], of_another)?;
    project.affluent(&["profile", "erase", ann, "--yes", "--quiet"]).expect(0)?;
    refused(&["requests", "close", "3", "--erasure", "2"], "is about nobody in particular")?;
    project.affluent(&["requests", "close", "2", "--erasure", "2", "--by", "cy"]).expect(0)?;
    same("open", listed(&project, &["requests", "list"])?.0, vec!["3 shop/redact null".to_owned()])?;
    project.affluent(&["requests", "close", "3", "--because", "done-elsewhere", "--by", "cy"]).expect(0)?;
    refused(&["requests", "close", "3", "--because", "done-elsewhere"], "there is no open request 3")?;
    same("open", listed(&project, &["status"])?.0.len(), 0)?;

    let (all, requests) = listed(&project, &["requests", "list", "--all"])?;
    same("all", all.len(), 3)?;
    for (place, answer) in [(0, "done elsewhere"), (1, "erasure 2 of profile "), (2, "exported at ")] {
        let closed = &requests[place];
        holds(closed["answer"].as_str().is_some_and(|text| text.contains(answer)), format!("{closed} lacks `{answer}`"))?;
        same("closed by", closed["closed_by"].as_str(), Some("cy"))?;
    }
    let asked = "connection shop: customers/data_request about 191167";
    let audited = [format!("request 1, {asked}: profile "), "exported at ".to_owned(), "; by cy".to_owned()];
    let ledgers: Vec<u8> = files_below(&project.path().join(".affluent")).iter().flat_map(std::fs::read).flatten().collect();
    let is_in = |text: &String| ledgers.windows(text.len()).any(|window| window == text.as_bytes());
    holds(audited.iter().all(is_in), "the audit does not tell by what it was closed")?;
    same("asked anew when it was closed", send(&serve(&project)?, SHOP, SECRET)?, 200)?;
    same("open", listed(&project, &["requests", "list"])?.0, vec!["4 shop/redact null".to_owned()])
}
