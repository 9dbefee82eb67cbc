//! How many requests a run needs and how long they take at least: from the rows that are known, what the plugin says they cost, and the
//! limits that hold on the connection. How long the service takes to answer, and what is sent again, comes on top.

use affluent_model::manifest::{CostOf, Manifest, RateLimit, RequestCost};
use affluent_model::plan::ConnectionLimits;
use serde::Serialize;

/// Rows that a forecast is for where nobody knows how many there will be.
const ROWS_ASSUMED: u64 = 1_000;
const HOUR_MS: u64 = 3_600_000;

/// What reading a stream, or writing to a destination, takes.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Forecast {
    /// Rows that it is for.
    pub rows: u64,
    /// How many there will be is not known: it is for as many as `rows` says.
    pub is_assumed: bool,
    pub requests: u64,
    /// Milliseconds that the limits leave them at least; how fast the service answers is not known.
    pub least_ms: u64,
    /// The limit by which they take so long; none where no limit holds them up.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<RateLimit>,
    /// Requests a day that the smallest account may send, where they are fewer than this run needs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub over_day: Option<u64>,
}

/// What a whole run takes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct RunForecast {
    pub requests: u64,
    /// Milliseconds, the limits of source and destination side by side: while one waits, the other's budget fills.
    pub least_ms: u64,
    /// Some part of it is for a number of rows that is assumed.
    pub is_assumed: bool,
}

/// What a run takes whose streams are read one after the other; `None` where nothing is known of any part.
pub(crate) fn in_all(reads: &[&Forecast], writes: Option<&Forecast>) -> Option<RunForecast> {
    let parts = || reads.iter().copied().chain(writes);
    let least_ms = |parts: &[&Forecast]| parts.iter().map(|part| part.least_ms).sum::<u64>();
    parts().next()?;
    Some(RunForecast {
        requests: parts().map(|part| part.requests).sum(),
        least_ms: least_ms(reads).max(writes.map_or(0, |writes| writes.least_ms)),
        is_assumed: parts().any(|part| part.is_assumed),
    })
}

/// Rows on their way, by what becomes of them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Work {
    pub(crate) written: u64,
    pub(crate) removed: u64,
    /// Rows of a full batch or page.
    pub(crate) batch_rows: u64,
    pub(crate) has_list: bool,
}

impl Work {
    /// So many rows to write; `None` where that is not known.
    pub(crate) fn of_rows(rows: Option<u64>, batch_rows: u64, has_list: bool) -> (Self, bool) {
        (Self { written: rows.unwrap_or(ROWS_ASSUMED), removed: 0, batch_rows, has_list }, rows.is_none())
    }

    /// The rows that cost these requests. What a run costs once it costs whatever becomes of its rows.
    fn rows(&self, cost: &RequestCost) -> u64 {
        match cost.of {
            CostOf::Rows if cost.per_rows.is_none() => self.written + self.removed,
            CostOf::Rows => self.written,
            CostOf::Listed if self.has_list => self.written,
            CostOf::Listed => 0,
            CostOf::Removed => self.removed,
        }
    }
}

/// What work costs on a connection.
pub(crate) fn forecast(
    costs: &[RequestCost],
    (work, is_assumed): (Work, bool),
    manifest: &Manifest,
    own: &ConnectionLimits,
) -> Forecast {
    let asked: Vec<(&str, u64)> =
        costs.iter().map(|cost| (cost.request.as_str(), cost.requests_for(work.rows(cost), work.batch_rows))).collect();
    let requests = asked.iter().map(|(_, requests)| requests).sum();
    let limits = manifest.limits_on(own).into_iter();
    let slowest = limits.map(|limit| (least_ms(&limit, &asked), limit)).max_by_key(|(ms, _)| *ms).filter(|(ms, _)| *ms > 0);
    let (least_ms, limit) = slowest.map_or((0, None), |(ms, limit)| (ms, Some(limit)));
    let over_day = manifest.costs.requests_per_day.filter(|a_day| requests > *a_day);
    Forecast { rows: work.written + work.removed, is_assumed, requests, least_ms, limit, over_day }
}

/// The time in which a limit lets requests go; none for limits that count points, since nobody knows how many there will be.
fn least_ms(limit: &RateLimit, asked: &[(&str, u64)]) -> u64 {
    if limit.cost.is_some() {
        return 0;
    }
    let prefix = limit.matches.as_deref().unwrap_or_default();
    let counted: u64 = asked.iter().filter(|(request, _)| request.starts_with(prefix)).map(|(_, requests)| requests).sum();
    let at_once = u64::from(limit.burst.unwrap_or(limit.requests));
    counted.saturating_sub(at_once).saturating_mul(limit.per_ms) / u64::from(limit.requests.max(1))
}

