//! What a sound project becomes: defaults, references, inline connections, order.

#![expect(clippy::unwrap_used, reason = "a test that cannot write its project has failed")]

use std::collections::BTreeMap;
use std::path::Path;

use affluent_config::{Inputs, find_root, load};
use affluent_model::diagnostic::Diagnostic;
use affluent_model::pii::PiiClass;
use affluent_model::plan::{CatchUp, KeySource, Overlap, PipelineDestination, PipelineSource, Plan, SecretReference, WriteMode};
use affluent_model::schema::SyncMode;
use affluent_model::survivorship::Survivorship;

fn write(root: &Path, files: &[(&str, &str)]) {
    for (file, text) in files {
        let path = root.join(file);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
}

fn environment(name: &str) -> Option<String> {
    (name == "PAGE").then(|| "50".to_owned())
}

/// The plan of a project with these files beside a minimal `affluent.yaml`.
fn plan(files: &[(&str, &str)]) -> Result<Plan, Vec<Diagnostic>> {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), &[("affluent.yaml", "version: 1\nproject: demo\n")]);
    write(folder.path(), files);
    let variables = BTreeMap::from([("burst".to_owned(), "7".to_owned())]);
    let loaded = load(folder.path(), &Inputs { variables, environment: &environment });
    loaded.plan.ok_or(loaded.diagnostics)
}

const OUT: (&str, &str) = ("connections/out.yaml", "version: 1\nconnection: out\nplugin: jsonl\n");

#[test]
fn the_quickstart_is_a_sound_project() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../pipelines/quickstart");

    let loaded = load(&root, &Inputs { variables: BTreeMap::new(), environment: &|_| None });

    assert_eq!(loaded.diagnostics, []);
    let plan = loaded.plan.unwrap();
    assert_eq!(plan.pipelines.len(), 4);
    assert_eq!(plan.identity.survivorship["first_name"], Survivorship::prefer(vec!["crm".to_owned(), "shop".to_owned()]));
}

#[test]
fn a_minimal_project_gets_every_default() {
    let plan = plan(&[]).unwrap();

    let root = plan.project.root.clone();
    assert_eq!((plan.project.workspace.as_str(), plan.project.data_dir), ("demo", root.join(".affluent")));
    assert_eq!(plan.project.keys, KeySource::File(root.join(".affluent/keys/keyring")));
}

