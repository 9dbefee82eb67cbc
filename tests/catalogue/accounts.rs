//! The accounts at the vendors' stand-ins that the catalogue is measured with: cases as data.

use super::offers::Act::{self, Listed, Removed};
use super::offers::ROWS;

/// One account.
pub(super) struct Account {
    pub(super) plugin: &'static str,
    /// Flags and variables of its stand-in.
    pub(super) flags: &'static [&'static str],
    pub(super) variables: &'static [(&'static str, &'static str)],
    /// What follows the stand-in's address in `base_url`.
    pub(super) path: &'static str,
    /// More of the connection's `config`, as YAML in one line: `, shop: judge`.
    pub(super) config: &'static str,
    /// Secrets and their values.
    pub(super) secrets: &'static [(&'static str, &'static str)],
    /// What the stand-in answers to requests, `METHOD /path` → body, instead of the example in the description.
    pub(super) answers: &'static [(&'static str, &'static str)],
    /// The streams whose first read is counted.
    pub(super) reads: &'static [Reads],
    pub(super) writes: Option<Writes>,
    pub(super) lists: &'static [Lists],
    /// What the service answers instead of the stand-in about people and lists, which that does not know.
    pub(super) found: &'static [Found],
}

/// A stream that is counted.
pub(super) struct Reads {
    pub(super) stream: &'static str,
    /// A column of it.
    pub(super) column: &'static str,
    /// What a stand-in without records of its own answers.
    pub(super) pages: Option<Pages>,
}

/// Pages of records; `$` stands for records, `#` for a number, `HH:MM:SS` for a second of its own.
pub(super) struct Pages {
    /// The request for a page, `METHOD /path$` as the stand-in's faults name it.
    pub(super) request: &'static str,
    pub(super) rows: u64,
    /// Records of a full page.
    pub(super) records: u64,
    pub(super) page: &'static str,
    /// The last page, and those after it.
    pub(super) last: &'static str,
    pub(super) record: &'static str,
}

/// A segment that becomes a list, and ceases to be one.
pub(super) struct Lists {
    /// People in it.
    pub(super) rows: u64,
    /// What is counted.
    pub(super) acts: &'static [Act],
    /// Who is on the list, where the service is asked.
    pub(super) pages: Option<Pages>,
}

/// Answers about the people whom a request names.
pub(super) struct Found {
    /// How it begins: `METHOD /path`.
    pub(super) request: &'static str,
    /// With `$` for the records.
    pub(super) body: &'static str,
    /// One, with `#` for the person's number.
    pub(super) record: &'static str,
}

/// The write of 1,000 people that is counted.
pub(super) struct Writes {
    pub(super) object: &'static str,
    pub(super) match_field: &'static str,
    /// The field of an address, where rows are matched by another.
    pub(super) email_field: Option<&'static str>,
    /// The field of a first name.
    pub(super) name_field: &'static str,
}

const PLAIN: Account = Account {
    plugin: "",
    flags: &[],
    variables: &[],
    path: "",
    config: "",
    secrets: &[],
    answers: &[],
    reads: &[],
    writes: None,
    lists: &[],
    found: &[],
};

/// A stream of a stand-in with records of its own.
const fn held(stream: &'static str, column: &'static str) -> Reads {
    Reads { stream, column, pages: None }
}

/// A stream of addresses that come by offset: the last page is one like all others.
const fn addresses(stream: &'static str, records: u64, request: &'static str, page: &'static str, record: &'static str) -> Reads {
    Reads { stream, column: "email", pages: Some(Pages { request, rows: ROWS, records, page, last: page, record }) }
}

const EVERYBODY: &[Lists] = &[Lists { rows: ROWS, acts: &[Listed, Removed], pages: None }];

const CREATED: &str = r##"{"email":"person#@people.example","created":1767225600}"##;
const UNREACHABLE: &str = r##"{"email":"person#@people.example","created":1767225600,"reason":"full","status":"5.2.2"}"##;
const INTERCOM_CONTACT: &str = r##"{"id":"c#","role":"user","email":"person#@people.example","updated_at":1767225600}"##;
const KLAVIYO_PROFILE: &str = r##"{"type":"profile","id":"p#","attributes":{"email":"person#@people.example"}}"##;
const AC_CONTACT: &str = r##"{"id":"#","email":"person#@people.example","udate":"2026-01-01T00:00:00-05:00"}"##;