/// What is to be said of forecasts, by what they are for: one that needs more requests than a day has, and a run that would not be over
/// before the next one is due, `every_ms` later. Work that is assumed is not measured by the schedule.
pub(crate) fn warnings(forecasts: &[(&str, &Forecast)], run: Option<RunForecast>, every_ms: Option<u64>) -> Vec<String> {
    let over_day = |(what, forecast): &(&str, &Forecast)| {
        let (requests, a_day) = (forecast.requests, forecast.over_day?);
        Some(format!(
            "{what} needs {requests} requests, and the smallest account has {a_day} a day: it may pause until the next day"
        ))
    };
    let over_schedule = run.filter(|run| !run.is_assumed).zip(every_ms).filter(|(run, every_ms)| run.least_ms > *every_ms);
    let over_schedule = over_schedule.map(|(run, every_ms)| {
        let (needs, every) = (in_words(run.least_ms), in_words(every_ms));
        format!("this run needs {needs} at its limits, and its schedule starts one every {every}: schedule it less often")
    });
    forecasts.iter().filter_map(over_day).chain(over_schedule).collect()
}

/// `3 h`, `90 min`, rounded up.
fn in_words(ms: u64) -> String {
    let minutes = ms.div_ceil(60_000);
    if minutes >= 180 || ms.is_multiple_of(HOUR_MS) { format!("{} h", ms.div_ceil(HOUR_MS)) } else { format!("{minutes} min") }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn manifest() -> Manifest {
        serde_json::from_value(json!({
            "manifest_version": 1, "name": "shop", "version": "0.1.0", "kinds": ["destination"], "config_schema": {},
            "costs": { "requests_per_day": 5_000, "write": { "people": [
                { "request": "GET /fields", "requests": 2 },
                { "request": "POST /people", "per_rows": 50 },
                { "request": "POST /tags", "per_rows": 1, "of": "listed" },
                { "request": "DELETE /people", "per_rows": 1, "of": "removed" },
            ] } },
            "rate_limits": [
                { "requests": 100, "per_ms": 1_000 },
                { "requests": 10, "per_ms": 1_000, "burst": 5, "matches": "POST /tags" },
                { "requests": 1, "per_ms": 1_000_000, "cost": { "available": "/left" } },
            ],
        }))
        .unwrap()
    }

    fn own(rate: Option<(u32, u64)>) -> ConnectionLimits {
        ConnectionLimits { rate, ..ConnectionLimits::default() }
    }

    #[test]
    fn the_limit_that_holds_requests_up_longest_says_how_long_they_take() {
        let work = |written, removed, has_list| Work { written, removed, batch_rows: 50, has_list };
        for (work, rate, requests, least_ms, by) in [
            (work(1_000, 0, false), None, 22, 0, None),
            (work(1_000, 0, true), None, 1_022, 99_500, Some(10)),
            (work(0, 202, false), None, 204, 1_040, Some(100)),
            (work(1_000, 0, false), Some((1, 60_000)), 22, 21 * 60_000, Some(1)),
            (work(0, 0, true), None, 0, 0, None),
        ] {
            let told = forecast(&manifest().costs.of_writing("people"), (work, false), &manifest(), &own(rate));
            let found = (told.requests, told.least_ms, told.limit.map(|limit| limit.requests));
            assert_eq!(found, (requests, least_ms, by), "{work:?}");
        }
    }

    fn of(requests: u64, least_ms: u64, is_assumed: bool) -> Forecast {
        let over_day = (requests > 5_000).then_some(5_000);
        Forecast { requests, least_ms, is_assumed, over_day, ..Forecast::default() }
    }

    #[test]
    fn a_run_takes_the_requests_of_all_its_parts_and_the_time_of_its_slower_side() {
        let (one, other, long) = (of(10, 1_000, false), of(20, 2_000, false), of(5, 9_000, true));
        let run = |requests, least_ms, is_assumed| Some(RunForecast { requests, least_ms, is_assumed });

        assert_eq!(in_all(&[], None), None);
        assert_eq!(in_all(&[&one, &other], None), run(30, 3_000, false));
        assert_eq!(in_all(&[&one, &other], Some(&one)), run(40, 3_000, false));
        assert_eq!(in_all(&[&one], Some(&long)), run(15, 9_000, true));
    }

    #[test]
    fn a_run_is_warned_of_when_a_day_or_its_schedule_is_too_short() {
        let (short, long, guess) = (of(10, 1_000, false), of(6_000, 3 * HOUR_MS - 1_000, false), of(10, 9 * HOUR_MS, true));
        let told = |all: &[&Forecast], every_ms| {
            let named: Vec<_> = all.iter().map(|one| ("writing to shop", *one)).collect();
            warnings(&named, in_all(all, None), every_ms)
        };

        assert_eq!(told(&[&short, &guess], Some(HOUR_MS)), Vec::<String>::new());
        assert_eq!(told(&[&short, &long], None).len(), 1);
        let words = "this run needs 3 h at its limits, and its schedule starts one every 1 h: schedule it less often";
        assert_eq!(told(&[&short, &long], Some(HOUR_MS))[1], words);
        assert_eq!(in_words(90 * 60_000), "90 min");
    }
}
