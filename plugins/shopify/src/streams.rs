//! The streams as data: which columns, where each stands in the answer, what the query asks for and what that costs.
//! Checked against the descriptions of 2026-10 and 2026-07 (@shopify/dev-mcp 1.16.0, read 2026-11-23); no deprecated
//! field is asked for.

use affluent_sdk::FieldType::{Boolean, Decimal, Integer, Json, Text, Timestamp};
use affluent_sdk::records::{Column, fields};
use affluent_sdk::{PiiClass, StreamSchema};
use serde_json::Value;

/// A stream that is read by its own query.
#[derive(Debug)]
pub(crate) struct Stream {
    /// Also the name of its connection in the API.
    pub(crate) name: &'static str,
    pub(crate) columns: &'static [Column],
    selection: &'static str,
    /// Points of one record: one for each object it holds.
    points: u32,
}

pub(crate) const CUSTOMERS: Stream = Stream {
    name: "customers",
    columns: &[
        Column::by("id", Text, |record| short_id(record, "/id")).required(),
        Column::personal("email", PiiClass::Email, "/email/emailAddress"),
        Column::by("email_marketing_state", Text, email_consent),
        Column::new("email_marketing_updated_at", Timestamp, "/emailMarketing/marketingUpdatedAt"),
        Column::personal("phone", PiiClass::Phone, "/phone/phoneNumber"),
        Column::by("sms_marketing_state", Text, sms_consent),
        Column::by("sms_marketing_updated_at", Timestamp, |record| sms(record, "updatedAt")),
        Column::personal("first_name", PiiClass::Name, "/firstName"),
        Column::personal("last_name", PiiClass::Name, "/lastName"),
        Column::personal("default_address_country_code", PiiClass::Address, "/defaultAddress/countryCodeV2"),
        Column::personal("default_address_province_code", PiiClass::Address, "/defaultAddress/provinceCode"),
        Column::personal("default_address_city", PiiClass::Address, "/defaultAddress/city"),
        Column::personal("default_address_zip", PiiClass::Address, "/defaultAddress/zip"),
        Column::personal("note", PiiClass::FreeText, "/note"),
        Column::new("locale", Text, "/locale"),
        Column::new("state", Text, "/state"),
        Column::new("verified_email", Boolean, "/verifiedEmail"),
        Column::new("tags", Json, "/tags"),
        Column::new("number_of_orders", Integer, "/numberOfOrders"),
        Column::new("amount_spent", Decimal, "/amountSpent/amount"),
        Column::new("amount_spent_currency", Text, "/amountSpent/currencyCode"),
        Column::new("created_at", Timestamp, "/createdAt"),
        Column::new("updated_at", Timestamp, "/updatedAt"),
    ],
    // The consents stand apart from the addresses: a consent that cannot be told must not take the address with it.
    selection: "id firstName lastName locale state verifiedEmail note tags numberOfOrders createdAt updatedAt \
        amountSpent{amount currencyCode} email:defaultEmailAddress{emailAddress} \
        emailMarketing:defaultEmailAddress{marketingState marketingUpdatedAt} phone:defaultPhoneNumber{phoneNumber} \
        smsMarketing:defaultPhoneNumber{SMS_CONSENT} defaultAddress{countryCodeV2 provinceCode city zip}",
    points: 8,
};

pub(crate) const ORDERS: Stream = Stream {
    name: "orders",
    columns: &[
        Column::by("id", Text, |record| short_id(record, "/id")).required(),
        Column::new("name", Text, "/name"),
        Column::personal("email", PiiClass::Email, "/email"),
        Column::personal("phone", PiiClass::Phone, "/phone"),
        Column::by("customer_id", Text, |record| short_id(record, "/customer/id")),
        Column::new("created_at", Timestamp, "/createdAt"),
        Column::new("processed_at", Timestamp, "/processedAt"),
        Column::new("updated_at", Timestamp, "/updatedAt"),
        Column::new("cancelled_at", Timestamp, "/cancelledAt"),
        Column::new("test", Boolean, "/test"),
        Column::new("financial_status", Text, "/displayFinancialStatus"),
        Column::new("fulfillment_status", Text, "/displayFulfillmentStatus"),
        Column::new("currency", Text, "/currencyCode"),
        Column::new("presentment_currency", Text, "/presentmentCurrencyCode"),
        Column::new("total", Decimal, "/currentTotalPriceSet/shopMoney/amount"),
        Column::new("total_gross", Decimal, "/totalPriceSet/shopMoney/amount"),
        Column::new("refunded", Decimal, "/totalRefundedSet/shopMoney/amount"),
        Column::new("discount_codes", Json, "/discountCodes"),
        Column::new("tags", Json, "/tags"),
        Column::personal("note", PiiClass::FreeText, "/note"),
    ],
    selection: "id name email phone createdAt processedAt updatedAt cancelledAt test displayFinancialStatus \
        displayFulfillmentStatus currencyCode presentmentCurrencyCode discountCodes tags note customer{id} \
        currentTotalPriceSet{shopMoney{amount}} totalPriceSet{shopMoney{amount}} totalRefundedSet{shopMoney{amount}}",
    points: 8,
};

