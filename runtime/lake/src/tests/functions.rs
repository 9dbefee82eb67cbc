use super::*;

async fn value(sql: &str) -> String {
    let dir = tempfile::tempdir().unwrap();
    let found = lake(&dir).query(select(sql, Vec::new())).await.unwrap();
    rows(&found).join("; ")
}

#[tokio::test]
async fn functions_have_the_rules_of_the_model() {
    let cases = [
        ("normalize_email(' Ann@X.test ')", "ann@x.test"),
        ("normalize_email('no email')", ""),
        ("e164('06 12 34 56 78', 'FR')", "+33612345678"),
        ("e164('+33612345678')", "+33612345678"),
        ("e164('06 12 34 56 78')", ""),
        ("e164('06 12 34 56 78', NULL)", ""),
        ("sha256_hex('abc')", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"),
        ("sha256_hex(NULL)", ""),
        ("digits('+33 (0)6-12')", "330612"),
        ("not_personal('x')", "x"),
        ("not_personal(3)", "3"),
    ];
    for (sql, expected) in cases {
        assert_eq!(value(&format!("SELECT {sql}")).await, expected, "{sql}");
    }
}

#[tokio::test]
async fn functions_work_on_columns_row_by_row() {
    let sql = "SELECT normalize_email(a), e164(b, c), e164(b, 'DE'), sha256_hex(a) = sha256_hex(lower(a)), digits(b) FROM \
               (VALUES ('A@B.co', '06 12 34 56 78', 'FR'), ('a@b.co', NULL, 'US'), (NULL, '(503) 846-1976', 'US')) t(a, b, c)";

    let found = value(sql).await;

    let expected = "a@b.co|+33612345678|+49612345678|false|0612345678; a@b.co|||true|; |+15038461976|+495038461976||5038461976";
    assert_eq!(found, expected);
}

#[test]
fn the_shortcut_for_emails_agrees_with_the_rule() {
    let values = [
        "a@b.co",
        "a@b",
        "a@b.",
        "a@.b",
        "@b.co",
        "a@b..co",
        "a@@b.co",
        "a@b@c.d",
        "A@b.co",
        "a b@c.de",
        "a@b.co.",
        "mailto:a@b.co",
        "<a@b.co>",
        "a+tag@gmail.com",
        "a_b-c.d@e-f.gh",
        "a@b_c.de",
        "",
        "é@b.co",
        " a@b.co",
        "a@b.CO",
    ];
    let columns = schema(&[("email", FieldType::Text)]);
    let steps = vec![crate::RowStep::Set(vec![("email".to_owned(), "normalize_email(email)".to_owned())])];
    let program = crate::Expressions::new().compile(Arc::clone(&columns), steps).unwrap();

    let input = batch(&columns, vec![texts(&values.map(Some))]);
    let (found, _) = program.apply(&input, NOW_US).unwrap();

    let expected = values.map(|value| affluent_model::normalize::email(value).unwrap_or_default());
    assert_eq!(rows(&[found]), expected);
}
