use serde_json::json;

use super::*;
use crate::columns::Columns;
use crate::stream::{Field, FieldType};
use crate::{ColumnsBuilder, testing};

const IDENTIFIERS: Identifiers = Identifiers::new(&["email", "phone"], "api_key").any_case(&["email"]);

fn batch(rows: &[[Option<&str>; 3]]) -> Columns {
    let names = ["email", "phone", REMOTE_ID];
    let mut builder = ColumnsBuilder::new(&names.map(|name| Field::new(name, FieldType::Text)));
    for row in rows {
        for (name, value) in names.iter().zip(row) {
            builder.set(name, *value).unwrap();
        }
        builder.end_row();
    }
    builder.finish()
}

#[test]
fn a_row_and_an_answer_about_the_same_person_have_the_same_key() {
    testing::on_hmac(|secret, data| {
        assert_eq!(secret, "api_key");
        Ok(data.iter().rev().cycle().take(32).copied().collect())
    });
    let columns = batch(&[[None, Some("+33"), None], [None, None, None]]);
    let rows = JsonRows::of(&columns).unwrap();

    let key = IDENTIFIERS.key_of_row(&["email".to_owned()], &rows, 0).unwrap();

    assert_eq!(IDENTIFIERS.keys_of(&json!({ "phone": " +33 ", "name": "Ada" })).unwrap(), [key]);
    assert_eq!(IDENTIFIERS.key_of_row(&[], &rows, 1).unwrap(), "");
    assert_eq!(IDENTIFIERS.key("email", "A@x.test"), IDENTIFIERS.key("email", "a@X.test"));
}

#[test]
fn keys_are_made_under_the_secret_that_the_connection_gives() {
    let key = |given: &'static str, identifiers: Identifiers| {
        testing::on_hmac(
            move |secret, _| if secret == given { Ok(secret.as_bytes().to_vec()) } else { Err("not given".to_owned()) },
        );
        identifiers.key("email", "a@x.test").map_err(|error| error.code)
    };
    let hex = |text: &str| Ok(text.bytes().take(KEY_BYTES).map(|byte| format!("{byte:02x}")).collect::<String>());

    assert_eq!(key("api_key", IDENTIFIERS.or_secret("client_secret")), hex("api_key"));
    assert_eq!(key("client_secret", IDENTIFIERS.or_secret("client_secret")), hex("client_secret"));
    assert_eq!(key("client_secret", IDENTIFIERS), Err("crypto".to_owned()));
}

#[test]
fn ids_are_known_or_asked_for_in_portions_by_one_identifier_after_the_other() {
    let columns =
        batch(&[[Some("A@x"), None, Some("1")], [Some("B@x"), Some("2"), None], [Some("c@x"), Some("3"), None], [None; 3]]);
    let mut asked = Vec::new();
    let find = |name: &str, values: &[&str]| {
        asked.push(format!("{name} {}", values.join(",")));
        let found = |value: &&&str| matches!(**value, "b@x" | "3");
        Ok(values.iter().filter(found).map(|value| json!({ "key": format!("id {value}"), "is": { name: value } })).collect())
    };
    let identifiers = IDENTIFIERS.at(&["/was", "/is"]).id("/key");

    let by = ["email", "phone"].map(str::to_owned);
    let ids = identifiers.look_up(&JsonRows::of(&columns).unwrap(), &by, 1, find).unwrap();

    assert_eq!(ids, ["1", "id b@x", "id 3"]);
    assert_eq!(asked, ["email b@x", "email c@x", "phone 3"]);
}

#[test]
fn people_are_erased_by_what_the_service_deletes_by_and_by_id_where_they_have_none_of_it() {
    let columns = batch(&[
        [Some("a@x"), Some("1"), Some("i1")],
        [None, Some("2"), Some("i2")],
        [None, Some("3"), None],
        [None, Some("4"), None],
    ]);
    let mut asked = Vec::new();
    let find =
        |name: &str, values: &[&str]| Ok(if values == ["3"] { vec![json!({ "id": "i3", name: "3" })] } else { Vec::new() });
    let delete = |name: &str, value: &str| {
        asked.push(format!("{name} {value}"));
        Ok(())
    };

    let by = ["email", "phone"].map(str::to_owned);
    let report = IDENTIFIERS.erase_each(&JsonRows::of(&columns).unwrap(), &by, &["email"], find, delete).unwrap();

    assert_eq!(asked, ["email a@x", "id i2", "id i3"]);
    assert_eq!((report.accepted, report.remote_ids.len()), (4, 3));
}

