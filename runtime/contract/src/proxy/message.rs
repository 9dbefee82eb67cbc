//! HTTP/1.1 messages, as much as a proxy on loopback needs: bodies by `content-length`, chunks, or the end of the stream.

use std::io;

use serde_json::Value;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// A head, bytes.
const HEAD_BYTES_MAX: usize = 64 << 10;
/// A body, bytes.
pub(super) const BODY_BYTES_MAX: usize = 64 << 20;
/// Headers that are about one connection, and those that this proxy writes itself.
const HOP_HEADERS: [&str; 7] =
    ["connection", "keep-alive", "transfer-encoding", "content-length", "proxy-connection", "upgrade", "te"];

/// A request with its body.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    pub(crate) method: String,
    /// Path and query.
    pub(crate) target: String,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

/// An answer with its body, unchunked.
#[derive(Debug, Clone)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    pub(crate) fn json(status: u16, body: &str) -> Self {
        let headers = vec![("content-type".to_owned(), "application/json".to_owned())];
        Self { status, headers, body: body.as_bytes().to_vec() }
    }

    pub(crate) fn with(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// The first half of the body.
    pub(super) fn halved(&self) -> Self {
        let mut answer = self.clone();
        answer.body.truncate(self.body.len() / 2);
        answer
    }

    /// The longest list of objects emptied; unchanged when there is none.
    pub(super) fn emptied(&self) -> Self {
        let Ok(mut body) = serde_json::from_slice::<Value>(&self.body) else { return self.clone() };
        let Some(list) = longest_list(&mut body) else { return self.clone() };
        list.clear();
        Self { body: body.to_string().into_bytes(), ..self.clone() }
    }

    /// True when the answer says where the next page is: a `Link` header, or a non-empty value in a JSON body under a
    /// name like `next` or `cursor`.
    pub(super) fn has_next(&self) -> bool {
        let is_link = |(name, value): &(String, String)| name.eq_ignore_ascii_case("link") && value.contains("next");
        self.headers.iter().any(is_link) || serde_json::from_slice(&self.body).is_ok_and(|body: Value| names_next(&body))
    }
}

fn longest_list(value: &mut Value) -> Option<&mut Vec<Value>> {
    match value {
        Value::Array(list) => Some(list).filter(|list| list.iter().any(Value::is_object)),
        Value::Object(map) => map.values_mut().filter_map(longest_list).max_by_key(|list| list.len()),
        _ => None,
    }
}

fn names_next(value: &Value) -> bool {
    let Value::Object(map) = value else { return false };
    map.iter().any(|(name, value)| {
        let name = name.to_lowercase();
        let is_about = name.contains("next") || name.contains("cursor") || name.contains("has_more") || name.contains("hasmore");
        let is_set = match value {
            Value::Bool(set) => *set,
            Value::String(text) => !text.is_empty(),
            Value::Number(_) => true,
            _ => false,
        };
        (is_about && is_set) || names_next(value)
    })
}

/// Reads until the blank line; the head's text and what already came of the body.
async fn read_head(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<Option<(String, Vec<u8>)>> {
    let mut bytes = Vec::new();
    let mut piece = [0u8; 8 << 10];
    loop {
        if let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
            let rest = bytes.split_off(end + 4);
            return Ok(Some((String::from_utf8_lossy(&bytes).into_owned(), rest)));
        }
        let count = stream.read(&mut piece).await?;
        if count == 0 || bytes.len() > HEAD_BYTES_MAX {
            return Ok(None);
        }
        bytes.extend_from_slice(piece.get(..count).unwrap_or_default());
    }
}

fn headers(head: &str) -> Vec<(String, String)> {
    let lines = head.lines().skip(1).filter_map(|line| line.split_once(':'));
    lines.map(|(name, value)| (name.trim().to_owned(), value.trim().to_owned())).collect()
}

fn header<'a>(headers: &'a [(String, String)], name: &str) -> Option<&'a str> {
    headers.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
}

async fn read_body(
    stream: &mut (impl AsyncRead + Unpin),
    all: &[(String, String)],
    mut rest: Vec<u8>,
    is_answer: bool,
) -> io::Result<Vec<u8>> {
    let length = header(all, "content-length").and_then(|length| length.parse::<usize>().ok());
    let is_chunked = header(all, "transfer-encoding").is_some_and(|coding| coding.eq_ignore_ascii_case("chunked"));
    let wanted = match length {
        _ if is_chunked => usize::MAX,
        Some(length) => length.min(BODY_BYTES_MAX),
        None if is_answer => usize::MAX,
        None => 0,
    };
    let mut piece = vec![0u8; 64 << 10];
    while rest.len() < wanted && rest.len() <= BODY_BYTES_MAX && !(is_chunked && rest.ends_with(b"0\r\n\r\n")) {
        let count = stream.read(&mut piece).await?;
        if count == 0 {
            break;
        }
        rest.extend_from_slice(piece.get(..count).unwrap_or_default());
    }
    Ok(if is_chunked { unchunk(&rest) } else { rest })
}

