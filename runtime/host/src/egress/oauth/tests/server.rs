//! A token endpoint and a service behind it, on loopback.

use std::sync::{Arc, Mutex};

use tokio::io::AsyncWriteExt;
use tokio::net::TcpListener;
use tokio::sync::watch;

use super::{keys, signed};
use crate::egress::tests::{answer, read_request};

/// How the service behaves.
#[derive(Clone, Copy)]
pub(super) struct Rules {
    pub(super) expires_in: Option<u64>,
    /// Each exchange gives a new refresh token; the one before is good until the new tokens are used for the first time.
    pub(super) rotates: bool,
    /// An exchange ends the access token before it.
    pub(super) one_access_token: bool,
    /// The service takes no access token at all.
    pub(super) refuses_all: bool,
    /// The service repeats what it was sent.
    pub(super) echoes: bool,
    /// The token endpoint knows nothing but this.
    pub(super) answer: Option<(u16, &'static str)>,
    /// Nothing is answered until the test says so.
    pub(super) waits: bool,
    /// Where the access token is looked for.
    pub(super) header: &'static str,
}

impl Default for Rules {
    fn default() -> Self {
        Self {
            expires_in: None,
            rotates: false,
            one_access_token: false,
            refuses_all: false,
            echoes: false,
            answer: None,
            waits: false,
            header: "authorization",
        }
    }
}

struct State {
    rules: Rules,
    issued: u32,
    refresh: String,
    /// Refresh and access token of the last exchange, while neither was used.
    unused: Option<(String, String)>,
    /// Refresh tokens that were replaced.
    old: Vec<String>,
    access: Vec<String>,
    is_revoked: bool,
    every: Vec<String>,
    /// Grant type, form and `authorization` of each exchange.
    exchanges: Vec<(String, String, String)>,
}

pub(super) struct TokenServer {
    pub(super) address: String,
    state: Arc<Mutex<State>>,
    requests: watch::Sender<u32>,
    may_answer: watch::Sender<bool>,
}

impl TokenServer {
    pub(super) async fn start(rules: Rules) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let refresh = "refresh-0-configured".to_owned();
        let (every, old, access, exchanges) = (vec![refresh.clone()], Vec::new(), Vec::new(), Vec::new());
        let state = State { rules, issued: 0, refresh, unused: None, old, access, is_revoked: false, every, exchanges };
        let state = Arc::new(Mutex::new(state));
        let shared = Arc::clone(&state);
        let (requests, may_answer) = (watch::Sender::new(0), watch::Sender::new(!rules.waits));
        let (arrived, go) = (requests.clone(), may_answer.subscribe());
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let (shared, arrived, mut go) = (Arc::clone(&shared), arrived.clone(), go.clone());
                tokio::spawn(async move {
                    let request = read_request(&mut stream).await;
                    arrived.send_modify(|requests| *requests += 1);
                    drop(go.wait_for(|may_answer| *may_answer).await);
                    let answer = shared.lock().unwrap().answer(&request);
                    drop(stream.write_all(&answer).await);
                });
            }
        });
        Self { address, state, requests, may_answer }
    }

    pub(super) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// Ends when this many requests have come.
    pub(super) async fn asked(&self, requests: u32) {
        self.requests.subscribe().wait_for(|come| *come >= requests).await.unwrap();
    }

    pub(super) fn answer_all(&self) {
        self.may_answer.send_replace(true);
    }

    /// Grant types of the exchanges.
    pub(super) fn exchanges(&self) -> Vec<String> {
        self.state.lock().unwrap().exchanges.iter().map(|(grant, ..)| grant.clone()).collect()
    }

    /// Form and `authorization`.
    pub(super) fn last_exchange(&self) -> (String, String) {
        let state = self.state.lock().unwrap();
        let (_, form, authorization) = state.exchanges.last().unwrap();
        (form.clone(), authorization.clone())
    }

    pub(super) fn revoke_access(&self) {
        self.state.lock().unwrap().access.clear();
    }

    /// An old refresh token came back after its successor was used.
    pub(super) fn is_family_revoked(&self) -> bool {
        self.state.lock().unwrap().is_revoked
    }

    pub(super) fn install_again(&self, refresh: &str) {
        let mut state = self.state.lock().unwrap();
        refresh.clone_into(&mut state.refresh);
        (state.unused, state.is_revoked) = (None, false);
        state.old.clear();
        state.access.clear();
    }

    pub(super) fn every_token(&self) -> Vec<String> {
        self.state.lock().unwrap().every.clone()
    }
}