#[test]
fn the_smallest_useful_project_is_two_files() {
    let pipeline = "version: 1
pipeline: copy
source:
  connection: { plugin: csv, config: { rows: { env: PAGE } }, files: { read: [in/*.csv] } }
  streams: [orders]
destination: { connection: { plugin: jsonl, files: { write: [out] } }, object: file }
";

    let plan = plan(&[("pipelines/copy.yaml", pipeline)]).unwrap();

    assert_eq!(plan.connections.keys().collect::<Vec<_>>(), ["copy.destination", "copy.source"]);
    let source = &plan.connections["copy.source"];
    assert_eq!((source.config.to_string().as_str(), &source.files.read[..]), (r#"{"rows":"50"}"#, &["in/*.csv".to_owned()][..]));
    assert_eq!((source.config_at.line, source.config_at.column), (4, 30));
    let PipelineDestination::Connection(destination) = &plan.pipelines["copy"].destination else { panic!() };
    assert_eq!((destination.mode, destination.connection.as_str()), (WriteMode::Append, "copy.destination"));
}

#[test]
fn a_connection_is_read_with_limits_secrets_and_references() {
    let text = "version: 1
connection: shop
plugin: shopify
secrets: { token: { secret: shop/token }, other: { env: TOKEN } }
limits: { rate: 100/10s, burst: { var: burst }, concurrency: 4 }
egress: { hosts: [api.example.com], private: [\"127.0.0.1:8080\"], http: true }
";

    let plan = plan(&[("connections/shop.yaml", text)]).unwrap();

    let shop = &plan.connections["shop"];
    assert_eq!((shop.limits.rate, shop.limits.burst, shop.limits.concurrency), (Some((100, 10_000)), Some(7), Some(4)));
    assert_eq!(shop.secrets["token"], SecretReference::Secret("shop/token".to_owned()));
    assert_eq!(shop.secrets["other"], SecretReference::Environment("TOKEN".to_owned()));
    assert!(shop.egress.http && shop.egress.private == ["127.0.0.1:8080"]);
}

#[test]
fn a_stream_says_how_it_is_read_and_what_is_personal() {
    let text = "version: 1
pipeline: copy
source:
  connection: out
  streams:
    orders: { sync: incremental, since: 2024-01-01, lookback: 10m, pii: { note: none, nick: name } }
    plain: {}
destination: { connection: out, object: file }
";

    let plan = plan(&[OUT, ("pipelines/a.yaml", text)]).unwrap();

    let PipelineSource::Connection { streams, .. } = &plan.pipelines["copy"].source else { panic!() };
    let orders = &streams[0];
    assert_eq!((orders.sync, orders.since_us, orders.lookback_ms), (SyncMode::Incremental, Some(1_704_067_200_000_000), 600_000));
    assert_eq!(orders.pii, BTreeMap::from([("nick".to_owned(), Some(PiiClass::Name)), ("note".to_owned(), None)]));
    assert_eq!((streams[1].sync, streams[1].since_us), (SyncMode::FullRefresh, None));
}

#[test]
fn a_schedule_has_units_words_and_defaults() {
    let text = |schedule: &str| {
        format!(
            "version: 1\npipeline: copy\nschedule: {schedule}\nsource: {{ connection: out, streams: [a] }}\ndestination: {{ connection: out, object: file }}\n"
        )
    };
    let full =
        text("{ cron: \"0 7 * * 1-5\", timezone: Europe/Paris, jitter: 60s, overlap: queue, catch_up: { all: 5 }, timeout: 1h }");
    let short = text("{ cron: \"0 7 * * *\" }");

    let full = plan(&[OUT, ("pipelines/a.yaml", &full)]).unwrap().pipelines["copy"].schedule.clone().unwrap();
    let short = plan(&[OUT, ("pipelines/a.yaml", &short)]).unwrap().pipelines["copy"].schedule.clone().unwrap();

    assert_eq!(
        (full.jitter_ms, full.overlap, full.catch_up, full.timeout_ms),
        (60_000, Overlap::Queue, CatchUp::All(5), Some(3_600_000))
    );
    assert_eq!(
        (short.timezone.as_str(), short.overlap, short.catch_up, short.timeout_ms),
        ("UTC", Overlap::Skip, CatchUp::Last, None)
    );
}

#[test]
fn expressions_know_where_they_stand_and_maps_keep_their_order() {
    let text = "version: 1
pipeline: copy
source: { connection: out, streams: [a] }
transforms:
  - map: { stream: a, set: { z: \"1 + 1\", b: '2', a: c } }
destination: { connection: out, object: file }
";

    let plan = plan(&[OUT, ("pipelines/a.yaml", text)]).unwrap();

    let affluent_model::plan::TransformStep::Map { set, .. } = &plan.pipelines["copy"].transforms[0] else { panic!() };
    let places: Vec<_> =
        set.iter().map(|named| (named.name.as_str(), named.expression.at.column, named.expression.at.length)).collect();
    assert_eq!(places, [("z", 33, 7), ("b", 45, 3), ("a", 53, 1)]);
}

#[test]
fn identifiers_are_in_order_of_priority_and_of_the_file() {
    let text = "version: 1
identifiers:
  device: { priority: 9, weak: true }
  email: { normalize: { plus_tags: strip } }
  phone: { region: FR, max_fanout: 12 }
limits: { identifier_fanout: 30 }
";

    let plan = plan(&[("profiles/identity.yaml", text)]).unwrap();

    let found: Vec<_> = plan.identity.identifiers.iter().map(|rule| (rule.name.as_str(), rule.fanout_max)).collect();
    assert_eq!(found, [("email", 30), ("phone", 12), ("device", 30)]);
    assert!(plan.identity.identifiers[0].normalize.strip_plus_tags);
}

#[test]
fn the_root_is_the_nearest_folder_with_a_project_file() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), &[("affluent.yaml", ""), ("inner/affluent.yaml", ""), ("inner/a/b/x.txt", ""), ("c/x.txt", "")]);

    assert_eq!(find_root(&folder.path().join("inner/a/b")), Some(folder.path().join("inner")));
    assert_eq!(find_root(&folder.path().join("c")), Some(folder.path().to_owned()));
}

#[test]
fn a_map_with_keys_of_the_user_is_no_reference() {
    let text = "version: 1
pipeline: copy
source: { connection: out, streams: [a] }
destination: { connection: out, object: file, map: { env: name } }
";

    let plan = plan(&[OUT, ("pipelines/a.yaml", text)]).unwrap();

    let PipelineDestination::Connection(destination) = &plan.pipelines["copy"].destination else { panic!() };
    assert_eq!((destination.map[0].name.as_str(), destination.map[0].expression.text.as_str()), ("env", "name"));
}
