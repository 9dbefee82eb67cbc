//! The gate's decisions, case by case: `decisions.txt`.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr};

use url::Host;

use super::super::client::look_up;
use super::super::redirect::Trail;
use super::super::request::Outgoing;
use super::*;
use crate::options::AddressResolver;

const CASES: &str = include_str!("decisions.txt");
const CASES_MIN: usize = 60;

/// One line of the table.
struct Case<'a> {
    what: &'a str,
    request: &'a str,
    addresses: &'a str,
    hosts: &'a str,
    connection: &'a str,
    decision: &'a str,
}

impl<'a> Case<'a> {
    fn read(line: &'a str) -> Self {
        let columns: Vec<&str> = line.split('|').map(str::trim).collect();
        let [what, request, addresses, hosts, connection, decision] = columns[..] else { panic!("{line}") };
        Self { what, request, addresses, hosts, connection, decision }
    }

    /// Answers of the look-ups of each name, in turn.
    fn resolver(&self) -> AddressResolver {
        let mut answers: HashMap<String, Vec<Vec<IpAddr>>> = HashMap::new();
        for word in self.addresses.split_whitespace() {
            let (name, look_ups) = word.split_once('=').unwrap();
            let addresses =
                |text: &str| text.split(',').filter(|text| !text.is_empty()).map(|text| text.parse().unwrap()).collect();
            answers.insert(name.to_owned(), look_ups.split('/').map(addresses).collect());
        }
        let answers = Mutex::new(answers);
        Arc::new(move |name| {
            let mut answers = answers.lock().unwrap();
            let found = answers.get_mut(&name).map(|turns| if turns.len() > 1 { turns.remove(0) } else { turns[0].clone() });
            Box::pin(async move { found.ok_or_else(|| io::Error::other("no such name")) })
        })
    }

    fn gate(&self) -> Result<Bench> {
        let hosts: Vec<_> = self.hosts.split_whitespace().map(|pattern| json!({"pattern": pattern})).collect();
        let manifest = json!({
            "manifest_version": 1, "name": "p", "version": "1", "kinds": ["source"], "config_schema": {}, "hosts": hosts,
            "secrets": [{"name": "token"}], "auth": {"bearer": {"type": "bearer", "secret": "token"}}});
        let mut connection = connection("p", json!({}));
        for word in self.connection.split_whitespace() {
            match word.split_once('=') {
                Some(("private", address)) => connection.egress.private.push(address.to_owned()),
                Some(("hosts", host)) => connection.egress.hosts.push(host.to_owned()),
                Some(("base_url", url)) => connection.config = json!({"base_url": url}),
                _ => connection.egress.http = word == "http",
            }
        }
        bench_of(serde_json::from_value(manifest).unwrap(), connection, self.resolver(), |_| ())
    }

    /// The first request and what comes after it.
    fn steps(&self) -> (Request, Vec<&'a str>) {
        let mut steps = self.request.split(" -> ");
        let first = steps.next().unwrap();
        let (method, url) = first.split_once(' ').unwrap_or(("GET", first));
        let url = url.replace("\\r", "\r").replace("\\n", "\n").replace("\\t", "\t");
        let request = Request { method: method.to_owned(), ..with_auth(url, "bearer") };
        (Request { body: (method == "POST").then(|| b"x".to_vec()), ..request }, steps.collect())
    }

    async fn decide(&self) -> String {
        let Ok(bench) = self.gate() else { return "no grant".to_owned() };
        let (request, steps) = self.steps();
        match self.walk(&bench, request, &steps).await {
            Ok(decision) => decision,
            Err(HttpError::Denied(reason) | HttpError::Invalid(reason)) => format!("refused {reason}"),
            Err(_) => "unreachable".to_owned(),
        }
    }

    async fn walk(&self, bench: &Bench, request: Request, steps: &[&str]) -> Result<String, HttpError> {
        let addresses = self.resolver();
        let credential = Credential { slot: "bearer", access: None };
        let mut trail = Trail::new(Outgoing::check(request)?, Some(&credential));
        let mut address = connect(bench, &addresses, &trail.next.url).await?;
        for step in steps {
            if let Some((status, location)) = step.split_once(' ')
                && !trail.follow(status.parse().unwrap(), Some(location))?
            {
                return Ok("kept".to_owned());
            }
            address = connect(bench, &addresses, &trail.next.url).await?;
        }
        let bare = if trail.auth.is_none() { " bare" } else { "" };
        Ok(format!("to {address}{bare}"))
    }
}

/// Where a request to this URL would connect to.
async fn connect(bench: &Bench, addresses: &AddressResolver, url: &Url) -> Result<SocketAddr, HttpError> {
    let policy = bench.egress.check_destination(url)?;
    let port = url.port_or_known_default().unwrap();
    match url.host().unwrap() {
        Host::Ipv4(address) => Ok((address, port).into()),
        Host::Ipv6(address) => Ok((address, port).into()),
        Host::Domain(name) => {
            let found = look_up(addresses, name, &policy).await.map_err(|error| match error.downcast::<AddressRefused>() {
                Ok(refused) => HttpError::Denied(refused.to_string()),
                Err(error) => HttpError::Connect(error.to_string()),
            });
            found?.first().copied().ok_or_else(|| HttpError::Connect("no address".to_owned()))
        }
    }
}

fn cases() -> Vec<Case<'static>> {
    CASES.lines().filter(|line| !line.is_empty() && !line.starts_with('#')).map(Case::read).collect()
}

#[tokio::test]
async fn every_decision_is_the_one_in_the_table() {
    let cases = cases();
    assert!(cases.len() >= CASES_MIN);
    let mut wrong = Vec::new();
    for case in cases {
        let decision = case.decide().await;
        let same = match case.decision.strip_prefix("refused ") {
            Some(reason) => decision.starts_with("refused ") && decision.contains(reason),
            None => decision == case.decision,
        };
        if !same {
            wrong.push(format!("{}: {decision}, not {}", case.what, case.decision));
        }
    }
    assert_eq!(wrong, Vec::<String>::new());
}

#[tokio::test]
async fn what_is_refused_reaches_nobody_and_is_audited_with_host_and_reason() {
    for case in cases() {
        let (request, steps) = case.steps();
        let Some(reason) = case.decision.strip_prefix("refused ").filter(|_| steps.is_empty()) else { continue };
        let bench = case.gate().unwrap();

        let refused = bench.egress.send(request, BodyMode::Whole).await.err();

        let Some(HttpError::Denied(said) | HttpError::Invalid(said)) = refused else { panic!("{}", case.what) };
        let events = bench.recorded.audit.lock().unwrap().clone();
        let [event] = events.as_slice() else { panic!("{}: {events:?}", case.what) };
        assert!(said.contains(reason) && event.reason.contains(reason), "{}: {said}", case.what);
        assert_eq!((event.plugin.as_str(), event.action), ("p", "egress"), "{}", case.what);
    }
}
