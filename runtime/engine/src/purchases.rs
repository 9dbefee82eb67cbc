//! The orders of all profiles, read from the lake for what is made of whole histories: RFM, predictions, insights.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use affluent_model::identity::NodeId;
use affluent_model::money::Money;
use affluent_model::plan::{ComputedTrait, Measure};
use affluent_model::prediction::{PredictPlan, PredictedValue, RepeatModel};
use affluent_model::schema::FieldType;
use affluent_model::{Error, Result};
use affluent_profiles::order_rows::{LineColumns, find_line_columns, orders_query};
use affluent_profiles::purchases::affinity::{TOGETHER_MIN, recommendations};
use affluent_profiles::purchases::card::ModelCard;
use affluent_profiles::purchases::categories::{Line, top_categories};
use affluent_profiles::purchases::holdout::Ranking;
use affluent_profiles::purchases::models::ModelKind;
use affluent_profiles::purchases::orders::{FreeOrders, History, Order};
use affluent_profiles::purchases::predict::{Predicted, Prediction, Settings, Terms, predict_by_category};
use affluent_profiles::purchases::rfm::{RfmFit, rfm};
use affluent_profiles::snapshot::{GIVEN, trait_column};
use arrow::array::{Array, ArrayRef, AsArray, Date32Array, Decimal128Array, Float64Array, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Decimal128Type, Field, Int64Type};
use serde::{Deserialize, Serialize};

use crate::compute::normalised;
use crate::engine::{Engine, Event};
use crate::inputs::{Inputs, MemoryTable, People, memory_table};
use crate::insights::LineReader;
use crate::rows;

/// Microseconds of a day.
const DAY_US: i64 = 86_400_000_000;
/// Steps in one unit of the currency that a lifetime value is rounded to.
const VALUE_STEPS: f64 = 100.0;
/// Millionths of such a step.
const STEP_MICROS: i128 = 10_000;
/// A probability or a number of orders is rounded to four places.
const PLACES: f64 = 10_000.0;

/// The orders of all profiles.
pub(crate) struct Purchases {
    /// Customers have the numbers of their profiles.
    pub(crate) history: History,
    /// In which values are, in capitals: that of the project, else of most orders; empty where orders have none.
    pub(crate) currency: String,
    /// Orders in other currencies that were not converted: they count, their values do not.
    pub(crate) other_orders: u64,
    /// Of these, by currency, where the project converts: there is no rate for their day or one before.
    pub(crate) without_rate: BTreeMap<String, u64>,
}

/// The day of an instant, since 1970-01-01 UTC.
pub(crate) fn day_of_instant(us: i64) -> i32 {
    i32::try_from(us.div_euclid(DAY_US)).unwrap_or(i32::MAX)
}

/// Reads all completed orders until a day whose owner is a known profile, by currency and not converted yet.
///
/// # Errors
/// What ledger and lake report.
pub(crate) async fn read_orders<'a>(engine: &Engine, inputs: &'a Inputs, end_day: i32) -> Result<Reader<'a>> {
    let mut reader = Reader { people: &inputs.people, end_day, by_currency: Vec::new() };
    if let Some(sql) = orders_query(&inputs.sources)? {
        engine.lake.stream(inputs.query(engine, sql), &mut |batch| reader.take(&batch)).await?;
    }
    Ok(reader)
}

/// Currencies that are told apart; orders in one more are taken as orders without one. There are some 180 in use.
const CURRENCIES_MAX: usize = 256;

/// Orders as they were read.
pub(crate) struct Reader<'a> {
    people: &'a People,
    end_day: i32,
    by_currency: Vec<(String, Vec<Order>)>,
}

