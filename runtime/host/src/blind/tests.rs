use std::sync::Arc;

use affluent_model::pii::PiiClass;
use proptest::prelude::*;

use super::substitute::Refusal;
use super::token::{self, TokenKey, Tokenizer};
use super::values::{BatchValues, ValueColumn};
use super::{AnswerScrubber, BodyKind, clean_text, in_body, in_url};

const BYTES_MAX: usize = 1 << 20;

/// The values of a batch, and the token of each.
fn held(rows: &[(PiiClass, &str, &str)]) -> (Arc<BatchValues>, Vec<String>) {
    let tokenizer = Tokenizer::new(&TokenKey::new([3; 32])).unwrap();
    let mut values = BatchValues::with_capacity(0, 0);
    let mut tokens = Vec::new();
    for (class, key, text) in rows {
        values.begin_column(ValueColumn { class: *class, key: (*key).to_owned(), is_json: *key == "json" });
        let mark = tokenizer.mark(text.as_bytes());
        values.insert(mark, text);
        tokens.push(token::text(mark));
    }
    (Arc::new(values), tokens)
}

fn one(text: &str) -> (Arc<BatchValues>, String) {
    let (values, mut tokens) = held(&[(PiiClass::FreeText, "note", text)]);
    (values, tokens.remove(0))
}

fn body(values: &BatchValues, kind: BodyKind, text: &str) -> Result<String, Refusal> {
    in_body(text.as_bytes(), kind, values, BYTES_MAX).map(|body| String::from_utf8(body).unwrap())
}

/// Cells of the one line of a CSV text.
fn csv_cells(text: &str) -> Vec<String> {
    let (mut cells, mut cell, mut is_open) = (Vec::new(), String::new(), false);
    let mut letters = text.chars().peekable();
    while let Some(letter) = letters.next() {
        match letter {
            '"' if is_open && letters.peek() == Some(&'"') => {
                letters.next();
                cell.push('"');
            }
            '"' => is_open = !is_open,
            ',' if !is_open => cells.push(std::mem::take(&mut cell)),
            other => cell.push(other),
        }
    }
    cells.push(cell);
    cells
}

