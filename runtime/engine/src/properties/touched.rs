//! What is computed of those alone whom something new is about is what is computed of all.

use affluent_model::pii::PiiClass;
use affluent_model::schema::{Field, FieldType, ParentStream, StreamSchema, SyncMode};

use serde_json::json;

use super::people::{Carried, project, row};
use super::world::{DAY_US, START_US, World, block_on, laid, record};

const FILES: [(&str, &str); 5] = [
    ("affluent.yaml", "version: 1\nproject: permissions\n"),
    ("connections/crm.yaml", "version: 1\nconnection: crm\nplugin: feed\n"),
    (
        "pipelines/crm.yaml",
        "
version: 1
pipeline: crm
source: { connection: crm, streams: { contacts: { sync: incremental }, permissions: { sync: incremental } } }
destination:
  profiles:
    contacts: { subject: person, identifiers: { email: email }, attributes: { name: name } }
    permissions: { identifiers: { email: email }, consent: { news: { status: news, at: at } } }
",
    ),
    ("profiles/identity.yaml", "version: 1\nidentifiers: { email: { priority: 1 } }\n"),
    ("profiles/segments.yaml", "version: 1\nsegments: { reached: { where: \"consent('news') = 'granted'\" } }\n"),
];

/// Contacts, and the permissions that come with them.
fn streams() -> Vec<(String, StreamSchema)> {
    let text = |name: &str| Field::new(name, FieldType::Text);
    let stream = |name: &str, fields: Vec<Field>, parent: Option<&str>| StreamSchema {
        name: name.to_owned(),
        fields,
        primary_key: vec!["id".to_owned()],
        cursor_field: Some("at".to_owned()),
        sync_modes: vec![SyncMode::FullRefresh, SyncMode::Incremental],
        parent: parent.map(|field| ParentStream { stream: "contacts".to_owned(), field: field.to_owned() }),
    };
    let at = || Field::new("at", FieldType::Timestamp);
    let email = || text("email").with_pii(PiiClass::Email);
    let contacts = vec![text("id"), text("person"), email(), text("name").with_pii(PiiClass::Name), at()];
    let permissions = vec![text("id"), text("contact"), email(), text("news"), at()];
    let named = |stream| ("crm".to_owned(), stream);
    vec![named(stream("contacts", contacts, None)), named(stream("permissions", permissions, Some("contact")))]
}

#[test]
fn a_word_of_a_record_of_nobody_is_about_all_who_share_its_identifier() {
    block_on(async || {
        let world = World::open(&FILES, streams());
        let people = (0..20).map(|n| record(&format!("id=c{n} person=p{n} email=p{n}@x.test name=n{n} at=2025-01-01T00:00:00Z")));
        let granted =
            (0..20).map(|n| record(&format!("id=g{n} contact=c{n} email=p{n}@x.test news=granted at=2025-01-01T00:00:00Z")));
        world.lay(laid(&[("crm.contacts", people.collect()), ("crm.permissions", granted.collect())]));
        world.read("crm").await;
        assert_eq!(world.engine.ledger.members("reached").unwrap().len(), 20);

        // A list of opt-outs is a contact without a person; first it says no of one address, then of another instead.
        for (round, address) in [(1, "p3@x.test"), (2, "p4@x.test")] {
            world.lay(laid(&[
                ("crm.contacts", vec![record(&format!("id=list at=2025-02-0{round}T00:00:00Z"))]),
                (
                    "crm.permissions",
                    vec![record(&format!("id=o contact=list email={address} news=denied at=2025-02-0{round}T00:00:00Z"))],
                ),
            ]));
            let report = world.read("crm").await;
            assert!(report.computed < 20, "all were computed");
            let members = world.members("reached", "name").await;
            assert_eq!(members.len(), 19, "{members:?}");
            assert!(!members.contains(&format!("n{}", 2 + round)), "{members:?}");
        }
    });
}

#[test]
fn a_window_goes_by_the_time_that_a_stream_has_of_its_own() {
    block_on(async || {
        let segments = "version: 1\nsegments: { recent: { where: \"did('people', '2d') >= 1\" } }\n";
        let world = project(&[("profiles/segments.yaml", segments)], Vec::new());
        let carried = Carried { source: 0, customer: None, email: Some(0), phone: None, device: None };
        let person = |case: usize, day: i64| row(case, 0, &carried, START_US + day * DAY_US, &[("country", json!("FR"))]);
        world.lay(laid(&[("crm.people", (0..20).map(|case| person(case, 0)).collect())]));
        world.read("crm").await;
        assert_eq!(world.engine.ledger.members("recent").unwrap().len(), 20);
        world.pass(3 * DAY_US);
        world.lay(laid(&[]));
        world.read("crm").await;
        assert_eq!(world.engine.ledger.members("recent").unwrap().len(), 0);

        world.lay(laid(&[("crm.people", vec![person(7, 3)])]));
        let report = world.read("crm").await;

        assert_eq!((report.computed, world.engine.ledger.members("recent").unwrap().len()), (1, 1));
    });
}