impl Reader<'_> {
    fn take(&mut self, batch: &RecordBatch) -> Result<()> {
        let owners = rows::cast_to(rows::column(batch, "_owner")?, &DataType::Int64)?;
        let times = rows::cast_to(rows::column(batch, "at")?, &DataType::Int64)?;
        let nets = rows::cast_to(rows::column(batch, "net")?, &FieldType::Decimal.to_arrow())?;
        let currencies = rows::as_text(rows::column(batch, "currency")?)?;
        let (owners, times) = (owners.as_primitive::<Int64Type>(), times.as_primitive::<Int64Type>());
        let (nets, currencies) = (nets.as_primitive::<Decimal128Type>(), currencies.as_string::<i32>());
        for row in 0..batch.num_rows() {
            if owners.is_null(row) || times.is_null(row) || nets.is_null(row) {
                continue;
            }
            let day = day_of_instant(times.value(row));
            let known = self.people.number_of(NodeId(owners.value(row)));
            let Some(customer) = known.filter(|_| day <= self.end_day) else { continue };
            let net = nets.value(row);
            let net_micros = i64::try_from(net).unwrap_or(if net < 0 { i64::MIN } else { i64::MAX });
            let number = self.number_of(if currencies.is_null(row) { "" } else { currencies.value(row) });
            let order = Order { customer, day, net_micros };
            self.by_currency.get_mut(number).into_iter().for_each(|(_, orders)| orders.push(order));
        }
        Ok(())
    }

    /// The number of a currency.
    fn number_of(&mut self, currency: &str) -> usize {
        let is_full = self.by_currency.len() >= CURRENCIES_MAX;
        let name = |currency: &str| currency.trim().to_ascii_uppercase();
        let known = place_of(&self.by_currency, currency).or_else(|| place_of(&self.by_currency, "").filter(|_| is_full));
        known.unwrap_or_else(|| {
            self.by_currency.push((if is_full { String::new() } else { name(currency) }, Vec::new()));
            self.by_currency.len() - 1
        })
    }

    /// All orders, their values in one currency: converted at their day where the project has rates, else those in `main` alone,
    /// or, where it is not given, in the currency of most orders. Where nothing is converted, `tell` is given the history of each
    /// currency by itself, that of the values first, then by orders.
    pub(crate) fn finish(
        self,
        free: FreeOrders,
        basis: (Option<&Money>, Option<&str>),
        tell: &mut dyn FnMut(&str, &History),
    ) -> Purchases {
        let (money, main) = basis;
        if let Some(money) = money {
            return self.converted(free, money);
        }
        let mut ranked = self.by_currency;
        ranked.sort_by(|a, b| b.1.len().cmp(&a.1.len()).then_with(|| a.0.cmp(&b.0)));
        if let Some(main) = main {
            let place = place_of(&ranked, main);
            let own = place.map_or_else(|| (main.to_owned(), Vec::new()), |place| ranked.remove(place));
            ranked.insert(0, own);
        }
        let currency = ranked.first().map_or_else(String::new, |(name, _)| name.clone());
        let mut all_orders = Vec::with_capacity(ranked.len());
        let history = History::of_currencies(ranked.into_iter().map(|(name, orders)| {
            let history = History::new(orders, free);
            all_orders.push(history.orders());
            tell(&name, &history);
            history
        }));
        Purchases { history, currency, other_orders: all_orders.iter().skip(1).sum(), without_rate: BTreeMap::new() }
    }

    fn converted(self, free: FreeOrders, money: &Money) -> Purchases {
        let (mut orders, mut other_orders, mut without_rate) = (Vec::new(), 0, BTreeMap::new());
        for (currency, own) in self.by_currency {
            let is_counted = |order: &Order| order.net_micros != 0 || free == FreeOrders::Count;
            for order in own.into_iter().filter(is_counted) {
                if let Some(net_micros) = money.convert(&currency, order.day, order.net_micros) {
                    orders.push(Order { net_micros, ..order });
                } else if order.net_micros >= 0 {
                    other_orders += 1;
                    *without_rate.entry(currency.clone()).or_default() += 1;
                    orders.push(Order { net_micros: 0, ..order });
                }
            }
        }
        let history = History::new(orders, FreeOrders::Count);
        Purchases { history, currency: money.currency.clone(), other_orders, without_rate }
    }
}

fn place_of<T>(by_currency: &[(String, T)], currency: &str) -> Option<usize> {
    by_currency.iter().position(|(known, _)| known.eq_ignore_ascii_case(currency.trim()))
}

/// What the traits that are made of orders came to.
pub(crate) struct PurchaseTraits {
    /// Their values, as the table [`GIVEN`].
    pub(crate) values: MemoryTable,
    /// (trait, its model card as JSON).
    pub(crate) cards: Vec<(String, String)>,
    pub(crate) fits: Fits,
}

/// What was fitted over all profiles and lets some be placed among them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Fits {
    /// In which orders are counted by value.
    pub(crate) currency: String,
    /// By trait.
    pub(crate) rfm: BTreeMap<String, RfmFit>,
}

