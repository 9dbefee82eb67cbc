//! A service to try the plugin against: `cargo run --example api`. It has 250 customers in pages, wants the bearer token
//! `example-token`, and takes contacts, which it prints; those without an `@` in their e-mail it refuses.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};

use serde_json::{Value, json};

const ADDRESS: &str = "127.0.0.1:8700";
const CUSTOMERS: usize = 250;

fn main() -> std::io::Result<()> {
    let listener = TcpListener::bind(ADDRESS)?;
    eprintln!("serving on http://{ADDRESS}");
    for stream in listener.incoming() {
        // One request per connection, one connection at a time: enough to try a plugin.
        if let Err(error) = stream.and_then(|stream| answer(&stream)) {
            eprintln!("{error}");
        }
    }
    Ok(())
}

fn answer(mut stream: &TcpStream) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream);
    let (mut first, mut line, mut length, mut token) = (String::new(), String::new(), 0, String::new());
    reader.read_line(&mut first)?;
    while reader.read_line(&mut line)? > 2 {
        let (name, value) = line.split_once(':').unwrap_or_default();
        match name.to_lowercase().as_str() {
            "content-length" => length = value.trim().parse().unwrap_or(0),
            "authorization" => value.trim().clone_into(&mut token),
            _ => {}
        }
        line.clear();
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    let mut words = first.split_whitespace();
    let (method, target) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let (status, answer) = match (method, path) {
        _ if token != "Bearer example-token" => (401, json!({ "error": "wrong token" })),
        ("GET", "/customers") => (200, customers(query)),
        ("POST", "/contacts") => (200, contacts(&body)),
        _ => (404, json!({ "error": "no such path" })),
    };
    eprintln!("{method} {target} {status}");
    let answer = answer.to_string();
    let head = format!("HTTP/1.1 {status} X\r\ncontent-type: application/json\r\nconnection: close\r\n");
    write!(stream, "{head}content-length: {}\r\n\r\n{answer}", answer.len())
}

/// A page of customers, oldest change first; `cursor` is how many came before it.
fn customers(query: &str) -> Value {
    let value = |name: &str| query.split('&').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='));
    let number = |name: &str, or: usize| value(name).and_then(|text| text.parse().ok()).unwrap_or(or);
    let since = value("updated_since").unwrap_or_default().replace("%3A", ":");
    let changed: Vec<Value> = (1..=CUSTOMERS).map(customer).filter(|one| one["updated_at"].as_str() > Some(&since)).collect();
    let (start, limit) = (number("cursor", 0), number("limit", 100));
    let items: Vec<&Value> = changed.iter().skip(start).take(limit).collect();
    let end = start + items.len();
    json!({ "items": items, "next_cursor": (end < changed.len()).then(|| end.to_string()) })
}

fn customer(id: usize) -> Value {
    let (hour, minute) = (id / 60, id % 60);
    let name = ["Ada", "Grace", "Alan", "Edsger"][id % 4];
    let city = ["Lyon", "Oslo", "Porto"][id % 3];
    json!({
        "id": id,
        "email": format!("customer{id}@example.org"),
        "first_name": name,
        "address": { "city": city },
        "total_spent": format!("{}.{:02}", id * 3, id % 100),
        "updated_at": format!("2026-01-01T{hour:02}:{minute:02}:00Z"),
    })
}

/// Takes contacts: one result for each, in their order.
fn contacts(body: &[u8]) -> Value {
    let body: Value = serde_json::from_slice(body).unwrap_or_default();
    let result = |contact: &Value| {
        if contact["email"].as_str().is_some_and(|email| email.contains('@')) {
            println!("{contact}");
            json!({ "id": contact["id"] })
        } else {
            json!({ "error": "invalid_email", "field": "email" })
        }
    };
    json!({ "results": body["contacts"].as_array().into_iter().flatten().map(result).collect::<Vec<_>>() })
}
