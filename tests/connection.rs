//! Connections are tried and looked at before a pipeline names them.

use libtest_mimic::{Failed, Trial};

use crate::support::{Ended, Project, holds, rule, same, shared};
use crate::vendors::Judge;

pub(crate) fn trials() -> Vec<Trial> {
    let mut trials = vec![
        rule(
            "connection: what files offer is shown with classes of personal data; a wrong name is told with the right ones",
            files,
        ),
        rule("connection: one that fails is told with what to do, and the others all the same", one_fails),
    ];
    let service = rule("connection: a service is tried with its credential, and shows what it offers", service);
    trials.push(service.with_ignored_flag(shared().is_none()));
    trials
}

fn files() -> Result<(), Failed> {
    let project = Project::copy_of("quickstart");
    let (ended, offered) = project.json(&["connection", "discover", "shop"]);
    ended.expect(0)?;
    let names: Vec<_> =
        offered["streams"].as_array().into_iter().flatten().filter_map(|stream| stream["name"].as_str()).collect();
    same("streams", names, vec!["customers", "orders"])?;
    let customers = project.affluent(&["connection", "discover", "shop", "customers"]).expect(0)?.stdout;
    holds(customers.contains("email") && !customers.contains("order_id"), format!("fields of another stream:\n{customers}"))?;
    project.affluent(&["connection", "discover", "shop", "custommers"]).expect(2)?.says("customers, orders")?;
    project.affluent(&["connection", "check", "shopp"]).expect(2)?.says("shop")?;
    Ok(())
}

fn one_fails() -> Result<(), Failed> {
    let project = Project::copy_of("quickstart");
    std::fs::remove_file(project.path().join("exports/newsletter.csv"))?;
    let (ended, checked) = project.json(&["connection", "check"]);
    holds(ended.code == 2 || ended.code == 3, format!("exit code {}", ended.code))?;
    let states = checked.as_array().into_iter().flatten();
    let failed: Vec<_> = states.filter(|one| one["state"] == "failed").filter_map(|one| one["connection"].as_str()).collect();
    same("failed", failed, vec!["newsletter"])?;
    same("tried", checked.as_array().map(Vec::len), Some(4))
}

fn service() -> Result<(), Failed> {
    let judge = Judge::start("hubspot", &["--contacts", "1"])?;
    let project = Project::new();
    let port = judge.port;
    project.write("affluent.yaml", "version: 1\nproject: crm\n").write(
        "connections/crm.yaml",
        &format!(
            "version: 1
connection: crm
plugin: hubspot
config: {{ base_url: \"http://127.0.0.1:{port}\" }}
secrets: {{ access_token: {{ env: TOKEN_OF_THE_CONNECTION_TEST }} }}
egress: {{ private: [\"127.0.0.1:{port}\"], http: true }}
"
        ),
    );
    let with_token = |token: &str, arguments: &[&str]| {
        project.command(arguments).env("TOKEN_OF_THE_CONNECTION_TEST", token).output().map(Ended::of)
    };
    with_token("pat-test", &["connection", "check"])?.expect(0)?;
    let refused = with_token("wrong-token-of-somebody", &["connection", "check"])?;
    holds(refused.code == 2 || refused.code == 3, format!("exit code {}", refused.code))?;
    holds(refused.stdout.contains("access token is not accepted"), format!("it does not say what is wrong: {}", refused.stdout))?;
    holds(!format!("{}{}", refused.stdout, refused.stderr).contains("wrong-token"), "the credential is shown")?;
    let offered = with_token("pat-test", &["connection", "discover", "crm"])?.expect(0)?.stdout;
    for word in ["contacts", "incremental", "upsert, mirror", "yes, verified"] {
        holds(offered.contains(word), format!("`{word}` is not shown:\n{offered}"))?;
    }
    Ok(())
}
