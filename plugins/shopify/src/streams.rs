//! The streams as data: which columns, where each stands in the answer, what the query asks for and what that costs.
//! Checked against the descriptions of 2026-10 and 2026-07 (@shopify/dev-mcp 1.16.0, read 2026-11-23); no deprecated
//! field is asked for.

use affluent_sdk::FieldType::{Boolean, Decimal, Integer, Json, Text, Timestamp};
use affluent_sdk::PiiClass;
use affluent_sdk::graphql::{Child, List};
use affluent_sdk::records::Column;
use serde_json::Value;

pub(crate) const CUSTOMERS: List = list(
    "customers",
    &[
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
    "id firstName lastName locale state verifiedEmail note tags numberOfOrders createdAt updatedAt \
        amountSpent{amount currencyCode} email:defaultEmailAddress{emailAddress} \
        emailMarketing:defaultEmailAddress{marketingState marketingUpdatedAt} phone:defaultPhoneNumber{phoneNumber} \
        smsMarketing:defaultPhoneNumber{SMS_CONSENT} defaultAddress{countryCodeV2 provinceCode city zip}",
);

pub(crate) const ORDERS: List = list(
    "orders",
    &[
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
    "id name email phone createdAt processedAt updatedAt cancelledAt test displayFinancialStatus \
        displayFulfillmentStatus currencyCode presentmentCurrencyCode discountCodes tags note customer{id} \
        currentTotalPriceSet{shopMoney{amount}} totalPriceSet{shopMoney{amount}} totalRefundedSet{shopMoney{amount}}",
)
.child(LINES);

const LINES: Child = Child {
    stream: "order_lines",
    columns: &[
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
    ],
    connection: "lineItems",
    selection: "id title sku vendor quantity currentQuantity \
        originalUnitPriceSet{shopMoney{amount}} discountedTotalSet{shopMoney{amount currencyCode}}",
    points: 5,
    first: 10,
    more: 100,
    parent: "order",
    parent_id: "__parentId",
    parent_column: "order_id",
};

/// Connections are searched and sorted alike; a record costs a point for each object it holds.
const fn list(name: &'static str, columns: &'static [Column], selection: &'static str) -> List {
    List::new(name, columns, selection)
        .points(8)
        .search("query", "String")
        .arguments("query:$query,sortKey:UPDATED_AT")
        .updated("updated_at", "/updatedAt")
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
