//! What a destination must remember of a batch that a service works on.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::partial::Sent;
use crate::error::{Error, ErrorKind, Result};
use crate::json;
use crate::plugin::{Outcome, Report};

/// Milliseconds before the first question after a job, and between two of them.
const FIRST_WAIT_MS: u32 = 300;
const WAIT_MS: u32 = 1_000;

/// Why a row is not sent at all: it would be refused, in the worst case with its whole batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unfit {
    /// Code of the row's error: `klaviyo.no_identifier`.
    pub code: &'static str,
    /// What is wrong with the row, for operators.
    pub message: &'static str,
}

/// How a service says where a job stands: a word at a pointer (RFC 6901) of its answer.
#[derive(Debug, Clone, Copy)]
pub struct JobStatus {
    /// Where the word stands.
    pub pointer: &'static str,
    /// The words of a job that is not over.
    pub running: &'static [&'static str],
    /// The words of a job whose result can be had.
    pub complete: &'static [&'static str],
    /// The words of a job that came to nothing: its rows are sent again.
    pub lost: &'static [&'static str],
    /// Codes of errors are `PREFIX.WORD` for a job that was lost, `PREFIX.gone` for one that the service does not know any more,
    /// and `PREFIX.status` for a word of no list.
    pub prefix: &'static str,
}

impl JobStatus {
    /// Waits up to two minutes for a job that is over soon; what `ask` told of it last.
    ///
    /// # Errors
    /// Those of `ask`; `transient` (`PREFIX.running`) for one that is not over then.
    pub fn wait_over(&self, ask: impl Fn() -> Result<Value>) -> Result<Value> {
        let is_over = || Ok(Some(ask()?).filter(|job| !self.running.contains(&json::text(job, self.pointer))));
        let running = || Error::transient("the job is not over yet").code(format!("{}.running", self.prefix));
        super::wait_for(120, WAIT_MS, is_over)?.ok_or_else(running)
    }
}

/// A batch that a service works on, as the token of a pending outcome: all that a later process needs to ask after it, and
/// nothing personal. Rows that were not sent are kept by number, whom the others are about only as keyed hashes.
///
/// ```
/// use affluent_sdk::Outcome;
/// use affluent_sdk::outcomes::{Ticket, Unfit};
///
/// const UNFIT: &[Unfit] = &[Unfit { code: "mail.nobody", message: "the row has no email" }];
///
/// let mut ticket = Ticket::new(3);
/// ticket.leave_out(1, 0);
/// let Outcome::Pending((token, _)) = ticket.pending("job7")? else { unreachable!() };
///
/// // Later, perhaps in another process:
/// let ticket = Ticket::of(&token)?;
/// let (report, sent) = ticket.begin(UNFIT);
/// assert_eq!((ticket.job(), sent.rows()), ("job7", &[0, 2][..]));
/// assert_eq!(report.counted(ticket.rows()).accepted, 2);
/// # Ok::<(), affluent_sdk::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ticket {
    job: String,
    rows: u32,
    /// Rows that were not sent, by reason.
    unfit: Vec<Bits>,
    keys: Vec<String>,
}

impl Ticket {
    /// A batch of so many rows, all of which are sent until more is said.
    pub fn new(rows: u32) -> Self {
        Self { job: String::new(), rows, unfit: Vec::new(), keys: Vec::new() }
    }

    /// Makes what is sent of each row, or leaves it out for the reason of this number in the plugin's table; with the rows that
    /// are sent and what was made of them.
    ///
    /// # Errors
    /// Those of `make`.
    pub fn of_rows<T>(rows: u32, make: impl Fn(u32) -> Result<Result<T, usize>>) -> Result<(Self, Vec<u32>, Vec<T>)> {
        let (mut ticket, mut sent, mut made) = (Self::new(rows), Vec::new(), Vec::new());
        for row in 0..rows {
            match make(row)? {
                Ok(one) => {
                    sent.push(row);
                    made.push(one);
                }
                Err(reason) => ticket.leave_out(row, reason),
            }
        }
        Ok((ticket, sent, made))
    }

    /// A row is not sent, for the reason of this number in the plugin's table.
    pub fn leave_out(&mut self, row: u32, reason: usize) {
        if self.unfit.len() <= reason {
            self.unfit.resize(reason + 1, Bits::default());
        }
        if let Some(bits) = self.unfit.get_mut(reason) {
            bits.set(row);
        }
    }

    /// Whom each of the rows that were sent is about, in their order; see [`crate::identity::Identifiers::key`].
    #[must_use]
    pub fn keys(mut self, keys: Vec<String>) -> Self {
        self.keys = keys;
        self
    }

    /// The rows that were sent, each with the key of whom it is about.
    pub(crate) fn keyed(&self) -> Vec<(u32, &str)> {
        let is_sent = |row: &u32| self.unfit.iter().all(|bits| !bits.has(*row));
        (0..self.rows).filter(is_sent).zip(self.keys.iter().map(String::as_str)).collect()
    }

    /// The outcome of the batch now that the service works on it under an id; the host polls soon, then each second.
    ///
    /// # Errors
    /// As [`super::pending`].
    pub fn pending(mut self, job: &str) -> Result<Outcome> {
        job.clone_into(&mut self.job);
        super::pending(&self, FIRST_WAIT_MS)
    }