/// The values of the traits that are made of orders; `fitted` where they were fitted before, over all profiles.
///
/// # Errors
/// What ledger and lake report.
pub(crate) async fn purchase_traits(engine: &Engine, inputs: &Inputs, fitted: Option<&Fits>) -> Result<Option<PurchaseTraits>> {
    let traits = &engine.plan.traits;
    if !traits.iter().any(|one| matches!(one.measure, Measure::Rfm { .. } | Measure::Predict(_) | Measure::Recommend(_))) {
        return Ok(None);
    }
    engine.notice(Event::Computing { step: "purchase behaviour".to_owned() });
    let main = fitted.map(|fits| fits.currency.as_str());
    let basis = (engine.plan.project.money.as_ref(), main);
    let purchases = read_orders(engine, inputs, i32::MAX).await?.finish(FreeOrders::LeaveOut, basis, &mut |_, _| {});
    let end_day = day_of_instant(engine.now_us());
    let customers = inputs.people.ids.len();
    let category_of = top_categories_of(engine, inputs, end_day).await?;
    let mut values = Values {
        purchases: &purchases,
        category_of,
        customers,
        end_day,
        predicted: Vec::new(),
        columns: Vec::new(),
        cards: Vec::new(),
        fits: fitted.cloned().unwrap_or_else(|| Fits { currency: purchases.currency.clone(), ..Fits::default() }),
    };
    for (place, one) in traits.iter().enumerate() {
        let column = trait_column(place);
        match &one.measure {
            Measure::Rfm { bins } => values.rfm(&one.name, &column, *bins),
            Measure::Predict(plan) => {
                let card = values.predict(&column, plan)?;
                values.cards.push((one.name.clone(), card));
            }
            Measure::Recommend(expression) => {
                let columns = LineColumns {
                    stream: one.from.clone(),
                    category: normalised(engine, &expression.text)?,
                    ..LineColumns::default()
                };
                let (lines, names) = read_lines(engine, inputs, &columns, end_day).await?;
                values.recommend(&column, &lines, &names);
            }
            Measure::Sql(_) | Measure::MostFrequent(_) => {}
        }
    }
    let Values { columns, cards, fits, .. } = values;
    Ok(Some(PurchaseTraits { values: memory_table(GIVEN, columns)?, cards, fits }))
}

/// The category that each customer buys most, where a trait foretells dates and columns of categories are known by name.
async fn top_categories_of(engine: &Engine, inputs: &Inputs, end_day: i32) -> Result<HashMap<u32, u32>> {
    let is_date = |one: &ComputedTrait| matches!(&one.measure, Measure::Predict(plan) if plan.value == PredictedValue::NextOrder);
    if !engine.plan.traits.iter().any(is_date) {
        return Ok(HashMap::new());
    }
    let Some(columns) = find_line_columns(&inputs.sources, LineColumns::default())? else { return Ok(HashMap::new()) };
    let (lines, names) = read_lines(engine, inputs, &columns, end_day).await?;
    Ok(top_categories(&lines, &names))
}

/// All lines, and the names of their categories.
async fn read_lines(engine: &Engine, inputs: &Inputs, columns: &LineColumns, end_day: i32) -> Result<(Vec<Line>, Vec<String>)> {
    let mut lines = Vec::new();
    let names = LineReader::new(engine, end_day, &[]).read(engine, inputs, columns, &mut |line| lines.push(line)).await?;
    Ok((lines, names))
}

struct Values<'a> {
    purchases: &'a Purchases,
    /// The category that each buys most; empty where it is not needed or not known.
    category_of: HashMap<u32, u32>,
    /// All profiles.
    customers: usize,
    end_day: i32,
    /// What was fitted already: traits with the same settings share it.
    predicted: Vec<(Settings, Predicted)>,
    /// Column per trait, one value per profile.
    columns: Vec<(Field, ArrayRef)>,
    cards: Vec<(String, String)>,
    fits: Fits,
}

