//! Bulk operations against a played shop.

use super::*;

const CREATED_S: i64 = 700;

fn line(id: &str, extra: Value) -> String {
    let mut line = json!({ "id": format!("gid://shopify/{id}") });
    line.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
    format!("{line}\n")
}

/// Three orders; the first has two lines, the last one.
fn export() -> String {
    let order = |id: &str, seconds| line(&format!("Order/{id}"), json!({ "updatedAt": at(seconds) }));
    let item =
        |id: &str, order: &str| line(&format!("LineItem/{id}"), json!({ "__parentId": format!("gid://shopify/Order/{order}") }));
    [order("1", 900), item("11", "1"), item("12", "1"), order("2", 100), order("3", 300), item("31", "3")].concat()
}

/// A shop with 5,000 orders whose operation ends with this status and file; pages answer with one order.
fn serve(status: &'static str, file: String) {
    testing::on_http(move |request| {
        if request.method == "GET" {
            assert_eq!(request.auth, None);
            return Ok(testing::response(200, &file));
        }
        let body: Value = serde_json::from_slice(request.body.as_deref().unwrap()).unwrap();
        let query = body["query"].as_str().unwrap();
        let data = if query.contains("ordersCount") {
            json!({ "found": { "count": 5_000 } })
        } else if query.starts_with("mutation") && status == "BUSY" {
            json!({ "bulkOperationRunQuery": { "bulkOperation": null, "userErrors": [{ "code": "OPERATION_IN_PROGRESS" }] } })
        } else if query.starts_with("mutation") {
            assert!(!request.retry_safe);
            json!({ "bulkOperationRunQuery": { "bulkOperation": { "id": "gid://b/1", "createdAt": at(CREATED_S) }, "userErrors": [] } })
        } else if query.contains("bulkOperation(") {
            json!({ "bulkOperation": { "status": status, "url": "https://files.test/1.jsonl", "objectCount": "6" } })
        } else {
            return Ok(testing::response(200, &page_of(&[order(9, 1, false)]).to_string()));
        };
        Ok(testing::response(200, &json!({ "data": data }).to_string()))
    });
}

fn open_bulk(state: Option<Value>) -> Reader {
    open("orders", json!({ "bulk_from": 1_000 }), state)
}

#[test]
fn a_large_first_read_is_a_bulk_operation_and_its_id_is_kept_first() {
    serve("COMPLETED", export());

    let page = open_bulk(None).next(LIMITS).unwrap();

    assert!(page.parts.is_empty());
    assert_eq!(state(&page)["place"]["bulk"]["bulk"]["id"], "gid://b/1");
}

#[test]
fn pages_of_an_export_end_between_orders_and_go_on_in_a_later_process() {
    serve("COMPLETED", export());
    let one_order = Limits { max_rows: 1, ..LIMITS };
    let started = state(&open_bulk(None).next(one_order).unwrap());

    let first = open_bulk(Some(started)).next(one_order).unwrap();
    let second = open_bulk(Some(state(&first))).next(LIMITS).unwrap();

    assert_eq!((ids(&first, "orders"), ids(&first, "order_lines")), (vec!["1".into()], vec!["11".into(), "12".into()]));
    assert_eq!((ids(&second, "orders"), ids(&second, "order_lines")), (vec!["2".into(), "3".into()], vec!["31".into()]));
    assert_eq!(second.position, Position::End);
}

#[test]
fn what_changed_after_the_operation_began_is_read_by_the_next_run() {
    serve("COMPLETED", export());
    let mut reader = open_bulk(None);
    reader.next(LIMITS).unwrap();

    let page = reader.next(LIMITS).unwrap();

    assert_eq!(state(&page)["high_water_us"], CREATED_S * SECOND_US);
}

#[test]
fn an_export_that_breaks_off_is_read_again_from_the_last_page() {
    let whole = export();
    let cut = whole.lines().take(4).map(|line| format!("{line}\n")).collect::<String>();
    for broken in [cut, whole.trim_end().trim_end_matches('}').to_owned()] {
        serve("COMPLETED", broken);
        let mut reader = open_bulk(None);
        reader.next(LIMITS).unwrap();

        assert_eq!(reader.next(LIMITS).unwrap_err().kind, ErrorKind::Transient);

        serve("COMPLETED", export());
        assert_eq!(ids(&reader.next(LIMITS).unwrap(), "orders"), ["1", "2", "3"]);
    }
}

#[test]
fn pages_are_turned_when_there_is_no_operation_to_be_had() {
    for status in ["BUSY", "FAILED", "EXPIRED"] {
        serve(status, String::new());
        let mut reader = open_bulk(None);

        let page = (0..3).map(|_| reader.next(LIMITS).unwrap()).find(|page| !page.parts.is_empty()).unwrap();

        assert_eq!(ids(&page, "orders"), ["9"], "{status}");
    }
}

#[test]
fn a_running_operation_gives_empty_pages_that_are_never_the_same_place() {
    serve("RUNNING", String::new());
    let mut reader = open_bulk(None);

    let pages = [0; 3].map(|_| reader.next(LIMITS).unwrap());

    assert!(pages.iter().all(|page| page.parts.is_empty() && page.position == Position::More));
    let [first, second, third] = pages.map(|page| state(&page));
    assert!(first != second && second != third);
}