    /// The batch of a token.
    ///
    /// # Errors
    /// As [`super::job`].
    pub fn of(token: &str) -> Result<Self> {
        super::job(token)
    }

    /// The id at the service.
    pub fn job(&self) -> &str {
        &self.job
    }

    /// Rows of the batch, sent or not.
    pub fn rows(&self) -> u32 {
        self.rows
    }

    /// The report's beginning, with the rows that were not sent, and those that were.
    pub fn begin(&self, reasons: &[Unfit]) -> (Report, Sent) {
        let (mut report, mut sent) = (Report::accepted(0), Vec::new());
        for row in 0..self.rows {
            match reasons.iter().zip(&self.unfit).find(|(_, bits)| bits.has(row)) {
                Some((reason, _)) => {
                    report.refuse(Error::invalid_data(reason.message).code(reason.code).at_row(row, None));
                }
                None => sent.push(row),
            }
        }
        (report, Sent::of(sent).keys(self.keys.iter().cloned()))
    }

    /// The outcome by what the service answered about the job: still pending, what `finish` makes of the answer once it is
    /// complete, or all rows to be sent again when the job was lost or is not known any more.
    ///
    /// # Errors
    /// The answer's, and those of `finish`; `transient` for a word that is in no list.
    pub fn follow(
        &self,
        answer: Result<Value>,
        status: &JobStatus,
        reasons: &[Unfit],
        finish: impl FnOnce(&Value) -> Result<Report>,
    ) -> Result<Outcome> {
        let again = |what: &str, word: &str| {
            let error = Error::transient(format!("the job {what}")).code(format!("{}.{word}", status.prefix));
            Ok(self.again(reasons, &error).into())
        };
        let answer = match answer {
            Err(error) if error.kind == ErrorKind::NotFound => return again("is not known any more", "gone"),
            other => other?,
        };
        match json::text(&answer, status.pointer) {
            word if status.running.contains(&word) => super::pending(self, WAIT_MS),
            word if status.complete.contains(&word) => finish(&answer).map(Outcome::Done),
            word if status.lost.contains(&word) => again("came to nothing", word),
            _ => Err(Error::transient("the job has no known status").code(format!("{}.status", status.prefix))),
        }
    }

    /// The report of a job that tells how many rows it refused, and not which. Codes are `PREFIX.refused` for a row that was sent
    /// alone, and `PREFIX.untold`.
    ///
    /// # Errors
    /// `invalid_data` where several were sent and some of them refused: the host halves the batch until the row is alone.
    pub fn with_refused(&self, refused: u64, reasons: &[Unfit], prefix: &str) -> Result<Report> {
        let (mut report, sent) = self.begin(reasons);
        match sent.rows() {
            _ if refused == 0 => {}
            [row] => {
                let error = Error::invalid_data("the service refused the row").code(format!("{prefix}.refused"));
                report.refuse(error.at_row(*row, None));
            }
            _ => {
                let error = Error::invalid_data("the service refused rows without telling which");
                return Err(error.code(format!("{prefix}.untold")));
            }
        }
        Ok(report.counted(self.rows))
    }

    /// The report of a job that names whom it refused, by their keys (see [`Ticket::keys`]). Codes are as in [`Ticket::with_refused`].
    ///
    /// # Errors
    /// As [`Ticket::with_refused`], where somebody is named whom no key is of.
    pub fn with_refused_keys(&self, refused: &[String], reasons: &[Unfit], prefix: &str) -> Result<Report> {
        if refused.iter().any(|key| !self.keys.contains(key)) {
            return self.with_refused(refused.len() as u64, reasons, prefix);
        }
        let (mut report, sent) = self.begin(reasons);
        for (row, _) in sent.rows().iter().zip(&self.keys).filter(|(_, key)| refused.contains(key)) {
            let error = Error::invalid_data("the service refused the row").code(format!("{prefix}.refused"));
            report.refuse(error.at_row(*row, None));
        }
        Ok(report.counted(self.rows))
    }

    /// Every row that was sent is refused with an error; `transient` makes the host send it again.
    pub fn again(&self, reasons: &[Unfit], error: &Error) -> Report {
        let (mut report, sent) = self.begin(reasons);
        sent.rows().iter().for_each(|row| report.refuse(error.clone().at_row(*row, None)));
        report.counted(self.rows)
    }
}

/// A set of rows: bit `row % 8` of byte `row / 8`, in hexadecimal in a token.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "String", from = "String")]
struct Bits(Vec<u8>);

impl Bits {
    fn set(&mut self, row: u32) {
        let place = row as usize / 8;
        if self.0.len() <= place {
            self.0.resize(place + 1, 0);
        }
        if let Some(byte) = self.0.get_mut(place) {
            *byte |= 1 << (row % 8);
        }
    }

    fn has(&self, row: u32) -> bool {
        self.0.get(row as usize / 8).is_some_and(|byte| byte & (1 << (row % 8)) != 0)
    }
}

impl From<Bits> for String {
    fn from(bits: Bits) -> Self {
        bits.0.iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

impl From<String> for Bits {
    fn from(text: String) -> Self {
        let pairs = text.as_bytes().chunks(2).map(|pair| std::str::from_utf8(pair).unwrap_or_default());
        Self(pairs.map(|pair| u8::from_str_radix(pair, 16).unwrap_or_default()).collect())
    }
}
