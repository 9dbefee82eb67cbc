//! The accounts at the vendors' stand-ins that the catalogue is measured with: cases as data.

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
    /// The stream whose first read is counted.
    pub(super) reads: Option<&'static str>,
    pub(super) writes: Option<Writes>,
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
    reads: None,
    writes: None,
};

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
        ],
        writes: Some(Writes { object: "contacts", match_field: "email", email_field: None, name_field: "first_name" }),
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
        writes: Some(Writes { object: "user", match_field: "external_id", email_field: Some("email"), name_field: "first_name" }),
        ..PLAIN
    },
    Account {
        plugin: "hubspot",
        flags: &["--contacts", "1000"],
        secrets: &[("access_token", "pat-test")],
        reads: Some("contacts"),
        writes: Some(Writes { object: "contacts", match_field: "email", email_field: None, name_field: "firstname" }),
        ..PLAIN
    },
    Account {
        plugin: "intercom",
        secrets: &[("access_token", "token-test")],
        writes: Some(Writes { object: "contact", match_field: "email", email_field: None, name_field: "name" }),
        ..PLAIN
    },
    Account {
        plugin: "klaviyo",
        variables: &[("JUDGE_JOB_MS", "1")],
        path: "/api",
        secrets: &[("api_key", "pk_test")],
        writes: Some(Writes { object: "profile", match_field: "email", email_field: None, name_field: "first_name" }),
        ..PLAIN
    },
    Account {
        plugin: "mailchimp",
        variables: &[("JUDGE_JOB_MS", "1")],
        path: "/3.0",
        config: ", audience: a1",
        secrets: &[("api_key", "key-us21")],
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
        reads: Some("contact"),
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
        writes: Some(Writes { object: "contacts", match_field: "email", email_field: None, name_field: "first_name" }),
        ..PLAIN
    },
    Account {
        plugin: "shopify",
        config: ", shop: judge, api_version: \"2026-10\"",
        secrets: &[("access_token", "shpat_test")],
        reads: Some("customers"),
        ..PLAIN
    },
];
