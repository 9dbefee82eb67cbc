//! Purchase behaviour over all profiles, for a person to look at.

use std::collections::HashMap;

use affluent_model::money::Money;
use affluent_model::schema::FieldType;
use affluent_model::{Error, Result};
use affluent_profiles::order_rows::{LineColumns, find_line_columns, lines_query};
use affluent_profiles::purchases::categories::{CategoryCounts, Line};
use affluent_profiles::purchases::insights::{Insights, Lines, insights, insights_of_currency};
use affluent_profiles::purchases::orders::{FreeOrders, History};
use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::{DataType, Date32Type, Decimal128Type, Float64Type, UInt32Type};

use crate::compute::normalised;
use crate::engine::Engine;
use crate::inputs::Inputs;
use crate::key_set::short_hash;
use crate::purchases::{Purchases, day_of_instant, read_orders};
use crate::rows;

/// What to look at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InsightsOptions {
    /// The last day that is looked at, since 1970-01-01 UTC; today when absent.
    pub end_day: Option<i32>,
    pub free_orders: FreeOrders,
    /// Bins of RFM, 2 to 9.
    pub bins: u8,
    /// Where categories stand; what is absent is looked for by usual names.
    pub lines: LineOptions,
}

/// SQL expressions over the columns of a stream.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LineOptions {
    pub stream: Option<String>,
    pub category: Option<String>,
    pub units: Option<String>,
    pub revenue: Option<String>,
}

impl Engine {
    /// Purchase behaviour of all profiles.
    ///
    /// # Errors
    /// `E0766` when no pipeline leads orders into profiles, `E0300` and `E0760` for options that do not fit; what the stores
    /// report.
    pub async fn insights(&self, options: &InsightsOptions) -> Result<Insights> {
        let inputs = Inputs::read(self).await?;
        if !inputs.sources.iter().any(|source| source.has_order) {
            return Err(Error::configuration("E0766", "no pipeline leads orders into profiles")
                .help("say in a pipeline's mapping what an order is: `order: { id: …, at: …, currency: …, net: … }`"));
        }
        let end_day = options.end_day.unwrap_or_else(|| day_of_instant(self.now_us()));
        let (mut found, currencies) = self.insights_of_orders(&inputs, options, end_day).await?;
        let LineOptions { stream, category, units, revenue } = &options.lines;
        let given = |text: &Option<String>| text.as_ref().map(|text| normalised(self, text)).transpose();
        let asked = LineColumns {
            stream: stream.clone().unwrap_or_default(),
            category: given(category)?.unwrap_or_default(),
            units: given(units)?.unwrap_or_default(),
            revenue: given(revenue)?.unwrap_or_default(),
        };
        if let Some(columns) = find_line_columns(&inputs.sources, asked)? {
            let mut counts = CategoryCounts::default();
            let reader = LineReader::new(self, end_day, &currencies);
            let categories = reader.read(self, &inputs, &columns, &mut |line| counts.add(&line)).await?;
            found.tell_categories(Lines { counts, categories });
        }
        found.models = self.model_cards()?;
        Ok(found)
    }

    /// All but what lines say, and the currencies of values, the first of them that of all.
    async fn insights_of_orders(
        &self,
        inputs: &Inputs,
        options: &InsightsOptions,
        end_day: i32,
    ) -> Result<(Insights, Vec<String>)> {
        let orders = read_orders(self, inputs, end_day).await?;
        let mut by_currency = Vec::new();
        let mut tell = |name: &str, history: &History| {
            by_currency.push(insights_of_currency(name, history, end_day, options.bins));
        };
        let basis = (self.plan.project.money.as_ref(), None);
        let Purchases { history, currency, other_orders, without_rate } = orders.finish(options.free_orders, basis, &mut tell);
        let mut found = insights(&history, end_day, options.bins);
        found.orders_in_other_currencies = other_orders;
        found.without_rate = without_rate;
        let mut currencies = vec![currency.clone()];
        found.currency = currency;
        if by_currency.len() > 1 {
            currencies = by_currency.iter().map(|one| one.currency.clone()).collect();
            found.tell_by_currency(by_currency);
        }
        Ok((found, currencies))
    }
}

