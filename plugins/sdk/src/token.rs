//! Tokens: what a destination gets in place of personal values that the pipeline does not let it see. A token is text of
//! 30 letters and digits, the same for the same value on the same connection, also in later runs; the host puts the value
//! into requests, escaped for JSON, a form, a URL, CSV, XML or plain text, and takes it out of answers again.

/// How every token begins.
const PREFIX: &str = "pii0zq";
const TOKEN_BYTES: usize = 30;

/// True when a text is a token and nothing else.
#[must_use]
pub fn is_token(text: &str) -> bool {
    text.len() == TOKEN_BYTES
        && text.starts_with(PREFIX)
        && text.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit())
}

/// A token that stands for a form of its value: `trim`, `lower`, `upper`, `e164`, `md5`, `sha256` (hexadecimal digits), and
/// `json`, the inside of a JSON string, for JSON that stands inside a URL or a text. Forms are applied in their order.
/// `None` when the text is a value in the clear, whose forms the plugin makes itself.
///
/// ```
/// use affluent_sdk::token;
///
/// let email = "pii0zqaaaaaaaaaaaaaaaaaaaaaaaa";
/// let subscriber = token::in_form(email, &["lower", "md5"]);
/// assert_eq!(subscriber.as_deref(), Some("pii0zqaaaaaaaaaaaaaaaaaaaaaaaa.lower.md5"));
/// assert_eq!(token::in_form("ann@x.test", &["md5"]), None);
/// ```
#[must_use]
pub fn in_form(text: &str, forms: &[&str]) -> Option<String> {
    is_token(text).then(|| forms.iter().fold(text.to_owned(), |token, form| format!("{token}.{form}")))
}

/// A text for JSON that stands inside a text or a URL: of a token that form, any other as it is, since it is escaped with the JSON.
///
/// ```
/// assert_eq!(affluent_sdk::token::in_json("pii0zqaaaaaaaaaaaaaaaaaaaaaaaa"), "pii0zqaaaaaaaaaaaaaaaaaaaaaaaa.json");
/// assert_eq!(affluent_sdk::token::in_json("7"), "7");
/// ```
#[must_use]
pub fn in_json(text: &str) -> String {
    in_form(text, &["json"]).unwrap_or_else(|| text.to_owned())
}

/// A JSON list of texts, for a filter inside a URL or another text: tokens are asked for in that form.
///
/// ```
/// assert_eq!(affluent_sdk::token::json_list(&["ann@x.test", "7"]), r#"["ann@x.test","7"]"#);
/// ```
#[must_use]
pub fn json_list(texts: &[&str]) -> String {
    let texts: Vec<String> = texts.iter().map(|text| in_json(text)).collect();
    serde_json::json!(texts).to_string()
}
