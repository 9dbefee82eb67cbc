//! The service has a bad day: the same reading must give the same rows.

use affluent_model::connector::FailureKind;

use crate::bench::Bench;
use crate::proxy::{Fault, Plan, RETRY_AFTER, Seen};
use crate::reading::{Ended, Reading, WasRead, is_passing, kind_word, read};
use crate::report::Findings;

const RULES: [&str; 7] = [
    "read.throttled",
    "read.server_error",
    "read.truncated",
    "read.slow",
    "read.credential",
    "read.empty_page",
    "read.cursor_loop",
];

/// Disturbs the reading of a stream; `requests` are those of the undisturbed one.
pub(crate) async fn source(bench: &Bench, reading: &Reading<'_>, whole: &WasRead, requests: &[Seen], findings: &mut Findings) {
    let name = &reading.stream.name;
    if bench.proxy.is_none() {
        return findings.skip_all(&RULES, &bench.proxy_reason);
    }
    if requests.is_empty() || !whole.is_whole() {
        return findings.skip_all(&RULES, &format!("stream `{name}` is read without a request, or not to its end"));
    }
    let from = usize::from(requests.len() > 2);
    let case = Case { bench, reading, whole, from };
    throttled(&case, findings).await;
    for (rule, fault, times) in [
        ("read.server_error", Fault::Status(500), 1),
        ("read.server_error", Fault::Status(503), 2),
        ("read.truncated", Fault::Truncated, 1),
        ("read.truncated", Fault::CutOff, 1),
        ("read.slow", Fault::Slow, 1),
    ] {
        findings.judge(rule, case.same_rows(fault, times).await);
    }
    findings.judge("read.server_error", case.stops_with(Fault::Status(500), is_passing).await);
    findings.judge("read.truncated", case.stops_with(Fault::Truncated, is_passing).await);
    let is_refusal = |kind| matches!(kind, FailureKind::Auth | FailureKind::Permission);
    for status in [401, 403] {
        findings.judge("read.credential", case.stops_with(Fault::Status(status), is_refusal).await);
    }
    pages(&case, requests, findings).await;
}

struct Case<'a> {
    bench: &'a Bench,
    reading: &'a Reading<'a>,
    whole: &'a WasRead,
    /// The request that is disturbed.
    from: usize,
}

impl Case<'_> {
    async fn read(&self, fault: Fault, times: usize) -> WasRead {
        self.bench.disturb(Some(Plan { fault, from: self.from, times }));
        // A disturbed reading may take some pages more, but not for ever.
        let pages_max = self.whole.pages.len() * 2 + 10;
        read(self.bench, &Reading { pages_max, ..self.reading.clone() }, |_| {}).await
    }

    fn place(&self, fault: Fault, what: &str) -> String {
        format!("stream `{}`, {fault:?} at request {}: {what}", self.reading.stream.name, self.from + 1)
    }

    /// Why the disturbed reading is not the undisturbed one.
    async fn same_rows(&self, fault: Fault, times: usize) -> Option<String> {
        let disturbed = self.read(fault, times).await;
        let (found, expected) = (disturbed.rows(), self.whole.rows());
        if let Some(trouble) = disturbed.trouble() {
            return Some(self.place(fault, &trouble));
        }
        if found == expected {
            return None;
        }
        let what = format!("{} rows instead of {}", found.len(), expected.len());
        Some(self.place(fault, if found.len() == expected.len() { "other rows than undisturbed" } else { &what }))
    }

    /// Why a disturbance that does not end is not reported as it should be.
    async fn stops_with(&self, fault: Fault, is_right: impl Fn(FailureKind) -> bool) -> Option<String> {
        match self.read(fault, usize::MAX).await.ended {
            Ended::Failed(failure) if is_right(failure.kind) => None,
            Ended::Failed(failure) => Some(self.place(fault, &format!("kind {}", kind_word(failure.kind)))),
            Ended::Whole => Some(self.place(fault, "the reading ends as if that were all")),
            Ended::Stopped => Some(self.place(fault, "the reading goes on for ever")),
        }
    }
}

async fn throttled(case: &Case<'_>, findings: &mut Findings) {
    findings.judge("read.throttled", case.same_rows(Fault::Throttled, 1).await);
    let seen = case.bench.seen();
    let early = seen.windows(2).find_map(|pair| match pair {
        [one, next] if one.disturbed && next.at < one.at + RETRY_AFTER => Some((next.at - one.at).as_secs()),
        _ => None,
    });
    if let Some(seconds) = early {
        let what = format!("asked again after {seconds} s instead of {}", RETRY_AFTER.as_secs());
        findings.fail("read.throttled", case.place(Fault::Throttled, &what));
    }
}

/// Faults of paging make sense only where an answer says that there is a next page.
async fn pages(case: &Case<'_>, requests: &[Seen], findings: &mut Findings) {
    const RULES: [&str; 2] = ["read.empty_page", "read.cursor_loop"];
    let Some(from) = requests.iter().position(|seen| seen.has_next).filter(|from| from + 1 < requests.len()) else {
        return findings.skip_all(&RULES, "no answer of the service names a next page");
    };
    let case = Case { bench: case.bench, reading: case.reading, whole: case.whole, from };
    let disturbed = case.read(Fault::EmptyPage, 1).await;
    let has_last = disturbed.rows().last() == case.whole.rows().last();
    let evidence = match disturbed.trouble() {
        Some(trouble) => Some(trouble),
        None if has_last => None,
        None => Some(format!("the reading ends after {} rows of {}", disturbed.rows().len(), case.whole.rows().len())),
    };
    findings.judge("read.empty_page", evidence.map(|what| case.place(Fault::EmptyPage, &what)));
    let looped = Case { from: from + 1, ..case };
    let evidence = match looped.read(Fault::Repeat, usize::MAX).await.ended {
        // Noticed, by the host or by the plugin; or the repeated page said that it is the last.
        Ended::Failed(_) | Ended::Whole => None,
        Ended::Stopped => Some(looped.place(Fault::Repeat, "the reading goes on for ever")),
    };
    findings.judge("read.cursor_loop", evidence);
}