/// Reads what was bought until a day, line by line, by numbers of profiles, categories and currencies.
pub(crate) struct LineReader<'a> {
    end_day: i32,
    money: Option<&'a Money>,
    /// By their numbers; a line in none of them has the number after the last one.
    currencies: &'a [String],
    categories: Numbers,
}

impl<'a> LineReader<'a> {
    pub(crate) fn new(engine: &'a Engine, end_day: i32, currencies: &'a [String]) -> Self {
        Self { end_day, money: engine.plan.project.money.as_ref(), currencies, categories: Numbers::default() }
    }

    /// Gives the lines of all profiles to `take`, in no order; returns the names of categories by number.
    ///
    /// # Errors
    /// `E0760`, `E0762`, `E0765`; what ledger and lake report.
    pub(crate) async fn read(
        mut self,
        engine: &Engine,
        inputs: &Inputs,
        columns: &LineColumns,
        take: &mut (dyn FnMut(Line) + Send),
    ) -> Result<Vec<String>> {
        let query = inputs.query(engine, lines_query(&inputs.sources, columns)?);
        engine.lake.stream(query, &mut |batch| self.take(&batch, take)).await?;
        Ok(self.categories.names)
    }

    fn take(&mut self, batch: &RecordBatch, take: &mut (dyn FnMut(Line) + Send)) -> Result<()> {
        let text = |name: &str| rows::as_text(rows::column(batch, name)?);
        let (orders, categories) = (text("order")?, text("category")?);
        let profiles = rows::cast_to(rows::column(batch, "profile")?, &DataType::UInt32)?;
        let profiles = profiles.as_primitive::<UInt32Type>();
        let days = rows::cast_to(rows::column(batch, "day")?, &DataType::Date32)?;
        let units = rows::cast_to(rows::column(batch, "units")?, &DataType::Float64)?;
        let nets = rows::cast_to(rows::column(batch, "net")?, &FieldType::Decimal.to_arrow())?;
        let (days, units, nets) =
            (days.as_primitive::<Date32Type>(), units.as_primitive::<Float64Type>(), nets.as_primitive::<Decimal128Type>());
        let currencies = text("currency")?;
        let currencies = currencies.as_string::<i32>();
        for row in 0..batch.num_rows() {
            if profiles.is_null(row) || days.is_null(row) || days.value(row) > self.end_day || categories.is_null(row) {
                continue;
            }
            let net_micros = if nets.is_null(row) { 0 } else { i64::try_from(nets.value(row)).unwrap_or(i64::MAX) };
            let currency = currencies.is_valid(row).then(|| currencies.value(row));
            let (net_micros, currency) = self.valued(net_micros, currency, days.value(row));
            take(Line {
                customer: profiles.value(row),
                order: short_number(orders.as_string::<i32>().value(row)),
                category: self.categories.number(categories.as_string::<i32>().value(row)),
                units: if units.is_null(row) { 0.0 } else { units.value(row) },
                net_micros,
                currency,
            });
        }
        Ok(())
    }

    /// What a line is worth, and the number of its currency. A line that says none is taken to be in the first one.
    fn valued(&self, net_micros: i64, currency: Option<&str>, day: i32) -> (i64, u16) {
        match (self.money, currency) {
            (_, None) => (net_micros, 0),
            (Some(money), Some(name)) => (money.convert(name, day, net_micros).unwrap_or(0), 0),
            (None, Some(name)) => {
                let place = self.currencies.iter().position(|known| known.eq_ignore_ascii_case(name.trim()));
                (net_micros, u16::try_from(place.unwrap_or(self.currencies.len())).unwrap_or(u16::MAX))
            }
        }
    }
}

/// A number of an order's id, half of its hash: two of a customer's thousand orders share one in ten thousand customers once.
#[expect(clippy::cast_possible_truncation, reason = "half of a hash is wanted")]
fn short_number(id: &str) -> u32 {
    short_hash(id) as u32
}

/// Texts by number, in the order they came.
#[derive(Default)]
struct Numbers {
    known: HashMap<String, u32>,
    names: Vec<String>,
}

impl Numbers {
    fn number(&mut self, name: &str) -> u32 {
        if let Some(number) = self.known.get(name) {
            return *number;
        }
        let number = u32::try_from(self.names.len()).unwrap_or(u32::MAX);
        self.known.insert(name.to_owned(), number);
        self.names.push(name.to_owned());
        number
    }
}
