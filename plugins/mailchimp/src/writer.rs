//! The writing: members put one by one, or many by a batch of such operations; who has a tag; who is erased. The endpoint that takes
//! 500 members at once is not used: it knows `status` alone, which would subscribe who unsubscribed. Of a batch with failures the result
//! archive is read: a tar.gz at Amazon S3 (Swagger, `response_body_url`; host and form as public clients of 2016 to 2019 show them).

use std::collections::BTreeMap;

use affluent_sdk::http::{Request, Service, percent_encoded};
use affluent_sdk::identity::Identifiers;
use affluent_sdk::json::{id, list, text};
use affluent_sdk::manifest::TargetSchema;
use affluent_sdk::outcomes::{JobStatus, Unfit};
use affluent_sdk::puts::{JobResults, Jobs, Puts, UnfitIf};
use affluent_sdk::upserts::{Membership, Upsert};
use affluent_sdk::{Error, Field, Result, token, values};
use md5::{Digest, Md5};
use serde_json::{Map, Value, json};

use crate::fields::{EMAIL, MERGE, PAGE_RECORDS, PAGES, merge_field};
use crate::{Api, IN_FLIGHT_MAX, NewMembers};

/// Whether Mailchimp takes somebody archived for new is not told: where they would be asked or subscribed, they are not sent.
const ARCHIVED: Unfit = Unfit { code: "mailchimp.archived", message: "who is archived is brought back by a person alone" };
const BATCH: JobStatus = JobStatus {
    pointer: "/status",
    running: &["pending", "preprocessing", "started", "finalizing"],
    complete: &["finished"],
    lost: &[],
    prefix: "mailchimp.batch",
};
const RESULTS: JobResults =
    JobResults { url: "/response_body_url", mark: "/operation_id", status: "/status_code", body: "/response" };

impl Puts for Api {
    /// Members that are tagged with one call (Swagger, "Batch add or remove members").
    const ROWS_MAX: u32 = 500;
    const IN_FLIGHT_MAX: u8 = IN_FLIGHT_MAX;
    const IDENTIFIERS: Identifiers = Identifiers::new(&[EMAIL], "api_key").any_case(&[EMAIL]).id("/contact_id");
    const FIELD: &'static str = "/errors/0/field";
    const JOBS: Option<Jobs> =
        Some(Jobs { rows_min: 50, id: "/id", status: BATCH, failed: "/errored_operations", results: Some(RESULTS) });

    fn service(&self) -> &Service {
        &self.service
    }

    fn target(&self) -> Result<TargetSchema> {
        let target = TargetSchema::of_people("members", self.written()?).match_fields(&[EMAIL]);
        Ok(if self.config.create_merge_fields { target.open_fields(&[MERGE]) } else { target })
    }

    fn create_field(&self, field: &Field) -> Result<()> {
        let (tag, kind) = merge_field(field)?;
        let body = json!({ "tag": tag, "name": tag, "type": kind, "public": false }).to_string();
        self.service.ask(self.service.post("/merge-fields", body)).map(drop)
    }

    fn put(&self, row: &Upsert) -> Request {
        self.service.put(&Self::member_path(&row.key), self.member(row, str::to_owned))
    }

    /// Bodies are texts inside of a body: tokens ask for that form.
    fn job(&self, rows: &[Upsert]) -> Result<Request> {
        let path = |row: &Upsert| format!("/lists/{}{}", self.config.audience, Self::member_path(&row.key));
        let body = |row: &Upsert| self.member(row, token::in_json);
        let put = |row| json!({ "method": "PUT", "path": path(row), "operation_id": row.mark, "body": body(row) });
        Ok(self.root.post("/batches", json!({ "operations": rows.iter().map(put).collect::<Vec<_>>() }).to_string()))
    }

    fn job_status(&self, batch: &str) -> Result<Request> {
        let path = format!("/batches/{}", percent_encoded(batch));
        Ok(self.root.get(&path).query("fields", "status,errored_operations,response_body_url"))
    }

    fn get(&self, key: &str) -> Request {
        self.service.get(&Self::member_path(key)).query("fields", "contact_id,status")
    }

    fn unfit(&self) -> Option<UnfitIf> {
        (self.config.new_members != NewMembers::Transactional)
            .then_some((ARCHIVED, |member| text(member, "/status") == "archived"))
    }

    fn erase(&self, key: &str) -> Result<Request> {
        Ok(self.service.post(&format!("{}/actions/delete-permanent", Self::member_path(key)), String::new()))
    }

    fn find_list(&self, name: &str) -> Result<Option<String>> {
        let request = self.service.get("/segments").query("type", "static");
        let request = request.query("count", &PAGE_RECORDS.to_string()).query("fields", "segments.id,segments.name");
        let tags = self.service.ask_all(request, PAGES, "/segments")?;
        Ok(tags.iter().find(|tag| text(tag, "/name") == name).and_then(|tag| id(tag, "/id")))
    }

    fn make_list(&self, name: &str) -> Result<String> {
        let body = json!({ "name": name, "static_segment": [] }).to_string();
        id(&self.service.ask(self.service.post("/segments", body))?, "/id").ok_or_else(|| Error::transient("the tag has no id"))
    }

    fn change_members(&self, tag: &str, change: Membership, keys: &[&str]) -> Result<Vec<String>> {
        let what = if change == Membership::Add { "members_to_add" } else { "members_to_remove" };
        let request = self.service.post(&format!("/segments/{tag}"), json!({ what: keys }).to_string()).retry_safe(true);
        let answer = self.service.ask(request)?;
        let refused = list(&answer, "/errors").iter().flat_map(|error| list(error, "/email_addresses"));
        Ok(refused.filter_map(Value::as_str).map(str::to_owned).collect())
    }
}

impl Api {
    /// Mailchimp calls a member by the MD5 of the lower-case address. The host computes it where the address is a token.
    fn member_path(email: &str) -> String {
        let own = || Md5::digest(email.to_lowercase()).iter().map(|byte| format!("{byte:02x}")).collect();
        format!("/members/{}", token::in_form(email, &["lower", "md5"]).unwrap_or_else(own))
    }

    /// The member of a row. An empty text clears a merge field; an instant is written as its day, which is what Mailchimp has.
    fn member(&self, row: &Upsert, write: fn(&str) -> String) -> String {
        let (mut member, mut fields, mut addresses) = (Map::new(), Map::new(), BTreeMap::<&str, Map<String, Value>>::new());
        for (name, value) in &row.values {
            let text = value.as_str().unwrap_or_default();
            let day = text.split_once('T').filter(|_| values::parse_timestamp(text).is_some()).map_or(text, |(day, _)| day);
            match name.strip_prefix(MERGE).map(|tag| tag.split_once('.').ok_or(tag)) {
                Some(Ok((tag, part))) => _ = addresses.entry(tag).or_default().insert(part.to_owned(), write(text).into()),
                Some(Err(tag)) => _ = fields.insert(tag.to_owned(), write(day).into()),
                None if text.is_empty() => {}
                None => _ = member.insert(name.clone(), write(text).into()),
            }
        }
        let whole = |parts: Map<_, _>| if parts.values().all(|part| part == "") { "".into() } else { parts.into() };
        fields.extend(addresses.into_iter().map(|(tag, parts)| (tag.to_owned(), whole(parts))));
        member.insert(EMAIL.to_owned(), write(&row.key).into());
        member.insert("status_if_new".to_owned(), json!(self.config.new_members));
        member.insert("merge_fields".to_owned(), fields.into());
        json!(member).to_string()
    }
}