/// The child stream of the orders.
pub(crate) const LINES: &str = "order_lines";

pub(crate) const LINE_COLUMNS: &[Column] = &[
    Column::by("id", Text, |record| short_id(record, "/id")).required(),
    Column::by("order_id", Text, |record| short_id(record, "/__parentId")).required(),
    Column::new("title", Text, "/title"),
    Column::new("sku", Text, "/sku"),
    Column::new("vendor", Text, "/vendor"),
    Column::new("quantity", Integer, "/quantity"),
    Column::new("current_quantity", Integer, "/currentQuantity"),
    Column::new("unit_price", Decimal, "/originalUnitPriceSet/shopMoney/amount"),
    Column::new("total", Decimal, "/discountedTotalSet/shopMoney/amount"),
    Column::new("currency", Text, "/discountedTotalSet/shopMoney/currencyCode"),
];

pub(crate) const LINE_SELECTION: &str = "id title sku vendor quantity currentQuantity \
    originalUnitPriceSet{shopMoney{amount}} discountedTotalSet{shopMoney{amount currencyCode}}";
pub(crate) const LINE_POINTS: u32 = 5;

impl Stream {
    pub(crate) fn find(name: &str) -> Option<&'static Self> {
        [&CUSTOMERS, &ORDERS].into_iter().find(|stream| stream.name == name)
    }

    /// What a query asks of each record. Until 2026-07 the consent to SMS stood on the phone number itself.
    pub(crate) fn selection(&self, api_version: &str) -> String {
        let consent = if api_version < "2026-10" {
            "state:marketingState updatedAt:marketingUpdatedAt"
        } else {
            "consent:smsMarketingConsent{state updatedAt}"
        };
        self.selection.replace("SMS_CONSENT", consent)
    }

    /// Points of one record with up to `lines` lines; a connection costs 2 (shopify.dev, "API limits", 2026-11-23).
    pub(crate) fn points(&self, lines: u32) -> u32 {
        self.points + if lines > 0 { 2 + lines * LINE_POINTS } else { 0 }
    }
}

pub(crate) fn schemas() -> Vec<StreamSchema> {
    let schema = |name: &str, columns: &[Column]| StreamSchema::new(name, fields(columns)).primary_key(["id"]);
    let read = |stream: &Stream| schema(stream.name, stream.columns).incremental(Some("updated_at"));
    let lines = schema(LINES, LINE_COLUMNS).incremental(None).child_of(ORDERS.name, "order_id");
    vec![read(&CUSTOMERS), read(&ORDERS), lines]
}

/// `42` of `gid://shopify/Customer/42`.
fn short_id<'a>(record: &'a Value, pointer: &str) -> Option<&'a str> {
    record.pointer(pointer)?.as_str()?.rsplit('/').next()
}

/// What stands for a consent that the API does not tell although the address is there: anything but a grant.
const UNKNOWN: &str = "UNKNOWN";

fn email_consent(record: &Value) -> Option<&str> {
    let state = record.pointer("/emailMarketing/marketingState").and_then(Value::as_str);
    state.or_else(|| record.pointer("/email/emailAddress")?.as_str().map(|_| UNKNOWN))
}

fn sms_consent(record: &Value) -> Option<&str> {
    sms(record, "state").or_else(|| record.pointer("/phone/phoneNumber")?.as_str().map(|_| UNKNOWN))
}

fn sms<'a>(record: &'a Value, name: &str) -> Option<&'a str> {
    let phone = record.get("smsMarketing")?;
    phone.get("consent").unwrap_or(phone).get(name)?.as_str()
}
