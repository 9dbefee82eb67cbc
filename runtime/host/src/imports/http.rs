//! `http`: requests through the egress gate.

use wasmtime::component::Resource;

use crate::bindings::affluent::plugin::http::{Host, HostBody, HttpError, Request, Response, ResponseHead};
use crate::egress::{Answer, AnswerBody, BodyMode, BodyReader, Egress};
use crate::state::State;

/// Bytes that one `read` gives at most.
const READ_BYTES_MAX: usize = 4 << 20;

/// An answer that the guest reads piece by piece.
#[expect(unreachable_pub, reason = "the generated bindings re-export it")]
pub struct Body {
    /// `None` when everything came at once, in `rest`.
    reader: Option<Box<BodyReader>>,
    rest: Vec<u8>,
}

impl Body {
    async fn read(&mut self, bytes_max: usize) -> Result<Option<Vec<u8>>, HttpError> {
        while self.rest.is_empty() {
            let Some(reader) = &mut self.reader else { return Ok(None) };
            match reader.next().await? {
                Some(piece) => self.rest = piece,
                None => self.reader = None,
            }
        }
        let after = self.rest.split_off(bytes_max.min(self.rest.len()));
        Ok(Some(std::mem::replace(&mut self.rest, after)))
    }
}

impl State {
    fn egress(&self) -> Result<&Egress, HttpError> {
        self.services.egress.as_ref().ok_or_else(|| HttpError::Denied("this plugin has no network".to_owned()))
    }
}

impl Host for State {
    async fn send(&mut self, request: Request) -> wasmtime::Result<Result<Response, HttpError>> {
        let egress = match self.egress() {
            Ok(egress) => egress,
            Err(denied) => return Ok(Err(denied)),
        };
        Ok(egress.send(request, BodyMode::Whole).await.map(Answer::into_response))
    }

    async fn send_all(
        &mut self,
        requests: Vec<Request>,
        max_in_flight: u8,
    ) -> wasmtime::Result<Vec<Result<Response, HttpError>>> {
        match self.egress() {
            Ok(egress) => Ok(egress.send_all(requests, max_in_flight).await),
            Err(denied) => Ok(requests.iter().map(|_| Err(denied.clone())).collect()),
        }
    }

    async fn open(&mut self, request: Request) -> wasmtime::Result<Result<(ResponseHead, Resource<Body>), HttpError>> {
        let egress = match self.egress() {
            Ok(egress) => egress,
            Err(denied) => return Ok(Err(denied)),
        };
        let answer = match egress.send(request, BodyMode::Stream).await {
            Ok(answer) => answer,
            Err(error) => return Ok(Err(error)),
        };
        let body = match answer.body {
            AnswerBody::Whole(rest) => Body { reader: None, rest },
            AnswerBody::Stream(reader) => Body { reader: Some(reader), rest: Vec::new() },
        };
        let head = ResponseHead { status: answer.status, headers: answer.headers };
        Ok(Ok((head, self.table.push(body)?)))
    }
}

impl HostBody for State {
    async fn read(&mut self, body: Resource<Body>, max_bytes: u32) -> wasmtime::Result<Result<Option<Vec<u8>>, HttpError>> {
        let bytes_max = usize::try_from(max_bytes).unwrap_or(READ_BYTES_MAX).clamp(1, READ_BYTES_MAX);
        let body = self.table.get_mut(&body)?;
        Ok(body.read(bytes_max).await)
    }

    fn drop(&mut self, body: Resource<Body>) -> wasmtime::Result<()> {
        self.table.delete(body)?;
        Ok(())
    }
}