impl State {
    fn answer(&mut self, request: &str) -> Vec<u8> {
        let (head, body) = request.split_once("\r\n\r\n").unwrap_or((request, ""));
        let header = |wanted: &str| {
            let lines = head.lines().filter_map(|line| line.split_once(": "));
            lines
                .filter(|(name, _)| name.eq_ignore_ascii_case(wanted))
                .map(|(_, value)| value.to_owned())
                .next()
                .unwrap_or_default()
        };
        if head.starts_with("POST /oauth/token ") {
            let form: Vec<(String, String)> = url::form_urlencoded::parse(body.as_bytes()).into_owned().collect();
            return self.exchange(&form, body, &header("authorization"));
        }
        let carried = header(self.rules.header);
        let token = carried.strip_prefix("Bearer ").unwrap_or(&carried).to_owned();
        let echo = if self.rules.echoes { format!("{carried} {}", self.every.join(" ")) } else { String::new() };
        if self.rules.refuses_all || !self.access.contains(&token) {
            return answer("401 Unauthorized", &[&format!("x-echo: {token}")], echo.as_bytes());
        }
        if self.unused.as_ref().is_some_and(|(_, access)| *access == token) {
            self.promote();
        }
        answer("200 OK", &[], echo.as_bytes())
    }

    fn exchange(&mut self, form: &[(String, String)], body: &str, authorization: &str) -> Vec<u8> {
        let value = |name: &str| form.iter().find(|(key, _)| key == name).map(|(_, value)| value.clone()).unwrap_or_default();
        let (grant, refresh) = (value("grant_type"), value("refresh_token"));
        self.exchanges.push((grant.clone(), body.to_owned(), authorization.to_owned()));
        if let Some((status, body)) = self.rules.answer {
            return answer(
                &format!("{status} X"),
                &["location: /elsewhere", "retry-after: 60"][..usize::from(status == 429) * 2],
                body.as_bytes(),
            );
        }
        let is_signed = grant == signed::GRANT && keys::claims_of(&value("assertion")).is_some();
        if grant == signed::GRANT && !is_signed {
            return answer("400 X", &[], br#"{"error":"invalid_grant"}"#);
        }
        let has_client = is_signed || authorization.starts_with("Basic ") || value("client_secret") == "key-of-the-client";
        if !has_client {
            return answer("401 X", &[], br#"{"error":"invalid_client"}"#);
        }
        if grant == "refresh_token" && !self.takes(&refresh) {
            return answer("400 X", &[], br#"{"error":"invalid_grant"}"#);
        }
        self.issue(grant == "refresh_token")
    }

    fn takes(&mut self, refresh: &str) -> bool {
        if self.unused.as_ref().is_some_and(|(unused, _)| unused == refresh) {
            self.promote();
        }
        self.is_revoked |= self.old.iter().any(|old| old == refresh);
        !self.is_revoked && self.refresh == refresh
    }

    /// The new tokens were used: what was before them is gone.
    fn promote(&mut self) {
        if let Some((refresh, _)) = self.unused.take() {
            self.old.push(std::mem::replace(&mut self.refresh, refresh));
        }
    }

    fn issue(&mut self, refreshes: bool) -> Vec<u8> {
        self.issued += 1;
        let (access, refresh) = (format!("access-token-{}", self.issued), format!("refresh-token-{}", self.issued));
        if self.rules.one_access_token {
            self.access.clear();
        }
        self.access.push(access.clone());
        self.every.push(access.clone());
        let mut tokens = serde_json::json!({"access_token": access, "token_type": "Bearer"});
        if let Some(seconds) = self.rules.expires_in {
            tokens["expires_in"] = seconds.into();
        }
        if refreshes && self.rules.rotates {
            tokens["refresh_token"] = refresh.clone().into();
            self.every.push(refresh.clone());
            self.unused = Some((refresh, access));
        }
        answer("200 OK", &["content-type: application/json"], tokens.to_string().as_bytes())
    }
}
