//! Where an attempt's answer comes from: the network, the network with a recorder listening, or a recording. The request
//! has passed the grant checks and the budget; no credential is in it yet.

use std::time::Duration;

use reqwest::header::HeaderMap;

use super::attempt::Credential;
use super::request::Outgoing;
use super::{Answer, AnswerBody, Ask, Egress, retry};
use crate::bindings::affluent::plugin::http::HttpError;
use crate::recording::{Exchanges, Failed, Recorder, Replay, Taken, TakenAnswer, Wanted};

/// A body that is kept, bytes: also one that a guest would read piece by piece.
const RECORDED_BODY_BYTES_MAX: usize = 64 << 20;

type Answered = Result<(Answer, Option<Duration>), HttpError>;

impl Egress {
    pub(super) async fn exchange_or_replay(&self, outgoing: &Outgoing, auth: Option<&Credential<'_>>, ask: Ask) -> Answered {
        match &self.caller.options.exchanges {
            Exchanges::Live => self.exchange(outgoing.clone(), auth, ask).await,
            Exchanges::Record(recorder) => {
                let answered = self.exchange_whole(outgoing, auth, ask).await;
                self.keep(recorder, outgoing, &answered);
                answered
            }
            Exchanges::Replay(replay) => self.replay(replay, outgoing),
        }
    }

    /// An answer that a guest would read piece by piece is read whole, so that it can be kept.
    async fn exchange_whole(&self, outgoing: &Outgoing, auth: Option<&Credential<'_>>, ask: Ask) -> Answered {
        let (mut answer, retry_after) = self.exchange(outgoing.clone(), auth, ask).await?;
        if let AnswerBody::Stream(reader) = &mut answer.body {
            let mut body = Vec::new();
            while let Some(piece) = reader.next().await? {
                body.extend_from_slice(&piece);
                if body.len() > RECORDED_BODY_BYTES_MAX {
                    return Err(HttpError::TooLarge(u64::try_from(RECORDED_BODY_BYTES_MAX).unwrap_or(u64::MAX)));
                }
            }
            answer.body = AnswerBody::Whole(body);
        }
        Ok((answer, retry_after))
    }

    fn keep(&self, recorder: &Recorder, outgoing: &Outgoing, answered: &Answered) {
        let answer = match answered {
            Ok((answer, _)) => Ok(answer),
            Err(HttpError::Connect(_)) => Err(Failed::Connect),
            Err(HttpError::Timeout) => Err(Failed::Timeout),
            Err(HttpError::TooLarge(_)) => Err(Failed::TooLarge),
            Err(HttpError::Invalid(_)) => Err(Failed::Invalid),
            // Refused or stopped here: the remote said nothing.
            Err(HttpError::Denied(_) | HttpError::RateLimited(_) | HttpError::Cancelled) => return,
        };
        let scrubber = self.secrets.scrubber();
        let clean_header = |(name, value): (String, String)| (name, scrubber.clean_text(&value));
        let answer = answer.map(|answer| TakenAnswer {
            status: answer.status,
            headers: answer.headers.iter().cloned().map(clean_header).collect(),
            body: match &answer.body {
                AnswerBody::Whole(body) => scrubber.clean(body.clone()),
                AnswerBody::Stream(_) => Vec::new(),
            },
        });
        let taken = Taken {
            method: outgoing.method.to_string(),
            url: scrubber.clean_text(outgoing.url.as_str()),
            headers: texts(&outgoing.headers).into_iter().map(clean_header).collect(),
            body: scrubber.clean(outgoing.body.clone().unwrap_or_default()),
            answer,
        };
        recorder.keep(&self.caller.connection, &self.caller.plugin, taken);
    }

    fn replay(&self, replay: &Replay, outgoing: &Outgoing) -> Answered {
        let wanted = Wanted {
            connection: &self.caller.connection,
            method: outgoing.method.as_str(),
            url: outgoing.url.as_str(),
            body: outgoing.body.as_deref().unwrap_or_default(),
            matching: self.matching,
        };
        let exchange = replay.answer(&wanted).map_err(HttpError::Denied)?;
        let Some(response) = exchange.response else { return Err(failed_again(exchange.failure)) };
        let header = |name: &str| response.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str());
        let retry_after = retry::asked_for(response.status, header, self.caller.options.clock.now_us());
        let body = response.body.as_ref().and_then(|body| body.bytes()).unwrap_or_default();
        Ok((Answer { status: response.status, headers: response.headers, body: AnswerBody::Whole(body) }, retry_after))
    }
}

fn failed_again(failure: Option<Failed>) -> HttpError {
    match failure {
        Some(Failed::Timeout) => HttpError::Timeout,
        Some(Failed::TooLarge) => HttpError::TooLarge(0),
        Some(Failed::Invalid) => HttpError::Invalid("the answer was not valid when it was recorded".to_owned()),
        Some(Failed::Connect) | None => HttpError::Connect("there was no connection when it was recorded".to_owned()),
    }
}

fn texts(headers: &HeaderMap) -> Vec<(String, String)> {
    headers.iter().map(|(name, value)| (name.to_string(), String::from_utf8_lossy(value.as_bytes()).into_owned())).collect()
}