#[test]
fn a_search_that_finds_others_too_erases_nobody_but_who_has_the_very_value() {
    let columns = batch(&[[Some("Ann@x"), None, None], [Some("bo@x"), None, None], [Some("cy@x"), None, None]]);
    let mut erased = Vec::new();
    let record = |id: &str, email: &str| json!({ "id": id, "is": { "email": email } });
    let find = |_: &str, values: &[&str]| match values {
        ["Ann@x"] => Ok(vec![record("stranger", "joann@x"), record("ann", "ann@X")]),
        ["bo@x"] => Ok(vec![record("stranger", "bob@x"), json!({ "id": "nobody" })]),
        _ => Ok(vec![json!({ "is": { "email": "cy@x" } })]),
    };
    let delete = |_: &str, value: &str| {
        erased.push(value.to_owned());
        Ok(())
    };

    let by = ["email".to_owned()];
    let report = IDENTIFIERS.at(&["/is"]).erase_each(&JsonRows::of(&columns).unwrap(), &by, &[], find, delete).unwrap();

    assert_eq!((erased, report.accepted, report.remote_ids), (vec!["ann".to_owned()], 3, vec![(0, "ann".to_owned())]));
}

#[test]
fn people_are_erased_by_each_identifier_that_they_have() {
    let columns = batch(&[[Some("a@x"), Some("1"), None], [None, Some("2"), None], [None; 3]]);
    let mut asked = Vec::new();
    let delete = |name: &str, value: &str| {
        asked.push(format!("{name} {value}"));
        Ok(())
    };

    let by = ["email", "phone"].map(str::to_owned);
    let report = IDENTIFIERS.erase_by_all(&JsonRows::of(&columns).unwrap(), &by, delete).unwrap();

    assert_eq!(asked, ["email a@x", "phone 1", "phone 2"]);
    assert_eq!((report.accepted, report.remote_ids), (3, vec![(0, "a@x".to_owned()), (1, "2".to_owned())]));
}

#[test]
fn a_target_is_matched_by_the_most_telling_identifier_first_and_writes_no_other() {
    let target = |by: &[&str], fields: &[&str]| Target {
        object: "person".to_owned(),
        mode: crate::manifest::WriteMode::Upsert,
        match_fields: by.iter().map(|name| (*name).to_owned()).collect(),
        list: None,
        fields: fields.iter().map(|name| Field::new(*name, FieldType::Text)).collect(),
        run: String::new(),
    };
    for (by, fields, values, expected) in [
        (&["phone", "email"][..], &["email", "phone", "name"][..], &[][..], Some(vec!["email", "phone"])),
        (&["phone"], &["phone", "email"], &["email"], Some(vec!["phone"])),
        (&["phone"], &["phone", "email"], &[], None),
        (&["name"], &["name"], &[], Some(vec![])),
    ] {
        let matched = IDENTIFIERS.matched(&target(by, fields), values).ok();
        assert_eq!(matched, expected.map(|names| names.into_iter().map(str::to_owned).collect()), "{by:?} {fields:?}");
    }
}

#[test]
fn who_is_found_by_any_identifier_is_still_there() {
    let columns = batch(&[[Some("A@x"), Some("1"), Some("known")], [Some("b@x"), Some("2"), None], [None, Some("3"), None]]);
    let find = |name: &str, values: &[&str]| {
        let found = |value: &&&str| matches!(**value, "a@x" | "1" | "3");
        Ok(values.iter().filter(found).map(|value| json!({ "id": "x", name: value })).collect())
    };

    let by = ["email", "phone"].map(str::to_owned);
    let report = IDENTIFIERS.verify_gone(&JsonRows::of(&columns).unwrap(), &by, 10, find).unwrap();

    let there: Vec<u32> = report.retryable.iter().map(|error| error.row).collect();
    assert_eq!((there, report.accepted), (vec![0, 2], 1));
}

#[test]
fn ids_of_an_answer_go_to_the_rows_of_the_same_people_unless_they_were_refused() {
    testing::on_hmac(|_, data| Ok(data.to_vec()));
    let keys = ["a", "b"].map(|email| IDENTIFIERS.key("email", email).unwrap());
    let sent = Sent::of([4, 6]).keys(keys);
    let mut report = Report::accepted(0);
    report.refuse(crate::Error::invalid_data("bad").at_row(6, None));
    let records = ["B", "stranger", "A"].map(|email| json!({ "email": email, "id": email }));

    IDENTIFIERS.identify(&records, &sent, &mut report).unwrap();

    assert_eq!(report.remote_ids, [(4, "A".to_owned())]);
}
