//! Purchase behaviour over all profiles, for a person to look at.

use std::collections::HashMap;

use affluent_model::money::Money;
use affluent_model::schema::FieldType;
use affluent_model::{Error, Result};
use affluent_profiles::order_rows::{LineColumns, find_line_columns, lines_query};
use affluent_profiles::purchases::categories::Line;
use affluent_profiles::purchases::insights::{CurrencyTotals, Insights, Lines, insights};
use affluent_profiles::purchases::metrics::totals;
use affluent_profiles::purchases::orders::FreeOrders;
use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::{DataType, Date32Type, Decimal128Type, Float64Type, UInt32Type};

use crate::compute::normalised;
use crate::engine::Engine;
use crate::inputs::Inputs;
use crate::purchases::{day_of_instant, read_orders};
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
        let money = self.plan.project.money.as_ref();
        let orders = read_orders(self, &inputs).await?;
        let by_currency = if money.is_none() { orders.by_currency(options.free_orders) } else { Vec::new() };
        let purchases = orders.finish(options.free_orders, money, None);
        let lines = self.lines(&inputs, options, end_day).await?;
        let found = insights(&purchases.history.until(end_day), lines.as_ref(), end_day, options.bins);
        Ok(Insights {
            currency: purchases.currency,
            orders_in_other_currencies: purchases.other_orders,
            without_rate: purchases.without_rate,
            by_currency: by_currency
                .into_iter()
                .map(|(currency, history)| CurrencyTotals { currency, totals: totals(&history.until(end_day)) })
                .collect(),
            models: self.model_cards()?,
            ..found
        })
    }

    /// Lines of orders with their categories; `None` where no column of categories is known.
    async fn lines(&self, inputs: &Inputs, options: &InsightsOptions, end_day: i32) -> Result<Option<Lines>> {
        let LineOptions { stream, category, units, revenue } = &options.lines;
        let given = |text: &Option<String>| text.as_ref().map(|text| normalised(self, text)).transpose();
        let asked = LineColumns {
            stream: stream.clone().unwrap_or_default(),
            category: given(category)?.unwrap_or_default(),
            units: given(units)?.unwrap_or_default(),
            revenue: given(revenue)?.unwrap_or_default(),
        };
        let Some(columns) = find_line_columns(&inputs.sources, asked)? else { return Ok(None) };
        let reader = LineReader::read(self, inputs, &columns, end_day).await?;
        Ok(Some(Lines { lines: reader.lines, categories: reader.categories.names }))
    }
}

/// What was bought until a day, by numbers of profiles, orders and categories.
#[derive(Default)]
pub(crate) struct LineReader {
    end_day: i32,
    money: Option<Money>,
    orders: Numbers,
    pub(crate) categories: Numbers,
    pub(crate) lines: Vec<Line>,
}

impl LineReader {
    /// Reads the lines of all profiles.
    ///
    /// # Errors
    /// `E0760`, `E0762`, `E0765`; what ledger and lake report.
    pub(crate) async fn read(engine: &Engine, inputs: &Inputs, columns: &LineColumns, end_day: i32) -> Result<Self> {
        let sql = lines_query(&inputs.sources, columns)?;
        let query = inputs.query(engine, sql);
        let mut reader = Self { end_day, money: engine.plan.project.money.clone(), ..Self::default() };
        engine.lake.stream(query, &mut |batch| reader.take(&batch)).await?;
        Ok(reader)
    }

    fn take(&mut self, batch: &RecordBatch) -> Result<()> {
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
            let net_micros = match &self.money {
                // A line that says no currency is taken to be in the project's.
                Some(money) if currencies.is_valid(row) => {
                    money.convert(currencies.value(row), days.value(row), net_micros).unwrap_or(0)
                }
                _ => net_micros,
            };
            let line = Line {
                customer: profiles.value(row),
                order: self.orders.number(orders.as_string::<i32>().value(row)),
                category: self.categories.number(categories.as_string::<i32>().value(row)),
                units: if units.is_null(row) { 0.0 } else { units.value(row) },
                net_micros,
            };
            self.lines.push(line);
        }
        Ok(())
    }
}

/// Texts by number, in the order they came.
#[derive(Default)]
pub(crate) struct Numbers {
    known: HashMap<String, u32>,
    pub(crate) names: Vec<String>,
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
