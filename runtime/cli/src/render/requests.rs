//! What services ask of a person, as text.

use affluent_engine::RequestView;

pub(crate) fn list(listed: &[RequestView]) -> String {
    if listed.is_empty() {
        return "no service asks anything".to_owned();
    }
    listed.iter().map(line).collect::<Vec<_>>().join("\n")
}

/// `3  connection shop: customers/redact about 191167, asked 2026-11-28T…, due 2026-12-28T…`.
pub(crate) fn line(request: &RequestView) -> String {
    let RequestView { request: number, connection, topic, about, asked_at, due_at, is_overdue, .. } = request;
    let about = about.as_ref().map_or(String::new(), |id| format!(" about {id}"));
    let state = match (&request.closed_at, &request.answer, &request.closed_by) {
        (Some(at), Some(answer), Some(by)) => format!("closed {at} by {by}: {answer}"),
        _ if *is_overdue => format!("OVERDUE since {due_at}"),
        _ => format!("due {due_at}"),
    };
    format!("{number}  connection {connection}: {topic}{about}, asked {asked_at}, {state}")
}