proptest! {
    #[test]
    fn any_text_comes_whole_through_json(text in "\\PC{1,40}|[\\x00-\\x7f]{1,40}") {
        let (values, token) = one(&text);
        let sent = body(&values, BodyKind::Json, &format!(r#"{{"a\"\\":"{token}","b":["x {token}"]}}"#)).unwrap();
        let read: serde_json::Value = serde_json::from_str(&sent).unwrap();
        prop_assert_eq!(read["a\"\\"].as_str(), Some(text.as_str()));
        prop_assert_eq!(read["b"][0].as_str().unwrap(), format!("x {text}"));
    }

    #[test]
    fn any_text_comes_whole_through_a_form(text in "\\PC{1,40}|[\\x00-\\x7f]{1,40}") {
        let (values, token) = one(&text);
        let sent = body(&values, BodyKind::Form, &format!("a={token}&b=1")).unwrap();
        let read: Vec<(String, String)> = url::form_urlencoded::parse(sent.as_bytes()).into_owned().collect();
        prop_assert_eq!(read, [("a".to_owned(), text), ("b".to_owned(), "1".to_owned())]);
    }

    #[test]
    fn any_text_comes_whole_through_a_url(text in "\\PC{1,40}|[\\x00-\\x7f]{1,40}") {
        let (values, token) = one(&text);
        let mut url = url::Url::parse("https://x.test/a/b?c=d").unwrap();
        match in_url(&format!("/a/{token}/b"), true, &values) {
            Ok(path) => url.set_path(&path),
            Err(refusal) => {
                prop_assert!(text == "." || text == "..", "{refusal:?}");
                return Ok(());
            }
        }
        url.set_query(Some(&in_url(&format!("q={token}&r=1"), false, &values).unwrap()));
        let read: Vec<(String, String)> = url.query_pairs().into_owned().collect();
        prop_assert_eq!(&read, &[("q".to_owned(), text.clone()), ("r".to_owned(), "1".to_owned())]);
        let segments: Vec<&str> = url.path_segments().unwrap().collect();
        prop_assert_eq!(segments.len(), 3);
        let segment: Vec<u8> = url::form_urlencoded::parse(segments[1].replace('+', "%2B").as_bytes()).next().unwrap().0.into_owned().into_bytes();
        prop_assert_eq!(String::from_utf8(segment).unwrap(), text);
    }

    #[test]
    fn any_text_comes_through_csv_as_it_is(text in "[=+@\\-]?\\PC{1,40}|[\\x00-\\x7f]{1,40}") {
        let (values, token) = one(&text);
        for line in [format!("1,{token},2"), format!("1,\"{token}\",2")] {
            let cells = csv_cells(&body(&values, BodyKind::Csv, &line).unwrap());
            prop_assert_eq!(cells.len(), 3);
            prop_assert_eq!(&cells[1], &text);
        }
    }

    #[test]
    fn a_value_in_an_answer_is_found_wherever_the_answer_is_cut(cut in 0usize..400, cut2 in 0usize..400) {
        let (values, tokens) = held(&[(PiiClass::Email, "email", "Ann.Lee@x.test"), (PiiClass::Name, "firstname", "Zoë \"Z\"")]);
        let text = r#"{"data":[{"email":"ann.lee@x.test","first_name":"Zo\u00eb \"Z\"","type":"profile"},{"m":"no Ann.Lee@x.test here"}],"links":{"self":"https://a.test/?f=any(email,%5B%22ann.lee%40x.test%22%5D)"},"n":7}"#;
        let (first, second) = (cut.min(text.len()).min(cut2.min(text.len())), cut.min(text.len()).max(cut2.min(text.len())));
        let mut scrubber = AnswerScrubber::new(values, Some("application/json"));
        let mut clean = scrubber.push(text.as_bytes()[..first].to_vec());
        clean.extend(scrubber.push(text.as_bytes()[first..second].to_vec()));
        clean.extend(scrubber.push(text.as_bytes()[second..].to_vec()));
        clean.extend(scrubber.finish());
        let clean = String::from_utf8(clean).unwrap();
        let expected = text.replace("ann.lee@x.test\",\"f", &format!("{}\",\"f", tokens[0]))
            .replace("Ann.Lee@x.test", &tokens[0]).replace("ann.lee%40x.test", &tokens[0]).replace("Zo\\u00eb \\\"Z\\\"", &tokens[1]);
        prop_assert_eq!(clean, expected);
    }
}

#[test]
fn a_form_of_a_value_is_asked_for_behind_its_token() {
    let (values, token) = one("Urist.McVankab@freddiesjokes.com");

    let path = in_url(&format!("/lists/1/members/{token}.lower.md5"), true, &values).unwrap();

    assert_eq!(path, "/lists/1/members/62eeb292278cc15f5817cb78f7790b08");
    let answer = clean_text(&values, "id 62eeb292278cc15f5817cb78f7790b08 known");
    assert_eq!(answer, format!("id {token}.lower.md5 known"));
}

#[test]
fn json_is_put_in_whole() {
    let (values, tokens) = held(&[(PiiClass::Address, "json", r#"{"zip":"75001"}"#)]);
    let token = &tokens[0];

    assert_eq!(body(&values, BodyKind::Json, &format!(r#"{{"a":"{token}"}}"#)).unwrap(), r#"{"a":{"zip":"75001"}}"#);
    let inside = body(&values, BodyKind::Json, &format!(r#"{{"a":"x {token}"}}"#)).unwrap();
    assert_eq!(inside, r#"{"a":"x {\"zip\":\"75001\"}"}"#);
}

#[test]
fn a_token_where_no_value_may_stand_refuses_the_request() {
    let (values, token) = one("=1+1");
    let foreign = token::text((9, 9));
    for (kind, text, refusal) in [
        (BodyKind::Json, format!("{{\"a\":{token}}}"), Refusal::NotInString),
        (BodyKind::Json, format!("{{\"a\":\"{foreign}\"}}"), Refusal::Unknown),
        (BodyKind::Json, format!("{{\"a\":\"{}\"}}", token.split_at(28).0), Refusal::Malformed),
        (BodyKind::Json, format!("{{\"a\":\"\\{token}\"}}"), Refusal::Malformed),
        (BodyKind::Csv, format!("1,a {token},2"), Refusal::NotACell),
        (BodyKind::Plain, format!("{token}.e164"), Refusal::Form(super::form::Form::E164)),
    ] {
        assert_eq!(body(&values, kind, &text), Err(refusal), "{text}");
    }
    let long = format!("{token} ").repeat(10);
    assert_eq!(in_body(long.as_bytes(), BodyKind::Plain, &values, 20), Err(Refusal::TooLarge));
}

#[test]
fn a_value_is_never_another_path() {
    for text in [".", ".."] {
        let (values, token) = one(text);
        assert_eq!(in_url(&format!("/a/{token}"), true, &values), Err(Refusal::Path));
        assert!(in_url(&format!("q={token}"), false, &values).is_ok());
    }
}

#[test]
fn words_of_an_api_stay_although_a_person_is_called_so() {
    let (values, tokens) = held(&[
        (PiiClass::Name, "firstname", "complete"),
        (PiiClass::Name, "lastname", "Profile"),
        (PiiClass::Address, "zip", "75001"),
        (PiiClass::Phone, "phonenumber", "+33612345678"),
    ]);
    let [first, last, zip, phone] = [0, 1, 2, 3].map(|at: usize| tokens[at].clone());
    for (text, expected) in [
        (r#"{"status":"complete"}"#.to_owned(), r#"{"status":"complete"}"#.to_owned()),
        (r#"{"first_name":"complete"}"#.to_owned(), format!(r#"{{"first_name":"{first}"}}"#)),
        (r#"{"type":"profile","last_name":"Profile"}"#.to_owned(), format!(r#"{{"type":"profile","last_name":"{last}"}}"#)),
        (
            r#"{"count":75001,"zip":"75001","size":"75001"}"#.to_owned(),
            format!(r#"{{"count":75001,"zip":"{zip}","size":"75001"}}"#),
        ),
        (r#"{"phone":33612345678,"p":"0033612345678"}"#.to_owned(), format!(r#"{{"phone":"{phone}","p":"0033612345678"}}"#)),
        (r#"{"a":"is not complete"}"#.to_owned(), r#"{"a":"is not complete"}"#.to_owned()),
    ] {
        let mut scrubber = AnswerScrubber::new(Arc::clone(&values), Some("application/json"));
        let mut clean = scrubber.push(text.clone().into_bytes());
        clean.extend(scrubber.finish());
        assert_eq!(String::from_utf8(clean).unwrap(), expected, "{text}");
    }
}

#[test]
fn csv_is_cleared_of_values_with_quotes_and_line_breaks_wherever_it_is_cut() {
    let (values, tokens) =
        held(&[(PiiClass::Name, "name", "O'Neil \"Bob\" the\n100%40"), (PiiClass::Email, "email", "bob@x.test")]);
    let text = "id,name,email\n7,\"O'Neil \"\"Bob\"\" the\n100%40\",bob@x.test\n8,\"\",\"\"\n";

    let expected = format!("id,name,email\n7,\"{}\",{}\n8,\"\",\"\"\n", tokens[0], tokens[1]);

    for cut in 0..text.len() {
        let mut scrubber = AnswerScrubber::new(Arc::clone(&values), Some("text/csv; charset=utf-8"));
        let mut clean = scrubber.push(text.as_bytes()[..cut].to_vec());
        clean.extend(scrubber.push(text.as_bytes()[cut..].to_vec()));
        clean.extend(scrubber.finish());
        assert_eq!(String::from_utf8(clean).unwrap(), expected, "cut at {cut}");
    }
}

#[test]
fn a_text_that_is_no_json_is_cleared_too() {
    let (values, tokens) = held(&[(PiiClass::Email, "email", "ann@x.test"), (PiiClass::Name, "name", "Ann Lee")]);
    let text = "ANN@X.TEST by Ann Lee, ann+lee and Joann Leeds; q=Ann+Lee&e=ann%40x.test";

    let expected = format!("{0} by {1}, {1} and Joann Leeds; q={1}&e={0}", tokens[0], tokens[1]);

    assert_eq!(clean_text(&values, text), expected);
    for cut in 0..text.len() {
        let mut scrubber = AnswerScrubber::new(Arc::clone(&values), Some("text/plain"));
        let mut clean = scrubber.push(text.as_bytes()[..cut].to_vec());
        clean.extend(scrubber.push(text.as_bytes()[cut..].to_vec()));
        clean.extend(scrubber.finish());
        assert_eq!(String::from_utf8(clean).unwrap(), expected, "cut at {cut}");
    }
}

#[test]
fn a_hash_by_which_a_service_calls_somebody_is_found_although_it_left_in_another_process() {
    let (values, tokens) = held(&[(PiiClass::Email, "email", "Ann@X.test"), (PiiClass::Name, "name", "bo@x.test")]);

    let answer = clean_text(&values, "DDFB97efd93ca3019049ed7ddc4bf6a9 and 2bc99528125ad5b8e8126b726e7ed825");

    assert_eq!(answer, format!("{}.lower.md5 and 2bc99528125ad5b8e8126b726e7ed825", tokens[0]));
}

#[test]
fn a_value_with_percent_signs_of_its_own_is_found_and_what_is_encoded_beside_it_too() {
    let (values, tokens) = held(&[(PiiClass::Name, "name", "100%41 +a=b&c;d"), (PiiClass::Email, "email", "ann@x.test")]);
    let answer = r#"{"name":"100%41 +a=b&c;d","note":"by 100%41 +a=b&c;d, ann%40x.test"}"#;
    let mut scrubber = AnswerScrubber::new(values, Some("application/json"));
    let clean = [scrubber.push(answer.as_bytes().to_vec()), scrubber.finish()].concat();

    let expected = format!(r#"{{"name":"{0}","note":"by {0}, {1}"}}"#, tokens[0], tokens[1]);
    assert_eq!(String::from_utf8(clean).unwrap(), expected);
}

#[test]
fn json_in_a_string_is_cleared_of_values_that_are_escaped_twice_wherever_it_is_cut() {
    let (values, tokens) = held(&[(PiiClass::Name, "name", "O'Neil \"Bob\" \\ Zoë\n名"), (PiiClass::Name, "firstname", "ann")]);
    let answer = |name: &str, first: &str| {
        let person = serde_json::json!({ "name": name, "first_name": first, "tags": ["a%20b", "ann"] }).to_string();
        let person = person.replace('ë', "\\u00eb").replace('名', "\\u540d");
        let twice = serde_json::json!({ "response": person }).to_string();
        let no_json = format!("[ {name}").replace('\n', " ");
        serde_json::json!([{ "response": person, "text": [twice, "{}", "[", no_json] }]).to_string()
    };
    let (text, expected) = (answer("O'Neil \"Bob\" \\ Zoë\n名", "ann"), answer(&tokens[0], &tokens[1]));
    let read = |text: &[u8]| serde_json::from_slice::<serde_json::Value>(text).unwrap();

    for cut in 0..text.len() {
        let mut scrubber = AnswerScrubber::new(Arc::clone(&values), Some("application/json"));
        let mut clean = scrubber.push(text.as_bytes()[..cut].to_vec());
        clean.extend(scrubber.push(text.as_bytes()[cut..].to_vec()));
        clean.extend(scrubber.finish());
        let clean = read(&clean);
        assert_eq!(clean[0]["response"], read(expected.as_bytes())[0]["response"], "cut at {cut}");
        assert_eq!(clean[0]["text"][0], read(expected.as_bytes())[0]["text"][0], "cut at {cut}");
        assert_eq!((&clean[0]["text"][1], &clean[0]["text"][2]), (&"{}".into(), &"[".into()));
    }
}

#[test]
fn json_that_stands_in_too_many_strings_is_not_shown() {
    let (values, _) = held(&[(PiiClass::Email, "email", "ann@x.test")]);
    let nest = |times: u32| (0..times).fold("{\"a\":\"ann@x.test\"}".to_owned(), |text, _| serde_json::json!([text]).to_string());
    let cleared = |text: String| {
        let mut scrubber = AnswerScrubber::new(Arc::clone(&values), None);
        let clean = [scrubber.push(text.into_bytes()), scrubber.finish()].concat();
        String::from_utf8(clean).unwrap()
    };

    assert!(cleared(nest(4)).contains("pii0zq"));
    let deeper = cleared(nest(5));
    assert!(!deeper.contains("ann") && !deeper.contains("pii0zq"), "{deeper}");
}

#[test]
fn what_says_it_is_json_and_is_none_is_cleared_as_text() {
    let (values, tokens) = held(&[(PiiClass::Email, "email", "ann@x.test")]);
    let mut scrubber = AnswerScrubber::new(values, Some("application/json"));
    let clean = [scrubber.push(b"{ann@x.test: 1}".to_vec()), scrubber.finish()].concat();

    assert_eq!(String::from_utf8(clean).unwrap(), format!("{{{}: 1}}", tokens[0]));
}