fn unchunk(mut bytes: &[u8]) -> Vec<u8> {
    let mut body = Vec::new();
    while let Some(end) = bytes.windows(2).position(|window| window == b"\r\n") {
        let size = bytes.get(..end).and_then(|line| std::str::from_utf8(line).ok());
        let size = size.and_then(|line| usize::from_str_radix(line.split(';').next().unwrap_or_default().trim(), 16).ok());
        let Some(size) = size.filter(|size| *size > 0) else { break };
        let Some(chunk) = bytes.get(end + 2..end + 2 + size) else { break };
        body.extend_from_slice(chunk);
        bytes = bytes.get(end + 4 + size..).unwrap_or_default();
    }
    body
}

/// Reads a request; `None` when the peer closed before one came.
pub(super) async fn read_request(stream: &mut TcpStream) -> io::Result<Option<Request>> {
    let Some((head, rest)) = read_head(stream).await? else { return Ok(None) };
    let mut words = head.split_whitespace();
    let (Some(method), Some(target)) = (words.next(), words.next()) else { return Ok(None) };
    let (method, target, all) = (method.to_owned(), target.to_owned(), headers(&head));
    let body = read_body(stream, &all, rest, false).await?;
    Ok(Some(Request { method, target, headers: kept(all), body }))
}

/// Reads an answer to its end.
pub(super) async fn read_answer(stream: &mut TcpStream) -> io::Result<Answer> {
    let broken = || io::Error::new(io::ErrorKind::InvalidData, "no HTTP answer");
    let (head, rest) = read_head(stream).await?.ok_or_else(broken)?;
    let status = head.split_whitespace().nth(1).and_then(|status| status.parse().ok()).ok_or_else(broken)?;
    let all = headers(&head);
    let body = if matches!(status, 204 | 304) { Vec::new() } else { read_body(stream, &all, rest, true).await? };
    Ok(Answer { status, headers: kept(all), body })
}

fn kept(headers: Vec<(String, String)>) -> Vec<(String, String)> {
    headers.into_iter().filter(|(name, _)| !HOP_HEADERS.iter().any(|hop| name.eq_ignore_ascii_case(hop))).collect()
}

/// Writes a request that asks to close the connection after its answer.
pub(super) async fn write_request(stream: &mut TcpStream, request: &Request) -> io::Result<()> {
    let mut head = format!("{} {} HTTP/1.1\r\n", request.method, request.target);
    for (name, value) in &request.headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    head.push_str(&format!("content-length: {}\r\nconnection: close\r\n\r\n", request.body.len()));
    stream.write_all(head.as_bytes()).await?;
    stream.write_all(&request.body).await
}

/// Writes an answer and closes; `length` is said instead of the body's own.
pub(super) async fn write_answer(stream: &mut TcpStream, answer: &Answer, length: Option<usize>) -> io::Result<()> {
    let mut head = format!("HTTP/1.1 {} Answer\r\n", answer.status);
    for (name, value) in &answer.headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    if !matches!(answer.status, 204 | 304) {
        head.push_str(&format!("content-length: {}\r\n", length.unwrap_or(answer.body.len())));
    }
    head.push_str("connection: close\r\n\r\n");
    stream.write_all(head.as_bytes()).await?;
    stream.write_all(&answer.body).await?;
    stream.shutdown().await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_list_of_records_is_emptied_and_the_rest_kept() {
        let answer = Answer::json(200, r#"{"data":{"items":[{"id":1},{"id":2}],"tags":["a","b","c"]},"next":"2"}"#);

        let emptied: Value = serde_json::from_slice(&answer.emptied().body).unwrap();

        assert_eq!(emptied, serde_json::json!({"data": {"items": [], "tags": ["a", "b", "c"]}, "next": "2"}));
    }

    #[test]
    fn a_next_page_is_seen_in_header_and_body() {
        for (body, has_next) in [
            (r#"{"next_cursor":"x"}"#, true),
            (r#"{"data":{"pageInfo":{"hasNextPage":true}}}"#, true),
            (r#"{"data":{"pageInfo":{"hasNextPage":false,"endCursor":null}}}"#, false),
            (r#"{"links":{"next":null}}"#, false),
            ("[]", false),
        ] {
            assert_eq!(Answer::json(200, body).has_next(), has_next, "{body}");
        }
        assert!(Answer::json(200, "[]").with("Link", "<http://x/2>; rel=\"next\"").has_next());
    }

    #[test]
    fn chunks_are_joined() {
        assert_eq!(unchunk(b"3\r\nabc\r\n4;x=1\r\ndefg\r\n0\r\n\r\n"), b"abcdefg");
        assert_eq!(unchunk(b"5\r\nab"), b"");
    }
}