impl Values<'_> {
    fn rfm(&mut self, name: &str, column: &str, bins: u8) {
        let history = &self.purchases.history;
        let placed = match self.fits.rfm.get(name) {
            Some(fit) => fit.place_all(history),
            None => {
                let (cuts, placed) = rfm(history, bins, self.end_day);
                self.fits.rfm.insert(name.to_owned(), RfmFit { end_day: self.end_day, cuts });
                placed
            }
        };
        let values = self.by_customer(placed.into_iter().map(|(customer, rfm)| (customer, Some(i64::from(rfm.cell())))));
        self.columns.push((Field::new(column, DataType::Int64, true), Arc::new(Int64Array::from(values))));
    }

    /// Adds the column; returns the model card as JSON.
    fn predict(&mut self, column: &str, plan: &PredictPlan) -> Result<String> {
        let settings = settings_of(plan);
        let place = match self.predicted.iter().position(|(known, _)| *known == settings) {
            Some(place) => place,
            None => {
                let history = &self.purchases.history;
                let mut predicted = predict_by_category(history, self.end_day, &settings, &self.category_of);
                complete(&mut predicted.card, self.purchases, settings.with_values);
                self.predicted.push((settings, predicted));
                self.predicted.len() - 1
            }
        };
        let Some((_, predicted)) = self.predicted.get(place) else { return Err(Error::bug("a prediction was just kept")) };
        let card = serde_json::to_string(&predicted.card).map_err(|error| Error::bug(error.to_string()))?;
        let array = self.array(plan.value, &predicted.predictions)?;
        self.columns.push((Field::new(column, plan.value.kind().to_arrow(), true), array));
        Ok(card)
    }

    fn recommend(&mut self, column: &str, lines: &[Line], names: &[String]) {
        let names = self.by_customer(recommended(lines, names).into_iter().map(|(customer, name)| (customer, Some(name))));
        let texts: StringArray = names.into_iter().collect();
        self.columns.push((Field::new(column, DataType::Utf8, true), Arc::new(texts)));
    }

    fn array(&self, value: PredictedValue, predictions: &[Prediction]) -> Result<ArrayRef> {
        let floats = |of: fn(&Prediction) -> f64| {
            let values = predictions.iter().map(|one| (one.customer, Some((of(one) * PLACES).round() / PLACES)));
            let array: ArrayRef = Arc::new(Float64Array::from(self.by_customer(values)));
            array
        };
        Ok(match value {
            PredictedValue::ExpectedOrders => floats(|one| one.expected_orders),
            PredictedValue::Churn => floats(|one| one.churn),
            PredictedValue::Alive => floats(|one| one.alive),
            PredictedValue::LifetimeValue => {
                let values = predictions.iter().map(|one| (one.customer, one.lifetime_value.map(decimal)));
                let array = Decimal128Array::from(self.by_customer(values)).with_data_type(FieldType::Decimal.to_arrow());
                Arc::new(array)
            }
            PredictedValue::NextOrder => {
                let values = predictions.iter().map(|one| (one.customer, one.next_order.map(|next| next.day)));
                Arc::new(Date32Array::from(self.by_customer(values)))
            }
        })
    }

    /// A value per profile, from values per customer.
    fn by_customer<T: Copy>(&self, values: impl Iterator<Item = (u32, Option<T>)>) -> Vec<Option<T>> {
        let mut column = vec![None; self.customers];
        for (customer, value) in values {
            if let Some(cell) = usize::try_from(customer).ok().and_then(|place| column.get_mut(place)) {
                *cell = value;
            }
        }
        column
    }
}

/// (customer, name of what goes best with what they have), whatever order the lines came in.
fn recommended<'n>(lines: &[Line], names: &'n [String]) -> Vec<(u32, &'n str)> {
    let mut names: Vec<(&str, usize)> = names.iter().map(String::as_str).zip(0..).collect();
    names.sort_unstable();
    let mut rank_of = vec![0_u32; names.len()];
    for ((_, place), rank) in names.iter().zip(0_u32..) {
        if let Some(cell) = rank_of.get_mut(*place) {
            *cell = rank;
        }
    }
    let at = |number: u32| usize::try_from(number).ok();
    let held = lines.iter().filter_map(|line| Some((line.customer, *rank_of.get(at(line.category)?)?)));
    let found = recommendations(held.collect(), TOGETHER_MIN);
    found.into_iter().filter_map(|(customer, rank)| Some((customer, names.get(at(rank)?)?.0))).collect()
}

/// Settings of `profiles` for a plan.
pub(crate) fn settings_of(plan: &PredictPlan) -> Settings {
    Settings {
        kind: match plan.model {
            RepeatModel::MbgNbd => ModelKind::MbgNbd,
            RepeatModel::BgNbd => ModelKind::BgNbd,
            RepeatModel::ParetoNbd => ModelKind::ParetoNbd,
        },
        with_values: plan.value == PredictedValue::LifetimeValue,
        horizon_days: plan.horizon_days,
        terms: Terms { discount_monthly: plan.discount_monthly, margin: plan.margin },
        ranking: match plan.value {
            PredictedValue::Churn => Ranking::OrderWithin,
            PredictedValue::Alive
            | PredictedValue::ExpectedOrders
            | PredictedValue::LifetimeValue
            | PredictedValue::NextOrder => Ranking::ExpectedOrders,
        },
    }
}

/// Adds what the card must say of currencies.
pub(crate) fn complete(card: &mut ModelCard, purchases: &Purchases, with_values: bool) {
    card.orders_in_other_currencies = purchases.other_orders;
    if with_values {
        card.currency.clone_from(&purchases.currency);
        if purchases.other_orders > 0 {
            let (orders, currency) = (purchases.other_orders, &purchases.currency);
            card.notes.push(format!("{orders} orders are not in {currency}: they count, their values are left out"));
        }
        for (currency, orders) in &purchases.without_rate {
            card.notes.push(format!("{orders} orders in {currency} have no rate for their day or one before"));
        }
    }
}

/// A value of the currency in millionths, rounded to its hundredth.
#[expect(clippy::cast_possible_truncation, reason = "a lifetime value is far below 10^38")]
fn decimal(value: f64) -> i128 {
    (value * VALUE_STEPS).round() as i128 * STEP_MICROS
}