pub(super) const ACCOUNTS: &[Account] = &[
    Account {
        plugin: "activecampaign",
        path: "/api/3",
        config: ", account: acme",
        secrets: &[("api_key", "ac-test")],
        // The description holds its examples as texts of JSON.
        answers: &[
            ("GET /fields", r#"{"fields":[{"id":"7","perstag":"ORDERS_COUNT","type":"text"}]}"#),
            ("POST /import/bulk_import", r#"{"Success":1,"batchId":"b"}"#),
            ("GET /import/info", r#"{"status":"completed","success":[],"failure":[]}"#),
            ("GET /tags", r#"{"tags":[{"id":"4","tag":"Everybody","tagType":"contact"}]}"#),
            ("POST /contact/sync", r#"{"contact":{"id":"7"}}"#),
            ("GET /contacts/[0-9]+/contactTags", r#"{"contactTags":[{"id":"7","tag":"4"}]}"#),
        ],
        reads: &[
            addresses("unsubscribes", 100, "GET /contacts$", r#"{"contacts":[$]}"#, AC_CONTACT),
            addresses("bounces", 100, "GET /contacts$", r#"{"contacts":[$]}"#, AC_CONTACT),
        ],
        writes: Some(Writes { object: "contacts", match_field: "email", email_field: None, name_field: "first_name" }),
        // Fewer than ten go one by one; more would leave at 90 a minute.
        lists: &[Lists { rows: 9, acts: &[Listed], pages: None }, Lists { rows: 12, acts: &[Listed, Removed], pages: None }],
        found: &[Found { request: "GET /api/3/contacts?email=", body: r#"{"contacts":[$]}"#, record: AC_CONTACT }],
        ..PLAIN
    },
    Account {
        plugin: "braze",
        config: ", instance: fra-01.braze.eu",
        // The description lacks this request.
        answers: &[(
            "GET /custom_attributes",
            r#"{"message":"success","attributes":[{"name":"orders","data_type":"Number","status":"Active"}]}"#,
        )],
        secrets: &[("api_key", "key-test")],
        reads: &[
            addresses(
                "unsubscribes",
                500,
                "GET /email/unsubscribes",
                r#"{"emails":[$],"message":"success"}"#,
                r##"{"email":"person#@people.example","unsubscribed_at":"2026-01-01T00:00:00Z"}"##,
            ),
            addresses(
                "hard_bounces",
                500,
                "GET /email/hard_bounces",
                r#"{"emails":[$],"message":"success"}"#,
                r##"{"email":"person#@people.example","hard_bounced_at":"2026-01-01T00:00:00Z"}"##,
            ),
        ],
        writes: Some(Writes { object: "user", match_field: "external_id", email_field: Some("email"), name_field: "first_name" }),
        lists: EVERYBODY,
        ..PLAIN
    },
    Account {
        plugin: "hubspot",
        flags: &["--contacts", "1000"],
        secrets: &[("access_token", "pat-test")],
        reads: &[held("contacts", "id")],
        writes: Some(Writes { object: "contacts", match_field: "email", email_field: None, name_field: "firstname" }),
        lists: EVERYBODY,
        // The stand-in has no lists.
        found: &[
            Found { request: "GET /crm/lists/", body: r#"{"list":{"listId":"7"}}"#, record: "" },
            Found { request: "PUT /crm/lists/", body: "{}", record: "" },
        ],
        ..PLAIN
    },
    Account {
        plugin: "intercom",
        secrets: &[("access_token", "token-test")],
        reads: &[Reads {
            stream: "contacts",
            column: "id",
            pages: Some(Pages {
                request: "GET /contacts$",
                rows: ROWS,
                records: 150,
                page: r##"{"data":[$],"pages":{"next":{"starting_after":"after#"}}}"##,
                last: r#"{"data":[$],"pages":{}}"#,
                record: INTERCOM_CONTACT,
            }),
        }],
        writes: Some(Writes { object: "contact", match_field: "email", email_field: None, name_field: "name" }),
        lists: EVERYBODY,
        found: &[Found { request: "POST /contacts/search", body: r#"{"data":[$]}"#, record: INTERCOM_CONTACT }],
        ..PLAIN
    },
    Account {
        plugin: "klaviyo",
        variables: &[("JUDGE_JOB_MS", "1")],
        path: "/api",
        secrets: &[("api_key", "pk_test")],
        writes: Some(Writes { object: "profile", match_field: "email", email_field: None, name_field: "first_name" }),
        found: &[Found { request: "GET /api/profiles?", body: r#"{"data":[$],"links":{}}"#, record: KLAVIYO_PROFILE }],
        lists: &[Lists {
            rows: ROWS,
            acts: &[Listed, Removed],
            pages: Some(Pages {
                request: "GET /api/profile-bulk-import-jobs/[^/]+/profiles$",
                rows: ROWS,
                records: 100,
                page: r##"{"data":[$],"links":{"next":"https://a.klaviyo.com/?page%5Bcursor%5D=c#"}}"##,
                last: r#"{"data":[$],"links":{}}"#,
                record: KLAVIYO_PROFILE,
            }),
        }],
        ..PLAIN
    },
    Account {
        plugin: "mailchimp",
        variables: &[("JUDGE_JOB_MS", "1")],
        path: "/3.0",
        config: ", audience: a1",
        secrets: &[("api_key", "key-us21")],
        reads: &[Reads {
            stream: "members",
            column: "id",
            pages: Some(Pages {
                request: "GET /lists/a1/members$",
                // Who changed in the last second of a page is read with the next one.
                rows: ROWS + 1,
                records: 1_000,
                page: r#"{"members":[$],"total_items":1000}"#,
                last: r#"{"members":[$],"total_items":1000}"#,
                record: r##"{"contact_id":"c#","email_address":"person#@people.example","status":"subscribed","last_changed":"2026-01-01THH:MM:SS+00:00","merge_fields":{}}"##,
            }),
        }],
        lists: EVERYBODY,
        writes: Some(Writes {
            object: "members",
            match_field: "email_address",
            email_field: None,
            name_field: "merge_fields.string",
        }),
        ..PLAIN
    },
    Account {
        plugin: "salesforce",
        flags: &["--contacts", "1100"],
        config: ", objects: [Contact]",
        secrets: &[("client_id", "cid"), ("client_secret", "csecret")],
        reads: &[held("contact", "id")],
        writes: Some(Writes { object: "Contact", match_field: "Cdp_Id__c", email_field: Some("Email"), name_field: "LastName" }),
        ..PLAIN
    },
    Account {
        plugin: "sendgrid",
        secrets: &[("api_key", "SG.test")],
        answers: &[(
            "GET /v3/marketing/contacts/imports/",
            r#"{"id":"job","status":"completed","job_type":"upsert","results":{"errored_count":0}}"#,
        )],
        reads: &[
            addresses("unsubscribes", 500, "GET /v3/suppression/unsubscribes", "[$]", CREATED),
            addresses("spam_reports", 500, "GET /v3/suppression/spam_reports", "[$]", CREATED),
            addresses("bounces", 500, "GET /v3/suppression/bounces", "[$]", UNREACHABLE),
            addresses("invalid_emails", 500, "GET /v3/suppression/invalid_emails", "[$]", UNREACHABLE),
            addresses(
                "group_unsubscribes",
                1_000,
                "GET /v3/asm/suppressions",
                "[$]",
                r##"{"email":"person#@people.example","group_id":7,"group_name":"News","created_at":1767225600}"##,
            ),
        ],
        writes: Some(Writes { object: "contacts", match_field: "email", email_field: None, name_field: "first_name" }),
        lists: EVERYBODY,
        found: &[Found {
            request: "POST /v3/marketing/contacts/search",
            body: r#"{"result":{$}}"#,
            record: r##""person#@people.example":{"contact":{"id":"c#","email":"person#@people.example"}}"##,
        }],
        ..PLAIN
    },
    Account {
        plugin: "shopify",
        config: ", shop: judge, api_version: \"2026-10\"",
        secrets: &[("access_token", "shpat_test")],
        reads: &[held("customers", "id")],
        ..PLAIN
    },
];
